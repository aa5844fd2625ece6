"""A configuration resolved to numbers: interfaces, addresses, ports; pure, and the same each time.

From it come the description that ``topologies.network`` builds, the deployment file of the controller and
the files of the nodes (docs/architecture.md has their formats).

MAC addresses: hosts 02:46:54:10:NN:NN, data interfaces of nodes :11:, their port interfaces :12:; so they never
meet the virtual ones of the roles (:01: to :03:).
"""

from dataclasses import dataclass, field
from pathlib import Path

DATA_MTU = 9000     # frames between roles carry the original frame and their own headers
EDGE_MTU = 1500
SERVICE_PORT = 9778
MANAGEMENT_HOST, ROOT_HOST = "ftmanage", "ftroot"
MANAGEMENT_BRIDGE, ROOT_INTERFACE = "ftbr", "ftcontrol"
_HOST_MAC, _DATA_MAC, _PORT_MAC = 0x10, 0x11, 0x12
_FIRST_NODE_ADDRESS = 11


@dataclass
class NodeLinks:
    """The interfaces of a role node, and the switch's ends of them (these are in the root namespace)."""

    data: str
    management: str
    address: str                                    # on the management network
    ports: dict = field(default_factory=dict)       # {group: {port: interface}}
    at_switch: dict = field(default_factory=dict)   # {interface: the switch's end}

    def all(self):
        """All interfaces in the node's namespace."""
        return [*self.at_switch, self.management]


@dataclass
class Plan:
    """What ``ftmb up`` makes."""

    description: dict
    deployment: dict
    node_files: dict            # {node: content of its file}
    nodes: dict                 # {node: NodeLinks}
    hosts: dict                 # {host: its address}
    trunks: dict                # {"s1-s2": the interfaces at its two ends}

    def bridges(self):
        """Names of our Open vSwitch bridges."""
        return [switch["name"] for switch in self.description["switches"]]

    def homes(self):
        """{group: {role's key in the status: the node that has it at first}}."""
        return {name: {"master": group["pool"][0], **{key: group[key] for key in ("input_logger", "output_logger", "store")}}
                for name, group in self.deployment["groups"].items()}

    def root_interfaces(self):
        """Names of all interfaces that we make in the root namespace, besides the bridges' own."""
        here = {ROOT_HOST, *self.bridges()}
        return [end["interface"] for link in self.description["links"] for end in link["ends"] if end["node"] in here]


def mininet_name(name):
    """The name that Mininet knows host, node or switch *name* by."""
    return f"ft{name}"


def make(configuration, directory, recovery=True, faults=None):
    """The Plan of *configuration*, with its files below *directory*; *recovery* off disables failover.

    *faults*: a bad network between the roles, as middleboxes/runtime/faults.py has it; its seed is drawn on for each node.
    """
    return _Planner(configuration, Path(directory), recovery, faults).make()


class _Planner:
    def __init__(self, configuration, directory, recovery, faults):
        self.configuration, self.directory, self.recovery, self.faults = configuration, directory, recovery, faults
        self.next_port = dict.fromkeys(configuration.switches, 1)
        self.next_mac = dict.fromkeys((_HOST_MAC, _DATA_MAC, _PORT_MAC), 1)
        self.links, self.hosts, self.nodes = [], {}, {}
        self.deployed_nodes, self.deployed_links, self.trunks = {}, [], {}
        self.joined = {name: {name} for name in configuration.switches}     # switches joined by links so far

    def make(self):
        for host in self.configuration.hosts.values():
            self.host(host)
        for number, (name, switch) in enumerate(self.configuration.nodes.items()):
            self.node(number, name, switch)
        for a, b in self.configuration.links:
            self.trunk(a, b)
        self.management("ftg0", {"node": ROOT_HOST, "interface": ROOT_INTERFACE,
                                 "address": self.management_interface(1)})
        addresses = {name: str(host.address.ip) for name, host in self.configuration.hosts.items()}
        return Plan(self.description(), self.deployment(), self.node_files(), self.nodes, addresses, self.trunks)

    def mac(self, kind):
        number = self.next_mac[kind]
        self.next_mac[kind] += 1
        return f"02:46:54:{kind:02x}:{number >> 8:02x}:{number & 255:02x}"

    def management_interface(self, number):
        network = self.configuration.management
        return f"{network[number]}/{network.prefixlen}"

    def attach(self, switch, end, mtu, flood=True):
        """Link *end* to the next port of *switch*; {"switch", "port"}."""
        port = self.next_port[switch]
        self.next_port[switch] += 1
        bridge = mininet_name(switch)
        other = {"node": bridge, "interface": f"{bridge}-{port}", "port": port, "flood": flood}
        self.links.append({"mtu": mtu, "ends": [end, other]})
        return {"switch": switch, "port": port}

    def host(self, host):
        name = mininet_name(host.name)
        end = {"node": name, "interface": f"{name}-d", "mac": self.mac(_HOST_MAC), "address": str(host.address),
               "offload": False}
        if host.address6:
            end["address6"] = str(host.address6)
        self.hosts[host.name] = {**self.attach(host.switch, end, EDGE_MTU), "mac": end["mac"]}

    def silent(self, node, suffix, kind):
        """An interface that no kernel answers on."""
        name = mininet_name(node)
        return {"node": name, "interface": f"{name}-{suffix}", "mac": self.mac(kind), "offload": False, "silent": True}

    def node(self, number, name, switch):
        data = self.silent(name, "d", _DATA_MAC)
        address = self.management_interface(_FIRST_NODE_ADDRESS + number)
        links = NodeLinks(data["interface"], f"{mininet_name(name)}-m", address.split("/")[0])
        place = self.attach(switch, data, DATA_MTU, flood=False)
        links.at_switch[data["interface"]] = f"{mininet_name(switch)}-{place['port']}"
        deployed = {"data": {**place, "mac": data["mac"]}, "ports": {}}
        for group in self.configuration.groups.values():
            if name not in group.loggers:
                continue
            for port in group.ports:
                end = self.silent(name, f"p{len(links.at_switch) - 1}", _PORT_MAC)
                place = self.attach(switch, end, EDGE_MTU, flood=False)
                links.at_switch[end["interface"]] = f"{mininet_name(switch)}-{place['port']}"
                links.ports.setdefault(group.name, {})[port.name] = end["interface"]
                deployed["ports"].setdefault(group.name, {})[port.name] = place
        self.management(f"ftg{number + 1}", {"node": mininet_name(name), "interface": links.management,
                                             "address": address})
        self.nodes[name], self.deployed_nodes[name] = links, deployed

    def management(self, interface, end):
        other = {"node": MANAGEMENT_HOST, "interface": interface, "bridge": MANAGEMENT_BRIDGE}
        self.links.append({"mtu": EDGE_MTU, "ends": [end, other]})

    def trunk(self, a, b):
        """Link two switches; where they are joined already, other applications' floods would go round for ever."""
        closes_loop = self.joined[a] is self.joined[b]
        if not closes_loop:
            self.joined[a] |= self.joined[b]
            self.joined.update(dict.fromkeys(self.joined[a], self.joined[a]))
        port = self.next_port[a]
        self.next_port[a] += 1
        end = {"node": mininet_name(a), "interface": f"{mininet_name(a)}-{port}", "port": port, "flood": not closes_loop}
        there = self.attach(b, end, DATA_MTU, flood=not closes_loop)
        self.deployed_links.append({"a": {"switch": a, "port": port}, "b": there})
        self.trunks[f"{a}-{b}"] = [f"{mininet_name(place['switch'])}-{place['port']}"
                                   for place in ({"switch": a, "port": port}, there)]

    def description(self):
        hosts = []
        for name, host in self.configuration.hosts.items():
            routes = [f"ip route add default via {host.gateway}"] if host.gateway else []
            if host.gateway6:
                routes.append(f"ip -6 route add default via {host.gateway6} dev {mininet_name(name)}-d")
            hosts.append({"name": mininet_name(name), "commands": routes})
        hosts += [{"name": mininet_name(name)} for name in self.configuration.nodes]
        hosts.append({"name": MANAGEMENT_HOST, "before": [f"ip link add {MANAGEMENT_BRIDGE} type bridge forward_delay 0",
                                                          f"ip link set {MANAGEMENT_BRIDGE} up"]})
        hosts.append({"name": ROOT_HOST, "root": True})
        return {"controller": ["127.0.0.1", self.configuration.controller.openflow_port],
                "switches": [{"name": mininet_name(name), "dpid": dpid} for name, dpid in self.dpids().items()],
                "hosts": hosts, "links": self.links}

    def dpids(self):
        return {name: dpid for dpid, name in enumerate(self.configuration.switches, 1)}

    def deployment(self):
        controller = self.configuration.controller
        return {
            "key_file": str(self.directory / "key"),
            "control": {"address": str(self.configuration.management[1]), "port": controller.control_port},
            "openflow": {"table": controller.table, "priority": controller.priority, "cookie": controller.cookie},
            "liveness": {"heartbeat_interval_ms": controller.heartbeat_interval_ms,
                         "suspect_after_ms": controller.suspect_after_ms},
            "recovery": self.recovery,
            "switches": self.dpids(),
            "links": self.deployed_links,
            "hosts": self.hosts,
            "nodes": self.deployed_nodes,
            "groups": {group.name: self.group(number, group)
                       for number, group in enumerate(self.configuration.groups.values(), 1)},
        }

    @staticmethod
    def group(number, group):
        ports = [{"name": port.name, "mac": port.mac, "address": str(port.address), "address6": [str(each) for each in port.addresses6],
                  "announced": port.announced, "hosts": port.hosts,
                  "peer": dict(zip(("group", "port"), port.peer)) if port.peer else None} for port in group.ports]
        values = {key: value for key, value in vars(group).items() if key != "name"}
        return {"id": number, **values, "ports": ports}

    def node_files(self):
        controller = self.configuration.controller
        files = {}
        for number, (name, links) in enumerate(self.nodes.items()):
            files[name] = {
                "node": name, "key_file": str(self.directory / "key"),
                "controller": [str(self.configuration.management[1]), controller.control_port],
                "service": [links.address, SERVICE_PORT], "data_interface": links.data,
                "directory": str(self.directory / "nodes" / name / "files"),
                "heartbeat_interval_ms": controller.heartbeat_interval_ms, "stay_awake": self.configuration.stay_awake,
            }
            if links.ports:
                files[name]["ports"] = links.ports
            functions = sorted({group.function for group in self.configuration.groups.values() if name in group.pool})
            if functions:
                files[name]["functions"] = functions
            if self.configuration.bundles is not None:
                files[name]["bundles"] = {**vars(self.configuration.bundles),
                                          "directory": str(Path(self.configuration.bundles.directory).absolute())}
            if self.faults is not None:
                files[name]["faults"] = {**self.faults, "seed": self.faults["seed"] + number}
        return files
