"""Steering: from who is active and who is fenced to the OpenFlow entries wanted. Pure.

Priorities are offsets in our band (docs/architecture.md has the table of rules):

    +900 fence    +800 role    +701 from the middlebox to a known host, +700 to all hosts of the port
    +600 to the middlebox

A cookie is the deployment's number (upper 32 bits), the kind of rule and the group's id (lower).
"""

from dataclasses import dataclass
from typing import FrozenSet, Mapping, Optional, Tuple

from .deployment import Place
from .paths import Paths

NSH = 0x894F
ARP = 0x0806
FENCE, ROLE, FROM_HOST, FROM_ALL, TO = 900, 800, 701, 700, 600

# the roles that frames are addressed to, as the third byte of their virtual MAC
VIRTUAL = {"input-logger": 1, "master": 2, "output-logger": 3}
_FENCE_KIND, _VIRTUAL_KIND, _NODE_KIND, _FROM_KIND, _TO_KIND = 1, 2, 3, 4, 5


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
    """Facts that decide the entries: active node per (group, role), fenced nodes, switch ports down."""
    active: Mapping[Tuple[str, str], Optional[str]]
    fenced: FrozenSet[str] = frozenset()
    down: FrozenSet[Place] = frozenset()


def virtual_mac(role, group_id):
    """The address that frames to *role* of the group are sent to."""
    return f"02:46:54:{VIRTUAL[role]:02x}:{group_id >> 8:02x}:{group_id & 0xff:02x}"


def group_prefix(cookie):
    """The upper 14 bits of all our OpenFlow group ids: never 0, never in the reserved range."""
    return (cookie * 2654435761 >> 7) % 0x3ffe + 1


def openflow_group_id(cookie, group_id, role):
    """The OpenFlow group of a role: 14 bits mixed from the cookie, 16 of the group id, 2 of the role."""
    return group_prefix(cookie) << 18 | group_id << 2 | VIRTUAL[role]


def wanted(deployment, steering):
    """All entries of all groups: (frozenset of Flow, frozenset of Group)."""
    plan = _Plan(deployment, steering)
    for name in sorted(steering.fenced):
        plan.fence(deployment.nodes[name].data.place)
    for name in sorted(deployment.nodes):
        plan.lead_to(deployment.nodes[name].data)
    for spec in deployment.groups.values():
        for role in VIRTUAL:
            plan.redirect(spec, role, steering.active.get((spec.name, role)))
        for port in spec.ports:
            plan.to_middlebox(spec, port, steering.active.get((spec.name, "input-logger")))
            plan.from_middlebox(spec, port, steering.active.get((spec.name, "output-logger")))
    return frozenset(plan.flows), frozenset(plan.groups)


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
        for switch in self.deployment.switches:
            port = self.paths.out_port(switch, interface.place)
            self._flow(switch, ROLE, _NODE_KIND, 0, {"eth_type": NSH, "eth_dst": interface.mac},
                       () if port is None else (("output", port),))

    def redirect(self, spec, role, node):
        """The group entry of *role*, and the rule that leads to it, wherever a sender may sit."""
        senders = spec.pool if role != "master" else (spec.input_logger, spec.output_logger)
        group_id = openflow_group_id(self.deployment.cookie, spec.id, role)
        for switch in {self.deployment.nodes[sender].data.place.switch for sender in senders}:
            bucket = ()
            if node is not None:
                interface = self.deployment.nodes[node].data
                port = self.paths.out_port(switch, interface.place)
                if port is not None:
                    bucket = (("eth_dst", interface.mac), ("output", port))
            self.groups.add(Group(switch, group_id, "indirect", bucket))
            self._flow(switch, ROLE, _VIRTUAL_KIND, spec.id,
                       {"eth_type": NSH, "eth_dst": virtual_mac(role, spec.id)}, (("group", group_id),))

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
