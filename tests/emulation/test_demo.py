"""The demonstration, as users run it: it holds, its contrast does not, and Ctrl-C leaves nothing."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from .machine import ours, snapshot
from .product import TIMEOUT_S, clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
SEED = "7"
STEPS = ("detect_ms", "fence_ms", "load_ms", "replay_ms", "redirect_ms")


@pytest.fixture
def ftmb(tmp_path, monkeypatch):
    """The command line in an empty directory; afterwards the machine must be as before, also in its temporary files."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with clean_machine(tmp_path) as product:
        yield product
    assert not list(temporary.iterdir())
    assert not traffic(), "no traffic program goes on"


def traffic():
    """Command lines of the demonstration's programs that run."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue        # it ended meanwhile
    return [line for line in lines if re.search(r"ftmb\.demo\.traffic|ftmb demo", line)]


def result(ftmb, *arguments, code):
    """What ``demo --json`` writes, and what it prints."""
    done = ftmb("demo", "--seed", SEED, "--json", "result.json", *arguments, code=code)
    assert "\x1b" not in done.stdout, "no colours where nobody sees them"
    file = ftmb.directory / "result.json"
    assert file.exists(), done.stdout + done.stderr
    return json.loads(file.read_text(encoding="ascii")), done.stdout


def test_it_holds(ftmb):
    """Three kills under real traffic: each connection lives, each mapping stays, and the numbers are those of the contract."""
    got, told = result(ftmb, "--kills", "3", code=0)
    assert (got["kills"], got["survived"]) == (3, 3)
    assert (got["tcp_resets"], got["tcp_broken"], got["nat_mappings_changed"]) == (0, 0, 0)
    assert got["download_ok"] is True
    assert len(got["client_gap_ms"]) == 3 and all(gap_ms > 0 for gap_ms in got["client_gap_ms"])
    assert got["spanning"]["tcp_connections"] >= 100 and got["spanning"]["udp_flows"] >= 100
    assert got["traffic"]["client"]["tcp_closed_in_order"] >= 100 and got["traffic"]["server"]["udp_flows"] >= 100
    assert [kill["node"] for kill in got["per_kill"]] == [failover["from"] for failover in got["failovers"]]
    for failover in got["failovers"]:
        assert failover["role"] == "master" and failover["cause"] and failover["at_ns"] > 0
        assert failover["replayed_packets"] >= 0
        assert all(0 <= failover[step] <= failover["total_ms"] for step in STEPS)
    assert "3 of 3 kills survived" in told and "It held" in told


def test_without_recovery_the_same_kill_breaks_what_lives(ftmb):
    """So the traffic does measure what it says."""
    got, told = result(ftmb, "--kills", "1", "--no-recovery", code=1)
    assert got["survived"] == 0 and got["held"] is False
    assert got["tcp_broken"] > 0 and got["nat_mappings_changed"] > 0
    assert "This is the contrast" in told


@pytest.mark.parametrize("moment", ["bringing up", "starting traffic", "traffic flows", "kill 1:"])
def test_ctrl_c_leaves_nothing(ftmb, moment):
    """Pressed twice by somebody impatient; the terminal sends it to all of its foreground."""
    before = snapshot()
    demo = ftmb.start("demo", "--kills", "2", start_new_session=True)
    for line in demo.stdout:
        if moment in line.decode():
            break
    os.killpg(demo.pid, signal.SIGINT)
    os.killpg(demo.pid, signal.SIGINT)
    told, _ = demo.communicate(timeout=TIMEOUT_S)
    assert demo.returncode == 130, told.decode()
    assert b"Traceback" not in told
    assert snapshot() == before and not traffic()


def test_down_cleans_up_after_a_demo_that_was_killed(ftmb):
    """Its network and its traffic live on: the next command says so, and ``down`` ends them."""
    demo = ftmb.start("demo", "--kills", "2")
    for line in demo.stdout:
        if b"traffic flows" in line:
            break
    demo.kill()
    demo.wait(TIMEOUT_S)
    demo.stdout.close()
    demo.stdin.close()
    assert "up already: `ftmb down`" in ftmb("up", "single", code=2).stderr
    ftmb("down")
    assert not ours() and not traffic()
    for leftover in (ftmb.directory / "tmp").iterdir():     # temporary files of a killed process are the system's to clean
        shutil.rmtree(leftover)
