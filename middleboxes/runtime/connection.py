"""TCP connections of the management network: authenticated channels on non-blocking sockets.

Writing is bounded: small messages are sent at once, bulk is *pumped* from an iterator, which is asked for more only while
less than PUMP_BYTES wait. A peer that does not read what it is sent is cut off at SEND_BYTES_MAX or PUMPS_MAX iterators. A peer that
vanished without a word is noticed after SILENCE_MS.
"""

import errno
import os
import socket

from ..core.admission import Admission, is_told
from ..core.channel import NONCE_BYTES, Channel, ChannelError
from ..core.messages import MESSAGE_BYTES_MAX, MessageError

#: once so much waits, it is sent before more is made: the peer has something to do meanwhile
PUMP_BYTES = 64 << 10
#: read in one go: what comes in it is handled before anything else of the node
RECEIVE_BYTES = 64 << 10
SEND_BYTES_MAX = 16 * MESSAGE_BYTES_MAX
PUMPS_MAX = 8
SILENCE_MS = 3000
HANDSHAKE_NS = 2_000_000_000
ACCEPT_AGAIN_NS = 100_000_000
#: a reason may quote what the peer sent
REASON_CHARS_MAX = 200


class Connection:
    """One channel. *on_message(connection, message)*, *on_open(connection)* (authenticated), *on_close(connection, reason)*."""

    def __init__(self, loop, sock, channel, on_message, on_open=None, on_close=None):
        self.loop, self.channel = loop, channel
        self.on_message, self.on_open, self.on_close = on_message, on_open, on_close
        self.on_drained = None          # called once, when nothing is waiting to be sent
        self.closed = False
        self._socket = sock
        self._connecting = False
        self._out = bytearray()
        self._pumps = []
        self._writing = False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # a host that is gone sends no FIN: ask an idle one each second, and wait for no answer longer than SILENCE_MS
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)
        self._deadline = loop.after(HANDSHAKE_NS, self._check_open)

    @classmethod
    def connect(cls, loop, address, key, name, **handlers):
        """A client's connection to *address* [ip, port]; what fails is told by on_close."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection = cls(loop, sock, Channel("client", key, os.urandom(NONCE_BYTES), name), **handlers)
        code = sock.connect_ex(tuple(address))
        if code not in (0, errno.EINPROGRESS):
            loop.after(0, lambda: connection.close(os.strerror(code)))
            return connection
        connection._connecting = True
        connection._watch(True)
        return connection

    def serve(self):
        """Start as a server's end."""
        self._flush()
        return self

    def send(self, message):
        """Send *message* (once open; messages of a connection that closed are dropped with it)."""
        if self.closed:
            return
        self.channel.send(message)
        self._flush()

    def pump(self, messages):
        """Send all of an iterator's messages, made only as fast as the peer takes them."""
        if self.closed:
            return
        if len(self._pumps) == PUMPS_MAX:
            self.close("the peer does not take what it asked for")
            return
        self._pumps.append(iter(messages))
        self._flush()

    def fileno(self):
        """The descriptor of its socket."""
        return self._socket.fileno()

    @property
    def waiting_bytes(self):
        """What is not sent yet."""
        return len(self._out)

    def close(self, reason="closed"):
        """Close; on_close is called once."""
        if self.closed:
            return
        self.closed = True
        self._pumps.clear()
        self.loop.cancel(self._deadline)
        self.loop.watch(self._socket.fileno())
        self._socket.close()
        if self.on_close:
            self.on_close(self, reason)

    def _check_open(self):
        if not self.channel.established:
            self.close("no handshake in time")

    def _watch(self, writing):
        self._writing = writing
        self.loop.watch(self._socket.fileno(), self._readable, self._writable if writing else None)

    def _writable(self):
        if self._connecting:
            self._connecting = False
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.close(os.strerror(code))
                return
        self._flush()

    def _fill(self):
        self._out += self.channel.data_to_send()
        while self._pumps and len(self._out) < PUMP_BYTES:
            message = next(self._pumps[0], None)
            if message is None:
                self._pumps.pop(0)
                continue
            self.channel.send(message)
            self._out += self.channel.data_to_send()

    def _flush(self):
        if self.closed or self._connecting:
            return
        self._fill()
        while self._out:
            try:
                sent = self._socket.send(self._out)
            except BlockingIOError:
                break
            except OSError as error:
                self.close(error.strerror or str(error))
                return
            del self._out[:sent]
            self._fill()
        if len(self._out) > SEND_BYTES_MAX:
            self.close("the peer does not read what it is sent")
            return
        self._watch(bool(self._out))
        if not self._out and self.on_drained:
            on_drained, self.on_drained = self.on_drained, None
            on_drained()

    def _readable(self):
        if self._connecting:
            self._writable()
            if self.closed or self._connecting:
                return
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(error.strerror or str(error))
            return
        if not data:
            self.close("closed by the peer")
            return
        was_open = self.channel.established
        try:
            messages = self.channel.receive(data)
        except (ChannelError, MessageError) as error:
            self.close(str(error)[:REASON_CHARS_MAX])
            return
        self._flush()
        if self.channel.established and not was_open:
            self.loop.cancel(self._deadline)
            if self.on_open:
                self.on_open(self)
        for message in messages:
            if self.closed:
                return
            self.on_message(self, message)


class Listener:
    """Accepts connections at *address* [ip, port] of the management network, as far as core.admission has a place for them."""

    def __init__(self, loop, address, key, on_message, log, on_close=None):
        self.loop, self.key = loop, key
        self.on_message, self.on_close = on_message, on_close
        self._admission = Admission()
        self._not_accepted = 0
        self._log = log
        self._socket = sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(tuple(address))
        except OSError as error:
            raise OSError(error.errno, f"can't listen at {address[0]}:{address[1]}: {error.strerror}") from error
        sock.listen(64)
        sock.setblocking(False)
        self._timer = None
        self._watch()

    @property
    def counters(self):
        """Counters by name."""
        return {**self._admission.counters, "not_accepted": self._not_accepted}

    @property
    def connections(self):
        """How many are open."""
        return len(self._admission)

    @property
    def port(self):
        """The TCP port in use."""
        return self._socket.getsockname()[1]

    def _watch(self):
        self.loop.watch(self._socket.fileno(), self._accept)

    def _accept(self):
        try:
            sock, (host, _) = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as error:        # the peer gave up, or descriptors ran out: the next one may come through
            self._not_accepted += 1
            self._tell(self._not_accepted, f"a connection could not be accepted: {error}")
            # a lack of descriptors would be told again at once
            self.loop.watch(self._socket.fileno())
            self._timer = self.loop.after(ACCEPT_AGAIN_NS, self._watch)
            return
        refusal = self._admission.refusal(host)
        if refusal is not None:
            sock.close()
            self._tell(self.counters["refused"], f"a connection of {host} was refused: {refusal}")
            return
        connection = Connection(self.loop, sock, Channel("server", self.key, os.urandom(NONCE_BYTES)), self.on_message,
                                self._admission.authenticated, self._closed)
        crowded_out = self._admission.add(connection, host)
        if crowded_out is not None:
            crowded_out.close("there are too many connections that have not authenticated")
        connection.serve()

    def close(self):
        """Stop accepting; open connections stay."""
        self.loop.cancel(self._timer)
        self.loop.watch(self._socket.fileno())
        self._socket.close()

    def _closed(self, connection, reason):
        self._admission.remove(connection)
        if not connection.channel.established:
            self._tell(self.counters["unauthenticated"], f"a connection that had not authenticated ended: {reason}")
            return
        if self.on_close:
            self.on_close(connection, reason)

    def _tell(self, count, text):
        if is_told(count):
            self._log(f"{text} ({count} of this kind so far)")
