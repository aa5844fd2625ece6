"""Ipv4Router: the base of functions that are an IPv4 hop with addresses of their own, seen by their neighbours.

It answers ARP (RFC 826) for its own addresses, resolves next hops, and keeps frames that wait for a resolution.
All of it is declared state: after a failover no neighbour has to be asked again and no waiting frame is lost.

Whom it believes: an entry is made only from a reply to a request of ours or from a request that asks for one of our
addresses, and only for an address of the port's own prefix; a known entry follows any ARP packet of its address
(so that a neighbour can move). Data packets teach nothing: their source addresses are too easily forged.

Where packets go is told by the prefixes of the ports and by static ``routes`` (``routes.py``), the longest prefix first.

Limits: UNRESOLVED_MAX next hops wait at a time with FRAMES_PER_HOP_MAX frames each, further frames are dropped;
beyond NEIGHBOURS_MAX entries the one that was confirmed longest ago makes room.
"""

from ..sdk import IdleTimers, Map, Middlebox
from ..sdk.build import ARP_REPLY, ARP_REQUEST, NO_MAC, arp, icmp, icmp_error, ipv4
from ..sdk.packet import ICMP, ICMP_ECHO_REPLY, checksum
from .route_table import MULTICAST, Routes
from .routes import mask_of, take_routes

NS_PER_S = 1_000_000_000

NEIGHBOURS_MAX = 4096
UNRESOLVED_MAX = 256
FRAMES_PER_HOP_MAX = 8
#: an entry that was not confirmed for so long is asked for again, while it stays in use
ARP_REFRESH_S = 60
ARP_RETRY_S = 1
ARP_REQUESTS_MAX = 3
#: entries looked at per tick
REFRESH_BATCH = 64
ICMP_ERRORS_PER_S_MAX = 100
#: ICMP type and code: TTL exceeded in transit
TIME_EXCEEDED = 11, 0
_ICMP_ERRORS = (3, 4, 5, 11, 12)


class Ipv4Router(Middlebox):
    """ARP, next hops and errors of an IPv4 hop. Subclasses call ``configure_router`` in ``configure``."""

    neighbours = Map()      # address -> MAC
    confirmed = IdleTimers()    # address -> when its MAC was last confirmed
    unresolved = Map()      # address -> (port, requests sent, time of the last one in ns, waiting frames)
    drops = Map(scope="worker")     # reason -> packets
    victims = {"neighbours": "the entry confirmed longest ago makes room", "confirmed": "as neighbours",
               "unresolved": "none: the newest frame is dropped (arp_queue_full)"}

    icmp_errors = Map()     # "window" -> (second, errors sent in it)
    #: Routes6 of functions that speak IPv6, too (``router6``)
    routes6 = None

    def configure_router(self, taken=None):
        """Take the addresses and prefixes of the ports, and ``routes`` out of *taken* (Parameters); then ``add_own``.

        Raises ConfigurationError.
        """
        self.own = {}           # address -> name of the port where it is ours
        self.unroutable = {}    # what no packet is forwarded to: our own, network and broadcast addresses
        self.networks = []
        self.routes = Routes(self.unroutable)
        for port in self.port.values():
            self.add_own(port.address, port.name)
            mask = mask_of(port.prefix_length)
            network = port.address & mask
            self.networks.append((mask, network, port.name))
            self.routes.add(network, mask, port.name)
            if port.prefix_length < 31:
                self.unroutable[network] = self.unroutable[network | ~mask & 0xFFFFFFFF] = port.name
        if taken is not None:
            take_routes(taken, self)

    def add_own(self, address, port):
        """Answer for *address* at the port of that name."""
        self.own[address] = self.unroutable[address] = port

    def further_addresses(self, port):
        return tuple(address for address, name in self.own.items() if name == port == self.on_link(address) and not self.is_configured(address, port))

    def is_configured(self, address, port):
        """Whether *address* is one that the port of that name is configured with."""
        return address == self.port[port].address

    def is_host(self, address):
        """Whether *address* may be that of another host: not ours, multicast, loopback, "this network", broadcast."""
        return self.routes.is_host(address)

    def drop(self, reason):
        """Count a packet that is dropped."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def on_link(self, address):
        """The name of the port whose prefix has *address*, or None."""
        for mask, network, name in self.networks:
            if address & mask == network:
                return name
        return None

    def route(self, destination):
        """(port name, next hop) for *destination*; None if there is none or it is not that of another host."""
        return self.routes.way(destination)

    def came_right(self, source, port):
        """Whether a packet from *source* may come in at *port*: the way back leads there (RFC 3704, strict)."""
        hop = self.route(source)
        return hop is not None and hop[0] == port

    def transmit(self, frame, destination, ctx):
        """Send *frame* (an IPv4 frame that is complete but for its Ethernet addresses) towards *destination*."""
        hop = self.route(destination)
        if hop is None:
            self.drop("no_route")
        else:
            self.transmit_to(frame, *hop, ctx)

    def send_on(self, packet, hop, ctx):
        """Send *packet* (its TTL is above 1) on its way to *hop*, (port name, next hop)."""
        port, next_hop = hop
        mac = self.neighbours.get(next_hop)
        if mac is None:
            packet.forward(NO_MAC, NO_MAC)
            self.transmit_to(packet.data, port, next_hop, ctx)
        else:
            packet.forward(mac, self.port[port].mac)
            ctx.emit(port, packet.data)

    def transmit_to(self, frame, port, next_hop, ctx):
        """Send *frame* to *next_hop* (an address of the prefix of *port*), or keep it until that is resolved."""
        mac = self.neighbours.get(next_hop)
        if mac is not None:
            ctx.emit(port, mac + self.port[port].mac + frame[12:])
            return
        waiting = self.unresolved.get(next_hop)
        if waiting is None:
            if len(self.unresolved) >= UNRESOLVED_MAX:
                self.drop("arp_queue_full")
                return
            waiting = self._ask(port, next_hop, 0, (), ctx)
        _, requests, asked_ns, frames = waiting
        if len(frames) >= FRAMES_PER_HOP_MAX:
            self.drop("arp_queue_full")
        else:
            self.unresolved[next_hop] = (port, requests, asked_ns, frames + (frame,))

    def _ask(self, port, address, requests, frames, ctx):
        """Send the next ARP request for *address* and note it."""
        own = self.port[port]
        ctx.emit(port, arp(ARP_REQUEST, own.mac, own.address, NO_MAC, address))
        self.unresolved[address] = waiting = (port, requests + 1, ctx.now_ns, frames)
        return waiting

    def process_arp(self, packet, ctx):
        """Answer, learn, and send what waited."""
        message = packet.arp()
        port = self.port[ctx.port]
        if message is None or message.sender_mac == NO_MAC or message.sender_mac[0] & 1:
            self.drop("arp_malformed")
            return
        for_us = self.own.get(message.target) == ctx.port
        if message.sender in self.own:
            if message.sender_mac != port.mac:
                self.drop("arp_address_conflict")
            return
        if self.on_link(message.sender) == ctx.port and self.is_host(message.sender):
            self._learn(message, for_us, ctx)
        elif message.sender:    # 0 is a probe (RFC 5227): answered, teaches nothing
            self.drop("arp_sender")
            return
        if for_us and message.operation == ARP_REQUEST:
            ctx.emit(ctx.port, arp(ARP_REPLY, port.mac, message.target, message.sender_mac, message.sender))

    def _learn(self, message, for_us, ctx):
        address, mac = message.sender, message.sender_mac
        known = self.neighbours.get(address)
        waiting = self.unresolved.get(address)
        if known is None and waiting is None and not (for_us and message.operation == ARP_REQUEST):
            return
        if known != mac:
            if known is None and len(self.neighbours) >= NEIGHBOURS_MAX:
                oldest = next(iter(self.confirmed))
                del self.confirmed[oldest], self.neighbours[oldest]
            self.neighbours[address] = mac
        if known != mac or ctx.now_ns - self.confirmed[address] >= NS_PER_S:
            self.confirmed.touch(address, ctx.now_ns)
        if waiting is not None:
            del self.unresolved[address]
            for frame in waiting[3]:
                ctx.emit(ctx.port, mac + self.port[ctx.port].mac + frame[12:])

    def tick(self, ctx):
        """Ask again for what is unanswered or old; forget who does not answer."""
        now_ns = ctx.now_ns
        for address in self.confirmed.expired(now_ns, ARP_REFRESH_S * NS_PER_S, REFRESH_BATCH):
            if address not in self.unresolved and len(self.unresolved) < UNRESOLVED_MAX:
                self._ask(self.on_link(address), address, 0, (), ctx)
        for address, (port, requests, asked_ns, frames) in list(self.unresolved.items()):
            if now_ns - asked_ns < ARP_RETRY_S * NS_PER_S:
                continue
            if requests < ARP_REQUESTS_MAX:
                self._ask(port, address, requests, frames, ctx)
                continue
            del self.unresolved[address]
            if address in self.neighbours:
                del self.neighbours[address], self.confirmed[address]
            for _ in frames:
                self.drop("arp_unanswered")

    def end_of_life(self, packet, ctx):
        """Drop *packet*, whose TTL ends here, and tell its sender."""
        self.drop("ttl")
        self.send_error(*TIME_EXCEEDED, packet, ctx)

    def send_error(self, kind, code, packet, ctx):
        """Answer *packet* (it has an ipv4()) with an ICMP error from the address of the port where it came in."""
        header = packet.ipv4()
        # RFC 1812, 4.3.2.7: never about ICMP errors, later fragments, or to what is not a host
        is_error = header.protocol == ICMP and packet.data[header.payload_start] in _ICMP_ERRORS
        if is_error or header.fragment_offset or self.route(header.source) is None:
            return
        if self.may_send_error(ctx):
            port = self.port[ctx.port]
            self.transmit(icmp_error(kind, code, port.address, packet.data, port.mac), header.source, ctx)

    def may_send_error(self, ctx):
        """Whether one more ICMP error may be sent now; it is counted then."""
        second, sent = self.icmp_errors.get("window", (0, 0))
        if second != ctx.now_ns // NS_PER_S:
            second, sent = ctx.now_ns // NS_PER_S, 0
        if sent >= ICMP_ERRORS_PER_S_MAX:
            self.drop("icmp_error_rate")
            return False
        self.icmp_errors["window"] = (second, sent + 1)
        return True

    def answer_echo(self, packet, ctx):
        """Answer the ICMP echo request *packet*, which is for one of our addresses."""
        header, frame = packet.ipv4(), packet.data
        message = frame[header.payload_start:header.payload_end]
        if checksum(message) % 0xFFFF:
            self.drop("icmp_checksum")
            return
        answer = icmp(ICMP_ECHO_REPLY, 0, int.from_bytes(message[4:8], "big"), message[8:])
        self.transmit(ipv4(NO_MAC, NO_MAC, ICMP, header.destination, header.source, answer), header.source, ctx)
