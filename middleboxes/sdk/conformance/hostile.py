"""Hostile packets: frames of a trace, damaged so that every check of a function is met."""

from ..packet import Packet, checksum
from ..packet6 import Packet6, pseudo_header6

_IPV6 = b"\x86\xdd"
#: a whole extension header, but that its next header is what came before
_HEADERS = ((0, b"\x00\x01\x04\0\0\0\0"), (60, b"\x00\xff\xff\xff\xff\xff\xff"), (43, b"\x00\x00\x01\0\0\0\0"), (43, b"\xff\x00\x01\0\0\0\0"),
            (44, b"\x00\x00\x01\0\0\0\x09"), (44, b"\x00\x00\x41\0\0\0\x09"), (44, b"\x00\xff\xf8\0\0\0\x09"), (60, b"\xff" * 7))


def hostile(frame, rng):
    """(*frame* damaged, whether its IP header is unsound now beyond doubt): cut off, wrong lengths or checksums, options, fragments, noise."""
    if frame[12:14] == _IPV6:
        return _hostile6(frame, rng)
    data = bytearray(frame)
    kind = rng.randrange(9)
    if kind == 0:
        del data[rng.randrange(len(data) + 1):]
    elif kind == 1 and len(data) >= 34:
        data[16:18] = rng.getrandbits(16).to_bytes(2, "big")
    elif kind == 2 and len(data) >= 34:
        data[24] ^= 1 + rng.randrange(255)
    elif kind == 3 and len(data) >= 34:
        data[14] = rng.choice((0x40, 0x44, 0x46, 0x4F, 0x65, 0x00, 0xFF))
    elif kind == 4 and len(data) >= 34:
        data[20:22] = rng.choice((0x2000, 0x2001, 0x1FFF, 0x0001, 0x8000)).to_bytes(2, "big")
        _mend(data)
    elif kind == 5 and len(data) >= 38:
        data[34 + rng.randrange(min(len(data) - 34, 20))] = rng.getrandbits(8)
    elif kind == 6 and len(data) >= 34:
        data[34:34] = rng.choice((b"\x01\x01\x01\x00", b"\x07\x04\x05\x00", b"\x83\xff\x01\x00", b"\x44\x00\x05\x00"))
        data[14], data[16:18] = 0x46, (len(data) - 14).to_bytes(2, "big")
        _mend(data)
    elif kind == 7:
        data += rng.randbytes(rng.randrange(64))
    else:
        for _ in range(rng.randrange(1, 6)):
            if len(data) > 12:
                data[rng.randrange(12, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.getrandbits(8)))
        if rng.random() < 0.7:
            _mend(data)
    damaged = bytes(data)
    return damaged, damaged[12:14] == b"\x08\x00" and Packet(damaged).ipv4() is None


def _hostile6(frame, rng):
    data = bytearray(frame)
    kind = rng.randrange(7)
    if kind == 0:
        del data[rng.randrange(len(data) + 1):]
    elif kind == 1:
        data[18:20] = rng.choice((0, 1, 7, 8, len(data) - 55, len(data) - 53, 0xFFFF, rng.getrandbits(16))).to_bytes(2, "big")
    elif kind == 2:
        data[rng.choice((14, 20, 20, 21))] = rng.choice((0, 0x45, 43, 44, 50, 58, 59, 60, 0xFF))
    elif kind == 3:
        for _ in range(rng.choice((1, 1, 2, 9))):
            number, body = rng.choice(_HEADERS)
            data[54:54] = bytes((data[20],)) + body
            data[20] = number
        data[18:20] = (len(data) - 54).to_bytes(2, "big")
    elif kind == 4:
        data += rng.randbytes(rng.randrange(64))
    else:
        # noise, and addresses that are no hosts'
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(12, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.getrandbits(8)))
        if kind == 6:
            at = rng.choice((22, 38))
            data[at:at + 2] = rng.choice((b"\xff\x02", b"\xfe\x80", b"\0\0"))
        if rng.random() < 0.7:
            _mend6(data)
    damaged = bytes(data)
    return damaged, damaged[12:14] == _IPV6 and Packet6(damaged).ipv6() is None


def _mend6(data):
    """Make the transport checksum right, so that deeper checks are reached."""
    header = Packet6(bytes(data)).ipv6()
    at = header and {6: 16, 17: 6, 58: 2}.get(header.protocol)
    if at and header.payload_start + at + 2 <= header.payload_end:
        at += header.payload_start
        data[at:at + 2] = b"\0\0"
        whole = bytes(data[header.payload_start:header.payload_end])
        data[at:at + 2] = checksum(pseudo_header6(header.source, header.destination, header.protocol, len(whole)) + whole).to_bytes(2, "big")


def _mend(data):
    """Make the IPv4 header checksum right, so that deeper checks are reached."""
    if len(data) >= 34:
        data[24:26] = b"\0\0"
        data[24:26] = checksum(bytes(data[14:14 + (data[14] & 15) * 4])).to_bytes(2, "big")
