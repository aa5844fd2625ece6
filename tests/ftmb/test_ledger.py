"""Only what is ours is removed: processes by start time, the run directory by its lock."""

import os
import subprocess
import sys

import pytest

from ftmb.emulator.cleanup import clean
from ftmb.emulator.ledger import Ledger, is_alive, start_time
from ftmb.emulator.rundir import RunDirectory


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def rundir(tmp_path):
    made = RunDirectory(tmp_path / "run")
    assert made.acquire()
    return made


def test_a_process_is_known_by_pid_and_start_time(sleeper):
    start = start_time(sleeper.pid)
    assert is_alive(sleeper.pid, start) and not is_alive(sleeper.pid, start + 1)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(sleeper.pid, start), "a zombie has ended"
    sleeper.wait()
    assert start_time(sleeper.pid) is None


def test_cleaning_kills_what_the_ledger_names_and_removes_the_directory(rundir, sleeper):
    ledger = Ledger()
    ledger.save(rundir)
    ledger.add_process(rundir, sleeper.pid, "a sleeper")
    clean(rundir)
    assert sleeper.wait(timeout=5) == -9
    assert not rundir.path.exists()


def test_a_number_that_was_given_to_somebody_else_is_not_touched(rundir, sleeper):
    ledger = Ledger(processes=[[sleeper.pid, start_time(sleeper.pid) - 1, "ended long ago"]])
    ledger.save(rundir)
    clean(rundir)
    assert sleeper.poll() is None


def test_the_lock_has_one_owner_at_a_time(rundir):
    other = RunDirectory(rundir.path)
    assert not other.acquire()
    rundir.sign(1234, 5678)
    assert other.owner() == (1234, 5678)
    rundir.release()
    assert other.acquire()


def test_a_lock_outlives_the_removal_of_its_directory_by_nobody(rundir):
    """Whoever locks a file that was removed meanwhile must not believe that it owns the new one."""
    other = RunDirectory(rundir.path)
    clean(rundir)
    assert other.acquire()
    third = RunDirectory(rundir.path)
    assert not third.acquire()
