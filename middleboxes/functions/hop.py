"""RoutedHop: the base of functions that stand between IP networks as one more router, seen by ARP, Neighbor Discovery and traceroute.

Hosts and routers on each side use the port's address as next hop. Its parameter ``routes`` is a list of [prefix, next hop] for what is
not on a link (see ``routes``). A packet is passed on if its destination has a route out of another port and its source one
back to the port where it came in (RFC 3704, strict), its header is sound, and its TTL does not end here: then the sender gets a time
exceeded (at most 100 a second). Echo requests to an address of the hop are answered. What is dropped is counted in
``drops``: ``ether_type``, ``not_for_us``, ``malformed``, ``to_own``, ``no_route``, ``ttl``, and those of ARP.

IPv6 is passed on between ports that have IPv6 addresses (``router6``), with the same checks; at others it is an unknown ``ether_type``. A packet is longer
than ``ipv6_mtu_bytes`` (default 1500): its sender is told (``too_big``, RFC 8201). One without a route: no route to destination; from a link-local address: beyond its scope
(``scope``, RFC 4443, 3.1). Neighbor Discovery and what else is of the link alone never leaves it (``nd_not_local``), multicast neither (``not_for_us``).
Extension headers are walked, not processed (RFC 7045); packets for the hop itself that have segments left in a routing header are dropped (``routing_header``).
"""

from ..sdk import Packet6, Parameters
from ..sdk.packet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ICMP, ICMP_ECHO_REQUEST
from ..sdk.packet6 import ECHO_REQUEST, ETHERTYPE_IPV6, ICMPV6, is_link_local, is_multicast
from .neighbor_discovery import ND_TYPES
from .router6 import BEYOND_SCOPE, NO_ROUTE, PACKET_TOO_BIG, Ipv6Router

_MULTICAST_MAC = b"\x33\x33"


class RoutedHop(Ipv6Router):
    """Subclasses set ``name``, and write ``configure_hop`` and ``pass_on``; packets are Packet or Packet6, headers Ipv4 or Ipv6."""

    name = "?"

    def configure(self, parameters):
        taken = Parameters(self.name, parameters)
        self.configure_router(taken)
        self._check_prefixes(taken)
        self.ipv6_mtu_bytes = taken.integer("ipv6_mtu_bytes", 1500, 1280, 9000)
        self.configure_hop(taken)
        taken.finish()

    def _check_prefixes(self, taken):
        for networks in (self.networks, self.networks6):
            for place, (mask, network, name) in enumerate(networks):
                for other_mask, other_network, other in networks[:place]:
                    if name != other and network & mask & other_mask == other_network & mask & other_mask:
                        taken.fail(f"the prefixes of {other} and {name} overlap")

    def configure_hop(self, taken):
        """Take the function's own parameters out of *taken* (Parameters). Raises ConfigurationError."""

    def pass_on(self, packet, header, flow, hop, ctx):
        """Handle a *packet* that may go on: its *header*, five tuple (or None), and *hop* (port name, next hop)."""
        raise NotImplementedError

    def take_own(self, packet, header, flow, ctx):
        """Handle a *packet* to an address of ours: its *header*, five tuple (or None)."""
        if flow is not None and flow[0] == ICMP and packet.icmp_type == ICMP_ECHO_REQUEST:
            self.answer_echo(packet, ctx)
        elif flow is not None and flow[0] == ICMPV6 and packet.icmp_type == ECHO_REQUEST:
            self.answer_echo6(packet, header, ctx)
        else:
            self.drop("to_own")

    def process(self, packet, ctx):
        ether_type = packet.ether_type
        if ether_type == ETHERTYPE_ARP:
            self.process_arp(packet, ctx)
        elif ether_type == ETHERTYPE_IPV6 and self.port[ctx.port].addresses6:
            self._process6(Packet6(packet.data), ctx)
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
        hop, back = self.routes.way(header.destination), self.routes.way(header.source)
        if hop is None or hop[0] == ctx.port or back is None or back[0] != ctx.port:
            self.drop("no_route")
        elif header.ttl <= 1:
            self.end_of_life(packet, ctx)
        else:
            self.pass_on(packet, header, flow, hop, ctx)

    # --- IPv6

    def _process6(self, packet, ctx):
        """A frame with IPv6 at a port that speaks it."""
        to_us = packet.is_to(self.port[ctx.port].mac)
        if not to_us and not packet.is_to(_MULTICAST_MAC):
            self.drop("not_for_us")
            return
        header = packet.ipv6()
        if header is None:
            self.drop("malformed")
            return
        local = is_multicast(header.destination) or self.is_own(header.destination, ctx.port)
        is_discovery = (header.protocol == ICMPV6 and header.payload_start < header.payload_end
                        and packet.data[header.payload_start] in ND_TYPES and not header.fragment_offset)
        if is_discovery:
            if local:
                self.discovery.process(packet, header, ctx)
            else:
                self.drop("nd_not_local")
        elif not to_us or is_multicast(header.destination):
            self.drop("not_for_us")
        else:
            self.route_packet6(packet, header, ctx)

    def route_packet6(self, packet, header, ctx):
        """Take *packet*, which came in at ``ctx.port``, by its Ipv6 *header*: to us, on its way, or dropped."""
        hop = self.route(header.destination)
        if header.destination in self.own or self.is_own(header.destination, ctx.port):
            if header.routing is not None and header.routing[1]:
                self.drop("routing_header")
            else:
                self.take_own(packet, header, packet.five_tuple(), ctx)
        elif is_link_local(header.source) and hop is not None:
            self.drop("scope")
            self.send_error(*BEYOND_SCOPE, packet, ctx)
        elif not self.came_right(header.source, ctx.port) or hop is not None and hop[0] == ctx.port:
            self.drop("no_route")
        elif hop is None:
            self.drop("no_route")
            if not is_link_local(header.destination):
                self.send_error(*NO_ROUTE, packet, ctx)
        elif header.ttl <= 1:
            self.end_of_life(packet, ctx)
        elif header.payload_end - 14 > self.ipv6_mtu_bytes:
            self.drop("too_big")
            self.send_error(*PACKET_TOO_BIG, packet, ctx, self.ipv6_mtu_bytes)
        else:
            self.pass_on(packet, header, packet.five_tuple(), hop, ctx)
