"""Packets as pcapng (draft-ietf-opsawg-pcapng), as far as a bundle needs it; pure.

One section, little-endian, times in ns. Written are a section header, interface descriptions, enhanced packets; read is what
was written: any other kind of block is an error, since a bundle's parts are not edited.

Of a packet's options, ``epb_packetid`` and ``epb_queue`` carry two numbers of the caller, ``opt_comment`` a text for people.
"""

import struct
from typing import NamedTuple

from .errors import BundleError

LINKTYPE_ETHERNET, LINKTYPE_USER0 = 1, 147

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_OPT_END, _OPT_COMMENT, _SHB_APPLICATION, _IF_NAME, _IF_DESCRIPTION, _IF_RESOLUTION, _EPB_ID, _EPB_QUEUE = 0, 1, 4, 2, 3, 9, 5, 6
_NANOSECONDS = b"\x09"
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_OPTION = struct.Struct("<HH")
_SECTION_BODY = struct.Struct("<IHHq")          # magic, version 1.0, length of the section (-1: not told)
_INTERFACE_BODY = struct.Struct("<HxxI")        # link type, snapshot length (0: none)
_PACKET_BODY = struct.Struct("<IIIII")          # interface, time in two halves, captured and original length
_BLOCK_BYTES_MIN = 12

PACKET_BYTES_MAX = 1 << 16
INTERFACES_MAX = 64


class Interface(NamedTuple):
    """Where packets were captured: *name*, kind of its frames (a link type), a text."""

    name: str
    linktype: int
    description: str


class Captured(NamedTuple):
    """One packet: number of its interface, Unix time in ns, its bytes, *identity* (64 bits), *queue* (32 bits), a text."""

    interface: int
    timestamp_ns: int
    data: bytes
    identity: int
    queue: int
    comment: str


def _option(code, value):
    return _OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind, body, options):
    body += b"".join(options) + (_OPTION.pack(_OPT_END, 0) if options else b"")
    size = _U32.pack(len(body) + _BLOCK_BYTES_MIN)
    return _U32.pack(kind) + size + body + size


def encode(interfaces, packets):
    """Yield the blocks of a file with *interfaces* and *packets*. Raises BundleError if a packet has no place in it."""
    yield _block(_SECTION, _SECTION_BODY.pack(_MAGIC, 1, 0, -1), [_option(_SHB_APPLICATION, b"ftmb")])
    for name, linktype, description in interfaces:
        yield _block(_INTERFACE, _INTERFACE_BODY.pack(linktype, 0), [
            _option(_IF_NAME, name.encode()), _option(_IF_DESCRIPTION, description.encode()), _option(_IF_RESOLUTION, _NANOSECONDS)])
    for interface, timestamp_ns, data, identity, queue, comment in packets:
        size = len(data)
        if interface >= len(interfaces) or size > PACKET_BYTES_MAX:
            raise BundleError(f"a packet of {size} bytes at interface {interface} can't be written: there are {len(interfaces)}")
        yield _block(_PACKET, _PACKET_BODY.pack(interface, timestamp_ns >> 32, timestamp_ns & 0xFFFFFFFF, size, size) + data + bytes(-size % 4),
                     [_option(_OPT_COMMENT, comment.encode()), _option(_EPB_ID, _U64.pack(identity)), _option(_EPB_QUEUE, _U32.pack(queue))])


def decode(data):
    """([Interface], [Captured]) of a file that ``encode`` wrote. Raises BundleError."""
    interfaces, packets = [], []
    try:
        for number, (kind, body) in enumerate(_blocks(data)):
            if (kind == _SECTION) != (number == 0):
                raise BundleError("its section header is in the wrong place")
            if kind == _SECTION:
                if _SECTION_BODY.unpack_from(body)[:3] != (_MAGIC, 1, 0):
                    raise BundleError("it is not pcapng 1.0, little-endian")
            elif kind == _INTERFACE:
                interfaces.append(_interface(body))
                if len(interfaces) > INTERFACES_MAX:
                    raise BundleError(f"it has more than {INTERFACES_MAX} interfaces")
            elif kind == _PACKET:
                packets.append(_packet(body, len(interfaces)))
            else:
                raise BundleError(f"it has a block of kind {kind:#x}")
    except (struct.error, UnicodeDecodeError) as error:
        raise BundleError(f"a block of it is damaged: {error}") from error
    if not data:
        raise BundleError("it is empty")
    return interfaces, packets


def _blocks(data):
    """(kind, body) of each block."""
    view, offset = memoryview(data), 0
    while offset < len(data):
        if len(data) - offset < _BLOCK_BYTES_MIN:
            raise BundleError("it is cut off")
        (kind,), (size,) = _U32.unpack_from(data, offset), _U32.unpack_from(data, offset + 4)
        if size < _BLOCK_BYTES_MIN or size % 4 or size > len(data) - offset:
            raise BundleError("a block of it is cut off")
        if _U32.unpack_from(data, offset + size - 4)[0] != size:
            raise BundleError("a block of it tells two lengths")
        yield kind, view[offset + 8:offset + size - 4]
        offset += size


def _options(body, offset):
    """{code: value} from *offset* on."""
    found = {}
    while offset < len(body):
        code, size = _OPTION.unpack_from(body, offset)
        if code == _OPT_END:
            return found
        offset += _OPTION.size
        if offset + size > len(body):
            raise BundleError("an option of it is cut off")
        found[code] = bytes(body[offset:offset + size])
        offset += size + -size % 4
    return found


def _interface(body):
    (linktype, _), options = _INTERFACE_BODY.unpack_from(body), _options(body, _INTERFACE_BODY.size)
    if options.get(_IF_RESOLUTION) != _NANOSECONDS:
        raise BundleError("an interface of it does not tell its times in ns")
    return Interface(options.get(_IF_NAME, b"").decode(), linktype, options.get(_IF_DESCRIPTION, b"").decode())


def _packet(body, interfaces):
    interface, high, low, size, original = _PACKET_BODY.unpack_from(body)
    end = _PACKET_BODY.size + size
    if interface >= interfaces or size != original or size > PACKET_BYTES_MAX or end > len(body):
        raise BundleError("a packet of it is cut off, or at no interface")
    options = _options(body, end + -size % 4)
    if _EPB_ID not in options or _EPB_QUEUE not in options:
        raise BundleError("a packet of it has no number")
    return Captured(interface, high << 32 | low, bytes(body[_PACKET_BODY.size:end]), _U64.unpack(options[_EPB_ID])[0],
                    _U32.unpack(options[_EPB_QUEUE])[0], options.get(_OPT_COMMENT, b"").decode())
