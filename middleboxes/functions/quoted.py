"""The packet that an ICMP error is about, as it quotes it; IPv4 and IPv6."""

from zlib import crc32

from ..core import ipv6
from ..sdk.packet import ICMP, Packet
from ..sdk.packet6 import ICMPV6, Packet6
from .families import V4, V6

#: of IPv4: destination unreachable, time exceeded, parameter problem
ERRORS_FOR_HOSTS = V4.errors
#: what goes before a quoted packet so that it can be read as a frame
_ETHERNET, _ETHERNET6 = bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"
# A quoted transport header may be cut after 8 bytes; the missing part reads as that of a TCP header without options.
_MISSING = b"\x50"
#: what must be there of a transport header
_TRANSPORT_BYTES_MIN = 8
_ADDRESSES, _ADDRESSES6 = slice(12, 20), slice(8, 40)


class Quoted:
    """The start of a packet, quoted in an ICMP error: completed to a frame, so that Packet (or Packet6) can read and rewrite it.

    ``flow``: its five tuple, None if that can't be told. *family*: of the error; *first_fragment*: also of a first fragment.
    """

    def __init__(self, quoted, family=V4, first_fragment=False):
        self._length = len(quoted)
        if family is V6:
            missing = 40 + int.from_bytes(quoted[4:6], "big") - len(quoted)
            self.packet = Packet6(_ETHERNET6 + quoted + _MISSING * missing)
            header = self.packet.ipv6()
        else:
            missing = int.from_bytes(quoted[2:4], "big") - len(quoted)
            self.packet = Packet(_ETHERNET + quoted + _MISSING * missing)
            header = self.packet.ipv4()
        told = header is not None and header.payload_start + _TRANSPORT_BYTES_MIN <= len(_ETHERNET) + len(quoted)
        self.flow = self.packet.five_tuple(first_fragment) if told else None

    @property
    def data(self):
        """What is quoted (bytes), with what was rewritten."""
        return self.packet.data[14:14 + self._length]


def partition_by_hosts(frame, port, workers):
    """All between two addresses goes to one worker, fragments too, and ICMP errors about it."""
    ethertype = frame[12:14]
    if ethertype == _ETHERNET[12:] and len(frame) >= 34:
        addresses, start = frame[26:34], 14 + (frame[14] & 15) * 4
        if frame[23] == ICMP and not (frame[20] & 0x1F or frame[21]) and frame[start:start + 1] and frame[start] in V4.errors:
            addresses = frame[start + 8:][_ADDRESSES] or addresses
    elif ethertype == _ETHERNET6[12:] and len(frame) >= ipv6.START:
        addresses, end = frame[22:54], ipv6.packet_end(frame)
        chain = end and ipv6.walk(frame, end)
        if chain and chain.protocol == ICMPV6 and frame[chain.start:chain.start + 1] and frame[chain.start] in V6.errors:
            addresses = frame[chain.start + 8:][_ADDRESSES6] or addresses
    else:
        return 0
    half = len(addresses) // 2
    one, other = addresses[:half], addresses[half:]
    return crc32(one + other if one <= other else other + one) % workers
