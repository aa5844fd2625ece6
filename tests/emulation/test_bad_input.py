"""Wrong use and unfit machines: one clear line, exit code 2, no traceback, and nothing has been started."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftmb.config import CONFIGURATIONS

from .machine import ROOT, environment
from .product import clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
PROGRAMS = ["ip", "ethtool", "ifconfig", "mnexec", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"]


@pytest.fixture(scope="module")
def ftmb(tmp_path_factory):
    """The command line in an empty directory; afterwards the machine must be as before."""
    with clean_machine(tmp_path_factory.mktemp("bad")) as product:
        yield product


@pytest.fixture
def refused(ftmb):
    """Runs a command that must be refused before it does anything; its one line of error."""
    def run(*arguments, **variables):
        done = ftmb(*arguments, code=2, **variables)
        assert done.stdout == "" and not Path("/run/ftmb").exists()
        return done.stderr
    return run


def one_line(error):
    """*error*, which must be one line of ours."""
    assert error.startswith("ftmb: ") and error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("old, new, message", [
    ("store: st", "storage: st", "unknown key 'storage' (allowed: function, ports,"),
    ("rest_port: 8080", "rest_port: '8080'", "rest_port must be a whole number"),
    ("function: nat", "function: router", "unknown function 'router'; known functions: firewall,"),
    ("function: nat", "function: os:system", "os has no Middlebox class 'system'"),
    ("[192.0.2.254]", "[192.0.2.300]", "external_addresses"),
    ("[192.0.2.254]", "[192.0.2.254], udp_timeout_s: soon", "udp_timeout_s must be an integer"),
    ("10.0.0.2/24", "10.0.0.1/24", "the address 10.0.0.1 of host client2 is already that of host client1"),
])
def test_a_wrong_configuration_is_told_with_file_and_line(ftmb, refused, old, new, message):
    text = (CONFIGURATIONS / "single.yaml").read_text(encoding="utf-8")
    line = text[:text.index(old)].count("\n") + 1
    (ftmb.directory / "wrong.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    error = one_line(refused("up", "wrong.yaml"))
    assert error.startswith(f"ftmb: wrong.yaml:{line}: ") and message in error


@pytest.mark.parametrize("name", ["triple", "", "/", "/dev/zero", "fifo", "x" * 300])
def test_what_is_no_configuration_is_told(ftmb, refused, name):
    """Also what would never end when read."""
    if name == "fifo":
        os.mkfifo(ftmb.directory / "fifo")
    error = one_line(refused("up", name))
    assert "no configuration" in error and "one of" in error and "single" in error or "cannot read" in error


@pytest.mark.parametrize("name", ["no.such.module", "ryu.app.no_such_app", "no_such_file.py", "os;id", ""])
def test_an_unknown_ryu_app_is_told(refused, name):
    assert f"--ryu-app {name}: there is no such module" in one_line(refused("up", "single", "--ryu-app", name))


@pytest.mark.parametrize("arguments, message", [
    (["--kills", "0"], "--kills: must be between 1 and"), (["--kills", "-1"], "--kills: must be between 1 and"),
    (["--kills", "100000"], "--kills: must be between 1 and"), (["--kills", "many"], "--kills: invalid number value: 'many'"),
    (["--kills", "1.5"], "--kills: invalid number"), (["--kills", ""], "--kills: invalid number"),
    (["--kills"], "expected one argument"), (["--how", "slowly"], "--how: invalid choice"),
    (["--seed", "-1"], "--seed: must be between"), (["more"], "unrecognized arguments: more"),
])
def test_wrong_arguments_of_the_demonstration_are_named(refused, arguments, message):
    error = refused("demo", *arguments)
    assert error.startswith("usage: ftmb") and message in error.splitlines()[-1]


@pytest.mark.parametrize("path", ["no/such/folder/x.json", ".", "", "/proc/x.json", "x/" * 3000])
def test_a_json_file_that_cannot_be_written_is_told_at_once(refused, path):
    assert "--json: cannot write" in one_line(refused("demo", "--json", path))


def test_a_json_file_is_not_touched_before_there_is_a_result(ftmb):
    """A check whether it can be written leaves what it holds, and no new file."""
    (ftmb.directory / "old.json").write_text("old", encoding="ascii")
    for name in ("old.json", "new.json"):
        done = ftmb("demo", "--json", name, code=2, PATH=str(_programs(ftmb, "ovs-vsctl")))
        assert "ovs-vsctl is missing" in one_line(done.stderr)
    assert (ftmb.directory / "old.json").read_text(encoding="ascii") == "old"
    assert not (ftmb.directory / "new.json").exists()


def _programs(ftmb, without):
    """A PATH with all that the emulator needs but one."""
    directory = ftmb.directory / f"without-{without}"
    directory.mkdir(exist_ok=True)
    for program in PROGRAMS:
        link = directory / program
        if program != without and not link.exists():
            link.symlink_to(shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    return directory


def test_a_machine_without_open_vswitch_is_told_what_to_install(ftmb, refused):
    error = one_line(refused("up", "single", PATH=str(_programs(ftmb, "ovs-vsctl"))))
    assert "ovs-vsctl is missing: apt-get install openvswitch-switch" in error


def test_an_open_vswitch_that_does_not_start_is_told(ftmb, refused):
    """Its sockets are looked for where there are none, and starting the service does not help."""
    directory = _programs(ftmb, "service")
    for name in ("service", "systemctl"):
        (directory / name).write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        (directory / name).chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    error = one_line(refused("up", "single", PATH=path, OVS_RUNDIR=str(ftmb.directory)))
    assert "Open vSwitch does not answer" in error


@pytest.mark.parametrize("arguments", [["kill", "nat", "master"], ["heal"], ["demo", "--json", "x.json"]])
def test_commands_need_root(ftmb, arguments):
    done = _as_nobody(ftmb, [sys.executable, "-m", "ftmb", *arguments])
    assert done.returncode == 2 and "needs root" in one_line(done.stderr)


@pytest.mark.parametrize("script", ["ftmb", "demo", "test", "setup"])
def test_scripts_need_root(ftmb, script):
    """They prepare the machine first, which only root can."""
    done = _as_nobody(ftmb, [str(ROOT / "scripts" / script)])
    assert done.returncode == 2 and "needs root" in done.stderr and done.stderr.count("\n") == 1


def test_help_needs_nobody_and_nothing(ftmb):
    """Every command explains itself with an example, to any user, anywhere."""
    told = _as_nobody(ftmb, [sys.executable, "-m", "ftmb", "--help"])
    assert told.returncode == 0 and "example: ftmb up" in told.stdout
    commands = re.findall(r"^    (\w+)  ", told.stdout, flags=re.MULTILINE)
    assert {"up", "status", "exec", "kill", "heal", "down", "demo"} <= set(commands)
    for name in commands:
        done = _as_nobody(ftmb, [sys.executable, "-m", "ftmb", name, "--help"])
        assert done.returncode == 0 and f"example: ftmb {name}" in done.stdout and done.stderr == ""
    alone = _as_nobody(ftmb, [sys.executable, "-m", "ftmb"])
    assert alone.returncode == 2 and alone.stderr.startswith("usage: ftmb") and "COMMAND" in alone.stderr


def _as_nobody(ftmb, arguments):
    if subprocess.run([*NOBODY, sys.executable, "-c", "import ftmb"], env=environment(False), cwd="/", capture_output=True,
                      check=False).returncode:
        pytest.skip("another user cannot read this checkout")
    return subprocess.run([*NOBODY, *arguments], env=environment(False), cwd="/", capture_output=True, text=True,
                          timeout=30, check=False)
