"""Ipv6Router: an Ipv4Router that is an IPv6 hop, too, at those of its ports that have IPv6 addresses (``address6`` of a port).

Addresses of IPv6 are 16 bytes, those of IPv4 ints: ``route``, ``transmit_to``, ``is_host`` and their like take both, and ``own`` has both. Besides
what is configured each such port has the link-local address made of its MAC address. Neighbours: ``neighbor_discovery``.

Errors are ICMPv6's (RFC 4443), at most ICMP_ERRORS_PER_S_MAX a second together with those of IPv4 (2.4 f), and never about errors, redirects,
multicast, or to what is not one host (2.4 e): time exceeded, no route, address unreachable, beyond scope of the source address, packet too big.
They come from the port where the way back leads.

Limits: multicast is not forwarded, and no multicast listener reports are sent (a switch that snoops MLD must let solicitations pass); what is
addressed to a prefix's subnet-router anycast address is dropped; fragments are never made (RFC 8200, 5).
"""

from ..sdk import IdleTimers, Map, Packet6
from ..sdk.build import NO_MAC
from ..sdk.build6 import icmp6, icmp6_error, ipv6
from ..sdk.packet6 import ECHO_REPLY, ICMPV6, is_link_local, is_multicast, is_routable
from .neighbor_discovery import NeighborDiscovery
from .router import TIME_EXCEEDED, Ipv4Router
from .routes import Routes6, mask_of, take_routes

#: ICMPv6 type and code
NO_ROUTE, BEYOND_SCOPE, ADDRESS_UNREACHABLE = (1, 0), (1, 2), (1, 3)
PACKET_TOO_BIG, TIME_EXCEEDED6 = (2, 0), (3, 0)
#: below are errors, and this one is like them (RFC 4443, 2.4 e)
_FIRST_INFORMATIONAL, _REDIRECT = 128, 137


class Ipv6Router(Ipv4Router):
    """Next hops and errors of a hop for both. Subclasses call ``configure_router`` in ``configure``."""

    neighbours6 = Map()         # (port, address) -> MAC
    confirmed6 = IdleTimers()   # (port, address) -> when its MAC was last confirmed
    unresolved6 = Map()         # (port, address) -> (solicitations sent, time of the last one in ns, waiting frames)
    victims = {**Ipv4Router.victims, "neighbours6": "the entry confirmed longest ago makes room", "confirmed6": "as neighbours6",
               "unresolved6": "none: the newest frame is dropped (nd_queue_full)"}

    def configure_router(self, taken=None):
        super().configure_router()
        self.routes6 = Routes6()
        self.networks6 = []         # (mask, network as an int, port), of all addresses of the ports
        for port in self.port.values():
            for address, length in port.addresses6:
                self.add_own(address, port.name)
                mask = mask_of(length, 128)
                network = int.from_bytes(address, "big") & mask
                self.networks6.append((mask, network, port.name))
                self.routes6.add(network, mask, port.name)
                if length < 127:        # RFC 6164: a link of two has no anycast address
                    self.unroutable[network.to_bytes(16, "big")] = port.name
        self.discovery = NeighborDiscovery(self)
        if taken is not None:
            take_routes(taken, self)

    # --- addresses, of IPv4 as ints or of IPv6 as bytes

    def is_host(self, address):
        if isinstance(address, bytes):
            return address not in self.unroutable and is_routable(address)
        return super().is_host(address)

    def is_configured(self, address, port):
        return super().is_configured(address, port) or any(address == each for each, _ in self.port[port].addresses6)

    def is_own(self, address, port):
        """Whether *address* (16 bytes) is ours at *port*."""
        return self.own.get(address) == port or is_link_local(address) and address == self.port[port].link_local

    def on_link(self, address):
        if isinstance(address, bytes):
            number = int.from_bytes(address, "big")
            return next((name for mask, network, name in self.networks6 if number & mask == network), None)
        return super().on_link(address)

    def is_neighbour(self, address, port):
        """Whether *address* (16 bytes) may be another host's on the link of *port*."""
        if is_link_local(address):
            return address != self.port[port].link_local
        return self.is_host(address) and self.on_link(address) == port

    def route(self, destination):
        if isinstance(destination, bytes):
            return self.routes6.find(destination) if self.is_host(destination) else None
        # what super() does, without asking once more of which kind it is: each packet of IPv4 comes here twice
        return self.routes.find(destination) if Ipv4Router.is_host(self, destination) else None

    def source_for(self, port, address):
        """The own address of *port* for packets to *address* (16 bytes): of its prefix, else the first one, or the link-local one."""
        own = self.port[port]
        if is_link_local(address):
            return own.link_local
        number = int.from_bytes(address, "big")
        for mask, network, name in self.networks6:
            if name == port and number & mask == network:
                return next(each for each, _ in own.addresses6 if int.from_bytes(each, "big") & mask == network)
        return own.addresses6[0][0]

    # --- packets

    def transmit_to(self, frame, port, next_hop, ctx):
        if isinstance(next_hop, bytes):
            self.discovery.transmit_to(frame, port, next_hop, ctx)
        else:
            super().transmit_to(frame, port, next_hop, ctx)

    def _way_back(self, source, ctx):
        """(port, next hop) to *source* (16 bytes), of which we got a packet; None if that is not one host that can be reached."""
        if is_link_local(source):
            return (ctx.port, source) if self.is_neighbour(source, ctx.port) else None
        return self.route(source)

    def end_of_life(self, packet, ctx):
        self.drop("ttl")
        self.send_error(*(TIME_EXCEEDED6 if isinstance(packet, Packet6) else TIME_EXCEEDED), packet, ctx)

    def send_error(self, kind, code, packet, ctx, rest=0):
        """As for IPv4; *rest*: the second word of an ICMPv6 header."""
        if not isinstance(packet, Packet6):
            super().send_error(kind, code, packet, ctx)
            return
        header, frame = packet.ipv6(), packet.data
        message = frame[header.payload_start:header.payload_end]
        is_error = header.protocol == ICMPV6 and (not message or message[0] < _FIRST_INFORMATIONAL or message[0] == _REDIRECT)
        hop = self._way_back(header.source, ctx)
        if is_error or header.fragment_offset or is_multicast(header.destination) or hop is None or not self.may_send_error(ctx):
            return
        source = self.source_for(hop[0], header.source)
        self.transmit_to(icmp6_error(kind, code, source, frame, NO_MAC, rest), *hop, ctx)

    def address_unreachable(self, frame, ctx):
        """Tell the sender of *frame*, whose next hop does not answer; frames of our own are not answered."""
        packet = Packet6(frame)
        source = packet.ipv6().source
        if source not in self.own and not is_link_local(source):
            self.send_error(*ADDRESS_UNREACHABLE, packet, ctx)

    def answer_echo6(self, packet, header, ctx):
        """Answer the ICMPv6 echo request *packet* (its Ipv6 *header*), which is for one of our addresses."""
        hop = self._way_back(header.source, ctx)
        if not packet.transport_checksum_ok():
            self.drop("icmp_checksum")
        elif hop is None:
            self.drop("no_route")
        else:
            message = packet.data[header.payload_start:header.payload_end]
            ends = header.destination, header.source
            answer = icmp6(*ends, ECHO_REPLY, 0, int.from_bytes(message[4:8], "big"), message[8:])
            self.transmit_to(ipv6(NO_MAC, NO_MAC, ICMPV6, *ends, answer), *hop, ctx)

    def tick(self, ctx):
        super().tick(ctx)
        self.discovery.tick(ctx)
