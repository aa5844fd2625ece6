"""The packet that an ICMP error is about, as it quotes it."""

from ..core.partition import flow_worker
from ..sdk.packet import ICMP, Packet

#: destination unreachable, time exceeded, parameter problem (source quench and redirect are not for end hosts)
ERRORS_FOR_HOSTS = (3, 11, 12)
#: what goes before a quoted packet so that it can be read as a frame
_ETHERNET = bytes(12) + b"\x08\x00"
# A quoted transport header may be cut after 8 bytes; the missing part reads as that of a TCP header without options.
_MISSING = b"\x50"
QUOTED_BYTES_MIN = 28


class Quoted:
    """The start of a packet, quoted in an ICMP error: completed to a frame, so that Packet can read and rewrite it.

    ``flow``: its five tuple, None if that can't be told.
    """

    def __init__(self, quoted):
        self._length = len(quoted)
        total_bytes = int.from_bytes(quoted[2:4], "big")
        self.packet = Packet(_ETHERNET + quoted + _MISSING * (total_bytes - len(quoted)))
        self.flow = self.packet.five_tuple() if len(quoted) >= QUOTED_BYTES_MIN else None

    @property
    def data(self):
        """What is quoted (bytes), with what was rewritten."""
        return self.packet.data[14:14 + self._length]


def partition_by_quoted(frame, port, workers):
    """A partition as the default one, but that an ICMP error goes to the worker of the flow that it is about."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 34 and frame[23] == ICMP and not (frame[20] & 0x3F or frame[21]):
        start = 14 + (frame[14] & 15) * 4
        if frame[start:start + 1] and frame[start] in ERRORS_FOR_HOSTS and len(frame) >= start + 8 + QUOTED_BYTES_MIN:
            return flow_worker(_ETHERNET + frame[start + 8:], port, workers)
    return flow_worker(frame, port, workers)
