"""The bench on real namespaces and processes: it measures all that it promises, and leaves nothing behind, also when interrupted."""

import argparse
import io
import json
import re
import signal
import subprocess

import pytest

from ftmb.bench import growth, iperf, measure, network, programs, systems
from ftmb.demo.progress import Progress
from ftmb.emulator import client, openvswitch

from .machine import command, environment, ours, output

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
TIMEOUT_S = 180


@pytest.fixture(autouse=True, scope="module")
def switch():
    """Open vSwitch runs: a part of the bench does without, and what is left is asked of it all the same."""
    openvswitch.ensure_running()


def left():
    """The bench's namespaces and interfaces that are there."""
    names = output("ip", "netns", "list") + output("ip", "-brief", "link") + output("ovs-vsctl", "list-br")
    return [line for line in names.splitlines() if network.PREFIX in line]


def test_a_quick_bench_measures_everything_and_leaves_nothing(tmp_path):
    path = tmp_path / "result"
    done = subprocess.run(command("bench", "--quick", "--json", str(path), "--plots", str(tmp_path)), env=environment(False),
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    found = result["paths"]["direct"]["systems"]
    for name in ("limit", "plain", "protected"):
        assert all(size["per_second"] > 0 and size["latency"]["p50_us"] > 0 for size in found[name].values()), found
    assert set(found["protected"]["64"]["cpu_us"]) == {"input-logger", "master", "output-logger", "store"}
    assert result["inside"]["determinants"][0]["bytes_per_packet"] < 1 and result["idle_percent"] > 0
    assert (tmp_path / "bench-direct-cpu.svg").exists()
    assert left() == [] and ours() == []


def test_every_system_lets_packets_through_open_vswitch():
    with programs.compiled() as wire, network.network("ovs"):
        for name in ("limit", "plain", "protected"):
            with systems.ALL[name](wire) as running:
                found = measure.latency(wire, running, 64, 1000, 0.5)
            assert found["p50_us"] > 0, name
    assert left() == []


ROLES = ("input-logger", "master", "output-logger")
#: for a batch at full load: one to wait, one to read and one to write, and acknowledgements some
SYSTEM_CALLS_MAX = 3.5
#: at full load batches are of up to 32; how full they are on average is also a matter of who gets a processor when
BATCH_PACKETS_MIN = 8


def test_a_batch_costs_three_system_calls_at_each_role_and_is_of_many_packets(tmp_path):
    with programs.compiled() as wire, network.network("direct"), systems.protected(wire) as running:
        measure.capacity(wire, running, 64, 0.5)
        traces = {role: subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", str(tmp_path / role), "-p", str(running.pids[role])],
                                         stderr=subprocess.PIPE, text=True) for role in ROLES}
        try:
            for trace in traces.values():
                assert "attached" in trace.stderr.readline()
            found = measure.capacity(wire, running, 64, 1.0)
        finally:
            for trace in traces.values():
                trace.send_signal(signal.SIGINT)
                trace.communicate()
    assert found["received"] > 1000
    for role in ROLES:
        calls = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", (tmp_path / role).read_text())}
        batches = calls["sendmmsg"] + calls.get("sendto", 0)        # one that has a single frame goes by the latter
        assert calls["total"] / batches < SYSTEM_CALLS_MAX, (role, calls)
        assert found["received"] / batches > BATCH_PACKETS_MIN, (role, found["received"], calls)
    assert left() == []


def test_a_gap_run_kills_under_load_and_tells_where_the_time_went(tmp_path):
    path = tmp_path / "result"
    done = subprocess.run(command("bench", "--gap", "--kills", "1", "--readiness", "cold", "--how", "process,host", "--no-sweeps",
                                  "--flows", "500", "--rate-pps", "1000", "--json", str(path), "--plots", str(tmp_path)),
                          env=environment(False), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(path.read_text())["rows"]
    assert [(row["how"], len(row["kills"]), row["problems"]) for row in rows] == [("process", 1, []), ("host", 1, [])]
    for row in rows:
        (kill,) = row["kills"]
        assert kill["gap_ms"] > 0 and kill["cold"] and kill["mappings_changed"] == 0
        assert kill["total_ms"] > kill["detect_ms"] + kill["replay_ms"] > 0
    assert (tmp_path / "bench-gap-parts.svg").exists()
    assert left() == [] and ours() == []


def test_groups_share_their_logs_and_everybodys_cpu_time_is_counted():
    with programs.compiled("gap/load.c") as load:
        found = growth._groups(client, load, 2, 0.5, Progress(io.StringIO()))
    assert found["received"] > 0 and set(found["cpu_us"]) > set(growth.ROLES)
    assert all(found["cpu_us"][role] > 0 for role in growth.ROLES)
    assert ours() == []


def test_iperf3_s_figures_come_from_one_command(monkeypatch):
    monkeypatch.setattr(iperf, "UDP_MBIT_S", (1,))
    monkeypatch.setattr(iperf, "_QUICK_SECONDS", 1)
    text = io.StringIO()
    arguments = argparse.Namespace(quick=True, json=None, plots=None, machine={})
    assert iperf.main(arguments, stream=text, errors=io.StringIO()) == 0
    assert "Mbit/s" in text.getvalue() and ours() == []


def test_an_interrupted_bench_leaves_nothing():
    with subprocess.Popen(command("bench", "--quick"), env=environment(False), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as process:
        # the first measured line: everything is made and running
        for _ in range(2):
            assert process.stdout.readline()
        assert left()
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130 and "Traceback" not in told
    assert left() == []


def test_what_a_killed_bench_left_is_removed_by_the_next():
    with subprocess.Popen(command("bench", "--quick"), env=environment(False), stdout=subprocess.PIPE, text=True) as process:
        for _ in range(2):
            assert process.stdout.readline()
        process.kill()
    assert left()
    with network.network("direct"):
        assert left()
    assert left() == []
