"""The user's configuration: YAML in, dataclasses out, or an error with file and line.

Named configurations live in ``ftmb/configurations/NAME.yaml``. The keys are described in docs/architecture.md;
``read`` checks each value by itself, ``ftmb.consistency`` how they fit together.
"""

import ipaddress
import re
from dataclasses import dataclass, field, fields as dataclass_fields
from pathlib import Path
from typing import Optional

import yaml

from middleboxes.core.frames import WORKERS_MAX
from middleboxes.runtime.awake import WHEN

from . import consistency, document
from .errors import UsageError

CONFIGURATIONS = Path(__file__).with_name("configurations")

# "ft" + name + "-p99" must fit into the 15 characters of an interface name; a switch's ports reach "-9999".
HOST_NAME_LENGTH_MAX = 9
SWITCH_NAME_LENGTH_MAX = 8
_NAME = re.compile(r"[a-z][a-z0-9]*")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ADDRESS6 = "2001:db8:1::1/64"


@dataclass
class Host:
    """An ordinary host of the data network; *address* is an IPv4 interface, *gateway* an address or None; IPv6 alike, or None."""

    name: str
    switch: str
    address: ipaddress.IPv4Interface
    gateway: Optional[ipaddress.IPv4Address] = None
    address6: Optional[ipaddress.IPv6Interface] = None
    gateway6: Optional[ipaddress.IPv6Address] = None


@dataclass
class Port:
    """A port of a middlebox: the hosts whose traffic belongs to it, and (group, port) of the one that it faces, or None.

    *addresses6*: IPv6 interfaces, none if it speaks no IPv6; *announced*: addresses (text) that the function has on its link besides
    (``ftmb.consistency`` asks it).
    """

    name: str
    mac: str
    address: ipaddress.IPv4Interface
    hosts: list
    peer: Optional[tuple] = None
    addresses6: list = field(default_factory=list)
    announced: list = field(default_factory=list)


@dataclass
class Group:
    """One protected middlebox: what it runs, who plays its roles at first, and who may play them later."""

    name: str
    function: str
    ports: list
    input_logger: str
    output_logger: str
    store: str
    pool: list
    loggers: list
    stores: list
    on_loss: str = "block"
    spare: str = "warm"
    parameters: dict = field(default_factory=dict)
    workers: int = 1
    checkpoint_interval_ms: int = 100
    tick_interval_ms: int = 100
    log_bytes_max: int = 64 << 20


@dataclass
class Controller:
    """Where the controller listens, which part of the flow tables is ours, and when a silent node is dead."""

    openflow_port: int = 16653
    rest_port: int = 8080
    control_port: int = 9777
    table: int = 0
    priority: int = 40000
    cookie: int = 0x46544D42
    heartbeat_interval_ms: int = 50
    suspect_after_ms: int = 1000


@dataclass
class Bundles:
    """Where nodes leave bundles of failovers, and how many with how many bytes at most."""

    directory: str
    count_max: int = 8
    bytes_max: int = 256 << 20


@dataclass
class Configuration:
    """Everything that one emulated deployment consists of."""

    source: str
    switches: list
    links: list
    hosts: dict
    nodes: dict
    groups: dict
    controller: Controller
    management: ipaddress.IPv4Network = ipaddress.IPv4Network("10.254.0.0/24")
    bundles: Optional[Bundles] = None
    stay_awake: str = WHEN[0]


_CONTROLLER_RANGES = {
    "openflow_port": (1, 65535), "rest_port": (1, 65535), "control_port": (1, 65535),
    "table": (0, 253), "priority": (1, 64536), "cookie": (1, 0xFFFFFFFF),
    "heartbeat_interval_ms": (1, 10_000), "suspect_after_ms": (2, 600_000),
}
_GROUP_RANGES = {
    "workers": (1, WORKERS_MAX), "checkpoint_interval_ms": (1, 3_600_000), "tick_interval_ms": (1, 3_600_000),
    "log_bytes_max": (1 << 16, 1 << 34),
}
_BUNDLES_RANGES = {"count_max": (1, 10_000), "bytes_max": (1 << 20, 1 << 40)}
SPARES = ("warm", "cold", "hot")
_GROUP_CHOICES = {"on_loss": ("block", "last-checkpoint", "empty"), "spare": SPARES}


def names():
    """The named configurations, sorted."""
    return sorted(path.stem for path in CONFIGURATIONS.glob("*.yaml"))


def readiness():
    """How ready a group's spare may be kept (the key ``spare``)."""
    return _GROUP_CHOICES["spare"]


def load(name_or_file):
    """The Configuration of that name, or in that file. Raises UsageError."""
    named = name_or_file in names()
    path = CONFIGURATIONS / f"{name_or_file}.yaml" if named else Path(name_or_file)
    try:
        if not path.is_file():      # nor anything else that could be read without end
            raise UsageError(f"no configuration {name_or_file!r}: neither a file nor one of {', '.join(names())}")
        with path.open("rb") as file:
            text = file.read(document.DOCUMENT_BYTES_MAX + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {name_or_file}: {error}") from error
    return read(text, str(path))


def read(text, source):
    """The Configuration in *text*; *source* names the file in errors. Raises document.ConfigurationError."""
    root = document.compose(text, source)
    top = document.fields(root, "the configuration", ("network", "groups"), ("controller", "bundles", "stay_awake"))
    configuration = _network(top["network"], source)
    configuration.groups = {name: _group(name, node)
                            for name, node in document.mapping(top["groups"], "groups").items()}
    if not configuration.groups:
        document.fail(top["groups"], "groups: at least one group is needed")
    if "controller" in top:
        configuration.controller = _controller(top["controller"])
    if "bundles" in top:
        configuration.bundles = _bundles(top["bundles"])
    if "stay_awake" in top:
        configuration.stay_awake = document.choice(top["stay_awake"], "stay_awake", WHEN)
    consistency.check(configuration, root)
    return configuration


def _network(node, source):
    got = document.fields(node, "network", ("switches", "hosts", "nodes"), ("links", "management"))
    switches = [_name(item, "a switch", SWITCH_NAME_LENGTH_MAX)
                for item in document.sequence(got["switches"], "network.switches")]
    links = []
    for item in document.sequence(got["links"], "network.links") if "links" in got else []:
        pair = [document.string(end, "the end of a link") for end in document.sequence(item, "a link")]
        if len(pair) != 2 or pair[0] == pair[1]:
            document.fail(item, "a link joins two switches: [s1, s2]")
        links.append(pair)
    hosts = {name: _host(name, value) for name, value in document.mapping(got["hosts"], "network.hosts").items()}
    nodes = {}
    for name, value in document.mapping(got["nodes"], "network.nodes").items():
        _check_name(value, name, "a node", HOST_NAME_LENGTH_MAX)
        nodes[name] = document.string(value, f"the switch of node {name}")
    result = Configuration(source, switches, links, hosts, nodes, {}, Controller())
    if "management" in got:
        result.management = _parse(ipaddress.IPv4Network, got["management"], "network.management", "10.254.0.0/24")
    return result


def _host(name, node):
    what = f"host {name}"
    _check_name(node, name, "a host", HOST_NAME_LENGTH_MAX)
    got = document.fields(node, what, ("switch", "address"), ("gateway", "address6", "gateway6"))

    def taken(kind, key, example):
        return _parse(kind, got[key], f"{what}: {key}", example) if key in got else None
    return Host(name, document.string(got["switch"], f"{what}: switch"), taken(ipaddress.IPv4Interface, "address", "10.0.0.1/24"),
                taken(ipaddress.IPv4Address, "gateway", "10.0.0.254"), taken(ipaddress.IPv6Interface, "address6", _ADDRESS6),
                taken(ipaddress.IPv6Address, "gateway6", "2001:db8:1::fe"))


def _group(name, node):
    what = f"group {name}"
    _check_name(node, name, "a group", 32)
    got = document.fields(node, what, ("function", "ports", "input_logger", "output_logger", "store", "pool"),
                          ("parameters", "loggers", "stores", *_GROUP_CHOICES, *_GROUP_RANGES))
    ports = [_port(what, port, value) for port, value in document.mapping(got["ports"], f"{what}: ports").items()]
    if not 1 <= len(ports) <= 10:
        document.fail(got["ports"], f"{what}: ports: from 1 to 10 ports are possible")
    texts = {key: document.string(got[key], f"{what}: {key}")
             for key in ("function", "input_logger", "output_logger", "store")}
    pool = _texts(got["pool"], f"{what}: pool")
    first = {"loggers": [texts["input_logger"], texts["output_logger"]],
             "stores": [texts["store"], texts["input_logger"], texts["output_logger"]]}
    candidates = {key: _texts(got[key], f"{what}: {key}") if key in got else list(dict.fromkeys(names))
                  for key, names in first.items()}
    choices = {key: document.choice(got[key], f"{what}: {key}", allowed)
               for key, allowed in _GROUP_CHOICES.items() if key in got}
    parameters = document.plain(got["parameters"], f"{what}: parameters") if "parameters" in got else {}
    if not isinstance(parameters, dict) or not all(isinstance(key, str) for key in parameters):
        document.fail(got["parameters"], f"{what}: parameters must be a mapping with text keys")
    return Group(name, ports=ports, pool=pool, parameters=parameters, **texts, **candidates, **choices,
                 **_numbers(what, got, _GROUP_RANGES))


def _port(group, name, node):
    what = f"{group}: port {name}"
    _check_name(node, name, "a port", 16)
    got = document.fields(node, what, ("mac", "address"), ("address6", "hosts", "peer"))
    if not got.keys() & {"hosts", "peer"}:
        document.fail(node, f"{what}: 'hosts' is missing, or 'peer': whose traffic is it?")
    mac = document.string(got["mac"], f"{what}: mac").lower()
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        document.fail(got["mac"], f"{what}: mac must be a unicast MAC address such as 02:00:5e:00:01:01")
    hosts = _texts(got["hosts"], f"{what}: hosts") if "hosts" in got else []
    return Port(name, mac, _parse(ipaddress.IPv4Interface, got["address"], f"{what}: address", "10.0.0.254/24"), hosts,
                _peer(got["peer"], what) if "peer" in got else None, _addresses6(got["address6"], f"{what}: address6") if "address6" in got else [])


def _addresses6(node, what):
    """One IPv6 interface or a list of them."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [_parse(ipaddress.IPv6Interface, item, what, _ADDRESS6) for item in nodes]


def _peer(node, what):
    group, dot, port = document.string(node, f"{what}: peer").partition(".")
    if not (group and dot and port):
        document.fail(node, f"{what}: peer must be GROUP.PORT")
    return group, port


def _controller(node):
    allowed = [entry.name for entry in dataclass_fields(Controller)]
    got = document.fields(node, "controller", optional=allowed)
    return Controller(**_numbers("controller", got, _CONTROLLER_RANGES))


def _bundles(node):
    got = document.fields(node, "bundles", ("directory",), tuple(_BUNDLES_RANGES))
    directory = document.string(got["directory"], "bundles: directory")
    if not directory or "\0" in directory:
        document.fail(got["directory"], "bundles: directory must name a directory")
    return Bundles(directory, **_numbers("bundles", got, _BUNDLES_RANGES))


def _texts(node, what):
    return [document.string(item, what) for item in document.sequence(node, what)]


def _numbers(what, got, ranges):
    return {key: document.integer(got[key], f"{what}: {key}", *bounds) for key, bounds in ranges.items() if key in got}


def _name(node, what, length_max):
    name = document.string(node, what)
    _check_name(node, name, what, length_max)
    return name


def _check_name(node, name, what, length_max):
    if not _NAME.fullmatch(name) or len(name) > length_max:
        document.fail(node, f"{name!r} cannot name {what}: small letters and digits, a letter first, "
                            f"at most {length_max} characters")


def _parse(kind, node, what, example):
    text = document.string(node, what)
    try:
        # "10.0.0.1" would silently become 10.0.0.1/32
        if "/" in example and "/" not in text:
            raise ValueError("no prefix length")
        if "%" in text:
            raise ValueError("a zone")
        return kind(text)
    except ValueError:
        document.fail(node, f"{what} must look like {example}, not {text!r}")
