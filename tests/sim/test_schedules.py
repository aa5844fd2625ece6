"""Schedules of the simulator: the same ones each time, some fresh ones, or the one that ``--seed`` names."""

import os
import random
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .campaign import BATCH, campaign
from .checkers import Violation
from .faults import ForgetsWhatLeft
from .faults_replacements import KeepsOutputEpoch, SharesTheEpoch
from .group import Parts
from .network import Events, Host, Network
from .run import Size, command, run
from .shrink import failure, shrink

ROOT = Path(__file__).resolve().parents[2]

FIXED = 1500
FRESH = 700


def report_of(first_seed, count):
    lines = []
    failed = campaign(count, first_seed, lines.append)
    print(*lines, sep="\n")
    assert not failed, f"schedules {failed} broke an invariant; repeat one with: python -m pytest tests/sim --seed {failed[0]}"


def test_the_schedules_of_fixed_seeds_keep_all_invariants(pytestconfig):
    seed = pytestconfig.getoption("seed", default=None)
    if seed is not None:
        print(run(seed))
    else:
        report_of(1, FIXED)


def test_fresh_schedules_keep_all_invariants(capsys):
    first_seed = secrets.randbelow(1 << 40)
    with capsys.disabled():
        print(f" [simulator: fresh seeds {first_seed} to {first_seed + FRESH - 1}]", end="", flush=True)
    report_of(first_seed, FRESH)


def test_a_checkpoint_that_gets_durable_between_the_fences_explains_what_left():
    """The output logger, a new one, is fenced with nothing; the store, fenced later, has the checkpoint that covers it."""
    report = run(726816582858)
    assert report.failovers and report.replaced and not report.lost


@pytest.mark.parametrize("seed, said", [(24, "does not come to rest"), (5494, "does not come to rest"), (3973, "not in the recoverable prefix"),
                                        (10330, "not in the recoverable prefix")])
def test_what_a_late_switch_leads_to_a_former_output_logger_does_no_harm(seed, said):
    """In the same epoch as the new one it acknowledges what that lacks for ever, and lets out what nothing explains."""
    assert run(seed).replaced
    with pytest.raises(Violation, match=said):
        run(seed, Parts(core=KeepsOutputEpoch, output_logger=SharesTheEpoch))


def test_a_former_output_logger_that_serves_a_fenced_master_still_is_not_the_history():
    """The new one, not covered yet, is fenced with nothing, and the state is lost; the former one goes on for a while."""
    report = run(830000001184)
    assert report.replaced and report.lost


def test_a_role_that_dies_as_it_sends_does_nothing_in_its_host_s_next_life():
    events = Events()
    host = Host("h", 1, Network(random.Random(1), events, ordered=True, loss=0, duplication=0, slow=0, delay_us_max=0, stale_ns_max=0, mixed=False))
    fired = []
    host.role, host.sends_left = "dies", 0
    host.send(b"")
    assert not host.alive
    host.later(0, fired.append, "dead")
    host.alive = True
    host.later(0, fired.append, "alive")
    events.run(1)
    assert fired == ["alive"]


def test_a_hot_spare_does_not_go_on_before_a_checkpoint_that_a_new_output_logger_has_not_heard_of():
    """Its stream, of that output logger, begins with the first step, and lacks what the former one had."""
    run(110019842, size=Size.of(110019842)._replace(crashes=5, without=("duplication", "slow")))


def test_equal_seeds_give_equal_schedules():
    for seed in range(20):
        assert run(seed) == run(seed)


def test_schedules_do_not_depend_on_the_process():
    """Neither hash() nor the order of sets is in them: a seed fails here as it failed there."""
    program = "from tests.sim.run import run; print([run(seed) for seed in range(5)])"
    told = {subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={"PYTHONHASHSEED": hash_seed}, check=True,
                           capture_output=True).stdout for hash_seed in ("1", "2")}
    assert len(told) == 1


def test_schedules_do_what_they_are_for():
    """Failovers, moves and replacements, several in a row, with packets released in between: otherwise the checks above prove nothing."""
    reports = [run(seed) for seed in range(200)]
    assert sum(report.failovers for report in reports) > 150
    assert any(report.failovers >= 4 for report in reports)
    assert sum(report.moves for report in reports) > 5
    assert sum(report.replaced for report in reports) > 120
    assert any(report.replaced and report.failovers and report.moves for report in reports)
    assert sum(report.resumed for report in reports) > 40
    assert sum(report.went_ahead for report in reports) > 20
    assert sum(report.lost for report in reports) < 10
    assert sum(report.released for report in reports) > 4000
    assert {report.workers for report in reports} == {1, 2, 3, 4}
    assert sum(report.accesses for report in reports) > 2000
    assert sum(report.cut_open for report in reports) > 5


def test_processes_change_nothing_but_the_time():
    told = [], []
    for processes, lines in zip((1, 2), told):
        assert campaign(2 * BATCH + 1, 1, lines.append, processes) == []
    alone, together = [[re.sub(r"in .* a second", "", line) for line in lines[1:]] for lines in told]
    assert alone == together and len(alone) == 1


def test_a_failing_campaign_says_how_to_repeat_it_and_finds_a_smaller_schedule():
    """All failing seeds in order; the first is made smaller by itself, and the smaller one fails in the same way when repeated."""
    parts = Parts(output_logger=ForgetsWhatLeft)
    lines = []
    failed = campaign(60, 16, lines.append, 2, parts=parts)
    assert failed == sorted(seed for seed in range(16, 76) if failure(seed, parts, Size.of(seed)))
    assert any(f"repeat with: python -m tests.sim --schedules 1 --seed {failed[0]}" in line for line in lines)
    assert "smaller, after" in lines[-1] and "left twice" in lines[-1]

    smaller = shrink(failed[0], parts)
    drawn = Size.of(failed[0])
    assert smaller.text == lines[-1]
    assert smaller.size.workers == 1 and smaller.size.packets < drawn.packets and smaller.size.packets <= 10
    assert smaller.size.crashes <= drawn.crashes
    with pytest.raises(Violation, match="left twice"):
        run(smaller.seed, parts, smaller.size)
    assert command(smaller.seed, smaller.size) in smaller.text


def test_only_a_failing_schedule_is_made_smaller():
    with pytest.raises(ValueError, match="does not fail"):
        shrink(1)


def test_the_command_of_a_smaller_schedule_runs_that_schedule():
    size = Size.of(3)._replace(workers=2, packets=9, without=("loss", "slow"))
    words = command(3, size).split()
    told = subprocess.run([sys.executable, *words[1:], "--processes", "1"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    report = run(3, size=size)
    assert f"{report.failovers} failovers, {report.moves} of them moves" in told
    assert f"{report.released} packets released, {report.events} events" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_campaign_ends_cleanly_when_it_is_interrupted(number):
    """It tells what was done, and leaves no process and no trace of an exception."""
    with subprocess.Popen([sys.executable, "-m", "tests.sim", "--schedules", "1000000", "--processes", "2"], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline().startswith("seeds ")
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        try:
            told, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 130
    assert "schedules from seed" in told and errors == ""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
