"""Monitor: counts packets and octets per host and per flow, exactly; a routed hop (see ``hop``) without translation.

Ports: two or more, of any names.

Parameters (all have defaults):

=============================  =======  =======================================================================
flows_max                      65536    flows that are counted at a time
hosts_max                      16384    addresses that are counted at a time
flow_idle_timeout_s            300      a flow that was idle so long is closed
flow_active_timeout_s          60       a flow is told to the collector at least so often
collector                      none     address (IPv4 or IPv6) where IPFIX messages go (``ipfix``); without it none are made
collector_port                 4739     its UDP port
observation_domain             1        IPFIX observation domain of the first worker; the next ones have the next numbers
template_interval_s            30       time between repetitions of the template
routes                         none     list of [prefix, next hop] (``routes``)
=============================  =======  =======================================================================

Behaviour: each packet, of IPv4 or IPv6, that is passed on is counted once, with its length from the IP header on, for its flow, its source and its
destination. Addresses of IPv6 are 16 bytes, what comes after its extension headers is the protocol. A flow is one direction: (protocol, source, source port, destination, destination port); the ports of ICMP echo are its
identifier; where there are none (fragments, other protocols and ICMP types) they are None.

Tables are bounded, each worker having its share of ``flows_max`` and ``hosts_max``. Victim policy: the entry that was idle longest (to 1 s)
makes room; its counts are folded into ``rest``. So at any time, over all workers, with f flows and h hosts::

    total = sum of f + rest["flows"] = (sum of h + rest["hosts"]) / 2

IPFIX (RFC 7011, over UDP): at ticks records are made of flows that are closed, that made room, or that are due by the active timeout, each with what came
since the last record, so their sums are the totals once all flows are closed. The messages are packets of the monitor's own: a failover neither loses nor repeats one,
and their sequence numbers go on. Records that wait for the next tick are bounded (RECORDS_WAITING_MAX): then they leave at once.

State: ``total`` (packets, octets), ``flows`` (keyed by flow, so each worker has its own): (first and last packet in ns, packets, octets, TCP flags seen, packets and
octets told, first packet since, ns), ``told``: when a flow was told last, ``waiting``: records for the next tick, ``export``: sequence number and time of the template,
``hosts``: (packets sent, octets sent, packets received, octets received), ``rest``; all but the flows are per worker, to be summed. ARP and neighbours (``router``, ``router6``), ``drops``
by reason.

Limits: counted is what is passed on, including the few packets whose next hop then does not answer (``arp_unanswered``,
``arp_queue_full``, ``nd_...``); what claims to be TCP or UDP and is not (``malformed``) is dropped.
"""

from ..sdk import IdleTimers, Map
from ..sdk.packet import TCP, UDP
from . import ipfix
from .accounting import NS_PER_S, Accounts
from .exporter import Exporter
from .hop import RoutedHop

#: flows that one tick closes at most
_EXPIRY_BATCH = 1024
_NOTHING = (0, 0)


class Monitor(RoutedHop):
    """Accounting between its ports."""

    name = "monitor"
    ports = None
    victims = {**RoutedHop.victims, **dict.fromkeys(("flows", "flows_used", "told", "hosts", "hosts_used"),
                                                    "the entry idle longest makes room, its counts go to rest"),
               "waiting": "all records leave at once"}

    total = Map(scope="worker")             # "passed" -> (packets, octets)
    flows = Map(scope="flow")
    flows_used = IdleTimers(scope="flow")
    hosts = Map(scope="worker")
    hosts_used = IdleTimers(scope="worker")
    told = IdleTimers(scope="flow")
    waiting = Map(scope="worker")           # number -> IPFIX record
    export = Map(scope="worker")            # see exporter
    rest = Map(scope="worker")              # "flows", "hosts" -> (packets, octets); of hosts both directions

    def configure_hop(self, taken):
        share = self.worker_count
        flows_max = max(1, taken.integer("flows_max", 65536, 1, 4_000_000) // share)
        hosts_max = max(2, taken.integer("hosts_max", 16384, 2, 4_000_000) // share)
        self.idle_timeout_ns = taken.integer("flow_idle_timeout_s", 300, 1, 1_000_000) * NS_PER_S
        self.active_timeout_ns = taken.integer("flow_active_timeout_s", 60, 1, 1_000_000) * NS_PER_S
        collector = taken.any_address("collector", None)
        self.exporter = Exporter(self, collector, taken.integer("collector_port", 4739, 1, 65535),
                                 taken.integer("observation_domain", 1, 0, 0xFFFF0000) + self.worker_number,
                                 taken.integer("template_interval_s", 30, 1, 3600) * NS_PER_S)
        self.flow_accounts = Accounts(self.flows, self.flows_used, flows_max, self._close_flow)
        self.host_accounts = Accounts(self.hosts, self.hosts_used, hosts_max, self._fold_host)

    def pass_on(self, packet, header, flow, hop, ctx):
        if flow is None:
            if header.protocol in (TCP, UDP) and not (header.fragment_offset or header.more_fragments):
                self.drop("malformed")
                return
            flow = (header.protocol, header.source, None, header.destination, None)
        octets = header.payload_end - 14
        flags = packet.tcp_flags if flow[0] == TCP and flow[2] is not None else 0
        self._count_flow(flow, octets, flags, ctx.now_ns)
        if self.exporter.full:
            self.exporter.send(ctx)
        self._count_host(header.source, (1, octets, 0, 0), ctx.now_ns)
        self._count_host(header.destination, (0, 0, 1, octets), ctx.now_ns)
        _add(self.total, "passed", 1, octets)
        self.send_on(packet, hop, ctx)

    def _count_flow(self, flow, octets, flags, now_ns):
        value = self.flow_accounts.get(flow)
        if value is None:
            self.flow_accounts.set(flow, (now_ns, now_ns, 1, octets, flags, 0, 0, now_ns), now_ns)
            if self.exporter.wanted:
                self.told.touch(flow, now_ns)
            return
        first_ns, _, packets, before, seen, packets_told, octets_told, since_ns = value
        if packets == packets_told:
            since_ns = now_ns
        self.flow_accounts.set(flow, (first_ns, now_ns, packets + 1, before + octets, seen | flags, packets_told, octets_told, since_ns),
                               now_ns)

    def _count_host(self, address, counts, now_ns):
        old = self.host_accounts.get(address) or (0, 0, 0, 0)
        self.host_accounts.set(address, tuple(map(sum, zip(old, counts))), now_ns)

    def _close_flow(self, flow, value, reason=ipfix.NO_ROOM):
        _add(self.rest, "flows", *value[2:4])
        if self.exporter.wanted:
            self.told.pop(flow, None)
            self._record(flow, value, reason)

    def _record(self, flow, value, reason):
        """Make a record of what *flow* had since the last one, if anything."""
        _, last_ns, packets, octets, flags, packets_told, octets_told, since_ns = value
        if packets > packets_told:
            self.exporter.add(ipfix.record(flow, flags, packets - packets_told, octets - octets_told, since_ns, last_ns, reason))

    def _fold_host(self, address, value):
        _add(self.rest, "hosts", value[0] + value[2], value[1] + value[3])

    def tick(self, ctx):
        """Close flows that were idle for their timeout, tell the collector."""
        super().tick(ctx)
        now_ns = ctx.now_ns
        for flow in self.flow_accounts.idle(now_ns, self.idle_timeout_ns, _EXPIRY_BATCH):
            self._close_flow(flow, self.flow_accounts.remove(flow), ipfix.IDLE)
        for flow in self.told.expired(now_ns, self.active_timeout_ns, _EXPIRY_BATCH):
            value = self.flow_accounts.get(flow)
            self._record(flow, value, ipfix.ACTIVE)
            self.flow_accounts.replace(flow, (*value[:5], *value[2:4], value[7]))
            self.told.touch(flow, now_ns)
        self.exporter.send(ctx)


def _add(counts, key, packets, octets):
    before = counts.get(key, _NOTHING)
    counts[key] = (before[0] + packets, before[1] + octets)
