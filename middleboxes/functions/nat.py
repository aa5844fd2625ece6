"""NAT: network address and port translation for TCP, UDP and ICMP (NAPT), as RFC 4787, 5382, 5508 and 7857 want it.

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
mappings_per_host_max          60000    of one inside address (RFC 6888, REQ-4); at the limit new ones are refused
filtering                      endpoint-independent; or address-dependent, address-and-port-dependent: who may send to
                                        a mapping (RFC 4787, REQ-8)
contacts_max                   60000    remote ends that filtering remembers; beyond it the one used longest ago is
                                        forgotten
forwards                       none     list of mappings from outside that are always there (``nat_options``)
log_collector                  none     address where a syslog message about each mapping goes (``nat_log``)
log_port                       514      UDP port of the collector
tcp_sessions_max               60000    TCP connections at a time; at the limit new ones are refused
tcp_established_timeout_s      7440     idle time of an established TCP connection (RFC 5382, REQ-5)
tcp_opening_timeout_s          240      idle time of one that is opening
tcp_closing_timeout_s          240      life time of one that is closed or was reset
udp_timeout_s                  300      idle time of a UDP mapping (RFC 4787, REQ-5); outbound packets refresh it
icmp_timeout_s                 60       idle time of an ICMP echo mapping (RFC 5508, REQ-2)
=============================  =======  =======================================================================

Behaviour: mapping is endpoint-independent (RFC 4787, REQ-1), filtering as configured (REQ-8); an inside host always appears
as the same external address (REQ-2); external ports are random (RFC 6056), of the parity of the inside port while there are such
(REQ-4), no two mappings share one (REQ-3); fragments pass if the first one, which has the ports, comes first (REQ-14, ``nat_fragments``);
inside hosts reach each other by external endpoints (hairpinning, REQ-9). A TCP mapping lives while it has a connection; only a SYN opens one, and any other segment
of an unknown connection is dropped, never answered with RST. ICMP errors are translated with the packet that they
quote (RFC 5508, REQ-3 to 5) and change no state. A RST is translated, and its session lives on for the closing timeout, in which the next segment
revives it (RFC 7857, 2.2). A packet that may be fragmented gets an Identification of the NAT's own, since all inside hosts look like one (RFC 7857, 9; RFC 6864, 5.3.1). Echo requests to the NAT's own addresses are answered. The TTL
is decremented; where it ends, the sender gets a time exceeded (at most 100 a second).

State: mappings both ways, TCP sessions, the last Identification, idle timers, the port pools, contacts, fragmented packets, the number of the log's last message, ARP (see ``router``), ``drops`` by reason. The
time of last use is kept to 1 s, so that a busy flow doesn't change state with each packet.

Limits: fragments that overtake their first one are dropped (``fragment_unknown``), and those from one inside host to another (``fragment``); port contiguity is
not kept; protocols other than TCP, UDP and ICMP are dropped; no application-level gateways; a source
outside of the inside prefix is dropped, since no answer could reach it. Filtering that is endpoint-independent lets outsiders open TCP sessions to a mapped port until ``tcp_sessions_max``;
TCP sequence numbers are not checked.
"""

from ..sdk import Counter, IdleTimers, Map, Parameters
from ..sdk.packet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ICMP, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, TCP, UDP, endpoint, endpoint_parts
from . import nat_fragments
from .icmp_errors import translate_error
from .nat_log import MappingLog
from .nat_options import FILTERING, INTEGERS, PARAMETERS, take_external_addresses, take_forwards
from .nat_sessions import NatSessions
from .port_pool import PortPool
from .route_table import MULTICAST
from .router import NS_PER_S, Ipv4Router
from .routes import add_route, mask_of, take_routes
from .tcp_sessions import opens

#: mappings and sessions that one tick removes at most, of each kind
_EXPIRY_BATCH = 1024


class Nat(Ipv4Router):
    """Network address and port translation between ``inside`` and ``outside``."""

    ports = ("inside", "outside")
    victims = {**Ipv4Router.victims,
               **dict.fromkeys(("outbound", "inbound", "udp_used", "icmp_used"), "none: the newcomer is refused (mappings_full)"),
               **dict.fromkeys(("sessions", "established_used", "opening_used", "closing_used", "mapping_sessions"),
                               "none: the newcomer is refused (tcp_sessions_full)"),
               **dict.fromkeys(("pool_places", "odd_places"), "none: the newcomer is refused (ports_exhausted)"),
               "host_mappings": "none: the newcomer is refused (mappings_full)",
               **dict.fromkeys(("contacts", "contacts_used"), "the contact used longest ago makes room"),
               **dict.fromkeys(("fragmented", "fragmented_used"), "the packet whose first fragment came longest ago makes room")}

    # an end is an endpoint(): protocol, address and port in one int
    outbound = Map()            # inside end -> external end
    inbound = Map()             # external end -> inside end
    udp_used = IdleTimers()     # inside end
    icmp_used = IdleTimers()    # inside end
    sessions = Map()            # (inside end, remote end) -> state
    established_used = IdleTimers()     # key of sessions
    opening_used = IdleTimers()         # key of sessions
    closing_used = IdleTimers()         # key of sessions
    mapping_sessions = Map()    # inside end -> number of TCP sessions
    pool_places = Map()         # of even ports, see port_pool
    pool_used = Map()
    odd_places = Map()
    odd_used = Map()
    host_mappings = Map()       # inside address -> number of mappings
    contacts = Map()            # (inside end, remote address or end) -> None, if filtering asks for it
    contacts_used = IdleTimers()
    fragmented = Map()          # see nat_fragments
    fragmented_used = IdleTimers()
    identification = Counter()          # of the last packet that may be fragmented; its lower 16 bits are what it got
    log_number = Map()          # "last" -> number of the last message

    def configure(self, parameters):
        taken = Parameters("nat", parameters, PARAMETERS)
        for name, bounds in INTEGERS.items():
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
        self.external_addresses = take_external_addresses(taken, self)
        for address in self.external_addresses:
            self.add_own(address, "outside")
        take_routes(taken, self)
        self._take_gateway(taken)
        self.forwards = take_forwards(taken, self)
        self.forwards_out = {inside: external for external, inside in self.forwards.items()}
        #: how much of a remote end must be known for it to be let in: 0 nothing, 1 its address, 2 its port, too
        self.filtering = FILTERING.index(taken.choice("filtering", FILTERING[0], FILTERING))
        collector = taken.address("log_collector", None)
        self.log = collector and MappingLog(self, collector, self.log_port, self.log_number)
        self.tcp = NatSessions(self.sessions, self.mapping_sessions, self.tcp_sessions_max,
                               (self.established_used, self.tcp_established_timeout_s), (self.opening_used, self.tcp_opening_timeout_s),
                               (self.closing_used, self.tcp_closing_timeout_s))
        first, last = self.first_port, self.last_port
        self.pools = (PortPool(self.pool_places, self.pool_used, first + first % 2, last, 2),
                      PortPool(self.odd_places, self.odd_used, first | 1, last, 2))
        self.used = {UDP: self.udp_used, ICMP: self.icmp_used}

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
        hop = self.routes.way(address)
        return hop is not None and hop[0] == "inside"

    # --- packets

    def process(self, packet, ctx):
        ends = packet.endpoints()
        if ends is None or not packet.is_to(self.port[ctx.port].mac):
            self._process_other(packet, ctx)
        elif ctx.port == "inside":
            self._process_outbound(packet, ends, ctx)
        else:
            self._process_inbound(packet, ends, ctx)

    def _process_outbound(self, packet, ends, ctx):
        hop = self.routes.way(packet.destination)
        if hop is None and packet.destination in self.unroutable:
            self._process_to_own(packet, ends, ctx)
        elif hop is None or hop[0] == "inside":
            self.drop("no_route")
        elif packet.ttl <= 1:
            self.end_of_life(packet, ctx)
        elif self._translate_source(packet, ends, ctx):
            self.send_on(packet, hop, ctx)

    def _translate_source(self, packet, ends, ctx):
        """Rewrite the source by its mapping, a new one if need be; False if the packet was dropped."""
        inside, remote = ends
        external = self.outbound.get(inside) or self.forwards_out.get(inside) or self._open(packet, inside, ctx)
        if external is None:
            return False
        protocol = packet.protocol
        if protocol == TCP:
            if not self._track(ends, packet.tcp_flags, True, ctx.now_ns):
                return False
        elif protocol == ICMP and packet.icmp_type != ICMP_ECHO_REQUEST:
            self.drop("no_mapping")
            return False
        elif inside not in self.forwards_out:
            self.used[protocol].touch(inside, ctx.now_ns, NS_PER_S)
        if self.filtering:
            self._note_contact(self._contact(inside, remote), ctx.now_ns)
        packet.set_source_to(external)
        if not packet.is_atomic:
            packet.set_identification(self.identification.add() & 0xFFFF)
        return True

    def _contact(self, inside, remote):
        """What is known of the *remote* end that an *inside* one has sent to: as much as filtering asks for."""
        return inside, endpoint_parts(remote)[1] if self.filtering == 1 else remote

    def _note_contact(self, contact, now_ns):
        """An inside host has sent to the remote end in *contact*, which may answer from now on."""
        if contact not in self.contacts:
            if len(self.contacts) >= self.contacts_max:
                oldest = next(iter(self.contacts_used))
                del self.contacts[oldest], self.contacts_used[oldest]
            self.contacts[contact] = None
        self.contacts_used.touch(contact, now_ns, NS_PER_S)

    def _is_filtered(self, packet, inside, remote):
        """Whether *packet* from a *remote* end to the mapping of *inside* must not come in (RFC 4787, REQ-8)."""
        if not self.filtering or packet.protocol == TCP and (inside, remote) in self.sessions:
            return False
        return self._contact(inside, remote) not in self.contacts

    def _process_inbound(self, packet, ends, ctx, hairpin=False):
        remote, external = ends
        forward = self.forwards.get(external)
        inside = forward or self.inbound.get(external)
        protocol, source = packet.protocol, packet.source
        if inside is None or (protocol == ICMP and packet.icmp_type != ICMP_ECHO_REPLY):
            self._answer_own(packet, ctx)
        elif source >= MULTICAST or self.is_inside(source) or (source in self.unroutable and not hairpin):
            self.drop("bogus_source")
        elif forward is None and self._is_filtered(packet, inside, remote):
            self.drop("filtered")
        elif packet.ttl <= 1:
            self.end_of_life(packet, ctx)
        elif protocol != TCP or self._track((inside, remote), packet.tcp_flags, False, ctx.now_ns):
            packet.set_destination_to(inside)
            hop = self.routes.way(packet.destination)
            if hop is None:
                self.drop("no_route")
            else:
                self.send_on(packet, hop, ctx)

    def _process_to_own(self, packet, ends, ctx):
        """From inside to an address of ours: to another inside host's mapping (hairpin), or to ourselves."""
        _, external = ends
        if packet.protocol == ICMP or not (external in self.inbound or external in self.forwards):
            self._answer_own(packet, ctx)
        elif packet.ttl <= 1:
            self.end_of_life(packet, ctx)
        elif self._translate_source(packet, ends, ctx):
            self._process_inbound(packet, packet.endpoints(), ctx, hairpin=True)

    def _answer_own(self, packet, ctx):
        """What is not translated: an echo request to an address of ours is answered, the rest is dropped."""
        if packet.protocol == ICMP and packet.icmp_type == ICMP_ECHO_REQUEST and packet.destination in self.own:
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
                self._process_fragment(packet, header, ctx)
            elif header.protocol == ICMP:
                translate_error(self, packet, header, ctx)
            else:
                self.drop("malformed" if header.protocol in (TCP, UDP) else "protocol")

    def _process_fragment(self, packet, header, ctx):
        """A fragment: the first one has the ports and is translated as a packet, the others follow it."""
        if header.fragment_offset:
            nat_fragments.follow(self, packet, header, ctx)
            return
        ends = packet.endpoints(first_fragment=True)
        if ends is None or (ctx.port == "inside" and header.destination in self.unroutable):
            self.drop("fragment")       # not even the ports in it, or to another inside host, or to ourselves
            return
        key = nat_fragments.key_of(packet, header, ctx.port)
        if ctx.port == "inside":
            self._process_outbound(packet, ends, ctx)
        else:
            self._process_inbound(packet, ends, ctx)
        sent = packet.ipv4()
        if (sent.source, sent.destination) != (header.source, header.destination):
            nat_fragments.learn(self, key, (sent.source, sent.destination, packet.data[18:20]), ctx.now_ns)

    # --- mappings and sessions

    def _open(self, packet, inside, ctx):
        """A new mapping for the end *inside*: the external end; None if the packet was dropped."""
        protocol, source, source_port = endpoint_parts(inside)
        if source in self.unroutable or not self.is_inside(source):
            reason = "bogus_source"
        elif protocol == TCP and not opens(packet.tcp_flags):
            reason = "tcp_unknown"
        elif protocol == ICMP and packet.icmp_type != ICMP_ECHO_REQUEST:
            reason = "no_mapping"
        elif len(self.outbound) >= self.mappings_max:
            reason = "mappings_full"
        elif protocol == TCP and self.tcp.full:
            reason = "tcp_sessions_full"
        elif self.host_mappings.get(source, 0) >= self.mappings_per_host_max:
            reason = "host_full"
        else:
            address = self.external_addresses[source % len(self.external_addresses)]
            port = self._draw_port(protocol, address, source_port, ctx)
            if port is not None:
                external = endpoint(protocol, address, port)
                self.outbound[inside] = external
                self.inbound[external] = inside
                self.host_mappings[source] = self.host_mappings.get(source, 0) + 1
                if protocol != TCP:
                    self.used[protocol].touch(inside, ctx.now_ns)
                if self.log:
                    self.log.tell("begin", inside, external, ctx)
                return external
            reason = "ports_exhausted"
        self.drop(reason)
        return None

    def _draw_port(self, protocol, address, source_port, ctx):
        """A free external port, of the parity of *source_port* if there is one (RFC 4787, REQ-4); None if there is none."""
        for pool in (self.pools[source_port % 2], self.pools[1 - source_port % 2]):
            port = pool.draw(protocol, address, ctx.random())
            while port is not None and endpoint(protocol, address, port) in self.forwards:     # that of a forward stays taken
                port = pool.draw(protocol, address, ctx.random())
            if port is not None:
                return port
        return None

    def _close(self, inside, ctx):
        external = self.outbound.pop(inside)
        del self.inbound[external]
        protocol, address, port = endpoint_parts(external)
        self.pools[port % 2].give_back(protocol, address, port)
        host = endpoint_parts(inside)[1]
        left = self.host_mappings[host] - 1
        if left:
            self.host_mappings[host] = left
        else:
            del self.host_mappings[host]
        if self.log:
            self.log.tell("end", inside, external, ctx)

    def _track(self, session, flags, from_inside, now_ns):
        """Note a TCP segment of a known mapping; False if the packet was dropped."""
        reason = self.tcp.track(session, flags, from_inside, now_ns)
        if reason:
            self.drop(reason)
        return not reason

    def tick(self, ctx):
        """Remove what was not used for its timeout."""
        super().tick(ctx)
        now_ns = ctx.now_ns
        for used, timeout_s in ((self.udp_used, self.udp_timeout_s), (self.icmp_used, self.icmp_timeout_s)):
            for key in used.expired(now_ns, timeout_s * NS_PER_S, _EXPIRY_BATCH):
                del used[key]
                self._close(key, ctx)
        for inside in self.tcp.expire(now_ns, _EXPIRY_BATCH):
            if inside in self.outbound:     # not a forward
                self._close(inside, ctx)
        for contact in self.contacts_used.expired(now_ns, self.udp_timeout_s * NS_PER_S, _EXPIRY_BATCH):
            del self.contacts[contact], self.contacts_used[contact]
        nat_fragments.expire(self, now_ns)
