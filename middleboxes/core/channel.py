"""An authenticated message channel over any byte stream, without I/O.

Both sides prove that they know the deployment's pre-shared key; every message then carries a keyed
BLAKE2b tag over its number and direction, so that nothing can be forged, replayed or reordered. It does
not encrypt: the management network carries nothing that the data network does not.

Handshake (all integers big-endian)::

    server  "FTMB" version:u8 nonce:32
    client  "FTMB" version:u8 nonce:32 name_length:u8 name tag:32    tag = HMAC-SHA256(key, "client" nonces name)
    server  tag:32                                                   tag = HMAC-SHA256(key, "server" nonces name)
    then    length:u32 tag:16 msgpack-map, in both directions
"""

import hashlib
import hmac
import struct

import msgpack

from .messages import MESSAGE_BYTES_MAX, VERSION, check

MAGIC = b"FTMB"
NONCE_BYTES = 32
_TAG_BYTES = 16
_HEADER = struct.Struct(">I")
_GREETING_BYTES = len(MAGIC) + 1 + NONCE_BYTES


class ChannelError(Exception):
    """The peer broke the channel's rules; the connection is of no more use."""


class AuthenticationError(ChannelError):
    """The peer does not know the key, or somebody changed a message on its way."""


class VersionError(ChannelError):
    """The peer speaks another version of the protocol."""


def pack(value):
    """msgpack of *value*, in the one way used everywhere (bytes and text kept apart)."""
    return msgpack.packb(value, use_bin_type=True)


def unpack(data, use_list=True, on_map=None):
    """The value in *data*; arrays come as lists or (*use_list* False) as tuples. Raises ValueError.

    *on_map* is given each map in it, and returns what is to be in its place.
    """
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=use_list, object_hook=on_map)
    except (msgpack.UnpackException, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not msgpack: {error}") from error


class Channel:
    """One end of a connection: ``receive`` bytes, get messages; ``send`` messages, take bytes from ``data_to_send``.

    *nonce* is NONCE_BYTES of fresh entropy, passed in so that the class stays deterministic.
    Whatever raises leaves the channel broken: close the connection.
    """

    def __init__(self, side, key, nonce, name=""):
        if side not in ("client", "server"):
            raise ValueError(f"side is client or server, not {side!r}")
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"nonce must be {NONCE_BYTES} bytes")
        self.side = side
        self.peer = None            # the authenticated client's name, at a server
        self.established = False
        self._key, self._nonce, self._name = key, nonce, name.encode()
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._step = "_read_greeting"       # a name, not a method: no cycle, so that no collector is needed
        self._sent = self._received = 0
        if side == "server":
            self._outgoing += MAGIC + bytes([VERSION]) + nonce

    def data_to_send(self):
        """The bytes to put on the stream now (may be empty)."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def send(self, message):
        """Queue *message* (a map of messages.py); only once ``established``."""
        if not self.established:
            raise ChannelError("send before the handshake is done")
        body = pack(message)
        if len(body) > MESSAGE_BYTES_MAX:
            raise ChannelError(f"message {message.get('t')!r} of {len(body)} bytes is above the limit of {MESSAGE_BYTES_MAX}")
        self._sent += 1
        self._outgoing += _HEADER.pack(len(body)) + self._tag(self.side, self._sent, body) + body

    def receive(self, data):
        """Messages that *data* completes. Raises ChannelError (and its kinds) and MessageError."""
        self._incoming += data
        messages = []
        while True:
            done = getattr(self, self._step)()
            if done is None:
                return messages
            if done is not True:
                messages.append(done)

    # -- the handshake; each step returns None (need more), True (go on) or a message

    def _take(self, count):
        if len(self._incoming) < count:
            return None
        data = bytes(self._incoming[:count])
        del self._incoming[:count]
        return data

    def _check_greeting(self, greeting):
        if not greeting.startswith(MAGIC):
            raise ChannelError("the peer does not speak this protocol")
        version = greeting[len(MAGIC)]
        if version != VERSION:
            raise VersionError(f"the peer speaks version {version} of the protocol, this side speaks {VERSION}")
        return greeting[len(MAGIC) + 1:]

    def _read_greeting(self):
        if self.side == "server":
            return self._read_proof()
        greeting = self._take(_GREETING_BYTES)
        if greeting is None:
            # refuse a stranger at its first bytes, not after a timeout
            if not MAGIC.startswith(bytes(self._incoming[:len(MAGIC)])):
                raise ChannelError("the peer does not speak this protocol")
            return None
        peer_nonce = self._check_greeting(greeting)
        self._nonces = peer_nonce + self._nonce
        self._outgoing += (MAGIC + bytes([VERSION]) + self._nonce + bytes([len(self._name)]) + self._name
                           + self._proof("client", self._name))
        self._step = "_read_answer"
        return True

    def _read_proof(self):
        have = self._incoming
        if not MAGIC.startswith(bytes(have[:len(MAGIC)])):
            raise ChannelError("the peer does not speak this protocol")
        if len(have) <= _GREETING_BYTES:
            return None
        name_length = have[_GREETING_BYTES]
        total = _GREETING_BYTES + 1 + name_length + 32
        if len(have) < total:
            return None
        hello = self._take(total)
        self._nonces = self._nonce + self._check_greeting(hello[:_GREETING_BYTES])
        name = hello[_GREETING_BYTES + 1:_GREETING_BYTES + 1 + name_length]
        if not hmac.compare_digest(hello[-32:], self._proof("client", name)):
            raise AuthenticationError("the client does not know this deployment's key")
        try:
            self.peer = name.decode()
        except UnicodeDecodeError as error:
            raise ChannelError("the client's name is not UTF-8") from error
        self._outgoing += self._proof("server", name)
        self._establish(name)
        return True

    def _read_answer(self):
        tag = self._take(32)
        if tag is None:
            return None
        if not hmac.compare_digest(tag, self._proof("server", self._name)):
            raise AuthenticationError("the server does not know this deployment's key")
        self._establish(self._name)
        return True

    def _proof(self, side, name):
        return hmac.new(self._key, side.encode() + self._nonces + name, hashlib.sha256).digest()

    def _establish(self, name):
        self._session = {side: self._proof(side + " session", name) for side in ("client", "server")}
        self.established = True
        self._step = "_read_message"

    # -- messages

    def _tag(self, side, number, body):
        digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=_TAG_BYTES, key=self._session[side])
        digest.update(body)
        return digest.digest()

    def _read_message(self):
        have = self._incoming
        if len(have) < _HEADER.size:
            return None
        (length,) = _HEADER.unpack_from(have)
        if length > MESSAGE_BYTES_MAX:
            raise ChannelError(f"a message of {length} bytes is announced, the limit is {MESSAGE_BYTES_MAX}")
        head = _HEADER.size + _TAG_BYTES
        if len(have) < head + length:
            return None
        frame = self._take(head + length)
        self._received += 1
        other = "server" if self.side == "client" else "client"
        if not hmac.compare_digest(frame[_HEADER.size:head], self._tag(other, self._received, frame[head:])):
            raise AuthenticationError("a message's tag is wrong: forged, replayed or out of order")
        try:
            message = unpack(frame[head:])
        except ValueError as error:
            raise ChannelError(str(error)) from error
        return check(message)
