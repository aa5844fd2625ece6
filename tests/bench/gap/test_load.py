"""The traffic of a gap run, over the loopback interface of a namespace: what is sent arrives, is counted once, and moments are told."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from ftmb.bench.programs import compiled
from ftmb.demo.programs import Compiled
from ftmb.demo.traffic.probe import read_record

pytestmark = [pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
              pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")]
FLOWS, ANSWER_S = 300, 10
STALL_S, TICK_NS = 0.2, 1_000_000


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def popen():
    """Starts a program where frames that are sent by lo to 192.0.2.1 come in there."""
    space = f"ftload{os.getpid()}"
    ip("netns", "add", space)
    try:
        for words in ("link set lo up", "address add 192.0.2.1/32 dev lo", "route add 10.0.0.0/8 dev lo"):
            ip("-n", space, *words.split())
        yield lambda _host, argv, **keywords: subprocess.Popen(["ip", "netns", "exec", space, *argv], **keywords)
    finally:
        ip("netns", "delete", space)


@pytest.fixture
def load():
    with compiled("gap/load.c") as path:
        yield path


@pytest.fixture
def traffic(load, popen, tmp_path):
    """(sender, receiver), once all flows are open: 2000 datagrams a second and the probe."""
    programs = []
    try:
        programs.append(Compiled(popen, "here", load, "receive", "192.0.2.1", FLOWS, tmp_path / "record"))
        programs[0].wait_for("ready", ANSWER_S)
        programs.append(Compiled(popen, "here", load, "send", "lo", "00:00:00:00:00:00", "192.0.2.1", "10.1.1.0", FLOWS, 5000, 2000))
        programs[1].wait_for("ready", ANSWER_S)
        yield programs[1], programs[0]
    finally:
        for program in reversed(programs):
            program.stop()


def test_what_is_sent_arrives_and_is_counted(traffic, tmp_path):
    sender, receiver = traffic
    moment_ns = time.monotonic_ns()
    first_ns = receiver.ask(f"passed {moment_ns}", "passed", ANSWER_S)["arrived_ns"]
    assert receiver.ask(f"passed {moment_ns}", "passed", ANSWER_S)["arrived_ns"] == first_ns > moment_ns, "also when it has passed before"
    sent = sender.ask("finish", "result", ANSWER_S)
    receiver.ask("flush", "flushed", ANSWER_S)
    found = receiver.ask("finish", "result", ANSWER_S)
    assert found["received"] == FLOWS + sent["sent"]
    assert (found["repeated"], found["lost"], found["mappings_changed"]) == (0, 0, 0)
    numbers, received_ns = read_record(tmp_path / "record")
    assert list(numbers) == list(range(sent["probes"])) and received_ns[-1] > first_ns in received_ns


def test_what_a_stall_held_up_goes_out_at_twice_the_rate(traffic):
    sender, _ = traffic
    began_ns = time.monotonic_ns()
    before = sender.ask("report", "report", ANSWER_S)["probes"]
    sender._process.send_signal(signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    time.sleep(STALL_S)                 # the stall itself
    resumed_ns = time.monotonic_ns()
    sender._process.send_signal(signal.SIGCONT)
    probes = before
    while probes < before + STALL_S * 1000:
        probes = sender.ask("report", "report", ANSWER_S)["probes"]
        most = 2 * (time.monotonic_ns() - resumed_ns + stopped_ns - began_ns) / TICK_NS + 2
        assert probes - before <= most, "the first ones after a stall came all at once"


def test_nonsense_is_refused(load):
    for words in ([], ["send"], ["receive", "127.0.0.1", "0", "/dev/null"]):
        done = subprocess.run([load, *words], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and done.stderr
