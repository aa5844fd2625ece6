"""The processes of an emulation: what a kill says about when they did nothing any more."""

import os
import select
import subprocess
import sys
import time

import pytest

from ftmb.emulator.processes import Process

#: three threads write the time to a file of their own, as long as they run
_BUSY = """
import sys, threading, time
def work(path):
    with open(path, "w") as file:
        while True:
            file.write(f"{time.monotonic_ns()}\\n")
            file.flush()
for number in range(2):
    threading.Thread(target=work, args=(f"{sys.argv[1]}/{number}",)).start()
work(f"{sys.argv[1]}/2")
"""


@pytest.fixture(name="busy")
def _busy(tmp_path):
    process = Process("busy", [sys.executable, "-c", _BUSY, str(tmp_path)], tmp_path / "log")
    process.start()
    deadline = time.monotonic() + 30
    while not all((tmp_path / name).exists() and (tmp_path / name).stat().st_size > 1000 for name in "012"):
        assert time.monotonic() < deadline and process.is_running(), (tmp_path / "log").read_text()
        time.sleep(0.01)
    yield process, tmp_path
    if process.is_running():
        process.kill()


def _last_ns(directory):
    """The last moment at which any thread ran."""
    return max(int((directory / name).read_text().splitlines()[-1]) for name in "012")


def test_a_killed_process_ran_until_then_and_not_after_the_time_that_is_told(busy):
    process, directory = busy
    before_ns = time.monotonic_ns()
    dead_ns = process.kill()
    assert before_ns < dead_ns < time.monotonic_ns() and not process.is_running()
    assert _last_ns(directory) <= dead_ns


def test_a_process_that_has_ended_is_killed_without_waiting_for_anything(tmp_path):
    process = Process("short", [sys.executable, "-c", ""], tmp_path / "log")
    process.start()
    time.sleep(0.3)                     # nobody has asked whether it runs: it is a zombie by then, or soon
    assert process.kill() <= time.monotonic_ns() and process.exit_code() in (0, -9)


def test_a_stopped_process_does_nothing_until_it_is_resumed(busy):
    process, directory = busy
    process.stop()
    stopped_ns = time.monotonic_ns()
    time.sleep(0.05)                    # in which it would have run
    assert _last_ns(directory) <= stopped_ns and process.is_running()
    process.resume()
    deadline = time.monotonic() + 10
    while _last_ns(directory) <= stopped_ns:
        assert time.monotonic() < deadline
        time.sleep(0.01)


#: starts a program that tells its pid and then waits until its input ends, before it has asked to die with its parent
_STARTER = """
import os, subprocess, sys
from topologies.network import dying_with_us
die = dying_with_us()
def begin():
    print(os.getpid(), flush=True)
    sys.stdin.read()
    die()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], preexec_fn=begin)
"""


def test_a_program_does_not_outlive_a_parent_that_dies_before_the_kernel_knows_that_it_matters():
    with subprocess.Popen([sys.executable, "-c", _STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        child = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()
        starter.wait()
        starter.stdin.close()
        ended, _, _ = select.select([child], [], [], 30)
        os.close(child)
    assert ended
