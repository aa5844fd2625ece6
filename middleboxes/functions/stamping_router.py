"""StampingRouter: the base of the witnesses, a router that writes numbers of its own into packets that it forwards.

It is a plain hop (``hop``) between its two sides, without translation. A UDP datagram to or from ``stamped_port`` is *stamped*: the first
bytes of its payload are overwritten with what the subclass gives, big-endian, and its checksum is kept right. All
else is forwarded as it came, also fragments and datagrams that are too short for the stamp.
"""

from ..sdk.build import NO_MAC
from ..sdk.packet import UDP
from .hop import RoutedHop

UDP_HEADER_BYTES = 8
STAMPED_PORT_DEFAULT = 7100


class StampingRouter(RoutedHop):
    """Subclasses set ``name`` and ``stamp_bytes`` (even), and write ``stamp``."""

    ports = ("inside", "outside")
    stamp_bytes = 0

    def configure_hop(self, taken):
        self.stamped_port = taken.integer("stamped_port", STAMPED_PORT_DEFAULT, 1, 65535)

    def stamp(self, flow):
        """The stamp (``stamp_bytes`` bytes) for a packet with the five tuple *flow*; None: the packet is dropped."""
        raise NotImplementedError

    def pass_on(self, packet, header, flow, hop, ctx):
        packet.forward(NO_MAC, NO_MAC)
        frame = self._stamped(packet.data, header, flow)
        if frame is not None:
            self.transmit_to(frame, *hop, ctx)

    def _stamped(self, frame, header, flow):
        """*frame* with its stamp, or as it is if it gets none; None if it is to be dropped."""
        if flow is None or flow[0] != UDP or self.stamped_port not in (flow[2], flow[4]):
            return frame
        start = header.payload_start
        at = start + UDP_HEADER_BYTES
        if int.from_bytes(frame[start + 4:start + 6], "big") < UDP_HEADER_BYTES + self.stamp_bytes:
            return frame
        stamp = self.stamp(flow)
        return None if stamp is None else _overwritten(frame, start + 6, at, stamp)


def _overwritten(frame, checksum_at, at, data):
    """*frame* with *data* (an even number of bytes) at *at*, and the UDP checksum at *checksum_at* brought up to date."""
    end = at + len(data)
    old = int.from_bytes(frame[checksum_at:checksum_at + 2], "big")
    new = 0
    if old:     # 0 is "no checksum", so a computed 0 is sent as 0xffff; the arithmetic is that of sdk.packet
        new = (old + int.from_bytes(frame[at:end], "big") - int.from_bytes(data, "big")) % 0xFFFF or 0xFFFF
    return frame[:checksum_at] + new.to_bytes(2, "big") + frame[checksum_at + 2:at] + data + frame[end:]
