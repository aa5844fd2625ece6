"""The whole demo against namespaces and a plain router that stands in for the protected NAT."""

import argparse
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from ftmb.demo import run
from ftmb.errors import UsageError

from .fake_emulator import FakeEmulator

pytestmark = pytest.mark.emulation


def arguments(*words):
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def emulator():
    made = []

    def make(**keywords):
        made.append(FakeEmulator(**keywords))
        return made[-1]
    yield make
    for each in made:
        each.down()


def test_outages_that_heal_are_survived_and_measured(emulator, tmp_path):
    """Exit 0, JSON as in the contract, and a gap that is the outage that was made."""
    fake, out, path = emulator(outage_s=0.03), io.StringIO(), tmp_path / "result.json"
    code = run.main(arguments("--kills", "2", "--seed", "5", "--json", str(path)), fake, out)
    assert code == 0, out.getvalue()
    result = json.loads(path.read_text())
    assert {key: result[key] for key in ("kills", "survived", "tcp_resets", "tcp_broken", "download_ok",
                                         "nat_mappings_changed")} == {
        "kills": 2, "survived": 2, "tcp_resets": 0, "tcp_broken": 0, "download_ok": True, "nat_mappings_changed": 0}
    assert len(result["failovers"]) == len(result["client_gap_ms"]) == 2
    assert all(30 <= gap_ms < 500 for gap_ms in result["client_gap_ms"])
    assert result["traffic"]["client"]["new_opened"] > 200 and result["traffic"]["download"]["bytes"] > 1_000_000
    assert fake.healed == ["m1", "m2"] and not fake.is_up
    assert "every connection went on" in out.getvalue() and "\x1b" not in out.getvalue()


def test_a_router_that_stays_dead_is_noticed_by_every_check(emulator, tmp_path):
    """Without recovery: exit 1, broken TCP, no survived kill, and everything is removed."""
    fake, out, path = emulator(), io.StringIO(), tmp_path / "result.json"
    code = run.main(arguments("--no-recovery", "--kills", "2", "--seed", "5", "--json", str(path), "--connections", "10",
                              "--flows", "10", "--new-connections-per-s", "20"), fake, out)
    assert code == 1
    result = json.loads(path.read_text())
    assert result["survived"] == 0 and result["tcp_broken"] >= 10 and not result["download_ok"]
    assert "This is the contrast" in out.getvalue()
    assert not fake.is_up


def test_a_network_that_never_comes_up_is_left_as_it_was(emulator):
    """An error of ``up`` passes through, and the demo does not take down what it did not bring up."""
    fake = emulator()

    def up(*_, **__):
        raise UsageError("another network is up")
    fake.up, fake.down_was = up, fake.down
    fake.down = lambda: pytest.fail("took down somebody else's network")
    try:
        with pytest.raises(UsageError):
            run.main(arguments(), fake, io.StringIO())
    finally:
        fake.down = fake.down_was


def test_an_interrupt_ends_traffic_and_takes_the_network_down():
    """Ctrl-C in mid-run: exit code 130, no namespace and no traffic program left."""
    script = ("import sys, argparse; from ftmb.demo import run; from demo.fake_emulator import FakeEmulator\n"
              "p = argparse.ArgumentParser(); run.add_arguments(p)\n"
              "sys.exit(run.main(p.parse_args(['--kills', '50']), FakeEmulator()))\n")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True,
                               cwd=pathlib.Path(__file__).parents[1])
    killer = threading.Timer(60, process.kill)
    killer.start()
    try:
        for line in process.stdout:
            if "client saw" in line or line.startswith("kill "):
                break
        assert traffic_of(process.pid)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait() == 130 and "interrupted" in rest
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"ft{process.pid}" not in left
    assert not traffic_of(process.pid)


def traffic_of(parent):
    """Traffic programs that run in the namespaces of the demo with process id *parent*: found by their network."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            status = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(word.startswith(b"ftmb.demo.traffic") for word in words) and int(status.rsplit(")", 1)[1].split()[1]) in (parent, 1):
            found.append(pid)
    return found


def test_a_json_path_that_cannot_be_written_is_refused_before_anything_starts(emulator):
    fake = emulator()
    with pytest.raises(UsageError, match="cannot write"):
        run.main(arguments("--json", "/no/such/folder/x.json"), fake, io.StringIO())
    assert not fake.is_up
