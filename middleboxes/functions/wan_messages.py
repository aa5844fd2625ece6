"""What two WAN optimisers say to each other, in UDP datagrams to WAN_PORT; this file is the normative layout. All numbers are big-endian.

=========  ==============================================================================================================
DATA       kind (1 byte), generation of the receiver's store as the sender knows it (4), check (8), then pieces of an IP packet
HAVE       kind (1), generation of the sender's store (4), that of the receiver's as the sender knows it or 0 (4), check (8),
           then names (6 each) of contents that the sender has now; without any: it lives
MISSING    the same, of contents that the sender has not
WRONG      the same, of contents that made no packet as it was sent
RESYNC     the same without names: the receiver spoke of the second generation, the sender's is the first
=========  ==============================================================================================================

A packet's pieces: its bytes (a length of 2 bytes, then so many), then a reference (name 6, offset 2, length 2), and so on in turn; the last one may be
either. The check is keyed BLAKE2b (RFC 7693) over kind and generations and, in DATA, the whole packet that the pieces make, in the others the names:
what fails it is never delivered, whatever the stores hold. The key is ``secret``.
"""

from hashlib import blake2b
from struct import Struct

#: a port for experiments (RFC 4727); fixed, since the choice of a worker must know it
WAN_PORT = 1021
DATA, HAVE, MISSING, WRONG, RESYNC = 0x11, 0x12, 0x13, 0x14, 0x15
NAME_BYTES = 6
_CHECK_BYTES = 8
_HEAD = Struct("!BI")
_CONTROL = Struct("!BII")
_LENGTH = Struct("!H")
_REFERENCE = Struct("!HIHH")
_DATA_START = _HEAD.size + _CHECK_BYTES
_CONTROL_START = _CONTROL.size + _CHECK_BYTES


class MessageError(ValueError):
    """A message that no WAN optimiser with this key has made."""


def secret(key, mtu_bytes):
    """What checks are keyed with: the text *key* and what else the two must have in common, so that those who differ in it do not believe each other."""
    return blake2b(f"{mtu_bytes} {key}".encode()).digest()


def _check(key, start, rest):
    digest = blake2b(start, digest_size=_CHECK_BYTES, key=key)
    digest.update(rest)
    return digest.digest()


def data(key, generation, packet, references):
    """DATA with *packet* (bytes): *references* are (at, length, name, offset): where in it, how long, content and offset there; rising."""
    start = _HEAD.pack(DATA, generation)
    parts = [start, _check(key, start, packet)]
    settled = 0
    for at, length, name, offset in references:
        parts += (_LENGTH.pack(at - settled), packet[settled:at], _REFERENCE.pack(name >> 32, name & 0xFFFFFFFF, offset, length))
        settled = at + length
    if settled < len(packet):
        parts += (_LENGTH.pack(len(packet) - settled), packet[settled:])
    return b"".join(parts)


def parse_data(message, bytes_max):
    """(generation, pieces: bytes or (name, offset, length)) of DATA that makes at most *bytes_max*. Raises MessageError."""
    if len(message) < _DATA_START:
        raise MessageError("it is cut off")
    at, size, pieces, total = _DATA_START, len(message), [], 0
    while at < size:
        if size - at < _LENGTH.size:
            raise MessageError("a length is cut off")
        length, = _LENGTH.unpack_from(message, at)
        at += _LENGTH.size
        if size - at < length:
            raise MessageError("a piece is cut off")
        pieces.append(message[at:at + length])
        at += length
        total += length
        if at < size:
            if size - at < _REFERENCE.size:
                raise MessageError("a reference is cut off")
            high, low, offset, length = _REFERENCE.unpack_from(message, at)
            pieces.append((high << 32 | low, offset, length))
            at += _REFERENCE.size
            total += length
        if total > bytes_max:
            raise MessageError("it makes too large a packet")
    return _HEAD.unpack_from(message)[1], pieces


def is_whole(key, message, packet):
    """Whether *packet* is what DATA *message* was made of."""
    return message[_HEAD.size:_DATA_START] == _check(key, message[:_HEAD.size], packet)


def control(key, kind, generation, believed, names=b""):
    """HAVE, MISSING, WRONG or RESYNC with *names*, those of ``name_bytes`` one after another."""
    start = _CONTROL.pack(kind, generation, believed)
    return start + _check(key, start, names) + names


def parse_control(key, message):
    """(kind, generation, believed, names) of HAVE, MISSING, WRONG or RESYNC. Raises MessageError."""
    names = message[_CONTROL_START:]
    if len(message) < _CONTROL_START or len(names) % NAME_BYTES:
        raise MessageError("its length is impossible")
    kind, generation, believed = _CONTROL.unpack_from(message)
    if kind not in (HAVE, MISSING, WRONG, RESYNC) or not generation or kind == RESYNC and names:
        raise MessageError("it is of no known kind")
    if message[_CONTROL.size:_CONTROL_START] != _check(key, message[:_CONTROL.size], names):
        raise MessageError("its check is wrong")
    return kind, generation, believed, [int.from_bytes(names[at:at + NAME_BYTES], "big") for at in range(0, len(names), NAME_BYTES)]


def name_bytes(name):
    """A content's name (an int of 48 bits) as messages have it."""
    return name.to_bytes(NAME_BYTES, "big")
