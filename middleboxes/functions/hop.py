"""RoutedHop: the base of functions that stand between IPv4 networks as one more router, seen by ARP and traceroute.

Hosts and routers on each side use the port's address as next hop. Its parameter ``routes`` is a list of [prefix, next hop] for what is
not on a link (see ``routes``). A packet is passed on if its destination has a route out of another port and its source one
back to the port where it came in (RFC 3704, strict), its IPv4 header is sound, and its TTL does not end here: then the sender gets a time
exceeded (at most 100 a second). Echo requests to an address of the hop are answered. What is dropped is counted in
``drops``: ``ether_type``, ``not_for_us``, ``malformed``, ``to_own``, ``no_route``, ``ttl``, and those of ARP.
"""

from ..sdk import Parameters
from ..sdk.build import NO_MAC
from ..sdk.packet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ICMP, ICMP_ECHO_REQUEST
from .router import Ipv4Router


class RoutedHop(Ipv4Router):
    """Subclasses set ``name``, and write ``configure_hop`` and ``pass_on``."""

    name = "?"

    def configure(self, parameters):
        taken = Parameters(self.name, parameters)
        self.configure_router(taken)
        self._check_prefixes(taken)
        self.configure_hop(taken)
        taken.finish()

    def _check_prefixes(self, taken):
        for place, (mask, network, name) in enumerate(self.networks):
            for other_mask, other_network, other in self.networks[:place]:
                if network & mask & other_mask == other_network & mask & other_mask:
                    taken.fail(f"the prefixes of {other} and {name} overlap")

    def configure_hop(self, taken):
        """Take the function's own parameters out of *taken* (Parameters). Raises ConfigurationError."""

    def pass_on(self, packet, header, flow, hop, ctx):
        """Handle a *packet* that may go on: its Ipv4 *header*, five tuple (or None), and *hop* (port name, next hop)."""
        raise NotImplementedError

    def take_own(self, packet, header, flow, ctx):
        """Handle a *packet* to an address of ours: its Ipv4 *header*, five tuple (or None)."""
        if flow is not None and flow[0] == ICMP and packet.icmp_type == ICMP_ECHO_REQUEST:
            self.answer_echo(packet, ctx)
        else:
            self.drop("to_own")

    def send_on(self, packet, hop, ctx):
        """Send *packet* on its way."""
        packet.forward(NO_MAC, NO_MAC)
        self.transmit_to(packet.data, *hop, ctx)

    def process(self, packet, ctx):
        ether_type = packet.ether_type
        if ether_type == ETHERTYPE_ARP:
            self.process_arp(packet, ctx)
        elif ether_type != ETHERTYPE_IPV4:
            self.drop("ether_type")
        elif not packet.is_to(self.port[ctx.port].mac):
            self.drop("not_for_us")
        else:
            self.route_packet(packet, ctx)

    def route_packet(self, packet, ctx):
        """Take *packet*, which came in at ``ctx.port``, by its IPv4 header: to us, on its way, or dropped."""
        header, flow = packet.ipv4(), packet.five_tuple()
        if header is None:
            self.drop("malformed")
            return
        if header.destination in self.own:
            self.take_own(packet, header, flow, ctx)
            return
        hop = self.route(header.destination)
        if hop is None or hop[0] == ctx.port or not self.came_right(header.source, ctx.port):
            self.drop("no_route")
        elif header.ttl <= 1:
            self.end_of_life(packet, ctx)
        else:
            self.pass_on(packet, header, flow, hop, ctx)
