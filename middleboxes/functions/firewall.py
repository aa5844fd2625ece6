"""Firewall: a stateful packet filter for IPv4 and IPv6 between two or more zones, each a port; a routed hop (see ``hop``) without translation.

Ports: two or more, of any names; each is a zone.

Parameters (all have defaults):

=============================  =======  =======================================================================
rules                          none     list of rules (``firewall_rules``): which flows may begin; the first that
                                        fits decides
default                        drop     what is done with a new flow that no rule fits: accept, drop or reject
routes                         none     list of [prefix, next hop] (``routes``)
connections_max                65536    tracked flows at a time; with several workers each has its share
tcp_established_timeout_s      7440     idle time of an established TCP connection (RFC 5382, REQ-5)
tcp_transitory_timeout_s       240      idle time of one that is opening; life time of one that is closed
udp_timeout_s                  300      idle time of a flow of UDP (RFC 4787, REQ-5) or another protocol that was answered
unanswered_timeout_s           30       idle time of one that was not
icmp_timeout_s                 60       idle time of an ICMP echo flow
=============================  =======  =======================================================================

Behaviour: only the first packet of a flow is put to the rules; what belongs to a known flow passes, in both directions. TCP begins
with a SYN alone; each further segment must fit the connection's state, sequence numbers and windows (``tcp_window``; RFC 9293,
RFC 7323), else it is dropped (``tcp_window``) and changes nothing. A reset that fits passes, but ends the connection only if its sequence number is exact
(RFC 5961, 3.2). A SYN for an established connection passes and changes nothing, so that a host that has lost it learns so by the challenge
(RFC 5961, 4). A connection is established once its opener has confirmed the answer, so forged SYNs never get the long timeout. ICMP errors pass if they quote a packet of a known flow
on its way back to its sender, for TCP one with a sequence number that is in flight (RFC 5927, 4.1); redirects and source quench never. Of ICMPv6 these errors are destination unreachable, packet
too big, time exceeded and parameter problem (RFC 4890, 4.3.1), echo is put to the rules, Neighbor Discovery is the hop's own (``hop``), and the rest is dropped (``icmp_type``). Packets of a flow
with a wrong transport checksum are dropped, since its receiver would not see them.

Fragments follow the first of them, which is treated as a packet (``firewall_fragments``; checksums can't be looked at then); TCP in fragments is dropped. IPv6 extension headers
pass, and what comes after them is put to the rules; but a routing header of type 0 is dropped (``routing_header_0``, RFC 5095). ESP, AH and their like are
tracked by addresses.

The table is bounded; who makes room for a new flow is told by the victim policy of ``connections``: idle longest of the least committed, of the newcomer's class first,
never an established TCP connection (``evicted_...``; ``connections_full`` if there is nothing else).

State: flows (one map, keyed by flow, so each worker has its own), idle times by class, ``rule_counts``: rule -> (flows begun, packets,
octets of IP) of all its packets in both directions, per worker; ``fragmented``; ARP and neighbours (``router``, ``router6``), ``drops`` by reason.

Several workers: all between two addresses, and ICMP errors about it, goes to one worker.

Limits: TCP options but the window scale are not looked at; no application-level gateways (FTP and its like); packets with segments left in a routing header of another type than 0 seem to have wrong checksums and are dropped.
"""

from ..sdk import IdleTimers, Map
from ..sdk.build import NO_MAC, ipv4, tcp
from ..sdk.build6 import ipv6
from ..sdk.packet import TCP, UDP, checksum
from .connections import ANSWERED, CLOSING, ECHO, ESTABLISHED, OPENING, UNANSWERED, ConnectionTable
from .families import V6, family_of
from .firewall_fragments import Fragments, key_of
from .firewall_rules import take_rules
from .hop import RoutedHop
from .quoted import Quoted, partition_by_hosts
from .tcp_sessions import ACK, RST, SYN, is_closed, is_established, next_state, opens
from .tcp_window import ACKED, END, WINDOW, after, follow, opened, resets, sound_flags

#: bit of a TCP state beside those of tcp_sessions: the opener has confirmed the answer
_CONFIRMED = 32

_TIMEOUTS = (("unanswered_timeout_s", 30), ("icmp_timeout_s", 60), ("tcp_transitory_timeout_s", 240), ("udp_timeout_s", 300),
             ("tcp_established_timeout_s", 7440))


class Firewall(RoutedHop):
    """A stateful packet filter between its ports."""

    name = "firewall"
    default_action = "drop"
    ports = None
    partition = staticmethod(partition_by_hosts)
    victims = {**RoutedHop.victims, **dict.fromkeys(
        ("connections", "unanswered_used", "echo_used", "opening_used", "closing_used", "answered_used"),
        "the flow idle longest makes room: of the newcomer's class if that has any, else of the least committed; never established TCP"),
        "established_used": "none: the newcomer is refused (connections_full)",
        **dict.fromkeys(("fragmented", "fragmented_used"), "the packet whose first fragment came longest ago makes room")}
    #: whether fragments may follow their first one
    passes_fragments = True

    # flow -> (class, number of its rule, TCP state, opener's side, answerer's side); sides as in tcp_window, () for other protocols
    connections = Map(scope="flow")
    unanswered_used = IdleTimers(scope="flow")
    echo_used = IdleTimers(scope="flow")
    opening_used = IdleTimers(scope="flow")
    closing_used = IdleTimers(scope="flow")
    answered_used = IdleTimers(scope="flow")
    established_used = IdleTimers(scope="flow")
    fragmented = Map(scope="flow")          # see firewall_fragments
    fragmented_used = IdleTimers(scope="flow")
    rule_counts = Map(scope="worker")       # name of a rule -> (flows, packets, octets)

    def configure_hop(self, taken):
        self.rules = take_rules(taken, tuple(self.port), self.default_action)
        connections_max = taken.integer("connections_max", 65536, 1, 4_000_000)
        timeout_s = {name: taken.integer(name, default, 1, 1_000_000) for name, default in _TIMEOUTS}
        unanswered, echo, transitory, answered, established = (timeout_s[name] for name, _ in _TIMEOUTS)
        self.table = ConnectionTable(
            self.connections, (self.unanswered_used, self.echo_used, self.opening_used, self.closing_used, self.answered_used,
                               self.established_used), max(1, connections_max // self.worker_count),
            (unanswered, echo, transitory, transitory, answered, established), self.flow_ended)
        self.fragments = Fragments(self.fragmented, self.fragmented_used, self.worker_count)

    def inspect(self, packet, key, value, from_opener, ctx):
        """Whether a packet of the flow *key*, whose state will be *value*, passes; what does not changes no state. For subclasses."""
        return True

    def flow_ended(self, key, value):
        """The flow *key* is forgotten. For subclasses."""

    def pass_on(self, packet, header, flow, hop, ctx):
        family = family_of(header.source)
        if family is V6 and header.routing is not None and header.routing[0] == 0:
            self.drop("routing_header_0")
        elif header.fragment_offset or header.more_fragments:
            self._fragment(packet, header, hop, ctx)
        elif flow is None and header.protocol == family.icmp:
            self._icmp_error(packet, header, family, hop, ctx)
        elif flow is None and header.protocol in (TCP, UDP, family.foreign):
            self.drop("malformed")
        elif flow is not None and not packet.transport_checksum_ok():
            self.drop("checksum")
        elif header.protocol == TCP:
            self._tcp(packet, header, flow, hop, ctx)
        else:
            self._datagram(packet, header, flow or (header.protocol, header.source, 0, header.destination, 0), hop, ctx)

    def _fragment(self, packet, header, hop, ctx):
        """A part of a packet: the first one is treated as a packet, the others follow it."""
        flow, first_bytes = packet.five_tuple(first_fragment=True), header.payload_end - header.payload_start
        family, key = family_of(header.source), key_of(packet, header, ctx.port)
        if header.protocol == TCP or not self.passes_fragments:
            self.drop("fragment")
        elif header.fragment_offset:
            rule, reason = self.fragments.judge(key, header.fragment_offset)
            if rule is None:
                self.drop(reason)
            else:
                self._count(rule, header)
                self.send_on(packet, hop, ctx)
        elif flow is None and header.protocol in (UDP, family.icmp, family.foreign):
            self.drop("fragment")       # not even the ports in it, or an error in parts
        else:
            rule = self._datagram(packet, header, flow or (header.protocol, header.source, 0, header.destination, 0), hop, ctx)
            if rule is not None:
                self.fragments.opened(key, rule, first_bytes, ctx.now_ns)

    # --- flows

    def _datagram(self, packet, header, flow, hop, ctx):
        """UDP, ICMP echo, and protocols without ports; the number of the rule if it passed, else None."""
        key, value, from_opener = self.table.find(flow)
        family = family_of(header.source)
        if flow[0] == family.icmp:
            is_reply = packet.icmp_type == family.echo_reply
            if from_opener == is_reply:         # also a reply to nothing, and a request that meets one the other way round
                self.drop("icmp_unknown")
                return None
        if value is None:
            kind = ECHO if flow[0] == family.icmp else UNANSWERED
            rule = self._admit(packet, header, flow, hop, kind, ctx)
            if rule is None:
                return None
            value = (kind, rule, 0, (), ())
        elif not from_opener and value[0] == UNANSWERED:
            value = (ANSWERED, *value[1:])
        if not self.inspect(packet, key, value, from_opener, ctx):
            return None
        self.table.put(key, value, ctx.now_ns)
        self._count(value[1], header)
        self.send_on(packet, hop, ctx)
        return value[1]

    def _tcp(self, packet, header, flow, hop, ctx):
        segment = packet.tcp()
        if not sound_flags(segment.flags):
            self.drop("tcp_flags")
            return
        key, value, from_opener = self.table.find(flow)
        if value is not None and value[0] == CLOSING and opens(segment.flags):
            self.table.remove(key)      # the same ports again: a new connection
            key, value = flow, None
        if value is None:
            self._open_tcp(packet, header, flow, segment, hop, ctx)
            return
        if value[0] != ESTABLISHED or segment.flags & (SYN | ACK) != SYN:
            value = _followed(value, segment, from_opener)
            if value is None:
                self.drop("tcp_window")
                return
            if not self.inspect(packet, key, value, from_opener, ctx):
                return
            self.table.put(key, value, ctx.now_ns)
        self._count(value[1], header)
        self.send_on(packet, hop, ctx)

    def _open_tcp(self, packet, header, flow, segment, hop, ctx):
        if not opens(segment.flags):
            self.drop("tcp_unknown")
            return
        rule = self._admit(packet, header, flow, hop, OPENING, ctx)
        value = (OPENING, rule, next_state(0, segment.flags, True), opened(segment), ())
        if rule is not None and self.inspect(packet, flow, value, True, ctx):
            self.table.put(flow, value, ctx.now_ns)
            self._count(rule, header)
            self.send_on(packet, hop, ctx)

    def _admit(self, packet, header, flow, hop, kind, ctx):
        """The number of the rule that lets a new flow in, for which there is room then; None if the packet was dropped."""
        number, rule = next((number, rule) for number, rule in enumerate(self.rules) if rule.fits(flow, ctx.port, hop[0]))
        if rule.action != "accept":
            self._count(number, header)
            self.drop("denied")
            if rule.action == "reject":
                self._reject(packet, header, flow, ctx)
            return None
        victim = self.table.make_room(kind)
        if victim is False:
            self.drop("connections_full")
            return None
        if victim is not None:
            self.drops["evicted_" + victim] = self.drops.get("evicted_" + victim, 0) + 1
        self._count(number, header, flows=1, packets=0)
        return number

    def _count(self, number, header, flows=0, packets=1):
        name = self.rules[number].name
        octets = (header.payload_end - 14) * packets
        begun, seen, size = self.rule_counts.get(name, (0, 0, 0))
        self.rule_counts[name] = (begun + flows, seen + packets, size + octets)

    # --- what is not a flow's own packet

    def _reject(self, packet, header, flow, ctx):
        """Tell the sender of a new flow that it is not allowed."""
        if flow[0] != TCP:
            self.send_error(*family_of(header.source).prohibited, packet, ctx)
            return
        segment = packet.tcp()
        length = segment.data_bytes + 1     # the SYN
        _, source, source_port, destination, destination_port = flow
        reset = tcp(destination, destination_port, source, source_port, RST | ACK,
                    acknowledgment=segment.sequence + length & 0xFFFFFFFF, window=0)
        make = ipv6 if family_of(source) is V6 else ipv4
        self.transmit(make(NO_MAC, NO_MAC, TCP, destination, source, reset), source, ctx)

    def _icmp_error(self, packet, header, family, hop, ctx):
        """An ICMP message that is no echo: an error about a packet of a known flow passes."""
        message = packet.data[header.payload_start:header.payload_end]
        if len(message) < 8 or message[0] not in family.errors:
            self.drop("icmp_type")
        elif not packet.transport_checksum_ok() if family is V6 else checksum(message) % 0xFFFF:
            self.drop("checksum")
        else:
            value = self._quoted_flow(Quoted(message[8:], family, first_fragment=True), header)
            if value is None:
                self.drop("icmp_unknown")
                return
            self._count(value[1], header)
            self.send_on(packet, hop, ctx)

    def _quoted_flow(self, quoted, header):
        """The known flow that an ICMP error with *header* is rightly about, or None."""
        if quoted.flow is None or quoted.flow[1] != header.destination:
            return None
        _, value, from_opener = self.table.find(quoted.flow)
        if value is None or quoted.flow[0] != TCP:
            return value
        sender, receiver = value[3:] if from_opener else value[:2:-1]
        if not sender:
            return None
        oldest = receiver[ACKED] - receiver[WINDOW] if receiver else sender[ACKED]
        sequence = quoted.packet.tcp().sequence
        return None if after(sequence, sender[END]) or after(oldest, sequence) else value

    def tick(self, ctx):
        """Forget flows that were idle for their timeout."""
        super().tick(ctx)
        self.table.expire(ctx.now_ns)
        self.fragments.expire(ctx.now_ns)


def _followed(value, segment, from_opener):
    """A TCP flow's *value* after *segment*, None if that does not fit."""
    _, rule, state, opener, answerer = value
    sender, receiver = (opener, answerer) if from_opener else (answerer, opener)
    sides = follow(sender, receiver, segment)
    if sides is None:
        return None
    flags = segment.flags
    if not flags & RST or resets(sender, receiver, segment):
        state = next_state(state, flags, from_opener)
    if from_opener and sides[1] and flags & ACK and not flags & (SYN | RST):
        state |= _CONFIRMED
    if is_closed(state):
        kind = CLOSING
    else:
        kind = ESTABLISHED if is_established(state) and state & _CONFIRMED else OPENING
    return (kind, rule, state, *(sides if from_opener else sides[::-1]))
