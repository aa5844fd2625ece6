"""Steering: from who is active and who is fenced to the OpenFlow entries wanted. Pure.

Priorities are offsets in our band (docs/architecture.md has the table of rules):

    +900 fence    +800 role    +750 stranger    +701 from the middlebox to a known host, +700 to all hosts of the port
    +650 silence  +600 to the middlebox, +999 if it asks for one of its addresses (some apps take all ARP, just below the highest priority)

What is sent to a virtual MAC or a node's own is forwarded by rules that name the port where it may come in: data ports
of a role's senders, and trunks. From anywhere else it is a stranger's and is dropped, or whoever can send a frame could
speak as a logger or master; and whatever else comes out of a data port is dropped. No rule names the Ethernet type of
NSH, since apps that list everybody's entries (rest_firewall, rest_qos) fail on any but ARP and IP.

Neighbours ask by ARP, and for IPv6 by solicitations to a multicast address that others may share (RFC 4861): the rule for these names the
address that is asked for, and all that is for others is left to others.

Every role of a group has one group entry, at the switch of the group's input logger: its *anchor*. NSH to the
role's virtual MAC is led there from all who may send it; from there rules lead to the real MAC of every node.

A cookie is the deployment's number (upper 32 bits), the kind of rule and the group's id (lower).
"""

import ipaddress
from dataclasses import dataclass, field
from typing import FrozenSet, Mapping, Optional, Tuple

from middleboxes.core import frames

from .deployment import Place
from .paths import Hop, Paths

ARP, IPV6, ICMPV6, NEIGHBOR_SOLICITATION = 0x0806, 0x86DD, 58, 135
BROADCAST = "ff:ff:ff:ff:ff:ff"
ASK, FENCE, ROLE, STRANGER, FROM_HOST, FROM_ALL, SILENCE, TO = 999, 900, 800, 750, 701, 700, 650, 600

ROLES = ("input-logger", "master", "output-logger")     # those that frames are addressed to
#: with the virtual MAC of group 0: those of all groups
ALL_GROUPS = "ff:ff:ff:ff:00:00"
#: Before a group entry: lets its bucket send a frame back where it came in, which OpenFlow does not do otherwise.
FORGET_IN_PORT = ("in_port", 0)
_FENCE_KIND, _VIRTUAL_KIND, _NODE_KIND, _FROM_KIND, _TO_KIND, _STRANGER_KIND, _SILENCE_KIND = 1, 2, 3, 4, 5, 6, 7


@dataclass(frozen=True)
class Flow:
    """A flow entry. *match* is sorted (field, value or (value, mask)) pairs; *actions* are ("output", port), ("group", id) or
    FORGET_IN_PORT, applied in order; no actions: drop.

    It is the hop of a *path* that has *depth* more hops behind it: those come in force first. No path: at any time.
    *onto*, the (path, depth) of the group entry that it ends at: what is behind that one comes first, too.
    """
    switch: str
    table: int
    priority: int
    match: Tuple[Tuple[str, object], ...]
    cookie: int
    actions: Tuple[Tuple[str, int], ...]
    path: Optional[tuple] = field(default=None, compare=False, repr=False)
    depth: int = field(default=0, compare=False, repr=False)
    onto: Tuple[Optional[tuple], int] = field(default=(None, 0), compare=False, repr=False)

    @property
    def key(self):
        """What makes it the same entry for a switch."""
        return (self.table, self.priority, self.match)

    def __hash__(self):
        return hash((self.switch, self.priority, self.match))       # of all fields it would take three times as long


@dataclass(frozen=True)
class Group:
    """A group entry of type indirect. *bucket*: (("eth_dst", mac), ("output", port)), or () to drop."""
    switch: str
    group_id: int
    type: str
    bucket: Tuple[Tuple[str, object], ...]
    path: Optional[tuple] = field(default=None, compare=False, repr=False)
    depth: int = field(default=0, compare=False, repr=False)

    @property
    def key(self):
        """What makes it the same entry for a switch."""
        return self.group_id


@dataclass(frozen=True)
class Steering:
    """Facts that decide the entries: active node per (group, role), fenced nodes, ends of links that are down.

    Entries of *undecided* groups, and fences of *unjudged* nodes, stay as the switches have them.
    """
    active: Mapping[Tuple[str, str], Optional[str]]
    fenced: FrozenSet[str] = frozenset()
    down: FrozenSet[Place] = frozenset()
    undecided: FrozenSet[str] = frozenset()
    unjudged: FrozenSet[str] = frozenset()


@dataclass(frozen=True)
class Kept:
    """Which of our entries stay as a switch has them: those of some groups (ids), the fences of some places,
    and what leads away from some sides of middleboxes (places, and MAC addresses of ports)."""
    groups: FrozenSet[int] = frozenset()
    fences: FrozenSet[Place] = frozenset()
    sides: FrozenSet[object] = frozenset()

    def holds(self, entry):
        """Whether our *entry* (Flow or Group) is one of them."""
        if isinstance(entry, Group):
            return entry.group_id >> 2 & 0xffff in self.groups
        kind, match = entry.cookie >> 16 & 0xffff, dict(entry.match)
        place = Place(entry.switch, match.get("in_port"))
        if kind == _FENCE_KIND:
            return place in self.fences
        if kind == _FROM_KIND and (place in self.sides or match.get("eth_src") in self.sides):
            return True
        return entry.cookie & 0xffff in self.groups


def virtual_mac(role, group_id):
    """The address that frames to *role* of the group are sent to, as text."""
    return frames.format_mac(frames.virtual_mac(role, group_id))


def group_prefix(cookie):
    """The upper 14 bits of all our OpenFlow group ids: never 0, never in the reserved range."""
    return (cookie * 2654435761 >> 7) % 0x3ffe + 1


def openflow_group_id(cookie, group_id, role):
    """The OpenFlow group of a role: 14 bits mixed from the cookie, 16 of the group id, 2 of the role."""
    return group_prefix(cookie) << 18 | group_id << 2 | ROLES.index(role) + 1


def wanted(deployment, steering, memory=None):
    """All entries of all groups: (frozenset of Flow, frozenset of Group).

    *memory*: a dict that the caller keeps from call to call; what no fact has changed since is not computed anew.
    """
    memory = {} if memory is None else memory
    paths = Paths(deployment.switches, deployment.links, steering.down)
    parts = {}

    def part(key, collect):
        if key not in memory:
            plan = _Plan(deployment, steering, paths)
            collect(plan)
            memory[key] = (plan.flows, plan.groups)
        parts[key] = memory[key]

    for name in sorted(steering.fenced):
        part((name,), lambda plan, node=deployment.nodes[name]: plan.fence(node.data.place))
    part((steering.down,), _Plan.for_all)
    for spec in deployment.groups.values():
        if spec.name not in steering.undecided:
            peers = [port.peer[0] for port in spec.ports if port.peer is not None]
            facts = {role: steering.active.get((spec.name, role)) for role in ROLES}
            anchor = facts["input-logger"], steering.down
            for role, node in facts.items():
                part((spec.name, role, node, anchor), lambda plan, spec=spec, role=role: plan.redirect(spec, role))
            facing = tuple((name in steering.undecided, steering.active.get((name, "input-logger"))) for name in peers)
            part((spec.name, facts["output-logger"], anchor, facing), lambda plan, spec=spec: plan.for_ports(spec, steering.undecided))
    memory.clear()
    memory.update(parts)            # what is not of use now is forgotten
    return (frozenset().union(*(flows for flows, _ in parts.values())),
            frozenset().union(*(groups for _, groups in parts.values())))


def kept(deployment, steering):
    """What is left alone beside what is ``wanted``."""
    sides = set()
    for spec in deployment.groups.values():
        for port in spec.ports:
            if port.peer is not None and port.peer[0] in steering.undecided:
                sides.add(port.mac)
                sides |= {deployment.nodes[name].ports[spec.name][port.name] for name in spec.loggers}
    return Kept(frozenset(deployment.groups[name].id for name in steering.undecided),
                frozenset(deployment.nodes[name].data.place for name in steering.unjudged), frozenset(sides))


class _Plan:
    """Collects entries; one method per row of the table of rules."""

    def __init__(self, deployment, steering, paths):
        self.deployment, self.active, self.paths = deployment, steering.active, paths
        self.trunks = [end for link in deployment.links for end in link]
        self.flows, self.groups = set(), set()

    def for_all(self):
        """What no group has to itself."""
        for name in sorted(self.deployment.nodes):
            self.lead_to(self.deployment.nodes[name].data)
        self.keep_out_strangers()

    def for_ports(self, spec, undecided):
        """What one group's ports send and get: whoever is the master."""
        self.silence(spec)
        for port in spec.ports:
            self.to_middlebox(spec, port)
            if port.peer is None or port.peer[0] not in undecided:
                self.from_middlebox(spec, port)

    def _flow(self, switch, offset, kind, group_id, match, actions, path=None, depth=0, onto=(None, 0)):
        cookie = self.deployment.cookie << 32 | kind << 16 | group_id
        self.flows.add(Flow(switch, self.deployment.table, self.deployment.priority + offset,
                            tuple(sorted(match.items())), cookie, tuple(actions), path, depth, onto))

    def fence(self, place):
        self._flow(place.switch, FENCE, _FENCE_KIND, 0, {"in_port": place.port}, ())

    def lead_to(self, interface):
        """From trunk to trunk: where a frame comes in from its sender, the group entry sends it out already."""
        for trunk in self.trunks:
            hop = self.paths.toward(trunk.switch, interface.place)
            self._flow(trunk.switch, ROLE, _NODE_KIND, 0,
                       {"in_port": trunk.port, "eth_dst": interface.mac}, _output(hop), ("node", interface.mac), hop.depth if hop else 0)

    def keep_out_strangers(self):
        """What no rule of a role lets through: to the addresses of roles and nodes, and from data interfaces."""
        interfaces = [node.data for node in self.deployment.nodes.values()]
        targets = [(virtual_mac(role, 0), ALL_GROUPS) for role in ROLES] + [interface.mac for interface in interfaces]
        for switch in self.deployment.switches:
            for target in targets:
                self._flow(switch, STRANGER, _STRANGER_KIND, 0, {"eth_dst": target}, ())
        for interface in interfaces:
            self._flow(interface.place.switch, STRANGER, _STRANGER_KIND, 0, {"in_port": interface.place.port}, ())

    def redirect(self, spec, role):
        """The group entry of *role* at its anchor, and the rules that lead there from those who may send to it."""
        nodes, node = self.deployment.nodes, self.active.get((spec.name, role))
        anchor = nodes[self.active.get((spec.name, "input-logger")) or spec.input_logger].data.place
        group_id = openflow_group_id(self.deployment.cookie, spec.id, role)
        bucket, onto = (), (None, 0)
        if node is not None:
            interface = nodes[node].data
            hop = self.paths.toward(anchor.switch, interface.place)
            if hop is not None:
                bucket = (("eth_dst", interface.mac), *_output(hop))
                onto = ("node", interface.mac), hop.depth
        self.groups.add(Group(anchor.switch, group_id, "indirect", bucket, *onto))
        senders = [nodes[name].data.place for name in (spec.pool if role != "master" else spec.loggers)]
        for place in dict.fromkeys([*senders, *self.trunks]):
            hop = self.paths.toward(place.switch, anchor)
            actions, depth = _output(hop), hop.depth if hop else 0
            if place.switch == anchor.switch:
                actions = (("group", group_id),) if place in senders else (FORGET_IN_PORT, ("group", group_id))
            self._flow(place.switch, ROLE, _VIRTUAL_KIND, spec.id,
                       {"in_port": place.port, "eth_dst": virtual_mac(role, spec.id)},
                       actions, ("role", spec.id, role), depth, onto if place.switch == anchor.switch else (None, 0))

    def silence(self, spec):
        """Where no rule leads away from a port interface, nothing comes out of it: others' rules never see that."""
        for node in self.deployment.nodes.values():
            for place in node.ports.get(spec.name, {}).values():
                self._flow(place.switch, SILENCE, _SILENCE_KIND, spec.id, {"in_port": place.port}, ())

    def to_middlebox(self, spec, port):
        """What hosts of the port send to its addresses: to the input logger's interface, or nowhere."""
        there = self._interface(spec.name, "input-logger", port.name)
        wanted_frames = [(TO, {"eth_dst": port.mac})]
        for address in port.asked_for:
            wanted_frames += _asking(port.mac, address)
        for name in port.hosts:
            host = self.deployment.hosts[name]
            hops = self.paths.path(host.place, there) if there else ()
            path = ("to", spec.id, port.name, name)
            for hop in hops or (Hop(host.place, None, 0),):
                match = {"in_port": hop.in_place.port}
                if hop.in_place != host.place:      # at its own port all that it sends counts; further on, its address
                    match["eth_src"] = host.mac
                for offset, frame in wanted_frames:
                    self._flow(hop.in_place.switch, offset, _TO_KIND, spec.id, {**match, **frame}, _output(hop), path, hop.depth)

    def from_middlebox(self, spec, port):
        """What comes out of the output logger's interface: to the port's hosts, and to the port that it faces."""
        here = self._interface(spec.name, "output-logger", port.name)
        if here is None:
            return
        everyone = {here: (set(), len(self.deployment.switches))}   # in place -> (ports to all, depth)
        for name in port.hosts:
            host = self.deployment.hosts[name]
            for hop in self._spread(here, host.place, everyone) or (Hop(here, None, 0),):
                match = {"in_port": hop.in_place.port, "eth_dst": host.mac}
                if hop.in_place != here:
                    match["eth_src"] = port.mac
                self._flow(hop.in_place.switch, FROM_HOST, _FROM_KIND, spec.id, match, _output(hop),
                           ("from", spec.id, port.name, name), hop.depth)
        there = self._interface(port.peer[0], "input-logger", port.peer[1]) if port.peer else None
        if there is not None:
            self._spread(here, there, everyone)
        for in_place, (out_ports, depth) in everyone.items():
            match = {"in_port": in_place.port}
            if in_place != here:
                match["eth_src"] = port.mac
            self._flow(in_place.switch, FROM_ALL, _FROM_KIND, spec.id, match,
                       (("output", out) for out in sorted(out_ports)), ("from", spec.id, port.name), depth)

    def _spread(self, here, there, everyone):
        """The hops from *here* to *there*, noted among those to *everyone*; nearer to the source is deeper."""
        hops = self.paths.path(here, there)
        for position, hop in enumerate(hops):
            everyone.setdefault(hop.in_place, (set(), len(self.deployment.switches) - position))[0].add(hop.out_port)
        return hops

    def _interface(self, group, role, port):
        """The Place of the port's interface at the active *role*; None without one."""
        node = self.active.get((group, role))
        return None if node is None else self.deployment.nodes[node].ports[group][port]


def _output(hop):
    """The actions of *hop*; without one, or without a port to go out by: drop."""
    return () if hop is None or hop.out_port is None else (("output", hop.out_port),)


def _asking(mac, address):
    """[(offset, match)] of the frames that ask for *address* (text), which the port with this *mac* has."""
    parsed = ipaddress.ip_address(address)
    # above the rules for strangers: so only to these addresses, not to those of roles and nodes
    if parsed.version == 4:
        return [(ASK, {"eth_type": ARP, "arp_tpa": address, "eth_dst": target}) for target in (mac, BROADCAST)]
    multicast = "33:33:ff:" + parsed.packed[13:].hex(":")       # RFC 4291, 2.7.1 and RFC 2464, 7; to the port's own address is not above
    return [(ASK, {"eth_type": IPV6, "ip_proto": ICMPV6, "icmpv6_type": NEIGHBOR_SOLICITATION, "ipv6_nd_target": address, "eth_dst": multicast})]
