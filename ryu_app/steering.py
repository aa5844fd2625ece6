"""Steering: from who is active and who is fenced to the OpenFlow entries wanted. Pure.

Priorities are offsets in our band (docs/architecture.md has the table of rules):

    +900 fence    +800 role    +750 stranger    +701 from the middlebox to a known host, +700 to all hosts of the port
    +600 to the middlebox

NSH is forwarded by rules that name the port where it may come in: data ports of a role's senders, and trunks.
All other NSH is a stranger's and is dropped, or whoever can send a frame could speak as a logger or master.

A cookie is the deployment's number (upper 32 bits), the kind of rule and the group's id (lower).
"""

from dataclasses import dataclass
from typing import FrozenSet, Mapping, Optional, Tuple

from middleboxes.core import frames

from .deployment import Place
from .paths import Paths

NSH = 0x894F
ARP = 0x0806
FENCE, ROLE, STRANGER, FROM_HOST, FROM_ALL, TO = 900, 800, 750, 701, 700, 600

ROLES = ("input-logger", "master", "output-logger")     # those that frames are addressed to
_FENCE_KIND, _VIRTUAL_KIND, _NODE_KIND, _FROM_KIND, _TO_KIND, _STRANGER_KIND = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Flow:
    """A flow entry. *match* is sorted (field, value) pairs; *actions* are ("output", port) or
    ("group", id) pairs, applied at once; no actions: drop."""
    switch: str
    table: int
    priority: int
    match: Tuple[Tuple[str, object], ...]
    cookie: int
    actions: Tuple[Tuple[str, int], ...]

    @property
    def key(self):
        """What makes it the same entry for a switch."""
        return (self.table, self.priority, self.match)


@dataclass(frozen=True)
class Group:
    """A group entry of type indirect. *bucket*: (("eth_dst", mac), ("output", port)), or () to drop."""
    switch: str
    group_id: int
    type: str
    bucket: Tuple[Tuple[str, object], ...]


@dataclass(frozen=True)
class Steering:
    """Facts that decide the entries: active node per (group, role), fenced nodes, switch ports down.

    Entries of *undecided* groups, and fences of *unjudged* nodes, stay as the switches have them.
    """
    active: Mapping[Tuple[str, str], Optional[str]]
    fenced: FrozenSet[str] = frozenset()
    down: FrozenSet[Place] = frozenset()
    undecided: FrozenSet[str] = frozenset()
    unjudged: FrozenSet[str] = frozenset()


@dataclass(frozen=True)
class Kept:
    """Which of our entries stay as a switch has them: those of some groups (ids), the fences of some places."""
    groups: FrozenSet[int] = frozenset()
    fences: FrozenSet[Place] = frozenset()

    def holds(self, entry):
        """Whether our *entry* (Flow or Group) is one of them."""
        if isinstance(entry, Group):
            return entry.group_id >> 2 & 0xffff in self.groups
        if entry.cookie >> 16 & 0xffff == _FENCE_KIND:
            return Place(entry.switch, dict(entry.match).get("in_port")) in self.fences
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


def wanted(deployment, steering):
    """All entries of all groups: (frozenset of Flow, frozenset of Group)."""
    plan = _Plan(deployment, steering)
    for name in sorted(steering.fenced):
        plan.fence(deployment.nodes[name].data.place)
    for name in sorted(deployment.nodes):
        plan.lead_to(deployment.nodes[name].data)
    plan.keep_out_strangers()
    for spec in deployment.groups.values():
        if spec.name in steering.undecided:
            continue
        for role in ROLES:
            plan.redirect(spec, role, steering.active.get((spec.name, role)))
        for port in spec.ports:
            plan.to_middlebox(spec, port, steering.active.get((spec.name, "input-logger")))
            plan.from_middlebox(spec, port, steering.active.get((spec.name, "output-logger")))
    return frozenset(plan.flows), frozenset(plan.groups)


def kept(deployment, steering):
    """What is left alone beside what is ``wanted``."""
    return Kept(frozenset(deployment.groups[name].id for name in steering.undecided),
                frozenset(deployment.nodes[name].data.place for name in steering.unjudged))


class _Plan:
    """Collects entries; one method per row of the table of rules."""

    def __init__(self, deployment, steering):
        self.deployment = deployment
        self.paths = Paths(deployment.switches, deployment.links, steering.down)
        self.flows, self.groups = set(), set()

    def _flow(self, switch, offset, kind, group_id, match, actions):
        cookie = self.deployment.cookie << 32 | kind << 16 | group_id
        self.flows.add(Flow(switch, self.deployment.table, self.deployment.priority + offset,
                            tuple(sorted(match.items())), cookie, tuple(actions)))

    def fence(self, place):
        self._flow(place.switch, FENCE, _FENCE_KIND, 0, {"in_port": place.port, "eth_type": NSH}, ())

    def lead_to(self, interface):
        """From trunk to trunk: where a frame comes in from its sender, the group entry sends it out already."""
        for trunk in (end for link in self.deployment.links for end in link):
            port = self.paths.out_port(trunk.switch, interface.place)
            self._flow(trunk.switch, ROLE, _NODE_KIND, 0,
                       {"in_port": trunk.port, "eth_type": NSH, "eth_dst": interface.mac},
                       () if port is None else (("output", port),))

    def keep_out_strangers(self):
        for switch in self.deployment.switches:
            self._flow(switch, STRANGER, _STRANGER_KIND, 0, {"eth_type": NSH}, ())

    def redirect(self, spec, role, node):
        """The group entry of *role*, and the rules that lead to it from those who may send to it."""
        senders = spec.pool if role != "master" else (spec.input_logger, spec.output_logger)
        places = {self.deployment.nodes[sender].data.place for sender in senders}
        group_id = openflow_group_id(self.deployment.cookie, spec.id, role)
        for switch in {place.switch for place in places}:
            bucket = ()
            if node is not None:
                interface = self.deployment.nodes[node].data
                port = self.paths.out_port(switch, interface.place)
                if port is not None:
                    bucket = (("eth_dst", interface.mac), ("output", port))
            self.groups.add(Group(switch, group_id, "indirect", bucket))
        for place in places:
            self._flow(place.switch, ROLE, _VIRTUAL_KIND, spec.id,
                       {"in_port": place.port, "eth_type": NSH, "eth_dst": virtual_mac(role, spec.id)},
                       (("group", group_id),))

    def to_middlebox(self, spec, port, logger):
        if logger is None:
            return
        interface = self.deployment.nodes[logger].ports[spec.name][port.name]
        address = port.address.split("/")[0]
        for name in port.hosts:
            host = self.deployment.hosts[name]
            for position, hop in enumerate(self.paths.path(host.place, interface)):
                # at the host's own port all that it sends counts; further on its address tells it from others
                match = {"in_port": hop.in_port} if position == 0 else {"in_port": hop.in_port, "eth_src": host.mac}
                out = (("output", hop.out_port),)
                self._flow(hop.switch, TO, _TO_KIND, spec.id, {**match, "eth_dst": port.mac}, out)
                self._flow(hop.switch, TO, _TO_KIND, spec.id, {**match, "eth_type": ARP, "arp_tpa": address}, out)

    def from_middlebox(self, spec, port, logger):
        if logger is None:
            return
        interface = self.deployment.nodes[logger].ports[spec.name][port.name]
        everyone = {(interface.switch, interface.port): set()}      # (switch, in port) -> ports to all hosts
        for name in port.hosts:
            host = self.deployment.hosts[name]
            for position, hop in enumerate(self.paths.path(interface, host.place)):
                match = {"in_port": hop.in_port, "eth_dst": host.mac}
                if position:
                    match["eth_src"] = port.mac
                self._flow(hop.switch, FROM_HOST, _FROM_KIND, spec.id, match, (("output", hop.out_port),))
                everyone.setdefault((hop.switch, hop.in_port), set()).add(hop.out_port)
        for (switch, in_port), out_ports in everyone.items():
            match = {"in_port": in_port}
            if (switch, in_port) != (interface.switch, interface.port):
                match["eth_src"] = port.mac
            self._flow(switch, FROM_ALL, _FROM_KIND, spec.id, match, (("output", out) for out in sorted(out_ports)))
