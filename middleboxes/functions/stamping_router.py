"""StampingRouter: the base of the witnesses, an IPv4 router that writes numbers of its own into packets that it forwards.

It is a plain hop between its two prefixes: ARP, TTL and ICMP errors as in ``router``, no translation. Hosts on both
sides use the port's address as their gateway. A UDP datagram to or from ``stamped_port`` is *stamped*: the first
bytes of its payload are overwritten with what the subclass gives, big-endian, and its checksum is kept right. All
else is forwarded as it came, also fragments and datagrams that are too short for the stamp.
"""

from ..sdk import ConfigurationError
from ..sdk.build import NO_MAC
from ..sdk.packet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ICMP, ICMP_ECHO_REQUEST, UDP
from .router import Ipv4Router

UDP_HEADER_BYTES = 8
STAMPED_PORT_DEFAULT = 7100


class StampingRouter(Ipv4Router):
    """Subclasses set ``name``, ``stamp_bytes`` (even) and ``parameters``, and write ``stamp``."""

    ports = ("inside", "outside")
    name = "?"
    stamp_bytes = 0
    #: names of all parameters
    parameters = ("stamped_port",)

    def configure(self, parameters):
        parameters = dict(parameters)
        self.stamped_port = self.integer(parameters, "stamped_port", STAMPED_PORT_DEFAULT, 1, 65535)
        self.configure_stamp(parameters)
        if parameters:
            raise ConfigurationError(f"{self.name}: unknown parameters {', '.join(sorted(parameters))}; "
                                     f"allowed: {', '.join(self.parameters)}")
        self.configure_router()

    def configure_stamp(self, parameters):
        """Take further parameters out of the map *parameters*."""

    def integer(self, parameters, name, default, least, most):
        """Take the integer *name* out of the map *parameters*. Raises ConfigurationError."""
        value = parameters.pop(name, default)
        if type(value) is not int or not least <= value <= most:
            raise ConfigurationError(f"{self.name}: {name} must be an integer from {least} to {most}, not {value!r}")
        return value

    def stamp(self, flow):
        """The stamp (``stamp_bytes`` bytes) for a packet with the five tuple *flow*; None: the packet is dropped."""
        raise NotImplementedError

    def process(self, packet, ctx):
        ether_type = packet.ether_type
        if ether_type == ETHERTYPE_ARP:
            self.process_arp(packet, ctx)
        elif ether_type != ETHERTYPE_IPV4:
            self.drop("ether_type")
        elif not packet.is_to(self.port[ctx.port].mac):
            self.drop("not_for_us")
        else:
            self._route(packet, ctx)

    def _route(self, packet, ctx):
        header, flow = packet.ipv4(), packet.five_tuple()
        if header is None:
            self.drop("malformed")
            return
        if header.destination in self.own:
            if flow is not None and flow[0] == ICMP and packet.icmp_type == ICMP_ECHO_REQUEST:
                self.answer_echo(packet, ctx)
            else:
                self.drop("to_own")
            return
        hop = self.route(header.destination)
        if hop is None or hop[0] == ctx.port or self.on_link(header.source) != ctx.port:
            self.drop("no_route")
            return
        if header.ttl <= 1:
            self.end_of_life(packet, ctx)
            return
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
