"""The deployment file: what is attached where, and which groups to protect, as typed data.

``load`` reads the file named by the environment variable FTMB_DEPLOYMENT (docs/architecture.md has
an example) and refuses whatever it does not know: an error names the file and the key's path.
"""

import ipaddress
import json
import os
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple

from middleboxes.core.frames import WORKERS_MAX

from .values import DeploymentError, Value

KEY_BYTES = 32
BAND = 1000                 # our rules use priorities base .. base + BAND - 1
_FILE_BYTES_MAX = 16 << 20
_PORT_MAX = 0xffffff00      # OFPP_MAX of OpenFlow 1.3
ON_LOSS = ("block", "last-checkpoint", "empty")
SPARES = ("warm", "cold", "hot")

@dataclass(frozen=True, order=True)
class Place:
    """A port of a switch."""
    switch: str
    port: int


@dataclass(frozen=True)
class Interface:
    """An interface of a host or node, and the switch port that it is plugged into."""
    place: Place
    mac: str


@dataclass(frozen=True)
class Node:
    """A role host: its data interface, and where it may be a logger one interface per port of the group."""
    data: Interface
    ports: Mapping[str, Mapping[str, Place]]        # group -> port name -> place


@dataclass(frozen=True)
class GroupPort:
    """A side of the middlebox: its own addresses, the hosts on that side, and the port of another group that it faces."""
    name: str
    mac: str
    address: str                                    # with prefix length
    hosts: Tuple[str, ...]
    peer: Optional[Tuple[str, str]]                 # (group, port)
    address6: Tuple[str, ...] = ()                  # IPv6, with prefix length
    announced: Tuple[str, ...] = ()                 # further addresses, of either kind, that the function has on this link

    @property
    def asked_for(self):
        """All addresses (text, in their canonical form) that neighbours ask for, the link-local one of an IPv6 port among them."""
        own = [ipaddress.ip_interface(each).ip for each in (self.address, *self.address6)]
        if self.address6:
            own.append(_link_local(self.mac))
        return tuple(dict.fromkeys([*map(str, own), *self.announced]))


@dataclass(frozen=True)
class GroupSpec:
    """One protected middlebox: the nodes that begin (``pool[0]`` as master), and those that may serve it."""
    name: str
    id: int
    function: str
    parameters: dict
    workers: int
    ports: Tuple[GroupPort, ...]
    input_logger: str
    output_logger: str
    store: str
    pool: Tuple[str, ...]                           # master and spare
    loggers: Tuple[str, ...]                        # input and output logger
    stores: Tuple[str, ...]
    on_loss: str                                    # one of ON_LOSS: what to do when the state can't be recovered
    spare: str                                      # one of SPARES: warm prefetches checkpoints, cold does not, hot repeats what the master does
    checkpoint_interval_ms: int
    tick_interval_ms: int
    log_bytes_max: int


@dataclass(frozen=True)
class Deployment:
    """The whole file. Datapath ids are in ``switches``; ``cookie`` is the upper half of our cookies."""
    key_file: str
    control_address: str
    control_port: int
    table: int
    priority: int
    cookie: int
    heartbeat_interval_ms: int
    suspect_after_ms: int
    recovery: bool
    switches: Mapping[str, int]
    links: Tuple[Tuple[Place, Place], ...]
    hosts: Mapping[str, Interface]
    nodes: Mapping[str, Node]
    groups: Mapping[str, GroupSpec]


def load(path):
    """The Deployment in the JSON file *path*. Raises DeploymentError."""
    try:
        if os.path.getsize(path) > _FILE_BYTES_MAX:
            raise DeploymentError(f"{path}: larger than {_FILE_BYTES_MAX} bytes")
        with open(path, encoding="utf-8") as file:
            value = json.load(file, object_pairs_hook=lambda pairs: _unique(path, pairs))
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DeploymentError(f"{path}: not JSON: {error}") from error
    return parse(value, path)


def read_key(path):
    """The deployment's pre-shared key (KEY_BYTES bytes) from its hex file. Raises DeploymentError."""
    try:
        with open(path, encoding="ascii") as file:
            key = bytes.fromhex(file.read(4 * KEY_BYTES).strip())
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DeploymentError(f"{path}: the key must be {KEY_BYTES} bytes in hex") from error
    if len(key) != KEY_BYTES:
        raise DeploymentError(f"{path}: the key must be {KEY_BYTES} bytes, is {len(key)}")
    return key


def parse(value, file="deployment"):
    """The Deployment in the parsed JSON *value*; *file* is named in errors. Raises DeploymentError."""
    top = Value(file, "", value)
    keys = top.keys("key_file", "control", "openflow", "liveness", "switches", "links", "hosts", "nodes",
                    "groups", optional=("recovery",))
    control = keys["control"].keys("address", "port")
    openflow = keys["openflow"].keys("table", "priority", "cookie")
    liveness = keys["liveness"].keys("heartbeat_interval_ms", "suspect_after_ms")
    switches = {name: item.integer(1, 2**64 - 1) for name, item in keys["switches"].named().items()}
    keys["switches"].distinct(switches.items(), "datapath id")
    heartbeat_ms = liveness["heartbeat_interval_ms"].integer(1, 60_000)
    hosts = {name: _interface(item, switches) for name, item in keys["hosts"].named().items()}
    nodes = {name: _node(item, switches) for name, item in keys["nodes"].named().items()}
    groups = {name: _group(name, item, hosts, nodes) for name, item in keys["groups"].named().items()}
    deployment = Deployment(
        key_file=keys["key_file"].text(),
        control_address=control["address"].address(ipaddress.ip_address, "an IP address"),
        control_port=control["port"].integer(1, 65535),
        table=openflow["table"].integer(0, 253),
        priority=openflow["priority"].integer(1, 65536 - BAND),
        cookie=openflow["cookie"].integer(1, 2**32 - 2),
        heartbeat_interval_ms=heartbeat_ms,
        suspect_after_ms=liveness["suspect_after_ms"].integer(2 * heartbeat_ms, 600_000),
        recovery=keys["recovery"].boolean() if "recovery" in keys else True,
        switches=switches,
        links=tuple(_link(item, switches) for item in keys["links"].items()),
        hosts=hosts, nodes=nodes, groups=groups)
    _check_clashes(top, keys, deployment)
    return deployment


def _unique(file, pairs):
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DeploymentError(f"{file}: key {twice[0]!r} appears twice in one map")
    return value


def _place(keys, switches):
    return Place(keys["switch"].one_of(switches, "switch"), keys["port"].integer(1, _PORT_MAX - 1))


def _interface(item, switches):
    keys = item.keys("switch", "port", "mac")
    return Interface(_place(keys, switches), keys["mac"].mac())


def _node(item, switches):
    keys = item.keys("data", optional=("ports",))
    ports: Dict[str, Dict[str, Place]] = {}
    if "ports" in keys:
        for group, sides in keys["ports"].named().items():
            ports[group] = {side: _place(place.keys("switch", "port"), switches)
                            for side, place in sides.named().items()}
    return Node(_interface(keys["data"], switches), ports)


def _link(item, switches):
    keys = item.keys("a", "b")
    return (_place(keys["a"].keys("switch", "port"), switches), _place(keys["b"].keys("switch", "port"), switches))


def _group_port(item, hosts):
    keys = item.keys("name", "mac", "address", optional=("hosts", "peer", "address6", "announced"))
    port = GroupPort(keys["name"].text(), keys["mac"].mac(),
                     keys["address"].address(ipaddress.IPv4Interface, "an IPv4 address with its prefix length"),
                     tuple(host.one_of(hosts, "host") for host in keys["hosts"].items()) if "hosts" in keys else (),
                     _peer(keys.get("peer")),
                     _texts(keys.get("address6"), lambda text: _with_length(ipaddress.IPv6Interface, text), "an IPv6 address with its prefix length"),
                     tuple(str(ipaddress.ip_address(text)) for text in _texts(keys.get("announced"), ipaddress.ip_address, "an IP address")))
    if not port.hosts and port.peer is None:
        item.fail("a port needs hosts or a peer")
    return port


def _texts(item, parse, what):
    """The texts of a list, if there is one, each of which *parse* takes."""
    if item is None:
        return ()
    texts = tuple(each.address(parse, what) for each in item.items())
    for each in item.items():
        if "%" in each.value:
            each.fail(f"{each.value!r} has a zone, which is not possible here")
    return texts


def _with_length(kind, text):
    if "/" not in text:
        raise ValueError("no prefix length")
    return kind(text)


def _link_local(mac):
    """The link-local IPv6 address of an interface (RFC 4291, appendix A): what the function makes of its port's MAC address."""
    digits = bytes.fromhex(mac.replace(":", ""))
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes((digits[0] ^ 2,)) + digits[1:3] + b"\xff\xfe" + digits[3:])


def _peer(item):
    if item is None or item.value is None:
        return None
    keys = item.keys("group", "port")
    return keys["group"].text(), keys["port"].text()


def _group(name, item, hosts, nodes):
    keys = item.keys("id", "function", "parameters", "workers", "ports", "input_logger", "output_logger", "store",
                     "pool", "checkpoint_interval_ms", "tick_interval_ms", "log_bytes_max",
                     optional=("loggers", "stores", "on_loss", "spare"))
    holders = {role: keys[role].one_of(nodes, "node") for role in ("input_logger", "output_logger", "store")}
    loggers = (holders["input_logger"], holders["output_logger"])
    group = GroupSpec(
        name=name,
        id=keys["id"].integer(1, 0xffff),
        function=keys["function"].text(),
        parameters=keys["parameters"].mapping(),
        workers=keys["workers"].integer(1, WORKERS_MAX),
        ports=tuple(_group_port(port, hosts) for port in keys["ports"].items(count_min=1)),
        **holders,
        pool=_nodes(keys["pool"], nodes, count_min=1),
        loggers=_candidates(keys.get("loggers"), nodes, loggers, loggers),
        stores=_candidates(keys.get("stores"), nodes, (holders["store"], *loggers), (holders["store"],)),
        on_loss=keys["on_loss"].choice(*ON_LOSS) if "on_loss" in keys else ON_LOSS[0],
        spare=keys["spare"].choice(*SPARES) if "spare" in keys else SPARES[0],
        checkpoint_interval_ms=keys["checkpoint_interval_ms"].integer(1, 3_600_000),
        tick_interval_ms=keys["tick_interval_ms"].integer(1, 3_600_000),
        log_bytes_max=keys["log_bytes_max"].integer(1 << 16, 1 << 40))
    keys["ports"].distinct(enumerate(port.name for port in group.ports), "port name")
    for logger in group.loggers:
        missing = [port.name for port in group.ports if port.name not in nodes[logger].ports.get(name, {})]
        if missing:
            named = next((role for role in ("input_logger", "output_logger") if holders[role] == logger), "loggers")
            keys[named].fail(f"node {logger!r} has no interface for port {missing[0]!r} (nodes.{logger}.ports.{name})")
    return group


def _nodes(item, nodes, count_min=0):
    names = tuple(node.one_of(nodes, "node") for node in item.items(count_min))
    item.distinct(enumerate(names), "node")
    return names


def _candidates(item, nodes, default, required):
    """The nodes that may have a role: those listed in *item*, *required* among them; without it the *default*."""
    if item is None:
        return tuple(dict.fromkeys(default))
    names = _nodes(item, nodes)
    for name in required:
        if name not in names:
            item.fail(f"node {name!r} begins with the role, and is not listed")
    return names


def _check_clashes(top, keys, deployment):
    """What no single value shows: two things on one port, one MAC, address or id; peers that are not; a node with two jobs."""
    places = [(f"hosts.{name}", host.place) for name, host in deployment.hosts.items()]
    macs = [(f"hosts.{name}", host.mac) for name, host in deployment.hosts.items()]
    for name, node in deployment.nodes.items():
        places.append((f"nodes.{name}.data", node.data.place))
        macs.append((f"nodes.{name}.data", node.data.mac))
        for group, sides in node.ports.items():
            if group not in deployment.groups:
                keys["nodes"].fail(f"{name}.ports: there is no group {group!r}")
            places += [(f"nodes.{name}.ports.{group}.{side}", place) for side, place in sides.items()]
    for position, (a, b) in enumerate(deployment.links):
        places += [(f"links[{position}].a", a), (f"links[{position}].b", b)]
    groups = deployment.groups
    macs += [(f"groups.{name}.ports[{position}]", port.mac) for name, group in groups.items()
             for position, port in enumerate(group.ports)]
    top.distinct(places, "switch port")
    top.distinct(macs, "MAC address")
    keys["groups"].distinct(((name, group.id) for name, group in groups.items()), "id")
    keys["groups"].distinct(((name, group.pool[0]) for name, group in groups.items()), "first master")
    _check_ports(keys["groups"], groups)
    logs = {getattr(group, role) for group in groups.values() for role in ("input_logger", "output_logger", "store")}
    for name, group in groups.items():
        if group.pool[0] in logs:
            keys["groups"].fail(f"{name}.pool: the first master {group.pool[0]!r} is already a logger or store")


def _check_ports(item, groups):
    """Peers face each other; no host sees one address twice."""
    ports = {(name, port.name): port for name, group in groups.items() for port in group.ports}
    for (name, side), port in ports.items():
        if port.peer is None:
            continue
        where, peer = f"{name}.ports: {side!r}", ".".join(port.peer)
        if port.peer not in ports:
            item.fail(f"{where}: there is no port {peer}")
        if port.peer[0] == name:
            item.fail(f"{where}: its peer {peer} must be of another group")
        if ports[port.peer].peer != (name, side):
            item.fail(f"{where}: its peer {peer} does not name it in turn")
    item.distinct(((f"{name}.{side}", (host, address)) for (name, side), port in ports.items()
                   for host in port.hosts for address in port.asked_for), "for a host, the address")
