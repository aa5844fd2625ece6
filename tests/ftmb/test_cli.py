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

COMMANDS = ["up", "status", "exec", "kill", "move", "heal", "down", "demo", "chaos", "soak"]


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
    (["kill", "-", "master"], "a role belongs to a group"), (["kill", "nat", "controller"], "the controller and links to none"),
    (["kill", "nat", "link:s1-s2"], "the controller and links to none")])
def test_what_cannot_be_done_is_one_clear_line(nothing_up, command, message, capsys):
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("answer, code, told", [
    ((200, {"group": "nat", "master": "m2", "failover": {"total_ms": 12.34}}), 0, "m2 is the master of nat now (12.3 ms)"),
    ((503, {"error": "the master of nat failed while it was moved"}), 1, "failed while it was moved"),
    ((504, {"error": "not done after 30 s"}), 1, "not done after 30 s"),
    ((404, {"error": "there is no group 'nut'"}), 2, "there is no group 'nut'"),
    ((409, {"error": "m9 is not in the pool"}), 2, "m9 is not in the pool"),
    (None, 2, "the controller does not answer")])
@pytest.mark.parametrize("json_wanted", [False, True])
def test_a_move_ends_as_the_controller_says(answer, code, told, json_wanted, nothing_up, monkeypatch, capsys):
    asked = []
    client._RUNDIR.path.mkdir()
    client._RUNDIR.key.write_text("00" * 32, encoding="ascii")
    monkeypatch.setattr(client, "_ask", {"rest_port": 8080}.get)
    monkeypatch.setattr(client.rest, "move", lambda *arguments: asked.append(arguments) or answer)
    assert cli.main(["move", "nat", "--to", "m2", "--reload", *(["--json"] if json_wanted else [])]) == code
    assert asked == [(8080, "00" * 32, "nat", "m2", True)]
    out, err = capsys.readouterr()
    if json_wanted and code < 2:
        assert json.loads(out)["group"] == "nat"
    assert told in out + err or (json_wanted and code == 0)


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
