"""A network that stays up for many failures, and established traffic through it that must notice none of them."""

import contextlib
import time

from ftmb import config
from ftmb.demo.programs import Program
from ftmb.demo.report import tcp_resets
from ftmb.emulator import client
from ftmb.emulator.report import ROLE_KEYS, TRUNK

from .product import clean_machine

#: who speaks to whom through the middleboxes of each named configuration
PAIRS = {"single": (("client1", "server1"), ("client2", "server2")), "tree": (("client1", "server1"), ("client2", "server2")),
         "chain": (("client1", "server1"), ("client2", "server2")),
         "pool": tuple((f"client{number}", f"server{number}") for number in range(1, 5))}
CONNECTIONS, FLOWS, NEW_PER_S = 6, 6, 4
START_TIMEOUT_S, SETTLE_TIMEOUT_S, ANSWER_TIMEOUT_S = 30, 20, 10
#: the kernel's retries back off: after an outage of a second it may be silent for two more
CONFIRM_MS = 15_000
_POLL_S = 0.05


class Pair:
    """TCP connections, UDP flows and new connections between one client and one server, all through a middlebox."""

    def __init__(self, hosts):
        self.hosts = hosts
        address = client.host_address(hosts[1])
        self._server = Program(client.popen, hosts[1], "server", "--address", address)
        self._server.wait_for("ready", START_TIMEOUT_S)
        self._client = Program(client.popen, hosts[0], "client", "--to", address, "--connections", CONNECTIONS,
                               "--flows", FLOWS, "--new-per-s", NEW_PER_S)

    def wait_ready(self):
        """Return once all of it is established."""
        assert self._client.wait_for("ready", START_TIMEOUT_S)["tcp_answered"] == CONNECTIONS

    def ask(self):
        """Begin a check."""
        self._client.tell(f"confirm {CONFIRM_MS}")

    def check(self):
        """End the check that ``ask`` began: all that lives has answered since, and nothing was broken, reset or changed."""
        told = self._client.wait_for("confirmed", CONFIRM_MS / 1000 + ANSWER_TIMEOUT_S)
        seen = self._server.ask("report", "report", ANSWER_TIMEOUT_S)
        got = {"answered": told["tcp_answered"], "broken": told["tcp_broken_why"], "resets": tcp_resets(told, seen),
               "flows answered": told["udp_answered_flows"], "mappings changed": seen["mappings_changed"],
               "mappings shared": seen["mappings_shared"], "twice": seen["udp_duplicates"], "new failed": told["new_failed_why"]}
        assert got == {"answered": CONNECTIONS, "broken": {}, "resets": 0, "flows answered": FLOWS, "mappings changed": 0,
                       "mappings shared": 0, "twice": 0, "new failed": {}}, f"between {' and '.join(self.hosts)}"

    def stop(self):
        """End the programs."""
        self._client.stop()
        self._server.stop()


class Network:
    """The configuration *name* with its traffic; enter with ``with``."""

    def __init__(self, name, directory):
        self.name, self._directory = name, directory
        self.pools = {group.name: group.pool for group in config.load(name).groups.values()}
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.product = stack.enter_context(clean_machine(self._directory))
            self.product("up", self.name)
            self._pairs = []
            for hosts in PAIRS[self.name]:
                self._pairs.append(Pair(hosts))
                stack.callback(self._pairs[-1].stop)
            for pair in self._pairs:
                pair.wait_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def check(self):
        """All traffic goes on, and nothing of it was harmed so far."""
        for pair in self._pairs:
            pair.ask()
        for pair in self._pairs:
            pair.check()

    def settle(self, timeout_s=SETTLE_TIMEOUT_S):
        """Wait until every group is protected, or lacks nothing but a spare for which no node is left; the status."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = client.status()
            if all(self._is_settled(group, status) for group in status["groups"]):
                return status
            assert time.monotonic() < deadline, f"not settled after {timeout_s} s:\n{self.product('status').stdout}"
            time.sleep(_POLL_S)

    def _is_settled(self, group, status):
        if group["state"] == "protected" or not status["controller"]["alive"]:
            return status["controller"]["alive"]
        hosts = {host["name"]: host for host in status["hosts"]}
        idle = any(hosts[name]["alive"] and hosts[name]["role"] == "idle" for name in self.pools[group["name"]])
        served = all(group[key] and hosts[group[key]]["alive"] for key in ROLE_KEYS.values())
        return group["state"] == "unprotected" and served and not group["spares"] and not idle

    def heal(self):
        """Mend everything, and wait until all is protected; all that was mended must be alive and idle or at work."""
        client.heal()
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            status = client.status()
            if all(group["state"] == "protected" for group in status["groups"]) and all(host["alive"] for host in status["hosts"]):
                return status
            assert time.monotonic() < deadline, f"not healed after {SETTLE_TIMEOUT_S} s:\n{self.product('status').stdout}"
            time.sleep(_POLL_S)

    def cut(self, link):
        """Take the link between switches down."""
        client.kill("-", f"{TRUNK}{link}", "link")


class OneAtATime:
    """Keeps a network up from test to test, as long as they ask for the same one and succeed."""

    def __init__(self, make_directory):
        self._make_directory, self._network, self._is_good = make_directory, None, False

    @contextlib.contextmanager
    def use(self, name):
        """The Network of that name, up and well."""
        if self._network is None or self._network.name != name or not self._is_good:
            self.close()
            network = Network(name, self._make_directory())
            network.__enter__()
            self._network = network
        self._is_good = False
        yield self._network
        self._is_good = True

    def close(self):
        """Take down what is up."""
        if self._network is not None:
            network, self._network = self._network, None
            network.__exit__()
