"""The agent: the node's connection to the controller. It says hello, beats, carries requests to the node and answers.

A request whose arguments can't be used is answered with what is wrong; anything that is not a request ends the
connection. Texts that are sent are cut at TEXT_CHARS_MAX: a message has a limit, too.
"""

import struct

from .role import ROLE_FAILURES

RETRY_NS = 100_000_000
#: events kept while the controller is away; beyond it the oldest go, counted
EVENTS_MAX = 256
TEXT_CHARS_MAX = 1000
#: a beat may come earlier by this part of the interval when the node is awake anyway: an idle one wakes up less often
BEAT_EARLIER = 10
#: what arguments of a right type and a wrong value lead to
UNUSABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, struct.error)


class Agent:
    """Keeps one connection to *address* [ip, port]; the data plane goes on without it."""

    def __init__(self, node, address, heartbeat_interval_ms):
        self.node, self.loop = node, node.loop
        self._address = address
        self._interval_ns = heartbeat_interval_ms * 1_000_000
        self._connection = None
        self._open = False
        self._timer = None
        self._events = []
        self._events_dropped = 0
        self._connect()

    def event(self, name, group, epoch, detail):
        """Tell the controller, now or once it is back."""
        detail = {key: value[:TEXT_CHARS_MAX] if isinstance(value, str) else value for key, value in detail.items()}
        message = {"t": "event", "name": name, "group": group, "epoch": epoch, "detail": detail}
        if self._open:
            self._connection.send(message)
            return
        if len(self._events) == EVENTS_MAX:
            self._events.pop(0)
            self._events_dropped += 1
        self._events.append(message)

    def _connect(self):
        self._connection = self.node.dial(self._address, self._opened, self._message, self._closed)

    def _opened(self, connection):
        self._open = True
        connection.send(self.node.hello())
        if self._events_dropped:
            self.node.log(f"{self._events_dropped} events were dropped while the controller was away")
            self._events_dropped = 0
        events, self._events = self._events, []
        for message in events:
            connection.send(message)
        self._beat()

    def _closed(self, connection, reason):
        if self._open:
            self.node.log(f"the controller's connection is gone ({reason}); trying again")
        self._open = False
        self.loop.cancel(self._timer)
        self._timer = self.loop.after(RETRY_NS, self._connect)

    def _beat(self):
        if self._open:
            self._connection.send({"t": "beat", "roles": self.node.status()})
            self._timer = self.loop.after(self._interval_ns, self._beat)
            self.loop.ease(self._timer, self._interval_ns // BEAT_EARLIER)

    def _message(self, connection, message):
        if message["t"] != "request":
            connection.close(f"it sent {message['t']!r}, which is not a request")
            return
        result, error = {}, ""
        try:
            result = self.node.request(message["do"], message["group"], message["epoch"], message["args"])
        except ROLE_FAILURES as failure:
            error = str(failure) or type(failure).__name__
            self.node.log(f"request {message['do']} of group {message['group']!r:.80}: {error:.200}")
        except UNUSABLE as failure:
            error = f"arguments are not of the expected form: {type(failure).__name__} {failure}"
            self.node.log(f"request {message['do']} of group {message['group']!r:.80}: {error:.200}")
        if message["do"] == "restart" and not error:
            connection.on_drained = self.node.restart       # once the reply is out
        connection.send({"t": "reply", "id": message["id"], "ok": not error, "error": error[:TEXT_CHARS_MAX], "result": result or {}})
