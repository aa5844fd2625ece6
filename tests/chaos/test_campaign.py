"""The course of a campaign and its exit codes, on an emulator that only pretends: what is a violation, and what is always removed."""

import argparse
import io
import json

import pytest

from ftmb.chaos import campaign, report, run
from ftmb.chaos.payload import Arrival, Sent
from ftmb.demo.programs import ProgramError
from ftmb.errors import UsageError

COUNTS = {"sent": 2, "received": 2, "damaged": 0, "misdelivered": 0, "probes_sent": 5, "probes_received": 5,
          "probe_source_changes": 0, "probes_repeated": 0}


#: later than any moment of a test
NOW_NS = 1 << 62


class Emulator:
    """Says that all is well, until *state* is set; ``fail`` raises at the n-th kill."""

    def __init__(self, after_kill="protected", fail=None):
        self.state, self._after_kill, self._fail = "protected", after_kill, fail
        self.calls, self.steps = [], 30

    def up(self, path, recovery, progress, faults):
        self.faults = faults
        with open(path, encoding="utf-8") as file:
            self.configuration = file.read()
        self.calls.append("up")

    def down(self):
        self.calls.append("down")

    def save_logs(self, directory):
        self.calls.append(f"logs to {directory}")

    def kill(self, group, role, how, node):
        if self._fail is not None:
            raise self._fail
        self.calls.append(f"{how} {node}")
        self.state = self._after_kill
        return {"node": node}

    def heal(self, node=None):
        self.calls.append("heal")

    def status(self):
        counters = {"il": ("input-logger", {"inputs": 20, "ticks": 10, "dropped_log_full": 0, "n": [30]}),
                    "m1": ("master", {"k": [self.steps], "bad_frames": 0, "function_errors": 0}),
                    "ol": ("output-logger", {"released": 25, "bad_frames": 0})}
        hosts = [{"name": name, "role": role, "alive": True,
                  "beat": [{"group": "nat", "role": role, "epoch": 1, "counters": values}]}
                 for name, (role, values) in counters.items()]
        return {"groups": [{"name": "nat", "state": self.state, "epoch": 1, "master_epoch": 1, "master": "m1", "spares": ["m2"], "store": "st",
                            "input_logger": "il", "output_logger": "ol",
                            "failovers": []}], "hosts": hosts}


class Traffic:
    """Two datagrams arrived, and what a test adds."""

    arrivals = (Arrival(NOW_NS + 10, False, (1, 1), 1, 0, NOW_NS, 1, 0, (1, 1)),
                Arrival(NOW_NS + 12, True, (1, 1), 1, 0, NOW_NS + 11, 2, 0, (1, 1)))
    sent = (Sent(10, False, 1, 7), Sent(NOW_NS, False, 1, 0), Sent(NOW_NS + 11, True, 1, 0))   # the first before traffic passed
    counts = COUNTS
    problem = None

    def __init__(self, emulator):
        self.calls = emulator.calls

    def start(self):
        if self.problem:
            raise self.problem
        self.calls.append("traffic")

    def flows_everywhere(self):
        return True

    def goes_on_after(self, _moment_ns):
        return True

    def probes_after(self, moment_ns):
        return self.counts["probes_received"]

    def gap_ms(self, _start_ns, _end_ns):
        return 12.5

    def stop_sending(self):
        self.calls.append("rest")

    def received(self):
        return 2

    def finish(self):
        return list(self.sent), list(self.arrivals), dict(self.counts)

    def stop(self):
        self.calls.append("stop")


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(campaign, "TrafficSet", Traffic)
    monkeypatch.setattr(campaign.kills, "PAUSE_MS", (0, 1))
    for name, value in (("PATIENCE_S", 0.1), ("_POLL_S", 0.01), ("_REST_S", 0.01), ("_SAMPLES", 3), ("_SAMPLE_S", 0.001)):
        monkeypatch.setattr(campaign, name, value)


def chaos(emulator, *arguments):
    """(exit code, what was printed) of a campaign."""
    parser, stream = argparse.ArgumentParser(), io.StringIO()
    run.add_arguments(parser)
    return run.main(parser.parse_args(["--kind", "process", *arguments]), emulator, stream), stream.getvalue()


def test_a_campaign_that_held(tmp_path):
    emulator = Emulator()
    code, text = chaos(emulator, "--kills", "3", "--seed", "7", "--json", str(tmp_path / "x"), "--loss", "0.01")
    assert code == 0, text
    assert text.startswith("seed 7: 3 kills of a sequencer, loss 0.01") and "3 kills, no violation (seed 7)" in text
    result = json.loads((tmp_path / "x").read_text())
    assert {key: result[key] for key in ("seed", "kills", "packets_released", "violations", "client_gap_ms")} == {
        "seed": 7, "kills": 3, "packets_released": 25, "violations": [], "client_gap_ms": [12.5] * 3}
    assert emulator.calls == ["up", "traffic", *["process m1", "heal"] * 3, "rest", "stop", "down"]
    assert emulator.faults == {"loss": 0.01, "seed": 7} and "function: sequencer" in emulator.configuration


def test_a_seed_is_drawn_and_printed_and_faults_are_off():
    emulator = Emulator()
    _, text = chaos(emulator, "--kills", "1")
    assert text.startswith("seed ") and emulator.faults is None


@pytest.mark.parametrize("state, said", [("recovering", "not protected after 0.1 s: recovering, master m1, spares m2"),
                                         ("lost", "the controller says that its state is lost")])
def test_a_group_that_does_not_recover_is_a_violation(state, said, tmp_path):
    emulator = Emulator(after_kill=state)
    code, text = chaos(emulator, "--kills", "3", "--keep", str(tmp_path), "--json", str(tmp_path / "x"))
    assert code == 1 and f"VIOLATION: kill 1, process (process) of m1: {said}" in text and "NOT recovered" in text
    assert emulator.calls[-3:] == [f"logs to {tmp_path}", "stop", "down"]
    assert json.loads((tmp_path / "x").read_text())["kills"] == 1


@pytest.mark.parametrize("changes, said", [
    ({"arrivals": (*Traffic.arrivals, Traffic.arrivals[0])}, "left twice"),
    ({"counts": {**COUNTS, "damaged": 1}}, "1 datagrams arrived damaged"),
    ({"counts": {**COUNTS, "misdelivered": 2}}, "2 answers came to another socket"),
    ({"counts": {**COUNTS, "probes_repeated": 1}}, "1 probes arrived twice"),
    ({"counts": {**COUNTS, "probe_source_changes": 1}}, "1 times the probe flow's source changed"),
    ({"arrivals": Traffic.arrivals[:1]}, "1 datagrams were lost while no logger died: first answer 0 of flow 1"),
    ({"counts": {**COUNTS, "probes_received": 100}}, "only 25 packets were released")])
def test_what_receivers_saw_is_judged(monkeypatch, changes, said):
    for name, value in changes.items():
        monkeypatch.setattr(Traffic, name, value)
    code, text = chaos(Emulator(), "--kills", "1")
    assert code == 1 and said in text


def test_what_the_roles_count_is_judged():
    emulator = Emulator()
    emulator.steps = 28
    code, text = chaos(emulator, "--kills", "1")
    assert code == 1 and "2 inputs were logged and never processed" in text


@pytest.mark.parametrize("fail, expected", [(UsageError("m1 is dead already"), 1), (KeyboardInterrupt(), 130)])
def test_whatever_happens_all_is_removed(fail, expected):
    emulator = Emulator(fail=fail)
    code, text = chaos(emulator, "--kills", "2")
    assert code == expected and emulator.calls[-2:] == ["stop", "down"]
    assert ("could not go on: m1 is dead already" if expected == 1 else "interrupted") in text


def test_traffic_that_does_not_start_is_told(monkeypatch):
    monkeypatch.setattr(Traffic, "problem", ProgramError("no port"))
    emulator = Emulator()
    code, text = chaos(emulator, "--kills", "1")
    assert code == 1 and "could not go on: no port" in text and emulator.calls[-1] == "down"


@pytest.mark.parametrize("arguments", [["--kills", "0"], ["--loss", "0.6"], ["--loss", "-1"], ["--function", "x"], ["--kind", "x"],
                                       ["--workers", "0"], ["--reorder", "nan"]])
def test_wrong_arguments_end_with_2(arguments):
    with pytest.raises(SystemExit) as ended:
        chaos(Emulator(), *arguments)
    assert ended.value.code == 2


def test_a_configuration_that_is_refused_is_usage_and_nothing_is_taken_down():
    emulator = Emulator()

    def refuse(*_arguments, **_keywords):
        raise UsageError("workers: 2 are not supported")
    emulator.up = refuse
    with pytest.raises(UsageError):
        chaos(emulator, "--workers", "2")
    assert emulator.calls == []


def test_fewer_kills_than_asked_do_not_hold():
    wanted = report.Wanted(2, 1, "nat")
    assert not report.held(wanted, report.Outcome(blows=[report.Blow("process", "process", ["m1"])]))
