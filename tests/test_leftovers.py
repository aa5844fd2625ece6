"""What a killed run of the tests left behind does not disturb the next one."""

import os
import subprocess

import pytest

from .leftovers import Claim, remove


def test_one_run_at_a_time(tmp_path):
    first = Claim(tmp_path / "lock", lambda: None)
    with pytest.raises(BlockingIOError):
        Claim(tmp_path / "lock", lambda: None)
    first.release()
    Claim(tmp_path / "lock", lambda: None).release()


@pytest.mark.emulation
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root")
def test_leftovers_go_with_their_processes_and_nothing_else_does():
    def ip(*words):
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
    foreign = f"ft{os.getpid()}x"
    for space in ("ftx-left", foreign):
        ip("netns", "add", space)
    try:
        ip("link", "add", "ftxleft0", "type", "veth", "peer", "name", "inner", "netns", "ftx-left")
        process = subprocess.Popen(["ip", "netns", "exec", "ftx-left", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
        with process.stdout:
            process.stdout.readline()       # it is in there now
        assert str(process.pid) in ip("netns", "pids", "ftx-left").split()
        remove()
        assert process.wait(10) == -9
        spaces = ip("netns", "list")
        assert "ftx-left" not in spaces and foreign in spaces and "ftxleft0" not in ip("link", "show")
    finally:
        ip("netns", "delete", foreign)
