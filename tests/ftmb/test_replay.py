"""``ftmb replay``: its words, its JSON, its files, its exit codes; a bundle needs no root and no network."""

import ipaddress
import json
import subprocess
import sys

import pytest

from ftmb import cli
from ftmb.replay import report
from middleboxes.replay import pcapng
from middleboxes.sdk.build import arp, ipv4, udp
from middleboxes.sdk.build6 import ipv6
from tests.replay.test_replay import FUNCTION, saved, words

GIVEN = (b"a", None, b"b", b"poison", b"c")


@pytest.fixture
def bundle(tmp_path):
    """The path of one with a step that raised: 0:5, its steps being 0:3 to 0:8."""
    path = tmp_path / "w.zip"
    path.write_bytes(saved(words(*GIVEN).bundle(FUNCTION, node="m2", created_ns=1_700_000_000 * 10**9)))
    return path


def replay(capsys, *arguments, code=0):
    """What it says."""
    assert cli.main(["replay", *map(str, arguments)]) == code
    return capsys.readouterr().out


def test_it_tells_what_happened_and_that_it_held(bundle, capsys):
    said = replay(capsys, bundle)
    assert "failover of group g (tests.replay.boxes:Words, 1 worker), epoch 2, left by m2 at 2023-11-14 22:13:20 UTC" in said
    assert "checkpoint at step 2 (input 2), the recoverable prefix ends at step 8, its result at 8; 6 inputs" in said
    assert "0:5 (input 5): ZeroDivisionError: a poisoned word" in said and said.count("in process") == 1
    assert said.rstrip().endswith("It held: two replays were the same, the state is that of the master that went on.")


def test_steps_are_told_from_one_to_another(bundle, capsys):
    said = replay(capsys, bundle, "--print", "--from", "0:4", "--until", "5")
    told = [line.split()[0] for line in said.splitlines() if line.startswith("0:")]
    assert told == ["0:4", "0:5"] and "    counts: b'poison' = 1" in said and "replayed 3 steps" in said
    said = replay(capsys, bundle, "--step", "7")
    assert "    out outside: 2 bytes 6333" in said and "    total: = 3" in said


def test_json_has_all_of_it(bundle, capsys):
    found = json.loads(replay(capsys, bundle, "--json", "--print"))
    assert found["held"] and found["deterministic"] and found["compared"] and found["function_errors"] == 1
    assert [step["k"] for step in found["told"]] == list(range(3, 9)) and found["errors"][0]["k"] == 5
    assert found["told"][0]["changes"]["counts"]["set"] == [[{"hex": "62"}, 1]]


def test_outputs_and_state_are_written(bundle, capsys, tmp_path):
    replay(capsys, bundle, "--outputs", tmp_path / "o.pcapng", "--state", tmp_path / "s.json", "--from", "5", "--until", "7")
    _, packets = pcapng.decode((tmp_path / "o.pcapng").read_bytes())
    assert [(packet.data, packet.comment) for packet in packets] == [(b"c3", "step 0:7, output 0")]
    state = json.loads((tmp_path / "s.json").read_text())
    assert state["positions"] == [[7, 7]] and state["state"]["total"] == 3 and state["state"]["counts"][1] == [{"hex": "62"}, 1]


def test_a_mended_function_is_tried(bundle, capsys):
    assert "It held: the function given took every step." in replay(capsys, bundle, "--function", "tests.replay.boxes:Mended")
    assert "the function given raises, too" in replay(capsys, bundle, "--function", FUNCTION, code=1)


def test_what_is_not_what_happened_ends_with_1(capsys, tmp_path):
    path = tmp_path / "m.zip"
    bundle = words(*GIVEN).bundle(FUNCTION, released=[{5 << 16}])       # as if the step that raises had emitted something
    path.write_bytes(saved(bundle))
    said = replay(capsys, path, code=1)
    assert "differs: output 0 of step 0:5 had left, and the replay does not emit it" in said
    del bundle.inputs[0][3]
    path.write_bytes(saved(bundle))
    assert "It did not hold: input 6 of worker 0 is needed by step 6" in replay(capsys, path, code=1)


def test_new_steps_may_record_something_else_each_time(capsys, tmp_path):
    """Their values were never logged: that does not speak against the function."""
    bundle = words(b"a", None, b"b", b"now").bundle("tests.replay.boxes:Clock", end=False)
    bundle.determinants[0].cut_off(4)
    bundle.recoverable = [4]
    (tmp_path / "c.zip").write_bytes(saved(bundle))
    said = replay(capsys, tmp_path / "c.zip")
    assert "2 of the recoverable prefix, 0 of the master that went on, 2 new" in said and "It held: two replays were the same." in said


@pytest.mark.parametrize("arguments, why", [
    (["nothing.zip"], "nothing.zip: No such file"), (["{}", "--step", "99"], "step 0:99 is not in the bundle, which has steps 0:3 to at most 0:8"),
    (["{}", "--until", "1:4"], "there is no worker 1"), (["{}", "--function", "nat"], "does not fit the bundle"),
    (["{}", "--state", "/nowhere/s"], "cannot write '/nowhere/s'")])
def test_wrong_use_is_one_clear_line_and_2(bundle, capsys, arguments, why):
    assert cli.main(["replay", *(word.format(bundle) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1


MAC, IP6 = bytes.fromhex("02005e000101"), ipaddress.IPv6Address("2001:db8::1").packed


@pytest.mark.parametrize("frame, line", [
    (b"abc", "3 bytes 616263"),
    (MAC + MAC + b"\x88\xcc" + b"x", "15 bytes Ethernet type 0x88cc"),
    (arp(1, MAC, 0x0A000001, bytes(6), 0x0A0000FE), "42 bytes ARP request 10.0.0.1 > 10.0.0.254"),
    (ipv4(MAC, MAC, 17, 0x0A000001, 0xC0000201, udp(0x0A000001, 5, 0xC0000201, 53, b"x")), "43 bytes UDP 10.0.0.1:5 > 192.0.2.1:53"),
    (ipv4(MAC, MAC, 89, 0x0A000001, 0xC0000201, b"x"), "35 bytes IP protocol 89 10.0.0.1 > 192.0.2.1"),
    (ipv6(MAC, MAC, 17, IP6, IP6, bytes.fromhex("0005003500090000") + b"x"), "63 bytes UDP [2001:db8::1]:5 > [2001:db8::1]:53"),
    (ipv6(MAC, MAC, 58, IP6, IP6, b"x" * 8), "62 bytes ICMPv6 [2001:db8::1] > [2001:db8::1]")], ids=lambda value: value if isinstance(value, str) else "")
def test_a_packet_is_one_line(frame, line):
    assert report.packet(frame) == line


def run(bundle, *arguments, stdin=""):
    return subprocess.run([sys.executable, "-m", "ftmb", "replay", str(bundle), *arguments], input=stdin, capture_output=True, text=True,
                          check=False)


def test_the_debugger_stops_before_a_step(bundle):
    done = run(bundle, "--pdb", "--step", "5", stdin="p packet.data\nc\n")
    assert "(Pdb) b'poison'" in done.stdout and "word = packet.data" in done.stdout and done.returncode == 0


def test_the_debugger_stops_where_a_step_raised(bundle):
    done = run(bundle, "--pdb", stdin="p word\nq\n")
    assert "(Pdb) b'poison'" in done.stdout and "It held" in done.stdout and done.returncode == 0


def test_leaving_the_debugger_ends_it(bundle):
    done = run(bundle, "--pdb", "--step", "5", stdin="q\n")
    assert "left in this step:\n0:5  input 5 " in done.stderr and done.returncode == 130


def test_a_step_that_never_ends_is_named_when_interrupted(bundle):
    done = run(bundle, "--function", "tests.replay.boxes:Sleeper")
    assert "interrupted in this step:\n0:5  input 5 " in done.stderr and "in process" in done.stderr and "steps.pyx" not in done.stderr and done.returncode == 130
