"""NAT: network address and port translation for TCP, UDP and ICMP (NAPT), as RFC 4787, 5382 and 5508 want it.

Ports: ``inside`` (its prefix is translated; hosts use the port's address as gateway) and ``outside``.

Parameters (all but the first have defaults):

=============================  =======  =======================================================================
external_addresses             -        list of IPv4 addresses that inside hosts appear as; answered with ARP
outside_gateway                none     next hop for what no route leads to; without it: no such traffic
routes                         none     list of [prefix, next hop] (see ``routes``); those by way of inside hosts add to
                                        what is translated
first_port, last_port          1024,    range of external ports (and ICMP identifiers), per external address and
                               65535    protocol
mappings_max                   60000    mappings at a time; at the limit new ones are refused
tcp_sessions_max               60000    TCP connections at a time; at the limit new ones are refused
tcp_established_timeout_s      7440     idle time of an established TCP connection (RFC 5382, REQ-5)
tcp_transitory_timeout_s       240      idle time of one that is opening; life time of one that is closed
udp_timeout_s                  300      idle time of a UDP mapping (RFC 4787, REQ-5); outbound packets refresh it
icmp_timeout_s                 60       idle time of an ICMP echo mapping (RFC 5508, REQ-2)
=============================  =======  =======================================================================

Behaviour: mapping and filtering are endpoint-independent (RFC 4787, REQ-1 and REQ-8); an inside host always appears
as the same external address (REQ-2); external ports are random (RFC 6056), no two mappings share one (REQ-3);
inside hosts reach each other by external endpoints (hairpinning, REQ-9). A TCP mapping lives while it has a connection; only a SYN opens one, and any other segment
of an unknown connection is dropped, never answered with RST. ICMP errors are translated with the packet that they
quote (RFC 5508, REQ-3 to 5) and change no state. Echo requests to the NAT's own addresses are answered. The TTL
is decremented; where it ends, the sender gets a time exceeded (at most 100 a second).

State: mappings both ways, TCP sessions, idle timers, the port pool, ARP (see ``router``), ``drops`` by reason. The
time of last use is kept to 1 s, so that a busy flow doesn't change state with each packet.

Limits: fragments are dropped (``drops["fragment"]``), so path MTU discovery has to work; port parity and contiguity
(REQ-4) are not kept; protocols other than TCP, UDP and ICMP are dropped; no application-level gateways; a source
outside of the inside prefix is dropped, since no answer could reach it. One inside host can take all mappings, and
filtering that is endpoint-independent lets outsiders open TCP sessions to a mapped port until ``tcp_sessions_max``;
TCP sequence numbers are not checked.
"""

from ..sdk import IdleTimers, Map, Parameters
from ..sdk.build import NO_MAC
from ..sdk.packet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ICMP, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, TCP, UDP
from .icmp_errors import translate_error
from .port_pool import PortPool
from .router import MULTICAST, NS_PER_S, Ipv4Router
from .routes import add_route, mask_of, take_routes
from .tcp_sessions import ESTABLISHED, FIN, RST, SYN, is_closed, is_established, next_state, opens

_INTEGERS = {
    # parameter: (default, least, most)
    "first_port": (1024, 1, 65535),
    "last_port": (65535, 1, 65535),
    "mappings_max": (60_000, 1, 1_000_000),
    "tcp_sessions_max": (60_000, 1, 1_000_000),
    "tcp_established_timeout_s": (7440, 1, 1_000_000),
    "tcp_transitory_timeout_s": (240, 1, 1_000_000),
    "udp_timeout_s": (300, 1, 1_000_000),
    "icmp_timeout_s": (60, 1, 1_000_000),
}
_PARAMETERS = (*_INTEGERS, "external_addresses", "outside_gateway", "routes")
_EXTERNAL_ADDRESSES_MAX = 256
#: mappings and sessions that one tick removes at most, of each kind
_EXPIRY_BATCH = 1024


class Nat(Ipv4Router):
    """Network address and port translation between ``inside`` and ``outside``."""

    ports = ("inside", "outside")
    victims = {**Ipv4Router.victims,
               **dict.fromkeys(("outbound", "inbound", "udp_used", "icmp_used"), "none: the newcomer is refused (mappings_full)"),
               **dict.fromkeys(("sessions", "established_used", "transitory_used", "mapping_sessions"),
                               "none: the newcomer is refused (tcp_sessions_full)"),
               "pool_places": "none: the newcomer is refused (ports_exhausted)"}

    outbound = Map()            # (protocol, inside address, inside port) -> (external address, external port)
    inbound = Map()             # (protocol, external address, external port) -> (inside address, inside port)
    udp_used = IdleTimers()     # key of outbound
    icmp_used = IdleTimers()    # key of outbound
    sessions = Map()            # (inside address, inside port, remote address, remote port) -> state
    established_used = IdleTimers()     # key of sessions
    transitory_used = IdleTimers()      # key of sessions
    mapping_sessions = Map()    # (inside address, inside port) -> number of TCP sessions
    pool_places = Map()
    pool_used = Map()

    def configure(self, parameters):
        taken = Parameters("nat", parameters, _PARAMETERS)
        for name, bounds in _INTEGERS.items():
            setattr(self, name, taken.integer(name, *bounds))
        if self.first_port > self.last_port:
            taken.fail(f"first_port {self.first_port} is above last_port {self.last_port}")
        inside, outside = self.port["inside"], self.port["outside"]
        self.inside_mask, self.outside_mask = mask_of(inside.prefix_length), mask_of(outside.prefix_length)
        self.inside_network = inside.address & self.inside_mask
        self.outside_network = outside.address & self.outside_mask
        common_mask = self.inside_mask & self.outside_mask
        if inside.address & common_mask == outside.address & common_mask:
            taken.fail("the prefixes of inside and outside overlap")
        self.configure_router()
        self.external_addresses = self._external_addresses(taken)
        for address in self.external_addresses:
            self.add_own(address, "outside")
        take_routes(taken, self)
        self._take_gateway(taken)
        taken.finish()
        self.pool = PortPool(self.pool_places, self.pool_used, self.first_port, self.last_port)
        self.used = {UDP: self.udp_used, ICMP: self.icmp_used}

    def _external_addresses(self, taken):
        texts = taken.any("external_addresses", None)
        if not isinstance(texts, (list, tuple)) or not 1 <= len(texts) <= _EXTERNAL_ADDRESSES_MAX:
            taken.fail(f"external_addresses must be a list of 1 to {_EXTERNAL_ADDRESSES_MAX} IPv4 addresses")
        addresses = [taken.parse_address("external_addresses", text) for text in texts]
        if len(set(addresses)) != len(addresses):
            taken.fail("external_addresses names an address twice")
        for text, address in zip(texts, addresses):
            usable = self.is_host(address) or address == self.port["outside"].address
            if not usable or self.on_link(address) == "inside":
                taken.fail(f"external address {text} must be a host's and outside of the inside prefix")
        return addresses

    def _take_gateway(self, taken):
        text = taken.any("outside_gateway", None)
        if text is None:
            return
        gateway = taken.parse_address("outside_gateway", text)
        if self.on_link(gateway) != "outside" or not self.is_host(gateway):
            taken.fail(f"outside_gateway {text} must be another host of the outside prefix")
        add_route(taken, self, "outside_gateway", 0, 0, gateway, text)

    def is_inside(self, address):
        """Whether *address* is on the inside: in its prefix, or a route leads there."""
        if address & self.inside_mask == self.inside_network:
            return True
        hop = self.route(address)
        return hop is not None and hop[0] == "inside"

    # --- packets

    def process(self, packet, ctx):
        flow = packet.five_tuple()
        if flow is None or not packet.is_to(self.port[ctx.port].mac):
            self._process_other(packet, ctx)
        elif ctx.port == "inside":
            self._process_outbound(packet, flow, ctx)
        else:
            self._process_inbound(packet, flow, ctx)

    def _process_outbound(self, packet, flow, ctx):
        destination = flow[3]
        if destination in self.unroutable:
            self._process_to_own(packet, flow, ctx)
            return
        hop = self.route(destination)
        if hop is None or hop[0] == "inside":
            self.drop("no_route")
            return
        if packet.ttl <= 1:
            self.end_of_life(packet, ctx)
            return
        if not self._translate_source(packet, flow, ctx):
            return
        mac = self.neighbours.get(hop[1])
        if mac is None:
            packet.forward(NO_MAC, NO_MAC)
            self.transmit_to(packet.data, *hop, ctx)
        else:
            packet.forward(mac, self.port["outside"].mac)
            ctx.emit("outside", packet.data)

    def _translate_source(self, packet, flow, ctx):
        """Rewrite the source by its mapping, a new one if need be; False if the packet was dropped."""
        key = flow[:3]
        external = self.outbound.get(key)
        if external is None:
            external = self._open(packet, key, ctx)
            if external is None:
                return False
        protocol = flow[0]
        if protocol == TCP:
            if not self._track(flow[1:], packet.tcp_flags, True, ctx.now_ns):
                return False
        elif protocol == ICMP and packet.icmp_type != ICMP_ECHO_REQUEST:
            self.drop("no_mapping")
            return False
        else:
            used = self.used[protocol]
            if ctx.now_ns - used[key] >= NS_PER_S:
                used.touch(key, ctx.now_ns)
        packet.set_source(*external)
        return True

    def _process_inbound(self, packet, flow, ctx, hairpin=False):
        protocol, source, source_port, destination, destination_port = flow
        inside = self.inbound.get((protocol, destination, destination_port))
        if inside is None or (protocol == ICMP and packet.icmp_type != ICMP_ECHO_REPLY):
            self._answer_own(packet, flow, ctx)
            return
        if source >= MULTICAST or self.is_inside(source) or (source in self.unroutable and not hairpin):
            self.drop("bogus_source")
            return
        if packet.ttl <= 1:
            self.end_of_life(packet, ctx)
            return
        if protocol == TCP and not self._track(inside + (source, source_port), packet.tcp_flags, False, ctx.now_ns):
            return
        packet.set_destination(*inside)
        mac = self.neighbours.get(inside[0])
        if mac is None:
            packet.forward(NO_MAC, NO_MAC)
            self.transmit(packet.data, inside[0], ctx)
        else:
            packet.forward(mac, self.port["inside"].mac)
            ctx.emit("inside", packet.data)

    def _process_to_own(self, packet, flow, ctx):
        """From inside to an address of ours: to another inside host's mapping (hairpin), or to ourselves."""
        protocol, _, _, destination, destination_port = flow
        if protocol == ICMP or (protocol, destination, destination_port) not in self.inbound:
            self._answer_own(packet, flow, ctx)
        elif packet.ttl <= 1:
            self.end_of_life(packet, ctx)
        elif self._translate_source(packet, flow, ctx):
            self._process_inbound(packet, packet.five_tuple(), ctx, hairpin=True)

    def _answer_own(self, packet, flow, ctx):
        """What is not translated: an echo request to an address of ours is answered, the rest is dropped."""
        protocol, _, _, destination, _ = flow
        if protocol == ICMP and packet.icmp_type == ICMP_ECHO_REQUEST and destination in self.own:
            self.answer_echo(packet, ctx)
        else:
            self.drop("no_mapping")

    def _process_other(self, packet, ctx):
        """Everything that is not a sound TCP, UDP or ICMP echo packet to this port's MAC address."""
        ether_type = packet.ether_type
        if ether_type == ETHERTYPE_ARP:
            self.process_arp(packet, ctx)
        elif ether_type != ETHERTYPE_IPV4:
            self.drop("ether_type")
        elif not packet.is_to(self.port[ctx.port].mac):
            self.drop("not_for_us")
        else:
            header = packet.ipv4()
            if header is None:
                self.drop("malformed")
            elif header.fragment_offset or header.more_fragments:
                self.drop("fragment")
            elif header.protocol == ICMP:
                translate_error(self, packet, header, ctx)
            else:
                self.drop("malformed" if header.protocol in (TCP, UDP) else "protocol")

    # --- mappings and sessions

    def _open(self, packet, key, ctx):
        """A new mapping for *key*, as (external address, external port); None if the packet was dropped."""
        protocol, source, source_port = key
        if source in self.unroutable or not self.is_inside(source):
            reason = "bogus_source"
        elif protocol == TCP and not opens(packet.tcp_flags):
            reason = "tcp_unknown"
        elif protocol == ICMP and packet.icmp_type != ICMP_ECHO_REQUEST:
            reason = "no_mapping"
        elif len(self.outbound) >= self.mappings_max:
            reason = "mappings_full"
        elif protocol == TCP and len(self.sessions) >= self.tcp_sessions_max:
            reason = "tcp_sessions_full"
        else:
            address = self.external_addresses[source % len(self.external_addresses)]
            port = self.pool.draw(protocol, address, ctx.random())
            if port is not None:
                external = address, port
                self.outbound[key] = external
                self.inbound[protocol, address, port] = (source, source_port)
                if protocol != TCP:
                    self.used[protocol].touch(key, ctx.now_ns)
                return external
            reason = "ports_exhausted"
        self.drop(reason)
        return None

    def _close(self, key):
        address, port = self.outbound.pop(key)
        del self.inbound[key[0], address, port]
        self.pool.give_back(key[0], address, port)

    def _track(self, session, flags, from_inside, now_ns):
        """Note a TCP segment of a known mapping; False if the packet was dropped."""
        state = self.sessions.get(session)
        if state == ESTABLISHED and not flags & (SYN | FIN | RST):
            if now_ns - self.established_used[session] >= NS_PER_S:
                self.established_used.touch(session, now_ns)
            return True
        if state is None:
            if not opens(flags):
                self.drop("tcp_unknown")
                return False
            if len(self.sessions) >= self.tcp_sessions_max:
                self.drop("tcp_sessions_full")
                return False
            self.mapping_sessions[session[:2]] = self.mapping_sessions.get(session[:2], 0) + 1
            state = 0
        self._set_session(session, state, next_state(state, flags, from_inside), now_ns)
        return True

    def _set_session(self, session, old_state, state, now_ns):
        timers, others = self.transitory_used, self.established_used
        if is_established(state):
            timers, others = others, timers
        others.pop(session, None)
        if state != old_state:
            self.sessions[session] = state
            timers.touch(session, now_ns)
        elif not is_closed(state) and now_ns - timers[session] >= NS_PER_S:
            timers.touch(session, now_ns)

    def tick(self, ctx):
        """Remove what was not used for its timeout."""
        super().tick(ctx)
        now_ns = ctx.now_ns
        for used, timeout_s in ((self.udp_used, self.udp_timeout_s), (self.icmp_used, self.icmp_timeout_s)):
            for key in used.expired(now_ns, timeout_s * NS_PER_S, _EXPIRY_BATCH):
                del used[key]
                self._close(key)
        for used, timeout_s in ((self.established_used, self.tcp_established_timeout_s),
                                (self.transitory_used, self.tcp_transitory_timeout_s)):
            for session in used.expired(now_ns, timeout_s * NS_PER_S, _EXPIRY_BATCH):
                del used[session], self.sessions[session]
                self._end_session(session[:2])

    def _end_session(self, endpoint):
        left = self.mapping_sessions[endpoint] - 1
        if left:
            self.mapping_sessions[endpoint] = left
        else:
            del self.mapping_sessions[endpoint]
            self._close((TCP, *endpoint))
