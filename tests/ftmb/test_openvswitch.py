"""Open vSwitch is started where it does not run, and the user told when it is slower than it could be."""

import os
import subprocess

import pytest

from ftmb.emulator import openvswitch
from ftmb.errors import UsageError


class Machine:
    """A machine without systemd whose Open vSwitch runs once it was started."""

    def __init__(self, monkeypatch, starts=True):
        self.runs, self.starts, self.started = False, starts, []
        monkeypatch.setattr(openvswitch.subprocess, "run", self)
        monkeypatch.setattr(openvswitch.Path, "is_dir", lambda path: False)

    def __call__(self, command, **options):
        if command[0].startswith("ovs-"):
            return subprocess.CompletedProcess(command, 0 if self.runs else 1)
        self.started.append((command, options["env"]))
        self.runs = self.starts
        return subprocess.CompletedProcess(command, 0)


def test_it_is_started_once_and_keeps_its_memory(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    machine = Machine(monkeypatch)
    openvswitch.ensure_running()
    openvswitch.ensure_running()
    (command, environment), = machine.started
    assert command == ["/etc/init.d/openvswitch-switch", "start"]
    assert "trim_threshold" in environment["GLIBC_TUNABLES"] and environment["PATH"] == os.environ["PATH"]
    assert "PYTHONPATH" not in environment, "what is ours is no affair of the switch's"


def test_one_that_does_not_come_up_is_told(monkeypatch):
    Machine(monkeypatch, starts=False)
    with pytest.raises(UsageError, match="did not help: see /var/log/openvswitch"):
        openvswitch.ensure_running()


def test_a_machine_without_it_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="ovs-vsctl is missing: apt-get install openvswitch-switch"):
        openvswitch.ensure_running()


@pytest.mark.parametrize("variables, datapath, is_told", [
    ({}, "user", True), ({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=67108864"}, "user", False),
    ({"MALLOC_TRIM_THRESHOLD_": "67108864"}, "user", False), ({}, "kernel", False)])
def test_one_that_gives_its_memory_back_is_told(monkeypatch, tmp_path, variables, datapath, is_told):
    with subprocess.Popen(["cat", "-u"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], **variables}) as daemon:
        daemon.stdin.write(b"x")
        daemon.stdin.flush()
        assert daemon.stdout.read(1) == b"x"        # it is no copy of us any more
        (tmp_path / "pid").write_text(f"{daemon.pid}\n")
        monkeypatch.setattr(openvswitch, "_PID_FILE", tmp_path / "pid")
        monkeypatch.setattr(openvswitch, "datapath", lambda: datapath)
        advice = openvswitch.advice()
        daemon.stdin.close()
    assert (advice is not None) == is_told
    assert not is_told or "trim_threshold=67108864" in advice


def test_nothing_is_said_of_one_that_can_not_be_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr(openvswitch, "_PID_FILE", tmp_path / "none")
    monkeypatch.setattr(openvswitch, "datapath", lambda: "user")
    assert openvswitch.advice() is None
