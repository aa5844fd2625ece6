"""The control channel's server: agents connect, prove that they know the key, and exchange messages.

Runs on eventlet's green threads. Listens on the deployment's control address only. A connection that has
not authenticated and said its first message within HELLO_S is closed, so is one that middleboxes.core.admission
has no place for, and an agent that does not read what it is sent (its queue is full). One connection per node
name: a newer one replaces the older. Events go to *on_message(name, message)* and *on_closed(name)*, in order per node; neither may give up its turn.
"""

import logging
import os

import eventlet
import eventlet.queue
from eventlet.green import socket

from middleboxes.core.admission import CONNECTIONS_MAX, Admission, is_told
from middleboxes.core.channel import NONCE_BYTES, Channel, ChannelError
from middleboxes.core.messages import MessageError

HELLO_S = 2.0
ACCEPT_AGAIN_S = 0.1            # of a lack of descriptors nothing tells the end
UNACKNOWLEDGED_MS_MIN = 1000    # below a few retransmissions (200 ms the first) one lost segment would end a connection
QUEUE_MESSAGES_MAX = 256
_READ_BYTES = 65536

_log = logging.getLogger("ftmb.server")


class Server:
    """Serves agents at *address* (host, port) until its green threads are killed. *key*: the deployment's key.

    A peer that acknowledges nothing for *silence_ms* is gone.
    """

    def __init__(self, address, key, on_message, on_closed, silence_ms):
        self._silence_ms = max(silence_ms, UNACKNOWLEDGED_MS_MIN)
        self._key, self._on_message, self._on_closed = key, on_message, on_closed
        self._by_name = {}
        self._admission = Admission()
        self._counters = {"queue_full": 0, "not_accepted": 0}
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = eventlet.listen(address, family=family, backlog=CONNECTIONS_MAX)

    @property
    def counters(self):
        """Counters by name."""
        return {**self._admission.counters, **self._counters}

    @property
    def connections(self):
        """How many are open."""
        return len(self._admission)

    @property
    def port(self):
        """The TCP port in use."""
        return self._listener.getsockname()[1]

    def serve(self):
        """Accept connections, for ever."""
        while True:
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                self._counters["not_accepted"] += 1
                _log.warning("a connection was not accepted: %s", error)
                eventlet.sleep(ACCEPT_AGAIN_S)
                continue
            refusal = self._admission.refusal(address[0])
            if refusal is None:
                self._admit(sock, address)
                continue
            sock.close()
            if is_told(self.counters["refused"]):
                _log.warning("%s refused: %s (%d refused so far)", address, refusal, self.counters["refused"])

    def _admit(self, sock, address):
        try:
            connection = _Connection(sock, Channel("server", self._key, os.urandom(NONCE_BYTES)), self._silence_ms)
        except OSError as error:
            sock.close()
            self._counters["not_accepted"] += 1
            _log.info("%s was gone at once: %s", address, error)
            return
        crowded_out = self._admission.add(connection, address[0])
        if crowded_out is not None:
            crowded_out.close()
        eventlet.spawn(self._serve_one, connection, address)

    def send(self, name, message):
        """Send *message* to node *name* at once; without a connection it is dropped (``on_closed`` tells)."""
        connection = self._by_name.get(name)
        if connection is not None and not connection.send(message):
            self._counters["queue_full"] += 1
            _log.warning("%s does not read what it is sent: closed", name)
            self.close(name)

    def close(self, name):
        """Close the connection of node *name*, if there is one; ``on_closed`` follows."""
        connection = self._by_name.get(name)
        if connection is not None:
            connection.close()

    def _serve_one(self, connection, address):
        reason = None
        try:
            self._converse(connection)
        except (ChannelError, MessageError, OSError) as error:
            reason = error
        finally:
            # finishing lets others have their turn: the end is told before
            self._admission.remove(connection)
            try:
                self._forget(connection)
            finally:
                connection.finish()
        known = connection.name is not None
        if reason is not None and (known or is_told(self.counters["unauthenticated"])):
            _log.warning("%s (%r): %.200s", address, connection.name if known else "not authenticated", reason)

    def _converse(self, connection):
        limit = eventlet.Timeout(HELLO_S, ChannelError(f"nothing said within {HELLO_S} s"))
        try:
            messages = []
            while not messages:
                data = connection.read()
                if not data:
                    return
                messages = connection.receive(data)
        finally:
            limit.cancel()
        self._register(connection)
        while True:
            for message in messages:
                if self._by_name.get(connection.name) is not connection:
                    return
                self._on_message(connection.name, message)
                # a read waits for nobody while there is data: one that says much must not keep all others, and the ticks, from their turns
                eventlet.sleep(0)
            data = connection.read()
            if not data:
                return
            messages = connection.receive(data)

    def _register(self, connection):
        self._admission.authenticated(connection)
        older = self._by_name.get(connection.channel.peer)
        connection.name = connection.channel.peer
        if older is not None:
            older.close()
            self._forget(older)
        self._by_name[connection.name] = connection

    def _forget(self, connection):
        if connection.name is not None and self._by_name.get(connection.name) is connection:
            del self._by_name[connection.name]
            self._on_closed(connection.name)


class _Connection:
    """A socket, its channel, and a green thread that writes what the socket does not take at once."""

    def __init__(self, sock, channel, silence_ms):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            sock.setsockopt(socket.IPPROTO_TCP, option, -(-silence_ms // 1000))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence_ms)
        self.channel, self.name = channel, None
        self._sock = sock
        self._queue = eventlet.queue.LightQueue(QUEUE_MESSAGES_MAX)
        self._closed = self._writing = False    # _writing: something is queued, or on its way from the queue
        self._writer = eventlet.spawn(self._write)
        self._flush()

    def read(self):
        return b"" if self._closed else self._sock.recv(_READ_BYTES)

    def receive(self, data):
        """The messages that *data* completes; answers of the handshake are sent."""
        messages = self.channel.receive(data)
        self._flush()
        return messages

    def send(self, message):
        """Queue *message*; False if the queue is full."""
        if self._closed:
            return True
        if self._queue.full():
            return False
        self.channel.send(message)
        self._flush()
        return True

    def close(self):
        """Both directions end: the thread that reads wakes up with nothing to read, and calls ``finish``."""
        if self._closed:
            return
        self._closed = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            _log.debug("%s: the peer was first to close: %s", self.name, error)

    def finish(self):
        """Give the socket and the writer back; by the reading thread only (eventlet wakes nobody on a close)."""
        self.close()
        self._writer.kill()
        self._sock.close()

    def _flush(self):
        data = self.channel.data_to_send()
        if data and not self._writing:
            data = self._send_now(data)
        if data:
            self._writing = True
            self._queue.put_nowait(data)

    def _send_now(self, data):
        """Send what the socket takes, not when the writer has its turn: a failover waits for it. What is left."""
        try:
            return data[self._sock.fd.send(data):]
        except BlockingIOError:
            return data
        except OSError as error:
            self._broken(error)
            return b""

    def _write(self):
        while True:
            data = self._queue.get()
            try:
                self._sock.sendall(data)
            except OSError as error:
                self._broken(error)
                return
            self._writing = not self._queue.empty()

    def _broken(self, error):
        _log.info("%s: %s", self.name, error)
        self.close()
