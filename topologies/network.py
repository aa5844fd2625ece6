"""A Mininet network from a plain description.

Mininet configures each interface with several round trips to a shell, and first deletes whatever has
the name it wants. Here all links are made by one ``ip -batch``, every node is configured by one script,
and a name that is taken is an error. Nothing outside the description is touched: limits and sysctls of
the machine stay as they are.

The description (``ftmb.plan`` makes it)::

    {"controller": ["127.0.0.1", 16653],
     "switches": [{"name": "fts1", "dpid": 1}],
     "hosts":    [{"name": "ftclient1", "root": False, "commands": ["ip route add ..."]}],
     "links":    [{"mtu": 1500, "ends": [END, END]}]}

    END = {"node": "ftclient1", "interface": "ftclient1-d",    # always
           "mac": "02:46:54:10:00:01",                         # otherwise the kernel's choice
           "address": "10.0.0.1/24",                           # hosts
           "address6": "2001:db8::1/64",                       # hosts: without it the interface speaks no IPv6
           "offload": False,                                   # hosts: checksum and segmentation offload
           "silent": True,                                     # hosts: no ARP
           "port": 1, "flood": False,                          # switches: OpenFlow port; in floods or not
           "bridge": "ftbr"}                                   # hosts: the Linux bridge to join

A host with ``root`` stands for the root namespace. ``commands`` are shell lines that run in the host before
(``before``) or after (``commands``) its interfaces are configured.
"""

import contextlib
import ctypes
import functools
import os
import shlex
import signal
import subprocess

from mininet.link import Link
from mininet.net import Mininet
from mininet.node import Host, OVSSwitch

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_OVS_TIMEOUT_S = 20


class NetworkError(Exception):
    """The kernel or Open vSwitch refused a part of the network; the text says which and why."""


def die_with_parent(parent):
    """Have the kernel kill the calling process when its *parent* (a pid) dies; end now if it is dead already. Raises OSError."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:      # it died before the kernel knew that it matters
        os.kill(os.getpid(), signal.SIGKILL)


def dying_with_us():
    """A ``preexec_fn``: the new process does not outlive this one."""
    return functools.partial(die_with_parent, os.getpid())


def datapath():
    """``kernel`` where Open vSwitch's kernel module is there, otherwise ``user``."""
    return "kernel" if os.path.isdir("/sys/module/openvswitch") else "user"


class _BoundHost(Host):
    """A host whose shell does not outlive this process."""

    def _popen(self, cmd, **params):
        return super()._popen(cmd, preexec_fn=dying_with_us(), **params)


class _BoundSwitch(OVSSwitch):
    """A switch whose shell does not outlive this process."""

    def _popen(self, cmd, **params):
        return super()._popen(cmd, preexec_fn=dying_with_us(), **params)


class _PlannedLink(Link):
    """A link that Mininet knows of, and that ``Network.build`` makes together with all others."""

    @classmethod
    def makeIntfPair(cls, *_args, **_keywords):
        """Make nothing yet."""


class _Endpoint:
    """Where a controller listens: the part of Mininet's Controller that a switch asks for, without a shell."""

    name, protocol = "c", "tcp"

    def __init__(self, address, port):
        self._address, self.port = address, port

    def IP(self):
        """The address to connect to."""
        return self._address


class Network(Mininet):
    """The network of *description*: ``build`` makes hosts and links, ``start`` the switches, ``stop`` removes all.

    ``build`` and ``start`` raise NetworkError and leave what they made so far; ``stop`` copes with that.
    Call from a thread that lives as long as the network: the kernel kills the shells with it.
    """

    def __init__(self, description):
        # Mininet would raise limits and sysctls of the whole machine; we need none of them.
        Mininet.inited = True
        self.description = description
        super().__init__(controller=None, link=_PlannedLink, host=_BoundHost, build=False)

    def build(self):
        """Make hosts and links and configure them."""
        for host in self.description["hosts"]:
            self.addHost(host["name"], inNamespace=not host.get("root", False))
        for switch in self.description["switches"]:
            self.addSwitch(switch["name"], cls=_BoundSwitch, dpid=f"{switch['dpid']:x}", datapath=datapath(),
                           failMode="secure", protocols="OpenFlow10,OpenFlow13", batch=True)
        for link in self.description["links"]:
            self._plan_link(link)
        self._make_links()
        self._configure()
        self.built = True

    def start(self):
        """Make the bridges and have them connect to the controller."""
        controllers = [_Endpoint(*self.description["controller"])]
        arguments = []
        for switch in self.switches:
            switch.start(controllers)
            for command in switch.commands:
                arguments += shlex.split(command)
        _run(["ovs-vsctl", f"--timeout={_OVS_TIMEOUT_S}", *arguments])
        self._limit_floods()

    def _plan_link(self, link):
        a, b = link["ends"]
        self.addLink(a["node"], b["node"], port1=a.get("port"), port2=b.get("port"),
                     intfName1=a["interface"], intfName2=b["interface"],
                     addr1=a.get("mac"), addr2=b.get("mac"),
                     # up=None: Mininet must not configure what is not there yet
                     params1={"up": None}, params2={"up": None})

    def _make_links(self):
        lines = []
        for link in self.description["links"]:
            first, second = (_side(end, link["mtu"], self[end["node"]].pid) for end in link["ends"])
            lines.append(f"link add {first} type veth peer {second}")
        _run(["ip", "-batch", "-"], "\n".join(lines))

    def _configure(self):
        """Run the scripts of all hosts at once; switches are configured by that of the root namespace."""
        ends = {}
        for link in self.description["links"]:
            for end in link["ends"]:
                ends.setdefault(end["node"], []).append(end)
        scripts = [(["mnexec", "-a", str(self[host["name"]].pid), "sh", "-e"],
                    _host_script(host, ends.get(host["name"], []))) for host in self.description["hosts"]]
        at_switches = [end for switch in self.description["switches"] for end in ends.get(switch["name"], [])]
        scripts.append((["sh", "-e"], _interfaces_script(at_switches)))
        running = [_start(command, script) for command, script in scripts]
        errors = [_finish(process) for process in running]
        if any(errors):
            raise NetworkError("; ".join(error for error in errors if error))

    def _limit_floods(self):
        """Keep other applications' floods from ports that only explicit rules may reach."""
        running = [_start(["ovs-ofctl", "-O", "OpenFlow10", "mod-port", end["node"], str(end["port"]), "no-flood"])
                   for link in self.description["links"] for end in link["ends"] if end.get("flood") is False]
        errors = [_finish(process) for process in running]
        if any(errors):
            raise NetworkError("; ".join(error for error in errors if error))


def _side(end, mtu, pid):
    mac = f"address {end['mac']} " if end.get("mac") else ""
    return f"name {end['interface']} {mac}mtu {mtu} netns {pid}"


def _host_script(host, ends):
    lines = list(host.get("before", []))
    if not host.get("root"):
        lines.append("ip link set lo up")
        # No address and no router solicitation may appear on interfaces that are made later, either.
        lines.append("[ ! -d /proc/sys/net/ipv6 ] || for c in all default; do "
                     "echo 1 >/proc/sys/net/ipv6/conf/$c/disable_ipv6; done")
    return "\n".join([*lines, _interfaces_script(ends), *host.get("commands", [])])


def _interfaces_script(ends):
    lines, batch = [], []
    for end in ends:
        name = end["interface"]
        settings = f"/proc/sys/net/ipv6/conf/{name}"
        if end.get("address6"):
            # addresses are as described and can be used at once: none is taken from routers, none is tried for duplicates
            lines += [f"echo 0 >{settings}/{key}" for key in ("accept_ra", "accept_dad", "disable_ipv6")]
        else:
            lines.append(f"[ ! -d /proc/sys/net/ipv6 ] || echo 1 >{settings}/disable_ipv6")
        if end.get("offload") is False:
            lines.append(f"ethtool -K {name} rx off tx off tso off gso off gro off >/dev/null")
        if end.get("bridge"):
            batch.append(f"link set {name} master {end['bridge']}")
        if end.get("address"):
            batch.append(f"address add {end['address']} dev {name}")
        if end.get("address6"):
            batch.append(f"address add {end['address6']} dev {name} nodad")
        batch.append(f"link set {name} {'arp off ' if end.get('silent') else ''}up")
    return "\n".join([*lines, "ip -batch - <<END", *batch, "END"])


def _start(command, script=""):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True, preexec_fn=dying_with_us())
    # one that ends before it has read everything failed: ``_finish`` tells of what
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(script)
        process.stdin.close()
    return process


def _finish(process):
    """Wait for *process*; what it complained about, or nothing when it succeeded."""
    with process.stderr:
        complaint = process.stderr.read().strip()
    if process.wait() == 0:
        return ""
    return f"{' '.join(process.args[:6])}: {complaint or f'exit code {process.returncode}'}"


def _run(command, script=""):
    error = _finish(_start(command, script))
    if error:
        raise NetworkError(error)
