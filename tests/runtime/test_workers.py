"""A master with four workers, each a thread, under real kills: one sequence of numbers, whatever dies."""

import os
import signal
import subprocess
import sys

import pytest

from .harness import PREFIX
from .sequencer import FLOWS, STAMP
from .test_nodes import NAT, Group, bundles, harness, ping, received, serve_for     # noqa: F401 (harness and bundles are fixtures)

pytestmark = [pytest.mark.emulation,
              pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")]

WORKERS = 4
SEQUENCER = "tests.runtime.sequencer:Sequencer"


class Traffic:
    """Numbered packets through the sequencer, and what became of them."""

    def __init__(self, directory, count, burst=20):
        self.count, self._file = count, directory / "stamps"
        with open(self._file, "wb") as output:
            self._receiver = self._start("outside", "receive", 2, stdout=output, stderr=subprocess.PIPE)
        assert self._receiver.stderr.readline() == b"ready\n"
        self._sender = self._start("inside", "send", count, burst)

    @staticmethod
    def _start(side, *arguments, **options):
        return subprocess.Popen(["ip", "netns", "exec", f"{PREFIX}-h-{side}", sys.executable, "-m", "tests.runtime.sequencer",
                                 *map(str, arguments)], **options)

    def stamps(self, harness):
        """All that came out, in the order of arrival, once the traffic is over."""
        try:
            harness.until(lambda: self._sender.poll() is not None and self._receiver.poll() is not None, 60)
        finally:
            for process in (self._sender, self._receiver):
                process.kill()
                process.wait()
        return list(STAMP.iter_unpack(self._file.read_bytes()))


def check(stamps):
    """No number twice, no packet in two versions, and one history that has all of them."""
    assert len({number for number, *_ in stamps}) == len(stamps), "a number came twice"
    assert len({serial for _, _, _, serial, _, _ in stamps}) == len(stamps), "a packet came twice"
    assert len({worker for *_, worker, _ in stamps}) == WORKERS, "all workers have a share"
    assert len({(flow, worker) for _, flow, _, _, worker, _ in stamps}) == FLOWS, "a flow has two workers"
    last_place, last_own = {}, {}
    for number, flow, place, _, worker, own in sorted(stamps):
        assert last_place.get(flow, 0) < place, f"flow {flow} goes back at number {number}"
        assert last_own.get(worker, 0) < own, f"worker {worker} goes back at number {number}"
        last_place[flow], last_own[worker] = place, own


def test_no_number_twice_and_none_inconsistent_across_two_deaths(harness, bundles, tmp_path):     # noqa: F811
    """Shared counter and map, two domains, checkpoints every 300 ms: what left is one history, and little is lost. Each death leaves a bundle."""
    group = Group(harness, SEQUENCER, {}, WORKERS, checkpoint_interval_ms=300)
    group.spare("m2")
    traffic = Traffic(tmp_path, 6000)
    serve_for(harness, 1)
    harness.kill("m1")
    harness.until(lambda: "m1" not in harness.connections)
    first = group.fail_over("m2")
    group.spare("m3")
    serve_for(harness, 0.7)
    harness.kill("m2")
    harness.until(lambda: "m2" not in harness.connections)
    second = group.fail_over("m3")
    stamps = traffic.stamps(harness)
    check(stamps)
    bundles(harness, 2)
    assert first["replayed_packets"] + second["replayed_packets"] > 0
    assert len(stamps) >= 0.98 * traffic.count
    counters = group.counters("m3", "master")
    assert counters["function_errors"] == counters["bad_frames"] == 0
    assert group.counters("ol", "output-logger")["bad_frames"] == 0


def test_a_slow_master_with_threads_is_harmless(harness, tmp_path):     # noqa: F811
    """Stopped, replaced, continued: its threads' outputs of the old epoch are refused; then it is retired and can be a spare."""
    group = Group(harness, SEQUENCER, {}, WORKERS)
    group.spare("m2")
    traffic = Traffic(tmp_path, 4000)
    serve_for(harness, 0.8)
    harness.kill("m1", signal.SIGSTOP)
    group.fail_over("m2")
    harness.kill("m1", signal.SIGCONT)
    serve_for(harness, 0.2)
    harness.request("m1", "retire", 2, role="master")
    # it may have tried to commit a checkpoint
    failed = [item for item in harness.events if item[1]["name"] == "failed"]
    assert all(node == "m1" and "is fenced" in event["detail"]["error"] for node, event in failed)
    harness.events[:] = [item for item in harness.events if item not in failed]
    group.spare("m1")
    harness.kill("m2")
    harness.until(lambda: "m2" not in harness.connections)
    group.fail_over("m1")
    stamps = traffic.stamps(harness)
    check(stamps)
    assert len(stamps) >= 0.9 * traffic.count


def test_a_nat_of_several_workers_survives(harness):     # noqa: F811
    """The built-in function as it is: all of its state shared."""
    group = Group(harness, "nat", NAT, WORKERS)
    group.spare("m2")
    process = ping(400)
    serve_for(harness, 0.8)
    harness.kill("m1")
    harness.until(lambda: "m1" not in harness.connections)
    group.fail_over("m2")
    assert received(harness, process) >= 395


def test_a_key_of_two_workers_that_is_declared_a_flows_fails_the_master_by_name(harness, tmp_path):     # noqa: F811
    Group(harness, "tests.runtime.sequencer:OneKeyForAll", {}, WORKERS)
    traffic = Traffic(tmp_path, 400)
    harness.until(lambda: any(event["name"] == "failed" for _, event in harness.events))
    (detail,) = [event["detail"] for _, event in harness.events if event["name"] == "failed"]
    assert detail["role"] == "master" and "'mine[" in detail["error"] and "'total'" in detail["error"]
    assert traffic.stamps(harness) == []
