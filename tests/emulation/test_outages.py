"""What operators fear: the controller away, a master that hangs and comes back, a starved machine, a move, a broken trunk."""

import contextlib
import subprocess
import sys
import time

import pytest

from ftmb.chaos.queues import overruns
from ftmb.demo.programs import Program
from ftmb.emulator import client

from .network import ANSWER_TIMEOUT_S, START_TIMEOUT_S, OneAtATime

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
GROUP, SENDER, RECEIVER = "nat", "client1", "server1"
HANG_S, LAST_ARRIVAL_S = 5, 3
MOVE_DATAGRAMS = 3000
BUSY_LOOPS, BUSY_S, LONG_BUSY_S, LONG_ROUNDS = 4, 10, 60, 5


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Networks, one at a time."""
    kept = OneAtATime(lambda: tmp_path_factory.mktemp("network"))
    yield kept
    kept.close()


@pytest.fixture
def single(networks):
    """One NAT with its traffic; well again afterwards."""
    with networks.use("single") as network:
        yield network
        network.heal()
        network.check()


class Numbered:
    """Numbered UDP through the middlebox, as long as the context lasts."""

    def __init__(self, rate_per_s):
        self._rate_per_s = rate_per_s

    def __enter__(self):
        address = client.host_address(RECEIVER)
        with contextlib.ExitStack() as stack:
            self._receiver = self._run(stack, RECEIVER, "receive", "--address", address)
            self._sender = self._run(stack, SENDER, "send", "--to", address, "--rate", self._rate_per_s)
            self._stack = stack.pop_all()
        self._overruns = overruns()
        self.wait_for_more()
        return self

    @staticmethod
    def _run(stack, host, *arguments):
        program = Program(client.popen, host, "numbered", *arguments, package="tests.emulation")
        stack.callback(program.stop)
        program.wait_for("ready", START_TIMEOUT_S)
        return program

    def wait_for_more(self, count=1):
        """Return once *count* datagrams that were sent after this have come, or were overtaken."""
        mark = self._sender.ask("report", "report", ANSWER_TIMEOUT_S)["sent"] + count
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            told = self._receiver.ask("report", "report", ANSWER_TIMEOUT_S)
            if told["received"] + told["missing"] >= mark:
                return
            assert time.monotonic() < deadline, f"nothing comes any more: {told}, {mark} sent"

    def result(self):
        """End it: counts; ``lost`` are those that did not come, ``overruns`` those that the emulated switches' queues lost."""
        sent = self._sender.ask("stop", "stopped", ANSWER_TIMEOUT_S)["sent"]
        deadline = time.monotonic() + LAST_ARRIVAL_S
        told = {"received": 0}
        while told["received"] < sent and time.monotonic() < deadline:
            told = self._receiver.ask("report", "report", ANSWER_TIMEOUT_S)
        now = overruns()
        dropped = sum(now[name] - self._overruns.get(name, 0) for name in now)
        return {**told, "sent": sent, "lost": sent - told["received"], "overruns": dropped}

    def __exit__(self, *_):
        self._stack.close()


def failovers():
    """All failovers of all groups so far."""
    return [failover for group in client.status()["groups"] for failover in group["failovers"]]


def test_a_master_that_dies_while_the_controller_is_away_is_replaced_when_it_is_back(single):
    client.kill("-", "controller")
    dead = client.kill(GROUP, "master", "host")["node"]
    client.heal("controller")
    group = single.settle()["groups"][0]
    assert group["master"] != dead and [failover["role"] for failover in group["failovers"]] == ["master"]
    single.check()


def test_nothing_of_a_master_that_hung_passes_when_it_goes_on(single):
    """It wakes with full queues, in the middle of its work, after another one has taken over."""
    with Numbered(1000) as numbered:
        hung = client.kill(GROUP, "master", "hang")["node"]
        at = time.monotonic()
        single.settle()
        numbered.wait_for_more()
        time.sleep(max(0, at + HANG_S - time.monotonic()))     # this is the hang, not a wait for something
        client.heal(hung)
        single.heal()
        numbered.wait_for_more()
        got = numbered.result()
    assert (got["twice"], got["source_changes"]) == (0, 0), got
    assert client.status()["groups"][0]["master"] != hung


def test_a_link_between_switches_breaks_and_paths_move(networks):
    """Each of the triangle's links in turn: what goes over it finds the way round, and the way back."""
    with networks.use("tree") as tree:
        for link in ("s1-s2", "s1-s3", "s2-s3"):
            count = len(failovers())
            tree.cut(link)
            tree.check()
            assert client.status()["links_down"] == [f"link:{link}"]
            tree.heal()
            tree.check()
            assert len(failovers()) == count, "no role is dead: none moves"


def test_a_planned_move_loses_doubles_and_reorders_nothing(single):
    """Under 5,000 datagrams a second. What the switches' own queues lose on a busy machine is told apart."""
    with Numbered(5000) as numbered:
        for _ in range(3):
            before = client.status()["groups"][0]
            done = client.move(GROUP)
            assert done.get("error") is None and done["master"] != before["master"], done
            assert done["failover"]["cause"] == "moved"
            single.settle()
            numbered.wait_for_more(MOVE_DATAGRAMS)
        got = numbered.result()
    print(got)
    assert (got["twice"], got["reordered"], got["source_changes"]) == (0, 0, 0), got
    assert got["lost"] <= got["overruns"], got


@contextlib.contextmanager
def busy_loops():
    """Endless loops that take all of the machine's time that they get."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY_LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_a_starved_machine_causes_no_failover_and_a_real_one_is_survived(single, request):
    """Four endless loops on it. ``--long``: a minute, five times."""
    rounds, seconds = (LONG_ROUNDS, LONG_BUSY_S) if request.config.getoption("--long") else (1, BUSY_S)
    for _ in range(rounds):
        count = len(failovers())
        with busy_loops():
            time.sleep(seconds)         # this is the soak, not a wait for something
            assert len(failovers()) == count, f"a failover without a death: {failovers()[count:]}"
            client.kill(GROUP, "master")
            single.settle()
            single.check()
        assert len(failovers()) == count + 1
        single.heal()
