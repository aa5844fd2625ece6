"""The course of a soak and its exit codes, on an emulator that only pretends: what is a violation, and what is always removed."""

import argparse
import io
import json

import pytest

from ftmb.demo.programs import ProgramError
from ftmb.errors import UsageError
from ftmb.soak import report, run, soak

from .samples import counters, network

MIB = 1 << 20
NODES = dict(zip(report.ROLES, ("il", "m1", "ol", "st")))
DOWNLOAD = {"curl_exit": 0, "bytes": 5, "sha256": "a", "served_bytes": 5, "served_sha256": "a", "error": ""}


class Emulator:
    """Says that all is well; while the store hangs the input log drops."""

    def __init__(self, fail=None, moves=False):
        self.calls, self._fail, self._moves = [], fail, moves
        self._hangs, self._dropped = False, 0

    def up(self, path, progress):
        with open(path, encoding="utf-8") as file:
            self.configuration = file.read()
        self.calls.append("up")

    def down(self):
        self.calls.append("down")

    def save_logs(self, directory):
        self.calls.append(f"logs to {directory}")

    def kill(self, group, role, how):
        self.calls.append(f"{how} {role}")
        self._hangs = True
        if self._fail:
            raise self._fail

    def heal(self, node):
        self.calls.append(f"heal {node}")
        self._hangs = False

    def memory(self):
        return dict.fromkeys(NODES.values(), 20 * MIB)

    def status(self):
        self._dropped += self._hangs
        roles = counters()
        roles["input_logger"]["dropped_log_full"] += self._dropped
        roles["input_logger"]["inputs"] += self._dropped
        roles["input_logger"]["received"] += self._dropped
        self.dropped = self._dropped
        hosts = [{"name": node, "beat": [{"role": role.replace("_", "-"), "group": "nat", "counters": roles[role]}]}
                 for role, node in NODES.items()]
        return {"groups": [{"name": "nat", **NODES, **({"store": "ol"} if self._moves and self._hangs else {})}], "hosts": hosts}


class Traffic:
    """Answers come as long as it sends."""

    stopped = 0
    failing = False

    def __init__(self, emulator, seed):
        self._answered, self._sending = 0, True

    def start(self):
        if Traffic.failing:
            raise ProgramError("curl got no first byte")

    def answered(self):
        self._answered += self._sending
        return self._answered

    def stop_sending(self):
        self._sending = False
        return DOWNLOAD

    def finish(self):
        return {"server": {"received": 9, "repeated": 0, "damaged": 0}, "clients": {"sent": 9, "received": 9, "repeated": 0, "damaged": 0}}

    def stop(self):
        Traffic.stopped += 1


class Network:
    """What the edge sent fits what the input logger says."""

    def __init__(self, emulator, text, group):
        self._emulator = emulator

    def sample(self, holders):
        return {**network(), "edge": 1000 + self._emulator.dropped}


@pytest.fixture(autouse=True)
def pretended(monkeypatch):
    Traffic.stopped, Traffic.failing = 0, False
    monkeypatch.setattr(soak, "TrafficSet", Traffic)
    monkeypatch.setattr(soak, "Network", Network)
    monkeypatch.setattr(soak.queues, "overruns", dict)
    for name in ("_SAMPLE_S", "_REST_S", "_QUIET_S"):
        monkeypatch.setattr(soak, name, 0.002)
    # the shortest soak: what counts is the course
    monkeypatch.setattr(run.report, "Wanted", lambda seconds, stopped, workers, seed: report_wanted(0.09, 0.03, workers, seed))


report_wanted = report.Wanted


def soaked(emulator, tmp_path, **options):
    """(exit code, what was said, the JSON's path)."""
    path, stream = tmp_path / "result", io.StringIO()
    args = argparse.Namespace(**{"minutes": 1, "store_stopped": 5, "workers": 1, "seed": 3, "keep": "logs", "json": str(path), **options})
    return run.main(args, emulator, stream), stream.getvalue(), path


def test_it_holds(tmp_path):
    emulator = Emulator()
    code, text, path = soaked(emulator, tmp_path)
    result = json.loads(path.read_text())
    assert (code, result["violations"], result["held"]) == (0, [], True), text
    assert emulator.calls == ["up", "hang store", "heal st", "down"] and Traffic.stopped == 1
    assert {sample["phase"] for sample in result["samples"]} == {"idle", "before", "stopped", "after"}
    assert "suspect_after_ms: 90030" in emulator.configuration, "longer than the stop: else the store would be replaced"


def test_a_role_that_moves_is_a_violation_and_the_logs_are_kept(tmp_path):
    emulator = Emulator(moves=True)
    code, text, _ = soaked(emulator, tmp_path)
    assert code == 1 and "roles moved" in text
    assert emulator.calls[-2:] == ["logs to logs", "down"] and Traffic.stopped == 1


@pytest.mark.parametrize("fail, code, said", [
    (KeyboardInterrupt(), 130, "interrupted"), (UsageError("nothing is up"), 1, "could not go on: nothing is up")])
def test_however_it_ends_nothing_is_left(tmp_path, fail, code, said):
    emulator = Emulator(fail=fail)
    got, text, _ = soaked(emulator, tmp_path)
    assert got == code and said in text
    assert emulator.calls[-1] == "down" and Traffic.stopped == 1


def test_traffic_that_cannot_start_is_told(tmp_path):
    Traffic.failing = True
    emulator = Emulator()
    code, text, _ = soaked(emulator, tmp_path)
    assert code == 1 and "curl got no first byte" in text and emulator.calls == ["up", "down"]
