"""The command line: help for everything, clear lines and exit code 2 for wrong use."""

import json
import os
import subprocess
import sys

import pytest

from ftmb import cli
from ftmb.emulator import client, server
from ftmb.emulator.rundir import RunDirectory
from ftmb.errors import UsageError

COMMANDS = ["up", "status", "exec", "kill", "move", "drain", "undrain", "decide", "heal", "down", "demo", "chaos", "soak", "new-function", "replay"]


@pytest.fixture
def nothing_up(tmp_path, monkeypatch):
    """Commands that find no network: as root, in an empty place."""
    monkeypatch.setattr(client, "_RUNDIR", RunDirectory(tmp_path / "run"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"ftmb {command}" in capsys.readouterr().out.split("example: ")[1]


@pytest.mark.parametrize("command", [[], ["nothing"], ["up"], ["kill", "nat"], ["kill", "nat", "king"],
                                     ["kill", "nat", "master", "--how", "slowly"], ["status", "--wait", "happy"],
                                     ["status", "--timeout", "-1"], ["status", "--timeout", "nan"]])
def test_wrong_arguments_end_with_2(command):
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    assert ended.value.code == 2


@pytest.mark.parametrize("command, message", [
    (["status"], "nothing is up"), (["kill", "nat", "master"], "nothing is up"), (["heal"], "nothing is up"),
    (["exec", "client1", "--", "true"], "nothing is up"), (["exec", "client1"], "which command?"),
    (["kill", "-", "controller"], "nothing is up"), (["kill", "-", "link:s1-s2"], "nothing is up"), (["move", "nat"], "nothing is up"),
    (["drain", "m1"], "nothing is up"), (["undrain", "m1"], "nothing is up"), (["decide", "nat", "empty"], "nothing is up"),
    (["kill", "-", "master"], "a role belongs to a group"), (["kill", "nat", "controller"], "the controller and links to none"),
    (["kill", "nat", "link:s1-s2"], "the controller and links to none")])
def test_what_cannot_be_done_is_one_clear_line(nothing_up, command, message, capsys):
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def _controller(answer, monkeypatch):
    """Whoever asks the controller gets *answer*; the list of what was asked."""
    asked = []
    client._RUNDIR.path.mkdir()
    client._RUNDIR.key.write_text("00" * 32, encoding="ascii")
    monkeypatch.setattr(client, "_ask", {"rest_port": 8080}.get)
    monkeypatch.setattr(client.rest, "order", lambda *arguments, **fields: asked.append((arguments, fields)) or answer)
    return asked


@pytest.mark.parametrize("command, order, fields, told", [
    (["drain", "m1"], ("nodes", "m1", "drain"), {}, "m1 gives its roles to others"),
    (["undrain", "m1"], ("nodes", "m1", "undrain"), {}, "m1 may have roles again"),
    (["decide", "nat", "last-checkpoint"], ("groups", "nat", "decide"), {"policy": "last-checkpoint"}, "from its last durable checkpoint")])
@pytest.mark.parametrize("answer, code", [((200, {}), 0), ((409, {"error": "no"}), 2), ((503, {"error": "no"}), 2), (None, 2)])
def test_an_order_is_carried_out_or_says_why_not(command, order, fields, told, answer, code, nothing_up, monkeypatch, capsys):
    asked = _controller(answer, monkeypatch)
    assert cli.main(command) == code
    assert asked == [((8080, "00" * 32, *order), fields)]
    out, err = capsys.readouterr()
    assert told in out if code == 0 else err.count("\n") == 1


@pytest.mark.parametrize("answer, code, told", [
    ((200, {"group": "nat", "master": "m2", "failover": {"total_ms": 12.34}}), 0, "m2 is the master of nat now (12.3 ms)"),
    ((503, {"error": "the master of nat failed while it was moved"}), 1, "failed while it was moved"),
    ((504, {"error": "not done after 30 s"}), 1, "not done after 30 s"),
    ((404, {"error": "there is no group 'nut'"}), 2, "there is no group 'nut'"),
    ((409, {"error": "m9 is not in the pool"}), 2, "m9 is not in the pool"),
    (None, 2, "the controller does not answer")])
@pytest.mark.parametrize("json_wanted", [False, True])
def test_a_move_ends_as_the_controller_says(answer, code, told, json_wanted, nothing_up, monkeypatch, capsys):
    asked = _controller(answer, monkeypatch)
    assert cli.main(["move", "nat", "--to", "m2", "--reload", *(["--json"] if json_wanted else [])]) == code
    assert asked == [((8080, "00" * 32, "groups", "nat", "move"), {"to": "m2", "reload": True})]
    out, err = capsys.readouterr()
    if json_wanted and code < 2:
        assert json.loads(out)["group"] == "nat"
    assert told in out + err or (json_wanted and code == 0)


def test_the_status_shows_what_moved_what_is_lost_and_why(nothing_up, monkeypatch, capsys):
    record = {"role": "master", "from": "m1", "to": "m2", "cause": "moved", "replayed_packets": 0, "total_ms": 5.0,
              **{f"{step}_ms": 1.0 for step in ("detect", "fence", "load", "replay", "redirect")}}
    homes = {"master": "m1", "input_logger": "il", "output_logger": "ol", "store": "st"}
    group = {"name": "nat", "function": "nat", "state": "lost", "epoch": 5, **homes, "input_logger": "m3", "store": None, "homes": homes,
             "spares": [], "failovers": [record, {**record, "cause": "link down"}], "lost": "store and master are gone",
             "moving_to": "m2", "replacing": ["input-logger"]}
    monkeypatch.setattr(client, "status", lambda: {"groups": [group], "hosts": [{"name": "m1", "role": "idle", "alive": False}],
                                                   "controller": {"alive": True, "apps": ["a"]}, "links_down": ["link:s1-s2"]})
    assert cli.main(["status"]) == 0
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert told[0] == "group nat (nat): lost, epoch 5"
    assert told[1:6] == ["its state can't be recovered: store and master are gone", "its master is moving to m2",
                         "input logger m3 (at first: il), being put in place", "master m1", "output logger ol"]
    assert "store - (at first: st)" in told and "link:s1-s2 is down" in told and "m1 idle dead" in told
    steps = "5.0 ms = detect 1.0 fence 1.0 load 1.0 replay 1.0 redirect 1.0; 0 packets replayed"
    assert f"move of the master, m1 to m2: {steps}" in told
    assert f"failover of the master, m1 to m2 (link down): {steps}" in told


def test_down_may_be_repeated(nothing_up, capsys):
    assert cli.main(["down"]) == 0 and cli.main(["down"]) == 0
    assert capsys.readouterr().out == "nothing is up\n" * 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("arguments", [["up", "single"], ["status"], ["down"], ["demo"], ["chaos"], ["soak"], ["exec", "client1", "--", "true"]])
def test_without_root_there_is_one_clear_line(arguments):
    done = subprocess.run([sys.executable, "-m", "ftmb", *arguments], user=65534, group=65534, extra_groups=[], cwd="/",
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "needs root" in done.stderr and done.stderr.count("\n") == 1


def test_the_daemon_answers_whatever_comes():
    def refuse():
        raise UsageError("not now")
    operations = {"add": lambda a, b: a + b, "refuse": refuse}
    assert server.answer_to(b'{"op": "add", "arguments": {"a": 1, "b": 2}}', operations) == {"result": 3}
    assert server.answer_to(b'{"op": "refuse"}', operations) == {"error": "not now"}
    for nonsense in (b"", b"[]", b"null", b'{"op": "subtract"}', b'{"op": []}', b"\xff"):
        assert "not a request" in server.answer_to(nonsense, operations)["error"]
    assert "internal error" in server.answer_to(b'{"op": "add", "arguments": {"a": 1}}', operations)["error"]
