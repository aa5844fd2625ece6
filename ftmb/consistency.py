"""How the parts of a configuration must fit together.

``config.read`` has checked each value by itself; here are references, duplicates and addresses. Errors point at
the line of the value that is wrong.
"""

import ipaddress

from middleboxes import functions, sdk

from . import document

#: of one node; their names end in a number of two digits
PORT_INTERFACES_MAX = 100


def check(configuration, root):
    """Check *configuration*, which was read from the YAML node *root*. Raises document.ConfigurationError."""
    _Check(configuration, root).run()


class _Check:
    def __init__(self, configuration, root):
        self.configuration = configuration
        self.root = root
        self.taken = {}         # address -> whose it is

    def run(self):
        self.unique_names()
        self.switches()
        self.hosts()
        for group in self.configuration.groups.values():
            self.group(group)
        self.addresses()
        self.peers()
        for group in self.configuration.groups.values():
            self.function(group)
        self.first_masters()
        self.port_interfaces()
        self.controller()
        self.management()

    def fail(self, message, *path):
        document.fail(self.node(*path), message)

    def node(self, *path):
        """The YAML node at *path*, a key or list index at a time; as far as it exists."""
        node = self.root
        for step in path:
            children = node.value if isinstance(step, int) else {key.value: value for key, value in node.value}
            if not isinstance(step, int) and step not in children:
                return node
            node = children[step]
        return node

    def known(self, name, among, what, *path):
        if name not in among:
            self.fail(f"{what} {name!r} is not defined (defined: {', '.join(among)})", *path)

    def unique_names(self):
        taken = {}
        here = self.configuration
        if not here.switches:
            self.fail("network.switches: at least one switch is needed", "network", "switches")
        lists = [("switches", index, name) for index, name in enumerate(here.switches)]
        lists += [(kind, name, name) for kind in ("hosts", "nodes") for name in getattr(here, kind)]
        for kind, step, name in lists:
            if name in taken:
                self.fail(f"the name {name!r} is already taken (in network.{taken[name]})", "network", kind, step)
            taken[name] = kind

    def switches(self):
        here = self.configuration
        for index, pair in enumerate(here.links):
            for step, name in enumerate(pair):
                self.known(name, here.switches, "switch", "network", "links", index, step)
        for name, host in here.hosts.items():
            self.known(host.switch, here.switches, "switch", "network", "hosts", name, "switch")
        for name, switch in here.nodes.items():
            self.known(switch, here.switches, "switch", "network", "nodes", name)

    def hosts(self):
        for name, host in self.configuration.hosts.items():
            if host.gateway and host.gateway not in host.address.network:
                self.fail(f"host {name}: the gateway {host.gateway} is not in {host.address.network}",
                          "network", "hosts", name, "gateway")
            if host.address6 and (host.address6.is_link_local or host.address6.is_multicast or host.address6.is_loopback):
                self.fail(f"host {name}: address6 must be a routable address", "network", "hosts", name, "address6")
            if host.gateway6 and not (host.address6 and (host.gateway6 in host.address6.network or host.gateway6.is_link_local)):
                self.fail(f"host {name}: the gateway {host.gateway6} is not in {host.address6 and host.address6.network}",
                          "network", "hosts", name, "gateway6")

    def group(self, group):
        here, path = self.configuration, ("groups", group.name)
        what = f"group {group.name}:"
        for role in ("input_logger", "output_logger", "store"):
            self.known(getattr(group, role), here.nodes, "node", *path, role)
        for key, roles in (("loggers", ("input_logger", "output_logger")), ("stores", ("store",)), ("pool", ())):
            self.candidates(group, key, roles)
        if not group.pool:
            self.fail(f"{what} the pool is empty: its first node is the first master", *path, "pool")
        for index, name in enumerate(group.pool):
            if name in (group.input_logger, group.output_logger, group.store):
                self.fail(f"{what} {name!r} is in the pool and has another role too: "
                          "a master may not die together with what its state is rebuilt from", *path, "pool", index)
        owner = {}
        for port in group.ports:
            for index, name in enumerate(port.hosts):
                where = (*path, "ports", port.name, "hosts", index)
                self.known(name, here.hosts, "host", *where)
                if name in owner:
                    self.fail(f"{what} host {name!r} is already at port {owner[name]!r}", *where)
                owner[name] = port.name

    def candidates(self, group, key, roles):
        """The list *key* of *group* names nodes, each once, and contains those that begin with *roles*."""
        names, path = getattr(group, key), ("groups", group.name, key)
        for index, name in enumerate(names):
            self.known(name, self.configuration.nodes, "node", *path, index)
            if name in names[:index]:
                self.fail(f"group {group.name}: {name!r} is in the {key} twice", *path, index)
        for role in roles:
            if getattr(group, role) not in names:
                self.fail(f"group {group.name}: {key} must contain the {role.replace('_', ' ')} "
                          f"{getattr(group, role)!r}", *path)

    def peers(self):
        """Ports that face each other say so of each other, and are in one network."""
        ports = {(group.name, port.name): port for group in self.configuration.groups.values() for port in group.ports}
        for (group, name), port in ports.items():
            if port.peer is None:
                continue
            where, what = ("groups", group, "ports", name, "peer"), f"group {group}, port {name}:"
            text = ".".join(port.peer)
            if port.peer not in ports:
                self.fail(f"{what} there is no port {text!r} to be its peer", *where)
            if port.peer[0] == group:
                self.fail(f"{what} a port of its own group cannot be its peer", *where)
            other = ports[port.peer]
            if other.peer != (group, name):
                self.fail(f"{what} {text} does not have it as its peer: the two must name each other", *where)
            for mine, its in (([port.address], [other.address]), (port.addresses6, other.addresses6)):
                networks, others = ({each.network for each in interfaces} for interfaces in (mine, its))
                if networks != others:
                    self.fail(f"{what} its network {_text(networks)} is not that of its peer {text}, {_text(others)}", *where)

    def port_interfaces(self):
        """Interfaces are numbered with two digits."""
        for node in self.configuration.nodes:
            count = sum(len(group.ports) for group in self.configuration.groups.values() if node in group.loggers)
            if count > PORT_INTERFACES_MAX:
                self.fail(f"node {node} would have {count} port interfaces, at most {PORT_INTERFACES_MAX} are possible: "
                          "let it be in fewer groups' loggers", "network", "nodes", node)

    def function(self, group):
        """The function exists and accepts its parameters and ports."""
        path = ("groups", group.name)
        try:
            function = functions.load(group.function)
        except sdk.ConfigurationError as error:
            self.fail(f"group {group.name}: {error}", *path, "function")
        try:
            ports = [sdk.Port.parse(port.name, port.mac, str(port.address), [str(each) for each in port.addresses6])
                     for port in group.ports]
            made = function.instances(group.parameters, ports, group.workers)[0]
        except sdk.ConfigurationError as error:
            self.fail(f"group {group.name}: {group.function}: {error}", *path, "parameters")
        except sdk.StateError as error:
            self.fail(f"group {group.name}: {group.function}: {error}", *path, "workers")
        for port in group.ports:
            port.announced = [str(ipaddress.ip_address(address)) for address in made.further_addresses(port.name)]
            for address in port.announced:
                self.claim(address, f"group {group.name}, by its parameters,", *path, "parameters")

    def addresses(self):
        for name, host in self.configuration.hosts.items():
            for key in ("address", "address6"):
                if getattr(host, key):
                    self.claim(str(getattr(host, key).ip), f"host {name}", "network", "hosts", name, key)
        for group in self.configuration.groups.values():
            for port in group.ports:
                what, where = f"group {group.name}, port {port.name}", ("groups", group.name, "ports", port.name)
                self.claim(str(port.address.ip), what, *where, "address")
                for each in port.addresses6:
                    self.claim(str(each.ip), what, *where, "address6")
                self.claim(port.mac, what, *where, "mac")
                if port.mac.startswith("02:46:54:"):
                    self.fail(f"{what}: MAC addresses 02:46:54:... are given by us", *where, "mac")

    def claim(self, address, what, *path):
        if address in self.taken:
            self.fail(f"the address {address} of {what} is already that of {self.taken[address]}", *path)
        self.taken[address] = what

    def first_masters(self):
        """No two groups begin with the same master, and none with a node that logs or stores for any."""
        first = {}
        busy = {}
        for group in self.configuration.groups.values():
            for role in ("input_logger", "output_logger", "store"):
                busy.setdefault(getattr(group, role), f"{role.replace('_', ' ')} of group {group.name}")
        for group in self.configuration.groups.values():
            master = group.pool[0]
            if master in first:
                self.fail(f"group {group.name}: {master!r} is already the first master of group {first[master]}",
                          "groups", group.name, "pool", 0)
            if master in busy:
                self.fail(f"group {group.name}: its first master {master!r} is the {busy[master]}: a master and "
                          "what states are rebuilt from may not die together", "groups", group.name, "pool", 0)
            first[master] = group.name

    def controller(self):
        controller = self.configuration.controller
        if controller.suspect_after_ms < 2 * controller.heartbeat_interval_ms:
            self.fail("controller: suspect_after_ms must be at least twice heartbeat_interval_ms "
                      f"({controller.heartbeat_interval_ms})", "controller", "suspect_after_ms")
        ports = {}
        for setting in ("openflow_port", "rest_port", "control_port"):
            port = getattr(controller, setting)
            if port in ports:
                self.fail(f"controller: {setting} {port} is already {ports[port]}", "controller", setting)
            ports[port] = setting

    def management(self):
        network = self.configuration.management
        needed = len(self.configuration.nodes) + 12
        if network.num_addresses < needed:
            self.fail(f"network.management: {network} has too few addresses, {needed} are needed",
                      "network", "management")


def _text(networks):
    return ", ".join(sorted(map(str, networks))) or "none"
