"""The deployment file: what is attached where, and which groups to protect, as typed data.

``load`` reads the file named by the environment variable FTMB_DEPLOYMENT (docs/architecture.md has
an example) and refuses whatever it does not know: an error names the file and the key's path.
"""

import ipaddress
import json
import os
import re
from dataclasses import dataclass
from typing import Dict, Mapping, Tuple

from middleboxes.core.frames import WORKERS_MAX

KEY_BYTES = 32
BAND = 1000                 # our rules use priorities base .. base + BAND - 1
_FILE_BYTES_MAX = 16 << 20
_PORT_MAX = 0xffffff00      # OFPP_MAX of OpenFlow 1.3
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_VIRTUAL_MAC = re.compile(r"02:46:54:0[1-3]:")         # middleboxes.core.frames.virtual_mac
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class DeploymentError(ValueError):
    """The deployment or its key file can't be used; the text names the file and the key path."""


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
    """A role host: its data interface, and at loggers one interface per port of a group."""
    data: Interface
    ports: Mapping[str, Mapping[str, Place]]        # group -> port name -> place


@dataclass(frozen=True)
class GroupPort:
    """A side of the middlebox: its own addresses and the hosts on that side."""
    name: str
    mac: str
    address: str                                    # with prefix length
    hosts: Tuple[str, ...]


@dataclass(frozen=True)
class GroupSpec:
    """One protected middlebox and the nodes that may serve it; ``pool[0]`` is its first master."""
    name: str
    id: int
    function: str
    parameters: dict
    workers: int
    ports: Tuple[GroupPort, ...]
    input_logger: str
    output_logger: str
    store: str
    pool: Tuple[str, ...]
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


class _Value:
    """A JSON value with the path that leads to it, so that every complaint can name it."""

    def __init__(self, file, path, value):
        self.file, self.path, self.value = file, path, value

    def fail(self, text):
        raise DeploymentError(f"{self.file}: {self.path or 'the top level'}: {text}")

    def _expect(self, kind, name):
        # bool is an int in Python, not in JSON
        if not isinstance(self.value, kind) or (kind is int and isinstance(self.value, bool)):
            self.fail(f"must be {name}, is {json.dumps(self.value)[:60]}")
        return self.value

    def _child(self, key):
        path = f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}".lstrip(".")
        return _Value(self.file, path, self.value[key])

    def keys(self, *required, optional=()):
        """The values under exactly these keys, as a dict."""
        self._expect(dict, "a map")
        allowed = (*required, *optional)
        for key in self.value:
            if key not in allowed:
                self.fail(f"unknown key {key!r}; allowed: {', '.join(allowed)}")
        for key in required:
            if key not in self.value:
                self.fail(f"key {key!r} is missing")
        return {key: self._child(key) for key in allowed if key in self.value}

    def named(self):
        """A map of free names to values."""
        self._expect(dict, "a map")
        for key in self.value:
            if not _NAME.fullmatch(key):
                self.fail(f"{key!r} is not a name (letters, digits, '_.-'; at most 64)")
        return {key: self._child(key) for key in self.value}

    def items(self, count_min=0):
        self._expect(list, "a list")
        if len(self.value) < count_min:
            self.fail(f"needs at least {count_min} entries")
        return [self._child(position) for position in range(len(self.value))]

    def integer(self, low, high):
        value = self._expect(int, "an integer")
        if not low <= value <= high:
            self.fail(f"must be {low} .. {high}, is {value}")
        return value

    def text(self):
        value = self._expect(str, "a text")
        if not value:
            self.fail("must not be empty")
        return value

    def mapping(self):
        return self._expect(dict, "a map")

    def boolean(self):
        return self._expect(bool, "true or false")

    def mac(self):
        value = self.text().lower()
        if not _MAC.fullmatch(value) or int(value[:2], 16) & 1:
            self.fail(f"{value!r} is not a unicast MAC address")
        if _VIRTUAL_MAC.match(value):
            self.fail(f"{value!r} is in the range of virtual MAC addresses (02:46:54:01 to 03)")
        return value

    def address(self, parse, what):
        value = self.text()
        try:
            parse(value)
        except ValueError:
            self.fail(f"{value!r} is not {what}")
        return value

    def one_of(self, names, what):
        value = self.text()
        if value not in names:
            self.fail(f"there is no {what} {value!r}")
        return value


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
    top = _Value(file, "", value)
    keys = top.keys("key_file", "control", "openflow", "liveness", "switches", "links", "hosts", "nodes",
                    "groups", optional=("recovery",))
    control = keys["control"].keys("address", "port")
    openflow = keys["openflow"].keys("table", "priority", "cookie")
    liveness = keys["liveness"].keys("heartbeat_interval_ms", "suspect_after_ms")
    switches = {name: item.integer(1, 2**64 - 1) for name, item in keys["switches"].named().items()}
    _distinct(keys["switches"], switches.items(), "datapath id")
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
    keys = item.keys("name", "mac", "address", "hosts")
    return GroupPort(keys["name"].text(), keys["mac"].mac(),
                     keys["address"].address(ipaddress.IPv4Interface, "an IPv4 address with its prefix length"),
                     tuple(host.one_of(hosts, "host") for host in keys["hosts"].items()))


def _group(name, item, hosts, nodes):
    keys = item.keys("id", "function", "parameters", "workers", "ports", "input_logger", "output_logger", "store",
                     "pool", "checkpoint_interval_ms", "tick_interval_ms", "log_bytes_max")
    group = GroupSpec(
        name=name,
        id=keys["id"].integer(1, 0xffff),
        function=keys["function"].text(),
        parameters=keys["parameters"].mapping(),
        workers=keys["workers"].integer(1, WORKERS_MAX),
        ports=tuple(_group_port(port, hosts) for port in keys["ports"].items(count_min=1)),
        input_logger=keys["input_logger"].one_of(nodes, "node"),
        output_logger=keys["output_logger"].one_of(nodes, "node"),
        store=keys["store"].one_of(nodes, "node"),
        pool=tuple(node.one_of(nodes, "node") for node in keys["pool"].items(count_min=1)),
        checkpoint_interval_ms=keys["checkpoint_interval_ms"].integer(1, 3_600_000),
        tick_interval_ms=keys["tick_interval_ms"].integer(1, 3_600_000),
        log_bytes_max=keys["log_bytes_max"].integer(1 << 16, 1 << 40))
    _distinct(keys["ports"], enumerate(port.name for port in group.ports), "port name")
    _distinct(keys["pool"], enumerate(group.pool), "node")
    for role in ("input_logger", "output_logger"):
        logger = getattr(group, role)
        missing = [port.name for port in group.ports if port.name not in nodes[logger].ports.get(name, {})]
        if missing:
            keys[role].fail(f"node {logger!r} has no interface for port {missing[0]!r} (nodes.{logger}.ports.{name})")
    return group


def _distinct(item, pairs, what):
    seen = {}
    for key, value in pairs:
        if value in seen:
            item.fail(f"{what} {value!r} is used twice ({seen[value]} and {key})")
        seen[value] = key


def _check_clashes(top, keys, deployment):
    """What no single value shows: two things on one port, one MAC or one id; a node with two jobs."""
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
    _distinct(top, places, "switch port")
    _distinct(top, macs, "MAC address")
    groups = deployment.groups
    _distinct(keys["groups"], ((name, group.id) for name, group in groups.items()), "id")
    _distinct(keys["groups"], ((name, group.pool[0]) for name, group in groups.items()), "first master")
    fixed = {getattr(group, role) for group in groups.values() for role in ("input_logger", "output_logger", "store")}
    for name, group in groups.items():
        for node in group.pool:
            if node in fixed:
                keys["groups"].fail(f"{name}.pool: node {node!r} is already a logger or store")
