"""The bench's hosts and links: namespaces named ``ftb-*``, wired directly or through Open vSwitch.

::

    client, server -- il (p-inside, p-outside)      il, m, ol (d): one data network
    client, server -- ol (p-inside, p-outside)      il, m, ol, st (m): one management network
    client -- box -- server

``direct``: client, server and boxes are joined by veth pairs; the data interfaces of il, m and ol, of which each has one, are
macvlan interfaces on one veth, which hand a frame over by its MAC address without a switch. Their addresses are the roles'
virtual ones, as if a switch had rewritten them. ``ovs``: every link is a veth to one bridge of Open vSwitch with fixed rules.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import subprocess

from middleboxes.core.frames import format_mac, virtual_mac
from topologies.network import datapath

from ..emulator.openvswitch import ensure_running
from ..errors import UsageError
from ..running import undisturbed

PREFIX = "ftb-"
GROUP_ID = 1
MTU = 9000
BRIDGE = "ftb-br"
LOCK = "/run/lock/ftmb-bench"
INSIDE_MAC, OUTSIDE_MAC, SERVER_MAC = "02:00:5e:00:01:01", "02:00:5e:00:01:02", "02:00:00:00:00:02"
MANAGEMENT = "10.253.8."
CONTROLLER = MANAGEMENT + "1"
ADDRESSES = {name: f"{MANAGEMENT}{10 + number}" for number, name in enumerate(("il", "m", "ol", "st"))}
_DATA = {"il": "input-logger", "m": "master", "ol": "output-logger"}
#: (host, interface) - (host, interface)
_PATHS = [(("client", "il"), ("il", "p-inside")), (("ol", "p-outside"), ("server", "ol")),
          (("client", "box"), ("box", "p-inside")), (("box", "p-outside"), ("server", "box")),
         (("server", "il"), ("il", "p-outside")), (("ol", "p-inside"), ("client", "ol"))]
_SPACES = ("hub", "client", "server", "box", *ADDRESSES)
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def role_mac(name):
    """The MAC address of a node's data interface."""
    return format_mac(virtual_mac(_DATA[name], GROUP_ID))


def run(command, script=None):
    """Run a program of the system to its end. Raises UsageError with what it complained of."""
    try:
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UsageError(f"bench: {command[0]} is not installed") from error
    if done.returncode:
        raise UsageError(f"bench: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def enter(space):
    """The words before a command that run it in *space*."""
    return ["ip", "netns", "exec", PREFIX + space]


@contextlib.contextmanager
def inside(space):
    """Sockets that this thread opens in the block belong to *space*. Raises OSError."""
    home, there = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/proc/self/ns/net", f"/run/netns/{PREFIX}{space}"))
    try:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)
        os.close(there)


def _enter(descriptor):
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def network(fabric):
    """Make the network, ``direct`` or ``ovs``; remove it at the end, and before what a killed bench left behind."""
    with open(LOCK, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError("a bench is running already") from error
        _remove()
        try:
            _build(fabric)
            yield
        finally:
            with undisturbed():
                _remove()


def _remove():
    left = [line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line.startswith(PREFIX)]
    for name in left:
        run(["ip", "netns", "delete", name])
    plugs = sorted(name for _, name in socket.if_nameindex() if name.startswith(PREFIX))
    if plugs:
        run(["ovs-vsctl", "--timeout=20", "--if-exists", "del-br", BRIDGE])
    # a namespace goes later than `ip netns delete` returns; its links must not wait for that
    for name in plugs:
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def _build(fabric):
    run(["ip", "-batch", "-"], "".join(f"netns add {PREFIX}{space}\n" for space in _SPACES))
    lines = ["link add mgmt type bridge", f"address add {CONTROLLER}/24 dev mgmt", "link set mgmt up"]
    for name in ADDRESSES:
        lines += [f"link add m-{name} type veth peer name m netns {PREFIX}{name}", f"link set m-{name} master mgmt up"]
    if fabric == "direct":
        lines += [f"link add wire mtu {MTU} type veth peer name far mtu {MTU}", "link set wire up", "link set far up"]
        lines += [f"link add link wire name d netns {PREFIX}{name} address {role_mac(name)} mtu {MTU} type macvlan mode bridge"
                  for name in _DATA]
        lines += [f"link add name {a[1]} netns {PREFIX}{a[0]} type veth peer name {b[1]} netns {PREFIX}{b[0]}" for a, b in _PATHS]
    run(["ip", "-n", f"{PREFIX}hub", "-batch", "-"], "\n".join(lines))
    ports = _plug() if fabric == "ovs" else {}
    for space in _SPACES:
        run([*enter(space), "sh", "-e"], _script(space))
    if ports:
        _switch(ports)


def _interfaces(space):
    own = [interface for path in _PATHS for host, interface in path if host == space]
    return own + (["d"] if space in _DATA else [])


def _script(space):
    lines = ["[ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6", "ip link set lo up"]
    if space in ADDRESSES:
        lines.append(f"ip address add {ADDRESSES[space]}/24 dev m; ip link set dev m up")
    for name in _interfaces(space):
        lines.append(f"ip link set dev {name} arp off; ethtool -K {name} rx off tx off tso off gso off gro off >/dev/null 2>&1 || true")
    macs = [("p-inside", INSIDE_MAC), ("p-outside", OUTSIDE_MAC)] if space == "box" else []
    lines += [f"ip link set dev {name} address {mac}" for name, mac in macs]
    return "\n".join(lines + [f"ip link set dev {name} up" for name in _interfaces(space)]) + "\n"


def _plug():
    """Links to the bridge for every interface: {(host, interface): OpenFlow port}."""
    ensure_running()
    ends = [end for path in _PATHS for end in path] + [(name, "d") for name in _DATA]
    ports, lines, words = {}, [], ["--", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "fail_mode=secure"]
    if datapath() == "user":
        words += ["datapath_type=netdev"]
    for number, (host, interface) in enumerate(ends, 1):
        name = f"{PREFIX}{number}"
        mac = f"address {role_mac(host)} " if interface == "d" else ""
        lines.append(f"link add {name} mtu {MTU} type veth peer name {interface} {mac}mtu {MTU} netns {PREFIX}{host}")
        lines.append(f"link set {name} up")
        words += ["--", "add-port", BRIDGE, name, "--", "set", "interface", name, f"ofport_request={number}"]
        ports[host, interface] = number
    run(["ip", "-batch", "-"], "\n".join(lines))
    run(["ovs-vsctl", "--timeout=20", *words])
    return ports


def _switch(ports):
    rules = [f"in_port={ports[a]},actions=output:{ports[b]}" for path in _PATHS for a, b in (path, path[::-1])]
    rules += [f"in_port={ports[sender, 'd']},dl_dst={role_mac(name)},actions=output:{ports[name, 'd']}"
              for sender in _DATA for name in _DATA if name != sender]
    run(["ovs-ofctl", "add-flows", BRIDGE, "-"], "\n".join(rules) + "\n")
