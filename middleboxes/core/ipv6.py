"""The chain of extension headers of an IPv6 packet (RFC 8200, 4): what the packet carries, and where that begins.

Walked are hop-by-hop options (only as the first), routing, fragment and destination options; whatever else comes is what the packet
carries, also AH, ESP and "no next header". A chain is unsound if it leaves the packet, has a routing or fragment header twice, or has
more than EXTENSION_HEADERS_MAX headers (RFC 8883, 3.5: a bound is each node's own choice): so no packet costs more than that many steps.
"""

from typing import NamedTuple, Optional

ETHERNET_BYTES, HEADER_BYTES = 14, 40
#: where what follows the fixed header begins in an Ethernet frame
START = ETHERNET_BYTES + HEADER_BYTES
EXTENSION_HEADERS_MAX = 8

HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT, DESTINATION_OPTIONS = 0, 43, 44, 59, 60
_EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))
_LEAST_BYTES = 8


class Chain(NamedTuple):
    """What follows the fixed header: *protocol* begins at *start* (offset in the frame).

    *fragment*: (identification, offset in bytes, whether more follow) of the fragment header, None without one; *routing*: (type,
    segments left) of the routing header, None without one. Of a later fragment only what goes before its fragment header is known:
    *protocol* is what the first fragment goes on with.
    """

    protocol: int
    start: int
    fragment: Optional[tuple] = None
    routing: Optional[tuple] = None

    @property
    def is_whole(self):
        """Whether the packet is no part of one (also an atomic fragment is whole, RFC 6946)."""
        return self.fragment is None or not (self.fragment[1] or self.fragment[2])


def packet_end(frame):
    """Where the IPv6 packet in *frame* (an Ethernet frame, untrusted) ends; None if it has no whole header or is longer than the frame."""
    if len(frame) < START or frame[ETHERNET_BYTES] >> 4 != 6:
        return None
    end = START + int.from_bytes(frame[18:20], "big")
    return end if end <= len(frame) else None


def walk(frame, end):
    """The Chain of the IPv6 packet in *frame* (an Ethernet frame), which ends at *end* (``packet_end``); None if it is unsound."""
    protocol, at, fragment, routing = frame[20], START, None, None
    for number in range(EXTENSION_HEADERS_MAX + 1):
        if protocol not in _EXTENSIONS:
            return Chain(protocol, at, fragment, routing)
        if at + _LEAST_BYTES > end or protocol == HOP_BY_HOP and number:
            return None
        size = _LEAST_BYTES
        if protocol == FRAGMENT:
            if fragment is not None:
                return None
            word = int.from_bytes(frame[at + 2:at + 4], "big")
            fragment = int.from_bytes(frame[at + 4:at + 8], "big"), word & 0xFFF8, bool(word & 1)
            if fragment[1]:
                return Chain(frame[at], at + size, fragment, routing)
        else:
            size += frame[at + 1] * 8
            if protocol == ROUTING:
                if routing is not None:
                    return None
                routing = frame[at + 2], frame[at + 3]
        protocol, at = frame[at], at + size
        if at > end:
            return None
    return None
