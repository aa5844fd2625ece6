"""Real node processes under real kills, led by a controller that the test plays itself."""

import os
import signal
import subprocess
import time

import pytest

from middleboxes.replay import Bundle
from middleboxes.runtime.awake import DEVICE, WAKE_US_MAX

from .harness import PREFIX, Harness, run

pytestmark = [pytest.mark.emulation,
              pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")]

PORTS = [{"name": "inside", "mac": "02:00:5e:00:01:01", "address": "10.0.0.254/24"},
         {"name": "outside", "mac": "02:00:5e:00:01:02", "address": "192.0.2.254/24"}]
COMMON = {"group_id": 1, "workers": 1, "ports": PORTS}
NAT = {"external_addresses": ["192.0.2.254"]}


class Group:
    """One middlebox protected by a harness's nodes; the tests do what a controller would do."""

    def __init__(self, harness, function="nat", parameters=NAT, workers=1, checkpoint_interval_ms=50):
        self.harness, self.epoch, self.master_epoch, self.inputs_from = harness, 1, 1, 1
        self.store, self.input_logger, self.output_logger = "st", "il", "ol"
        self.fenced = {}
        self.common = common = {**COMMON, "workers": workers}
        harness.request("st", "store", 1)
        harness.request("ol", "output-logger", 1, **common, covered_from=0)
        self.logging = {**common, "function": function, "tick_interval_ms": 50, "log_bytes_max": 1 << 26}
        harness.request("il", "input-logger", 1, **self.logging, start=[0] * workers, start_ns=0, master_epoch=1)
        self._function = {**common, "function": function, "parameters": parameters, "checkpoint_interval_ms": checkpoint_interval_ms}
        harness.request("m1", "master", 1, **self.function, start=[0] * workers, inputs_from=0)
        harness.wait_event("protected")

    @property
    def function(self):
        """What a master is told of its group."""
        return {**self._function, "store": self.harness.address(self.store)}

    def spare(self, name, hot=False):
        """Let *name* follow the group."""
        self.harness.request(name, "spare", self.epoch, **self.function, input_logger=self.harness.address(self.input_logger),
                             output_logger=self.harness.address(self.output_logger), hot=hot)

    def replace_input_logger(self, name):
        """*name* is the input logger from now on, and begins where the master stands."""
        harness, self.epoch = self.harness, self.epoch + 1
        begin = harness.request("m1", "fence", self.epoch, role="master")
        self.input_logger, self.inputs_from = name, self.epoch
        harness.request(name, "input-logger", self.epoch, **self.logging, start=begin["n"], start_ns=begin["last_ns"],
                        master_epoch=self.master_epoch)

    def fail_over(self, name):
        """Fence the loggers and let *name* recover; the `live` event's detail."""
        harness, self.epoch = self.harness, self.epoch + 1
        self.master_epoch = self.epoch
        self.fenced = {**harness.request(self.store, "fence", self.epoch, role="store"),
                       **harness.request(self.output_logger, "fence", self.epoch, role="output-logger")}
        harness.request(self.input_logger, "fence", self.epoch, role="input-logger")
        harness.request(name, "recover", self.epoch, stored=self.fenced["stored"], positions=self.fenced["positions"], cold=False, inputs_from=self.inputs_from, cause="killed",
                        store=harness.address(self.store), input_logger=harness.address(self.input_logger),
                        output_logger=harness.address(self.output_logger))
        return harness.wait_event("live")

    def counters(self, name, role):
        """The counters of a fresh beat."""
        self.harness.beats.clear()
        self.harness.until(lambda: name in self.harness.beats)
        return next(item["counters"] for item in self.harness.beats[name] if item["role"] == role)


@pytest.fixture
def bundles(tmp_path):
    """With this, nodes leave bundles; a function: how many there must be. Each replays as it was, the last one to the state of its living master."""
    directory = tmp_path / "bundles"

    def check(harness, count):
        harness.until(lambda: len(list(directory.glob("*.zip"))) == count, 20)
        for path in sorted(directory.glob("*.zip")):
            replay = Bundle.load(path).replay()
            replay.run()
            assert replay.differences == [] and replay.steps > 0
        assert replay.compared
        assert not [item for item in harness.events if item[1]["name"] == "bundle-failed"]
    check.directory = directory
    return check


@pytest.fixture
def harness(tmp_path, request):
    harness = Harness(tmp_path, ["il", "ol", "st", "m1", "m2", "m3"],
                      {"il": ["inside", "outside"], "ol": ["inside", "outside"]})
    if "bundles" in request.fixturenames:
        harness.bundles = request.getfixturevalue("bundles").directory
    try:
        for name in harness.nodes:
            harness.start(name)
        run("ip address add 10.0.0.1/24 dev eth0; ip route add default via 10.0.0.254", f"{PREFIX}-h-inside")
        run("ip address add 192.0.2.1/24 dev eth0", f"{PREFIX}-h-outside")
        yield harness
    finally:
        harness.close()


def in_host(side, *command, **options):
    """Start a program in the host at a port's side."""
    return subprocess.Popen(["ip", "netns", "exec", f"{PREFIX}-h-{side}", *command], stdout=subprocess.PIPE, text=True,
                            **options)


def serve_for(harness, seconds):
    """Let time pass while the harness serves the nodes."""
    deadline = time.monotonic() + seconds
    harness.until(lambda: time.monotonic() > deadline, seconds + 5)


def ping(count, interval_s=0.005):
    """A ping through the NAT, 200 packets a second."""
    return in_host("inside", "ping", "-i", str(interval_s), "-c", str(count), "-W", "2", "-q", "192.0.2.1")


def received(harness, process):
    """How many replies a finished ping saw."""
    harness.until(lambda: process.poll() is not None, 20)
    report = process.stdout.read()
    return int(report.split(" packets transmitted, ")[1].split()[0])


def test_two_deaths_in_a_row_lose_at_most_what_was_on_the_wire(harness, bundles):
    """Each death costs at most the frames between input logger and dead process; nothing logged is lost. Each leaves a bundle."""
    group = Group(harness)
    group.spare("m2")
    process = ping(600)
    serve_for(harness, 1)
    harness.kill("m1")
    harness.until(lambda: "m1" not in harness.connections)
    first = group.fail_over("m2")
    group.spare("m3")
    serve_for(harness, 1)
    harness.kill("m2")
    harness.until(lambda: "m2" not in harness.connections)
    second = group.fail_over("m3")
    assert received(harness, process) >= 598
    assert first["replayed_packets"] + second["replayed_packets"] > 0
    counters = group.counters("ol", "output-logger")
    assert counters["bad_frames"] == 0 and counters["dropped_pending_full"] == 0
    bundles(harness, 2)


def test_a_master_that_was_only_slow_is_harmless(harness):
    """Stopped, replaced, continued: nothing of the old epoch is released or stored; then it is retired."""
    group = Group(harness)
    group.spare("m2")
    process = ping(600)
    serve_for(harness, 0.8)
    harness.kill("m1", signal.SIGSTOP)
    group.fail_over("m2")
    released_before = group.counters("ol", "output-logger")
    harness.kill("m1", signal.SIGCONT)
    assert received(harness, process) >= 595
    after = group.counters("ol", "output-logger")
    assert after["old_epoch"] > released_before["old_epoch"]      # it did try
    assert after["bad_frames"] == 0
    assert group.counters("st", "store")["checkpoint"] >> 32 == 2
    harness.request("m1", "retire", 2, role="master")


def test_an_idle_node_takes_over_cold(harness):
    """A node that prefetched nothing becomes spare and recovers in one go."""
    group = Group(harness)
    process = ping(400)
    serve_for(harness, 1)
    harness.kill("m1")
    harness.until(lambda: "m1" not in harness.connections)
    group.spare("m3")
    group.fail_over("m3")
    assert received(harness, process) >= 395


def test_requests_that_make_no_sense_are_refused_and_harm_nothing(harness):
    """Wrong function, unknown role, nonsense ports: an error reply with a reason, the node lives."""
    for do, args, reason in (
            ("spare", {**COMMON, "function": "no-such", "parameters": {}, "checkpoint_interval_ms": 50,
                       "store": harness.address("st"), "input_logger": harness.address("il"),
                       "output_logger": harness.address("ol"), "hot": False}, "no-such"),
            ("fence", {"role": "store"}, "is not store"),
            ("input-logger", {**COMMON, "function": "nat", "tick_interval_ms": 50, "log_bytes_max": 1 << 20,
                               "start": [0], "start_ns": 0, "master_epoch": 1}, "no interface")):
        with pytest.raises(AssertionError, match=reason):
            harness.request("m1", do, 1, **args)
    assert harness.request("m1", "retire", 1, role="master") == {}


def test_a_store_that_comes_back_empty_is_filled_from_the_living_master(harness):
    """Then the group is protected again: the master's death after it loses no mapping and no packet."""
    group = Group(harness)
    group.spare("m2")
    process = ping(600)
    serve_for(harness, 0.5)
    harness.kill("st")
    harness.until(lambda: "st" not in harness.connections)
    harness.start("st")
    harness.request("st", "store", 1)
    harness.wait_event("protected")
    harness.kill("m1")
    harness.until(lambda: "m1" not in harness.connections)
    group.fail_over("m2")
    assert received(harness, process) >= 595


def test_an_idle_group_makes_few_checkpoints_and_one_with_traffic_makes_them_in_time(harness):
    """A tick changes nothing of a NAT; of a thousand packets a second there are too many to be repeated. Both intervals are 50 ms here."""
    group = Group(harness)

    def done():
        return group.counters("il", "input-logger")["ticks"], group.counters("st", "store")["checkpoint"]
    ticks, checkpoints = done()
    harness.until(lambda: done()[0] >= ticks + 60, 20)
    ticks, checkpoints = (now - before for now, before in zip(done(), (ticks, checkpoints)))
    assert 1 <= checkpoints <= ticks / 5
    before = done()
    received(harness, ping(2000, 0.001))
    ticks, checkpoints = (now - first for now, first in zip(done(), before))
    assert checkpoints >= ticks / 3


def test_processors_stay_awake_while_packets_come(harness):
    """What is in force is the kernel's to tell, of all who ask on this machine."""
    if not os.path.exists(DEVICE):
        pytest.skip(f"this kernel has no {DEVICE}")
    group = Group(harness)
    harness.settings = {"stay_awake": "never"}
    harness.kill("m3")
    harness.until(lambda: "m3" not in harness.connections)
    harness.start("m3")

    def asks(name):
        """Whether that node may ask."""
        files = f"/proc/{harness.processes[name].pid}/fd"
        return DEVICE in {os.readlink(f"{files}/{number}") for number in os.listdir(files)}

    def wake_us():
        with open(DEVICE, "rb") as file:
            return int.from_bytes(file.read(4), "little")
    assert asks("il") and not asks("m3")
    if wake_us() <= WAKE_US_MAX:
        pytest.skip("another program keeps the processors awake")
    process = ping(3000, 0.001)
    harness.until(lambda: wake_us() <= WAKE_US_MAX)
    assert process.poll() is None, "while it sends"
    assert received(harness, process) == 3000 and group.epoch == 1
    harness.until(lambda: wake_us() > WAKE_US_MAX)
