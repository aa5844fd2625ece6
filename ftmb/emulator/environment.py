"""What the machine must have before an emulation starts: each check raises UsageError with the mend."""

import importlib.util
import ipaddress
import json
import os
import shutil
import subprocess
from pathlib import Path

from ..errors import UsageError
from .cleanup import existing

_PROGRAMS = {"ip": "iproute2", "ethtool": "ethtool", "ifconfig": "net-tools", "mnexec": "mininet",
             "ovs-vsctl": "openvswitch-switch", "ovs-ofctl": "openvswitch-switch"}
_OVS_TIMEOUT_S = 5
_LISTEN = "0A"


def check_root():
    """Network namespaces and bridges need root."""
    if os.geteuid() != 0:
        raise UsageError("needs root (it makes network namespaces and bridges): run it with sudo")


def check_programs():
    """Mininet, Open vSwitch and the tools that configure interfaces."""
    # Debian keeps some of them where an ordinary user's PATH does not look.
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            raise UsageError(f"the program {program} is missing: apt-get install {package} (or run scripts/setup)")
    if importlib.util.find_spec("mininet") is None:
        raise UsageError("this Python has no mininet module: apt-get install mininet, and make the virtual "
                         "environment with --system-site-packages (scripts/setup does both)")


def check_namespaces():
    """Mininet's hosts can be made: it would wait for ever for one whose namespaces the kernel refuses."""
    done = subprocess.run(["mnexec", "-n", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError("network and mount namespaces can't be made here (a container without the privilege, or a chroot "
                         f"that is no mount point?): `mnexec -n true` said: {done.stderr.strip() or done.returncode}")


def check_applications(names):
    """Each Ryu app that the user named is a module that can be found, or a file."""
    for name in names:
        try:
            found = os.path.exists(name) or importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):       # a package of it is missing; not a name at all
            found = False
        if not found:
            raise UsageError(f"--ryu-app {name}: there is no such module or file")


def check_bundles(bundles):
    """The directory for bundles, if there is to be one, is there (or is made) and can be written to."""
    if bundles is None:
        return
    try:
        os.makedirs(bundles.directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"bundles cannot be left in {bundles.directory!r}: {error.strerror}") from error
    if not os.access(bundles.directory, os.W_OK | os.X_OK):
        raise UsageError(f"bundles cannot be left in {bundles.directory!r}: it cannot be written to")


def check_ports(configuration):
    """The controller's ports are free where it will listen."""
    controller = configuration.controller
    loopback, management = ipaddress.IPv4Address("127.0.0.1"), configuration.management[1]
    wanted = {"openflow_port": loopback, "rest_port": loopback, "control_port": management}
    for setting, address in wanted.items():
        port = getattr(controller, setting)
        if is_listening(address, port):
            raise UsageError(f"port {port} (controller.{setting}) is in use on {address}: stop what listens there, "
                             f"or set controller.{setting} in the configuration")


def is_listening(address, port):
    """Whether some socket of the root namespace accepts TCP connections to (*address*, *port*)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:       # no IPv6
            continue
        for line in lines:
            local, state = line.split()[1], line.split()[3]
            host, _, number = local.partition(":")
            # /proc has addresses as words in the machine's order; zero is "any address"
            if state == _LISTEN and int(number, 16) == port and (int(host, 16) == 0 or _words(host) == address):
                return True
    return False


def _words(text):
    """The IPv4 address (or IPv4-mapped one) in a field of /proc/net/tcp, or None."""
    data = b"".join(int(text[i:i + 8], 16).to_bytes(4, "little") for i in range(0, len(text), 8))
    if len(data) == 16 and data[:12] != bytes(10) + b"\xff\xff":
        return None
    return ipaddress.IPv4Address(data[-4:])


def check_names(plan, configuration):
    """No bridge, interface or network of ours is there already."""
    done = subprocess.run(["ovs-vsctl", f"--timeout={_OVS_TIMEOUT_S}", "list-br"], capture_output=True, text=True,
                          check=False)
    taken = [f"bridge {name}" for name in done.stdout.split() if name in plan.bridges()]
    taken += [f"interface {name}" for name in plan.root_interfaces() if existing(name)]
    if taken:
        raise UsageError(f"{', '.join(taken[:4])}{' ...' if taken[4:] else ''}: the name is taken, and no run of ours "
                         "is known; remove it by hand (ovs-vsctl del-br, ip link del)")
    shown = subprocess.run(["ip", "-json", "-4", "address", "show"], capture_output=True, text=True, check=True)
    for interface in json.loads(shown.stdout):
        for address in interface.get("addr_info", []):
            network = ipaddress.ip_network(f"{address['local']}/{address['prefixlen']}", strict=False)
            if network.overlaps(configuration.management):
                raise UsageError(f"the management network {configuration.management} (network.management) overlaps "
                                 f"{network} of interface {interface['ifname']}: choose another one")
