"""The client's TCP: connections that live through everything, and a stream of new ones.

Both use plain non-blocking sockets and leave every retry to the kernel, as an application does.
"""

import collections
import errno
import select
import socket
import time

from .loop import Wheel
from .payload import FLOW_MAX, MESSAGE_BYTES, message

#: Ended new connections that are remembered, some 40 seconds' worth.
_ENDED_MAX = 8192
#: The kernel's shortest wait before it sends again: what takes this long was caught in an outage.
_RETRIED_NS = 190_000_000
#: New connections under way at once; beyond it no more are opened, and that is counted.
_OPENING_MAX = 8192


class _Conversation:
    """One TCP connection that asks numbered messages one at a time and checks each echo, byte for byte."""

    def __init__(self, loop, target, flow, on_end):
        self._loop, self._flow, self._on_end = loop, flow, on_end
        self._expected, self._got, self._asked_ns = None, b"", 0
        self.number = 0             # answered messages
        self.answered_ns = 0        # when the newest answered message was asked
        self.connected = self.closing = False
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._sock.connect_ex(target)
        loop.add(self._sock, self._on_event, select.EPOLLOUT)
        self._refused = code if code not in (0, errno.EINPROGRESS) else None

    def ask(self, now_ns):
        """Send the next message, unless an answer is still awaited."""
        if self._expected is None and self.connected and not self.closing:
            self._expected, self._got, self._asked_ns = message(self._flow, self.number), b"", now_ns
            try:
                self._sock.send(self._expected)     # 64 bytes into an empty buffer: never cut
            except OSError as error:
                self._end(_reason(error))

    def close(self):
        """Close in order: our end first, then wait for the peer's."""
        if self.closing:
            return
        self.closing = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._end(_reason(error))

    def give_up(self, reason):
        """End it because of *reason*, at once."""
        self._end(reason)

    def on_connected(self):
        """Called once the connection is established."""

    def on_answered(self):
        """Called for each right answer."""

    def _end(self, reason):
        self._loop.close(self._sock)
        self._on_end(self, reason)

    def _on_event(self, _events):
        try:
            if self.connected:
                self._read()
                return
            code = self._refused or self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._end(errno.errorcode.get(code, str(code)))
                return
            self.connected = True
            self._loop.want(self._sock, select.EPOLLIN)
            self.on_connected()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(_reason(error))

    def _read(self):
        data = self._sock.recv(2 * MESSAGE_BYTES)
        if not data:
            self._end(None if self.closing and self._expected is None else "closed by the peer")
            return
        self._got += data
        if self._expected is None or not self._expected.startswith(self._got):
            self._end("wrong bytes")
        elif self._got == self._expected:
            self._expected, self.answered_ns = None, self._asked_ns
            self.number += 1
            self.on_answered()


def _reason(error):
    return errno.errorcode.get(error.errno, str(error))


class Established:
    """*count* connections that are opened once and then kept busy: each asks every *period_ns*."""

    def __init__(self, loop, target, count, period_ns, now_ns):
        self._end_counts = collections.Counter()
        self.count, self._closed_well = count, 0
        self._alive = {}            # used as an ordered set
        self._all = [_Conversation(loop, target, flow, self._on_end) for flow in range(count)]
        self._alive = dict.fromkeys(self._all)
        self._wheel = Wheel(self._all, period_ns, now_ns)

    def _on_end(self, conversation, reason):
        self._alive.pop(conversation, None)
        if reason is None:
            self._closed_well += 1
        else:
            self._end_counts[reason] += 1

    def on_tick(self, now_ns):
        """Ask whatever is due."""
        for conversation in self._wheel.due(now_ns):
            if conversation in self._alive:
                conversation.ask(now_ns)

    def answered_since(self, since_ns):
        """How many have had the answer to a question asked after *since_ns*."""
        return sum(1 for c in self._alive if c.answered_ns >= since_ns)

    def close(self, since_ns):
        """Close in order those that answered since *since_ns*; the others count as broken."""
        for conversation in list(self._alive):
            if conversation.answered_ns >= since_ns:
                conversation.close()
            else:
                conversation.give_up("no answer")

    def abandon(self):
        """Give up those that are still there: they count as broken."""
        for conversation in list(self._alive):
            conversation.give_up("not closed in order")

    @property
    def alive(self):
        """Connections that are neither broken nor closed."""
        return len(self._alive)

    def counts(self):
        """The counts as a map; every connection that did not end in order is in ``tcp_broken``."""
        return {"tcp_connections": self.count, "tcp_broken": sum(self._end_counts.values()),
                "tcp_broken_why": dict(sorted(self._end_counts.items())), "tcp_alive": len(self._alive),
                "tcp_closed_in_order": self._closed_well, "tcp_messages": sum(c.number for c in self._all)}


class _Short(_Conversation):
    """A new connection: connect, ask once, check the echo, close in order."""

    def __init__(self, loop, target, flow, on_end, now_ns):
        self.opened_ns = now_ns
        super().__init__(loop, target, flow, on_end)

    def on_connected(self):
        self.ask(self.opened_ns)

    def on_answered(self):
        self.close()


class Openings:
    """*per_s* new connections a second; each must succeed within *timeout_ns*."""

    def __init__(self, loop, target, per_s, timeout_ns, now_ns):
        self._loop, self._target, self._timeout_ns = loop, target, timeout_ns
        self._interval_ns = 1_000_000_000 // per_s
        self._start_ns = self._next_ns = now_ns
        self._stopped_ns = now_ns
        self._opened = self._succeeded = self._left_out = self._retried = self._slowest_ns = 0
        self._failed = collections.Counter()
        self._pending = {}          # in order of opening
        self._ended = collections.deque(maxlen=_ENDED_MAX)     # (opened_ns, ended_ns)
        self._open = True

    def on_tick(self, now_ns):
        """Open what is due, give up what takes too long."""
        if self._open:
            self._stopped_ns = now_ns
        while self._open and self._next_ns <= now_ns:
            self._next_ns += self._interval_ns
            if len(self._pending) >= _OPENING_MAX:
                self._left_out += 1
                continue
            self._opened += 1
            flow = self._opened % FLOW_MAX
            short = _Short(self._loop, self._target, flow, self._on_end, now_ns)
            self._pending[short] = None
        while self._pending:
            oldest = next(iter(self._pending))
            if now_ns - oldest.opened_ns <= self._timeout_ns:
                return
            oldest.give_up("timeout")

    def _on_end(self, short, reason):
        self._pending.pop(short, None)
        ended_ns = time.monotonic_ns()
        self._ended.append((short.opened_ns, ended_ns))
        if reason is None:
            took_ns = ended_ns - short.opened_ns
            self._succeeded += 1
            self._retried += took_ns >= _RETRIED_NS
            self._slowest_ns = max(self._slowest_ns, took_ns)
        else:
            self._failed[reason] += 1

    def under_way(self, from_ns, to_ns):
        """How many had been opened and not yet ended at some time in [from_ns, to_ns], of those not long past."""
        return (sum(1 for opened_ns, ended_ns in self._ended if opened_ns <= to_ns and ended_ns >= from_ns)
                + sum(1 for short in self._pending if short.opened_ns <= to_ns))

    def oldest_ns(self, now_ns):
        """When the oldest connection under way was opened; *now_ns* if there is none."""
        return next(iter(self._pending)).opened_ns if self._pending else now_ns

    def stop(self):
        """Open no more."""
        self._open = False

    def abandon(self):
        """Give up those under way: they count as failed."""
        for short in list(self._pending):
            short.give_up("timeout")

    @property
    def idle(self):
        """True when none is under way."""
        return not self._pending

    def counts(self):
        """The counts as a map."""
        return {"new_opened": self._opened, "new_succeeded": self._succeeded, "new_failed": sum(self._failed.values()),
                "new_failed_why": dict(sorted(self._failed.items())), "new_left_out": self._left_out,
                "new_under_way": len(self._pending), "new_retried": self._retried,
                "new_slowest_ms": self._slowest_ns // 1_000_000,
                "new_seconds": (self._stopped_ns - self._start_ns) / 1e9}
