"""Short campaigns on real processes: the product holds, and a product without recovery is caught."""

import json
import subprocess

import pytest

from .machine import command, environment

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
TIMEOUT_S = 120


def chaos(directory, *arguments):
    """(exit code, result, output) of a campaign."""
    path = directory / "result"
    done = subprocess.run(command("chaos", "--json", str(path), "--keep", str(directory / "logs"), *arguments),
                          env=environment(False), cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert path.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(path.read_text()), done.stdout + done.stderr


def test_no_number_comes_twice_whatever_dies_and_when(tmp_path):
    """The sequencer: a master that dies in a checkpoint, in a recovery, twice in a row."""
    code, result, text = chaos(tmp_path, "--seed", "5", "--kills", "3", "--kind", "checkpoint", "--kind", "recovery",
                               "--kind", "twice")
    assert (code, result["violations"], result["kills"]) == (0, [], 3), text
    assert result["packets_released"] > 1000 and len(result["client_gap_ms"]) == 3 and "(seed 5)" in text
    assert result["inputs_lost"] == 0, "nothing that was logged is lost on a network that loses nothing"


def test_loggers_store_and_controller_may_die_and_masters_move(tmp_path):
    """What is lost was on its way when a logger died, and nothing that its follower numbered is."""
    kinds = ("loggers", "store", "move", "move-and-master", "away")
    code, result, text = chaos(tmp_path, "--seed", "8", "--kills", str(len(kinds)), *(each for kind in kinds for each in ("--kind", kind)))
    assert (code, result["violations"], result["kills"]) == (0, [], len(kinds)), text
    assert sorted(blow["kind"] for blow in result["blows"]) == sorted(kinds)
    assert result["inputs_lost"] <= sum(result["queue_overruns"].values())


def test_a_nat_keeps_its_mappings_on_a_network_that_loses_doubles_and_reorders(tmp_path):
    code, result, text = chaos(tmp_path, "--seed", "6", "--kills", "2", "--kind", "host", "--kind", "stutter",
                               "--function", "nat", "--loss", "0.01", "--duplicate", "0.01", "--reorder", "0.02")
    assert (code, result["violations"]) == (0, []), text
    counters = result["counters"]["input-logger"]
    assert min(counters["faults_lost"], counters["faults_duplicated"], counters["faults_reordered"]) > 0, "the faults were real"
    assert result["inputs_lost"] > 0


def test_without_recovery_the_violations_are_seen(tmp_path):
    code, result, text = chaos(tmp_path, "--seed", "7", "--kills", "1", "--kind", "process", "--function", "shared-counter",
                               "--no-recovery")
    assert code == 1, text
    assert any("went back" in violation for violation in result["violations"])
    assert (tmp_path / "logs" / "controller.log").exists()
