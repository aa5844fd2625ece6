"""Real node processes in namespaces around two bridges, and a controller that only does what a test tells it.

The data network is a hub for NSH frames: everybody gets each of them, to his own address as if by a redirect, so none is
needed: whoever has the role takes the frames. Names begin with ``ftx``; ``close`` removes everything.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time

from ftmb.emulator.openvswitch import ensure_running
from middleboxes.runtime.connection import Listener
from middleboxes.runtime.loop import Loop
from topologies.network import datapath

PREFIX = "ftx"
DATA = "ftxdata"        # the bridge of the data network
ROOT_ADDRESS = "10.253.7.1"


def run(script, namespace=None):
    """Run a shell script, in a namespace if one is named; a failure is an error."""
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    done = subprocess.run([*prefix, "sh", "-ec", script], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stderr}")


class Harness:
    """Nodes by name; *loggers* have the port interfaces of group ``g``: {name: [port, ...]}.

    ``bundles``: the directory where nodes that are started from then on leave bundles, None at first. ``settings``: what their files have besides.

    A second group, ``next``, may have its port ``inside`` there, at an interface where nothing comes in.
    """

    def __init__(self, directory, nodes, loggers):
        self.loop, self.key = Loop(), secrets.token_bytes(32)
        self.processes, self.connections, self.hellos, self.events, self.replies, self.beats = {}, {}, {}, [], {}, {}
        self._directory, self._ids, self._namespaces, self._data_links = directory, 0, [], []
        self._key_file = directory / "key"
        self._key_file.write_text(self.key.hex())
        self.nodes, self.loggers, self.bundles, self.settings = nodes, loggers, None, {}
        try:
            self._build()
        except RuntimeError:
            self.close()
            raise
        self.listener = Listener(self.loop, [ROOT_ADDRESS, 9777], self.key, self._message, print, self._closed)

    def _namespace(self, name):
        full = f"{PREFIX}-{name}"
        run(f"ip netns add {full}")
        self._namespaces.append(full)
        run(f"ip -n {full} link set lo up; ip netns exec {full} sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        return full

    def _build(self):
        ensure_running()
        hub = self._namespace("hub")
        run("ip link add mgmt type bridge; ip link set mgmt up", hub)
        run(f"ovs-vsctl add-br {DATA} -- set bridge {DATA} fail_mode=secure "
            f"datapath_type={'system' if datapath() == 'kernel' else 'netdev'}")
        run(f"ip link add {PREFIX}-root type veth peer name root netns {hub}; ip address add {ROOT_ADDRESS}/24 dev {PREFIX}-root;"
            f"ip link set {PREFIX}-root up; ip -n {hub} link set root master mgmt up")
        for port in sorted({port for ports in self.loggers.values() for port in ports}):
            run(f"ip link add p-{port} type bridge ageing_time 0 mcast_snooping 0; ip link set p-{port} up", hub)
            host = self._namespace(f"h-{port}")
            self._wire(host, "eth0", hub, f"h-{port}", f"p-{port}")
        for number, name in enumerate(self.nodes):
            space = self._namespace(name)
            self._wire(space, "m", hub, f"m-{name}", "mgmt")
            run(f"ip address add 10.253.7.{10 + number}/24 dev m", space)
            outer = f"{PREFIX}-d-{name}"
            self._data_links.append(outer)
            run(f"ip link add {outer} mtu 9000 type veth peer name d netns {space}; ip link set dev {outer} up;"
                f"ovs-vsctl add-port {DATA} {outer}")
            run(f"ip link set dev d mtu 9000 address 02:46:54:11:00:{number:02x} up; ethtool -K d tx off >/dev/null", space)
            for port in self.loggers.get(name, ()):
                self._wire(space, f"p-{port}", hub, f"{port}-{name}", f"p-{port}")
        everybody = ",".join(f"mod_dl_dst:02:46:54:11:00:{number:02x},output:{outer}"
                             for number, outer in enumerate(self._data_links))
        run(f"ovs-ofctl add-flow {DATA} dl_type=0x894f,actions={everybody}")

    @staticmethod
    def _wire(space, inner, hub, outer, bridge):
        run(f"ip -n {hub} link add {outer} type veth peer name {inner} netns {space}; ip -n {hub} link set dev {outer} master {bridge} up;"
            f"ip -n {space} link set dev {inner} up; ip netns exec {space} ethtool -K {inner} tx off >/dev/null;")

    def start(self, name):
        """Start (again) the process of node *name* and wait until it said hello."""
        number = self.nodes.index(name)
        path = self._directory / f"{name}.json"
        ports = {port: f"p-{port}" for port in self.loggers.get(name, ())}
        bundles = {"bundles": {"directory": str(self.bundles), "count_max": 8, "bytes_max": 1 << 28}} if self.bundles else {}
        path.write_text(json.dumps({
            **bundles, **self.settings, "node": name, "key_file": str(self._key_file), "controller": [ROOT_ADDRESS, 9777],
            "service": [f"10.253.7.{10 + number}", 9778], "data_interface": "d", "heartbeat_interval_ms": 50,
            "ports": {"g": ports, "next": {"inside": "lo"}} if ports else {}}))
        self.hellos.pop(name, None)
        with open(self._directory / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                ["ip", "netns", "exec", f"{PREFIX}-{name}", sys.executable, "-m", "middleboxes.runtime", str(path)],
                stdout=log, stderr=log)
        self.until(lambda: name in self.hellos)

    def kill(self, name, signal_number=signal.SIGKILL):
        """Send a signal to the node's process (`ip netns exec` replaced itself by it)."""
        os.kill(self.processes[name].pid, signal_number)

    def address(self, name):
        """A node's service address."""
        return [f"10.253.7.{10 + self.nodes.index(name)}", 9778]

    # -- the controller's end

    def _message(self, connection, message):
        name = connection.channel.peer
        if message["t"] == "hello":
            self.connections[name], self.hellos[name] = connection, message
        elif message["t"] == "reply":
            self.replies[message["id"]] = message
        elif message["t"] == "event":
            self.events.append((name, message))
        elif message["t"] == "beat":
            self.beats[name] = message["roles"]

    def _closed(self, connection, reason):
        if self.connections.get(connection.channel.peer) is connection:
            del self.connections[connection.channel.peer]

    def request(self, name, do, epoch, **args):
        """Ask a node of group ``g`` and wait for its result; an error reply is an AssertionError."""
        return self.request_of("g", name, do, epoch, **args)

    def request_of(self, group, name, do, epoch, **args):
        """``request`` of another group."""
        self._ids += 1
        number = self._ids
        self.connections[name].send({"t": "request", "id": number, "do": do, "group": group, "epoch": epoch, "args": args})
        self.until(lambda: number in self.replies)
        reply = self.replies.pop(number)
        assert reply["ok"], reply["error"]
        return reply["result"]

    def wait_event(self, event):
        """The detail of the next event of that name."""
        def find():
            return next((item for item in self.events if item[1]["name"] == event), None)
        self.until(lambda: find() or any(item[1]["name"] == "failed" for item in self.events))
        found = find()
        assert found, self.events
        self.events.remove(found)
        return found[1]["detail"]

    def until(self, condition, timeout_s=10):
        """Serve until *condition* holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing happened in {timeout_s} s; logs: {self.logs()}")
            timer = self.loop.after(50_000_000, lambda: None)
            self.loop._turn()
            self.loop.cancel(timer)

    def logs(self):
        """What the nodes wrote."""
        return {path.name: path.read_text()[-2000:] for path in self._directory.glob("*.log")}

    def close(self):
        """Remove processes, namespaces and links."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        for connection in list(self.connections.values()):
            connection.close("the test is over")
        if hasattr(self, "listener"):
            self.listener.close()
        subprocess.run(["ovs-vsctl", "--if-exists", "del-br", DATA], check=True)
        # a namespace goes later than `ip netns delete` returns; the root's ends of links must not wait for that
        for link in (f"{PREFIX}-root", *self._data_links):
            subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
        for space in self._namespaces:
            subprocess.run(["ip", "netns", "delete", space], check=True)
