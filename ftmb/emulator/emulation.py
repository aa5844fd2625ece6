"""One emulation: network, controller and nodes, and what can be done to them while it runs."""

import ipaddress
import secrets
import subprocess
import time

from topologies.network import Network, NetworkError

from .. import plan as planning
from ..errors import UsageError
from . import environment, openvswitch, processes, report, rest
from .faults import Node, Trunk
from .ledger import Ledger, is_alive, start_time
from .readiness import check_running, wait_protected
from .rundir import write_json, write_text

_CONTROLLER_WAYS = ("process", "hang")
_LISTEN_TIMEOUT_S = 20
_POLL_S = 0.02


class Emulation:
    """What ``ftmb up`` makes of *configuration*; *progress* takes lines for the user."""

    def __init__(self, rundir, configuration, applications, recovery, faults, progress):
        self._rundir, self._configuration = rundir, configuration
        self._plan = planning.make(configuration, rundir.path, recovery, faults)
        self._progress, self._applications = progress, applications
        self._controller = processes.controller(rundir, configuration.controller, applications)
        self._ledger = Ledger()
        self._network = None
        self._pids = {}             # {host or node: [pid in its namespaces, start time]}
        self._nodes = {}            # {node: Node}
        self._trunks = {f"{report.TRUNK}{name}": Trunk(name, ends) for name, ends in self._plan.trunks.items()}
        self._kills = []
        self._status = None         # the controller's last answer

    def up(self):
        """Make everything; returns once every group is protected. Raises UsageError; ``cleanup`` removes the parts."""
        environment.check_programs()
        environment.check_namespaces()
        environment.check_applications(self._applications)
        openvswitch.ensure_running()
        environment.check_ports(self._configuration)
        environment.check_bundles(self._configuration.bundles)
        environment.check_names(self._plan, self._configuration)
        self._progress(f"network: {len(self._plan.bridges())} switch(es), {len(self._plan.hosts)} hosts, "
                       f"{len(self._plan.nodes)} nodes")
        if advice := openvswitch.advice():
            self._progress(advice)
        self._write_files()
        try:
            self._build_network()
            self._progress("controller and nodes")
            self._start(self._controller)
            for name, links in self._plan.nodes.items():
                process = processes.node(self._rundir, name, self._pids[name][0])
                self._nodes[name] = Node(self._rundir, process, links, self._pids[name][0])
                self._start(self._nodes[name])
            self._wait_listening()
            self._network.start()
        except NetworkError as error:
            raise UsageError(f"the network cannot be built: {error}") from error
        self._progress("waiting until every group is protected")
        self._status = wait_protected(self._fetch, [self._controller, *(node.process for node in self._nodes.values())])

    # -- what a client can ask

    def operations(self):
        """{name: function} for the server."""
        return {"status": self.status, "kill": self.kill, "heal": self.heal, "rest_port": self.rest_port,
                "memory": self.memory, "cpu": self.cpu}

    def rest_port(self):
        """Where the controller's REST interface is, for what takes too long to be asked through us."""
        return self._configuration.controller.rest_port

    def status(self):
        """What ``ftmb status --json`` shows."""
        current = self._fetch()
        if current is not None:
            self._status = current
        alive = {name: is_alive(*self._pids[name]) for name in self._plan.hosts}
        alive.update({name: node.is_alive() for name, node in self._nodes.items()})
        cut = [name for name, trunk in self._trunks.items() if trunk.is_cut]
        return report.compose(self._status, alive, self._nodes, current is not None, self._kills, self._plan.homes(), cut)

    def memory(self):
        """{node: resident bytes of its process}."""
        return {name: node.process.resident_bytes() for name, node in self._nodes.items()}

    def cpu(self):
        """{node, or "controller": CPU time of its process so far, in ns}."""
        return {name: process.cpu_ns() for name, process in
                [("controller", self._controller), *((name, node.process) for name, node in self._nodes.items())]}

    def kill(self, group, role, how="process", node=None):
        """Kill whoever has *role* in *group* now (``-`` and ``controller``: the controller; ``-`` and ``link:s1-s2``: that
        link between switches); what was done.

        *node*: kill this one, at once, whoever has the role by now.
        """
        if how not in report.WAYS:
            raise UsageError(f"--how {how} is not one of {', '.join(report.WAYS)}")
        if role == "controller":
            return self._kill_controller(how)
        if role.startswith(report.TRUNK):
            return self._record(*self._trunk(role).cut(), "-", "link", role, "link")
        if role not in report.ROLES:
            raise UsageError(f"{role!r} is no role: {', '.join(report.ROLES)}, controller")
        name = self._holder(group, role) if node is None else node
        if name not in self._nodes:
            raise UsageError(f"{name!r} is no node: {', '.join(self._nodes)}")
        return self._record(*self._nodes[name].kill(how), group, role, name, how)

    def heal(self, host=None):
        """Mend *host* (a node, ``controller``, or ``link:s1-s2``), or everything; the names of what was mended."""
        broken = [name for name, trunk in self._trunks.items() if trunk.is_cut]
        broken += [name for name, node in self._nodes.items() if not node.is_alive()]
        if not self._controller.is_running() or self._controller.stopped:
            broken.append("controller")
        if host is not None:
            if host not in {**self._nodes, **self._trunks, "controller": None}:
                raise UsageError(f"{host!r} is no node: {', '.join([*self._nodes, 'controller', *self._trunks])}")
            broken = [name for name in broken if name == host]
        for name in broken:
            if name == "controller":
                self._heal_controller()
            elif name in self._trunks:
                self._trunks[name].heal()
            else:
                pid = self._nodes[name].heal()
                if pid is not None:
                    self._ledger.add_process(self._rundir, pid, name)
        return {"healed": broken}

    # -- inside

    def _holder(self, group, role):
        groups = {entry["name"]: entry for entry in self.status()["groups"]}
        if group not in groups:
            raise UsageError(f"there is no group {group!r}: {', '.join(groups)}")
        name = report.holder(groups[group], role)
        if name is None:
            raise UsageError(f"group {group} has no {role} at the moment")
        return name

    def _trunk(self, name):
        if name not in self._trunks:
            raise UsageError(f"{name!r} is no link between switches: {', '.join(self._trunks) or 'there is none'}")
        return self._trunks[name]

    def _record(self, at_ns, dead_ns, group, role, node, how):
        kill = {"at_ns": at_ns, "dead_ns": dead_ns, "group": group, "role": role, "node": node, "how": how}
        self._kills.append(kill)
        return kill

    def _kill_controller(self, how):
        if how not in _CONTROLLER_WAYS:
            raise UsageError(f"the controller runs outside the network: --how is one of {', '.join(_CONTROLLER_WAYS)}")
        if not self._controller.is_running():
            raise UsageError("the controller is dead already: `ftmb heal controller` brings it back")
        at_ns = time.monotonic_ns()
        if how == "hang":
            self._controller.stop()
            dead_ns = time.monotonic_ns()
        else:
            dead_ns = self._controller.kill()
        return self._record(at_ns, dead_ns, "-", "controller", "controller", how)

    def _heal_controller(self):
        if self._controller.is_running():
            self._controller.resume()
        else:
            self._start(self._controller)

    def _fetch(self):
        if not self._controller.is_running() or self._controller.stopped:
            return None
        return rest.fetch_status(self._configuration.controller.rest_port)

    def _start(self, startable):
        """Start the controller or a node."""
        self._ledger.add_process(self._rundir, startable.start(), startable.name)

    def _write_files(self):
        rundir = self._rundir
        self._ledger.save(rundir)
        write_text(rundir.key, secrets.token_hex(32))
        write_json(rundir.deployment, self._plan.deployment)
        for name, content in self._plan.node_files.items():
            rundir.node(name).mkdir(parents=True)
            write_json(rundir.node(name) / "node.json", content)

    def _build_network(self):
        """Hosts, links and namespaces; first into the ledger, then into the kernel."""
        ledger, plan = self._ledger, self._plan
        names = [*plan.hosts, *plan.nodes]
        inside = [host["name"] for host in plan.description["hosts"] if not host.get("root")]
        ledger.bridges, ledger.interfaces, ledger.namespaces = plan.bridges(), plan.root_interfaces(), inside
        ledger.save(self._rundir)
        self._network = Network(plan.description)
        self._network.build()
        ledger.processes += [[node.pid, start_time(node.pid), node.name] for node in self._network.values()]
        ledger.save(self._rundir)
        self._hold_namespaces(inside)
        for name in names:
            pid = self._network[planning.mininet_name(name)].pid
            self._pids[name] = [pid, start_time(pid)]
        addresses = {**plan.hosts, **{name: links.address for name, links in plan.nodes.items()}}
        write_json(self._rundir.hosts, {name: {"pid": self._pids[name][0], "start": self._pids[name][1],
                                               "address": addresses[name]} for name in names})

    def _hold_namespaces(self, names):
        """Bind each namespace to a file: it stays the same one, to be found by whoever cleans up."""
        self._rundir.namespaces.mkdir(mode=0o700)
        for name in names:
            path = self._rundir.namespaces / name
            path.touch(mode=0o600)
            subprocess.run(["mount", "--bind", f"/proc/{self._network[name].pid}/ns/net", path], check=True)

    def _wait_listening(self):
        """Wait until the controller accepts switches: a switch whose first try fails waits a second for the next."""
        address, port = self._plan.description["controller"]
        deadline = time.monotonic() + _LISTEN_TIMEOUT_S
        while not environment.is_listening(ipaddress.IPv4Address(address), port):
            check_running([self._controller])
            if time.monotonic() > deadline:
                raise UsageError(f"the controller does not listen on port {port} after {_LISTEN_TIMEOUT_S} s; the end of its log:\n"
                                 f"{self._controller.log_tail()}")
            time.sleep(_POLL_S)
