"""A Ryu app on one emulated network twice: in the same controller as ours (Beside), and on its own (Alone).

The network is that of the named configuration ``single`` and some hosts that no middlebox serves; what differs
is only whether our app is loaded and nodes run. Both offer the same few verbs, so one script drives both.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from ftmb import config, plan
from topologies.network import Network

from .machine import ROOT, environment, output
from .product import TIMEOUT_S, clean_machine

COOKIE = 0x46544D42
REST = "http://127.0.0.1:8080"
_HOSTS = """
    a1: {switch: s1, address: 10.9.0.1/24}
    a2: {switch: s1, address: 10.9.0.2/24}
    r1: {switch: s1, address: 172.16.1.1/24, gateway: 172.16.1.254}
    r2: {switch: s1, address: 172.16.2.1/24, gateway: 172.16.2.254}
"""


def single(directory, priority=40000):
    """The file with the network of all tests here, with our band at *priority*."""
    text = (ROOT / "ftmb" / "configurations" / "single.yaml").read_text(encoding="utf-8")
    text = text.replace("  hosts:\n", f"  hosts:{_HOSTS}", 1).replace("controller:\n", f"controller:\n  priority: {priority}\n", 1)
    file = directory / "neighbours.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def entries(bridge, ours=False):
    """The flow entries of *bridge* that are ours, or all others, without their counters; sorted.

    The address of a switch port, which the kernel draws anew each time, is told by the port's name.
    """
    ports = {port["address"]: port["ifname"] for port in json.loads(output("ip", "-json", "link", "show"))
             if port["ifname"].startswith(f"{bridge}-")}
    found = []
    for line in output("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", bridge).splitlines()[1:]:
        entry = re.sub(r"(duration|n_packets|n_bytes|idle_age|hard_age)=[^,]*, ", "", line.strip())
        entry = re.sub(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", lambda found: ports.get(found[0], found[0]), entry)
        if (int(re.search("cookie=(0x[0-9a-f]+|0)", entry)[1], 16) >> 32 == COOKIE) == ours:
            found.append(entry)
    return sorted(found)


def until(condition, what, timeout_s=TIMEOUT_S):
    """Wait until *condition* () is true; what it is then."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class World:
    """What a script does with either."""

    log = None          # the controller's
    deployment = None   # what our app was, or would be, told

    def run(self, host, *command):
        """(exit code, output) of *command* in *host*."""
        raise NotImplementedError

    def pings(self, host, to):
        """Whether one of three echo requests from *host* is answered, the first of which may have been spent on ARP."""
        return self.run(host, "ping", "-c", "3", "-i", "0.2", "-W", "1", to)[0] == 0

    def rest(self, method, path, value=None):
        """The JSON answer (or text, if it is none) of the controller; it must be a good one."""
        request = urllib.request.Request(REST + path, method=method, headers={"Content-Type": "application/json"},
                                         data=None if value is None else json.dumps(value).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith(("{", "[")) else text

    def wait_for_rest(self, path):
        """Return once the controller answers there with something that is not empty: its switch is connected."""
        def answers():
            try:
                return self.rest("GET", path)
            except (urllib.error.URLError, ConnectionError):
                return None
        until(answers, f"an answer to {path}")


class Beside(World):
    """The app in one controller with ours; *product* is the command line."""

    log = Path("/run/ftmb/controller.log")

    def __init__(self, product):
        self.product = product
        self.deployment = json.loads(Path("/run/ftmb/deployment.json").read_text(encoding="utf-8"))

    def run(self, host, *command):
        done = subprocess.run([sys.executable, "-m", "ftmb", "exec", host, "--", *command], env=environment(False),
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        return done.returncode, done.stdout


class Alone(World):
    """The app in a controller of its own."""

    def __init__(self, network, deployment, log):
        self._network, self.deployment, self.log = network, deployment, log

    def run(self, host, *command):
        pid = self._network[plan.mininet_name(host)].pid
        done = subprocess.run(["mnexec", "-a", str(pid), *command], capture_output=True, text=True, timeout=TIMEOUT_S,
                              check=False)
        return done.returncode, done.stdout


@contextlib.contextmanager
def beside(directory, file, *applications):
    """A Beside whose group is protected, on a machine that is left as it was."""
    with clean_machine(directory) as product:
        product("up", str(file), *(argument for name in applications for argument in ("--ryu-app", name)))
        yield Beside(product)


@contextlib.contextmanager
def alone(directory, file, *applications):
    """An Alone."""
    made = plan.make(config.load(str(file)), directory)
    network, log = Network(made.description), directory / "alone.log"
    with open(log, "wb") as opened:
        controller = subprocess.Popen([sys.executable, "-m", "ryu_app.launcher", "--ofp-tcp-listen-port", "16653",
                                       "--wsapi-host", "127.0.0.1", *applications],
                                      env={**environment(False), "PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL,
                                      stdout=opened, stderr=opened)
    try:
        network.build()
        network.start()
        until(lambda: "true" in output("ovs-vsctl", "--bare", "--columns=is_connected", "list", "controller"), "connected")
        yield Alone(network, made.deployment, log)
    finally:
        network.stop()
        controller.kill()
        controller.wait()
