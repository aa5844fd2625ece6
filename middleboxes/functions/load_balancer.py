"""Load balancer: spreads TCP connections and UDP flows to virtual addresses over backends (layer 4), a routed hop (see ``hop``).

Ports: ``clients`` and ``backends``. Backends use the address of their port as gateway to the clients, and see the clients' own addresses.

Parameters (all but the first have defaults):

=============================  =======  =======================================================================
services                       -        list of services and their backends (``services``)
routes                         none     list of [prefix, next hop] (``routes``), e.g. to the clients
connections_max                65536    flows at a time; with several workers each has its share
sticky_max                     65536    clients whose backend is remembered
tcp_established_timeout_s      7440     idle time of an established TCP connection
tcp_transitory_timeout_s       240      idle time of one that is opening; life time of one that is closed
udp_timeout_s                  300      idle time of a UDP flow that was answered
unanswered_timeout_s           30       idle time of one that was not
probe_interval_s               1        time between probes of each backend, 0 for none (``backend_health``)
probes_lost_max                3        lost probes in a row after which a backend is down
failures_max                   5        failed connections in a row after which a backend is held down
hold_s                         10       for so long
=============================  =======  =======================================================================

Behaviour: the first packet of a flow (TCP: a SYN alone) to a service chooses a backend: the one that the client has if the service is sticky, else by a Maglev table
with the backends' weights (``maglev``). If that is down, further places of the table are tried, so only flows of a dead backend move.
The flow then stays with its backend, whatever becomes of the others, and through every failover. Destination (on the way
back: source) address and port are rewritten, checksums brought up to date. ICMP errors about a flow are translated with the packet that they quote. A backend that goes
down or comes back is told as an event (``backend-down``, ``backend-up``). Echo requests to virtual addresses are answered.

State: flows (keyed by flow, each worker has its own), what is back to front of them (``returns``), idle times by class, ``sticky``, ``health``, ``backend_counts``: backend -> (flows, packets,
octets of IP), per worker; ARP and neighbours (``router``, ``router6``), ``drops`` by reason. Victims: of the flows as ``connections`` says; of ``sticky`` the client longest without a new flow.

Both kinds of IP are balanced, each for itself: a service with an IPv6 address has backends with IPv6 addresses.

Limits: traffic that belongs to no service is dropped (``no_service``), so backends begin no connections through it; fragments are dropped (``fragment``); a flow whose addresses at its backend are another one's
is dropped (``conflict``); if no backend is up, new flows are dropped (``no_backend``).
"""

from ..sdk import IdleTimers, Map, address_text
from ..sdk.build import NO_MAC, icmp, ipv4
from ..sdk.build6 import icmp6, ipv6
from ..sdk.packet import TCP
from .backend_health import BackendHealth
from .balanced_errors import partition_by_client, translate
from .connections import ANSWERED, CLOSING, ESTABLISHED, OPENING, UNANSWERED, ConnectionTable
from .families import V6, family_of
from .hop import RoutedHop
from .maglev import places_of
from .router import NS_PER_S
from .services import take_services
from .tcp_sessions import RST, SYN_INSIDE, is_closed, is_established, next_state, opens

_TIMEOUTS = (("unanswered_timeout_s", 30), ("tcp_transitory_timeout_s", 240), ("udp_timeout_s", 300), ("tcp_established_timeout_s", 7440))
#: places of a Maglev table that are tried before all backends are looked through
_ATTEMPTS = 16
#: sticky entries that one tick forgets at most
_EXPIRY_BATCH = 1024
_PROBE_IDENTIFIER = 0x4C42
_MAKES_ROOM = "the flow idle longest makes room: of the newcomer's class if that has any, else of the least committed; never established TCP"


class LoadBalancer(RoutedHop):
    """Services for ``clients``, by ``backends``."""

    name = "load-balancer"
    ports = ("clients", "backends")
    partition = staticmethod(partition_by_client)
    victims = {**RoutedHop.victims, **dict.fromkeys(("connections", "returns", "unanswered_used", "opening_used", "closing_used",
                                                     "answered_used"), _MAKES_ROOM),
               "established_used": "none: the newcomer is refused (connections_full)",
               **dict.fromkeys(("sticky", "sticky_used"), "the client longest without a new flow is forgotten")}

    # (protocol, client, its port, virtual address, its port) -> (class, TCP state, backend, its port)
    connections = Map(scope="flow")
    returns = Map(scope="flow")     # (protocol, client, its port, backend, its port) -> key of connections
    unanswered_used = IdleTimers(scope="flow")
    opening_used = IdleTimers(scope="flow")
    closing_used = IdleTimers(scope="flow")
    answered_used = IdleTimers(scope="flow")
    established_used = IdleTimers(scope="flow")
    sticky = Map()                  # (client, key of its service) -> (backend, its port)
    sticky_used = IdleTimers()
    health = Map()                  # see backend_health
    probes = Map()                  # "last" -> when probes were sent, ns; "number" -> of the last one
    backend_counts = Map(scope="worker")

    def configure_hop(self, taken):
        self.services = take_services(taken, self)
        self.all_backends = sorted({backend for service in self.services.values() for backend in service.backends}, key=_in_order)
        for _, address, _ in self.services:
            if address not in self.own:
                self.add_own(address, "clients")
        connections_max = taken.integer("connections_max", 65536, 1, 4_000_000)
        self.sticky_max = taken.integer("sticky_max", 65536, 1, 4_000_000)
        timeout_s = {name: taken.integer(name, default, 1, 1_000_000) for name, default in _TIMEOUTS}
        unanswered, transitory, answered, established = (timeout_s[name] for name, _ in _TIMEOUTS)
        self.probe_interval_ns = taken.integer("probe_interval_s", 1, 0, 3600) * NS_PER_S
        self.backend_health = BackendHealth(self.health, taken.integer("probes_lost_max", 3, 1, 1000),
                                            taken.integer("failures_max", 5, 1, 1000), taken.integer("hold_s", 10, 1, 1_000_000))
        # nothing is ever of the class for echo: they are answered here
        timers = (self.unanswered_used, IdleTimers(), self.opening_used, self.closing_used, self.answered_used, self.established_used)
        self.table = ConnectionTable(self.connections, timers, max(1, connections_max // self.worker_count),
                                     (unanswered, unanswered, transitory, transitory, answered, established), self._removed)

    def _removed(self, key, value):
        del self.returns[(*key[:3], *value[2:])]

    # --- packets

    def take_own(self, packet, header, flow, ctx):
        family = family_of(header.source)
        if flow is not None and (flow[0], *flow[3:]) in self.services:
            self._to_service(packet, header, flow, ctx)
        elif flow is not None and flow[0] == family.icmp and packet.icmp_type == family.echo_reply and ctx.port == "backends":
            self._probe_answered(flow, ctx)
        elif flow is None and header.protocol == family.icmp and ctx.port == "clients" and not header.fragment_offset:
            translate(self, packet, header, ctx)
        elif flow is None and (header.fragment_offset or header.more_fragments):
            self.drop("fragment")
        else:
            super().take_own(packet, header, flow, ctx)

    def pass_on(self, packet, header, flow, hop, ctx):
        if ctx.port == "clients":
            self.drop("no_service")
        elif flow is None and header.protocol == family_of(header.source).icmp:
            translate(self, packet, header, ctx)
        elif flow is None:
            self.drop("fragment" if header.fragment_offset or header.more_fragments else "no_service")
        else:
            self._from_backend(packet, header, flow, hop, ctx)

    def _to_service(self, packet, header, flow, ctx):
        value = self.connections.get(flow)
        if not self.came_right(header.source, "clients") or ctx.port != "clients":
            self.drop("no_route")
            return
        if header.ttl <= 1:
            self.end_of_life(packet, ctx)
            return
        if not packet.transport_checksum_ok():
            self.drop("checksum")
            return
        if value is not None and value[0] == CLOSING and opens(packet.tcp_flags):
            self.table.remove(flow)     # the same ports again: a new connection
            value = None
        if value is None:
            value = self._open(packet, flow, ctx)
            if value is None:
                return
        backend = value[2:]
        self.table.put(flow, self._moved(flow[0], value, packet, True), ctx.now_ns)
        self._count(backend, header)
        packet.set_destination(*backend)
        self.send_on(packet, self.route(backend[0]), ctx)

    def _from_backend(self, packet, header, flow, hop, ctx):
        protocol, source, source_port, destination, destination_port = flow
        key = self.returns.get((protocol, destination, destination_port, source, source_port))
        if key is None:
            self.drop("no_service")
            return
        if not packet.transport_checksum_ok():
            self.drop("checksum")
            return
        value = self.connections[key]
        if value[1] == SYN_INSIDE:      # the first answer to a SYN
            if packet.tcp_flags & RST:
                self._tell(value[2:], self.backend_health.connection_failed(value[2:], ctx.now_ns), "down", ctx)
            else:
                self.backend_health.connection_opened(value[2:])
        self.table.put(key, self._moved(protocol, value, packet, False), ctx.now_ns)
        self._count(value[2:], header)
        packet.set_source(*key[3:])
        self.send_on(packet, hop, ctx)

    def _moved(self, protocol, value, packet, from_client):
        """The *value* of a flow after a packet."""
        kind, state, *backend = value
        if protocol == TCP:
            state = next_state(state, packet.tcp_flags, from_client)
            kind = CLOSING if is_closed(state) else ESTABLISHED if is_established(state) else OPENING
        elif not from_client:
            kind = ANSWERED
        return (kind, state, *backend)

    # --- choosing

    def _open(self, packet, flow, ctx):
        """The value of a new flow, for which there is room; None if the packet was dropped."""
        if flow[0] == TCP and not opens(packet.tcp_flags):
            self.drop("tcp_unknown")
            return None
        backend = self._choose(self.services[(flow[0], *flow[3:])], flow, ctx.now_ns)
        if backend is None:
            self.drop("no_backend")
            return None
        if (*flow[:3], *backend) in self.returns:
            self.drop("conflict")
            return None
        kind = OPENING if flow[0] == TCP else UNANSWERED
        victim = self.table.make_room(kind)
        if victim is False:
            self.drop("connections_full")
            return None
        if victim is not None:
            self.drop("evicted_" + victim)
        self.returns[(*flow[:3], *backend)] = flow
        self._count(backend, None)
        return (kind, 0, *backend)

    def _choose(self, service, flow, now_ns):
        """A backend for a new flow, or None."""
        entry = (flow[1], service.key)
        if service.sticky_ns:
            backend = self.sticky.get(entry)
            if backend in service.backends and now_ns - self.sticky_used[entry] < service.sticky_ns and (
                    self.backend_health.is_up(backend, now_ns)):
                self.sticky_used.touch(entry, now_ns)
                return backend
        backend = self._by_table(service, flow, now_ns)
        if backend is not None and service.sticky_ns:
            if entry not in self.sticky and len(self.sticky) >= self.sticky_max:
                oldest = next(iter(self.sticky_used))
                del self.sticky[oldest], self.sticky_used[oldest]
            self.sticky[entry] = backend
            self.sticky_used.touch(entry, now_ns)
        return backend

    def _by_table(self, service, flow, now_ns):
        table = service.table
        if not table:
            return None
        key = b"%d %d %d %d %d" % flow if isinstance(flow[1], int) else b"%d %b %d %b %d" % flow
        for _, place in zip(range(_ATTEMPTS), places_of(key)):
            backend = service.backends[table[place]]
            if self.backend_health.is_up(backend, now_ns):
                return backend
        left = [backend for index, backend in enumerate(service.backends)
                if index in table and self.backend_health.is_up(backend, now_ns)]
        return left[next(places_of(key)) % len(left)] if left else None

    def _count(self, backend, header):
        """Count a packet of *backend*; without a *header* a flow."""
        flows, packets, octets = self.backend_counts.get(backend, (0, 0, 0))
        if header is None:
            self.backend_counts[backend] = (flows + 1, packets, octets)
        else:
            self.backend_counts[backend] = (flows, packets + 1, octets + header.payload_end - 14)

    # --- health

    def _tell(self, backend, reason, which, ctx):
        if reason is not None:
            ctx.event(f"backend-{which}", f"{address_text(backend[0])}:{backend[1]}: {reason}")

    def _probe_answered(self, flow, ctx):
        if flow[2] != _PROBE_IDENTIFIER:
            self.drop("to_own")
            return
        for backend in self.all_backends:
            if backend[0] == flow[1]:
                self._tell(backend, self.backend_health.probe_answered(backend), "up", ctx)

    def tick(self, ctx):
        """Forget what was idle for its timeout; send probes (worker 0)."""
        super().tick(ctx)
        self._expire(ctx)
        if self.worker_number or not self.probe_interval_ns or ctx.now_ns - self.probes.get("last", 0) < self.probe_interval_ns:
            return
        self.probes["last"], number = ctx.now_ns, self.probes.get("number", 0) + 1 & 0xFFFF
        self.probes["number"] = number
        for backend in self.all_backends:
            self._tell(backend, self.backend_health.probe_sent(backend), "down", ctx)
        for address in dict.fromkeys(address for address, _ in self.all_backends):
            self._probe(address, number, ctx)

    def _probe(self, address, number, ctx):
        """Send an echo request to a backend."""
        family, rest = family_of(address), _PROBE_IDENTIFIER << 16 | number
        if family is V6:
            ends = self.source_for("backends", address), address
            frame = ipv6(NO_MAC, NO_MAC, family.icmp, *ends, icmp6(*ends, family.echo_request, 0, rest))
        else:
            frame = ipv4(NO_MAC, NO_MAC, family.icmp, self.port["backends"].address, address, icmp(family.echo_request, 0, rest))
        self.transmit(frame, address, ctx)

    def _expire(self, ctx):
        for key, value in self.table.due(OPENING, ctx.now_ns):
            if value[1] == SYN_INSIDE:
                self._tell(value[2:], self.backend_health.connection_failed(value[2:], ctx.now_ns), "down", ctx)
        self.table.expire(ctx.now_ns)
        if not self.worker_number:
            longest_ns = max(service.sticky_ns for service in self.services.values())
            for entry in self.sticky_used.expired(ctx.now_ns, longest_ns, _EXPIRY_BATCH):
                del self.sticky[entry], self.sticky_used[entry]


def _in_order(backend):
    """IPv4 first: addresses of both kinds can't be compared."""
    return isinstance(backend[0], bytes), backend
