"""What a campaign is made of: datagrams and records, the draw of kills, the configuration, the programs."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from ftmb import config
from ftmb.chaos import configuration, kills, payload, queues
from ftmb.demo.programs import Program
from ftmb.errors import UsageError
from middleboxes.core.aggregates import FRAMES_MAX

INSIDE, SOURCE = (0x0A000001, 5000), (0xC00002FE, 1234)


def test_a_datagram_tells_who_sent_what_and_a_record_keeps_it():
    data = payload.encode(True, INSIDE, 7, 9, 12345)
    stamped = (5).to_bytes(8, "big") + (6).to_bytes(8, "big") + data[payload.STAMP_BYTES:]
    arrival = payload.decode(stamped, 99, SOURCE)
    assert arrival == payload.Arrival(99, True, INSIDE, 7, 9, 12345, 5, 6, SOURCE) and arrival.datagram == (True, 7, 9)
    record = payload.to_record(arrival)
    assert payload.from_record(record * 2 + record[:-1]) == [arrival] * 2
    sent = payload.Sent(12345, True, 7, 9)
    record = payload.to_sent_record(sent)
    assert payload.from_sent_record(record * 2 + record[:-1]) == [sent] * 2 and sent.datagram == arrival.datagram


def test_nothing_but_the_stamp_may_change():
    data = payload.encode(False, INSIDE, 7, 9, 12345)
    for place in range(payload.STAMP_BYTES, len(data)):
        with pytest.raises(payload.PayloadError):
            payload.decode(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:], 1, SOURCE)
    for wrong in (b"", data[:-1], data + b"x"):
        with pytest.raises(payload.PayloadError):
            payload.decode(wrong, 1, SOURCE)


def test_the_seed_decides_the_kills():
    assert kills.draw(7, 40) == kills.draw(7, 40) != kills.draw(8, 40)
    assert kills.draw(7, 40)[:10] == kills.draw(7, 10)


def test_every_kind_comes_as_often_as_its_weight_says_within_its_bounds():
    weights = {name: kind.weight for name, kind in kills.KINDS.items()}
    drawn = kills.draw(3, 2 * sum(weights.values()))
    assert {name: sum(strike.kind == name for strike in drawn) for name in kills.KINDS} == {
        name: 2 * weight for name, weight in weights.items()}
    assert 0.3 < 1 - sum(weights[name] for name in POOL) / sum(weights.values()) < 0.4, "about a third: loggers, store, controller, moves"
    for strike in drawn:
        kind = kills.KINDS[strike.kind]
        assert strike.how in kind.hows and kind.delay_ms[0] <= strike.delay_ms <= kind.delay_ms[1]
    assert sorted(strike.kind for strike in kills.draw(3, 10, ["hang", "loggers"])) == ["hang"] * 5 + ["loggers"] * 5


def test_where_spares_are_cold_none_is_struck_and_the_others_come_as_ever():
    drawn = [strike.kind for strike in kills.draw(3, len(kills.without_spares()), kills.without_spares())]
    assert {name: drawn.count(name) for name in kills.KINDS} == {
        name: 0 if name in ("spare", "spare-and-master") else kind.weight for name, kind in kills.KINDS.items()}


#: kinds that only hit nodes of the pool
POOL = ("process", "host", "link", "hang", "stutter", "checkpoint", "recovery", "twice", "spare", "spare-and-master")


class Emulator:
    """Notes what is done to it; *holders*: who has which role; *moved*: the answer to a move, None: refused."""

    def __init__(self, moved=(), **holders):
        self.done, self.moving = [], threading.Event()
        self._moved = {} if moved == () else moved
        self._holders = {"input_logger": "il", "output_logger": "ol", "store": "st", **holders}

    def status(self):
        group = {"name": "nat", "state": "protected", "master": "m1", "spares": ["m2"], **self._holders}
        return {"groups": [group], "controller": {"alive": self.done[-1:] == [("heal", "controller")]}}

    def kill(self, group, role, how, node):
        node = role if node is None else node
        self.done.append((how, node))
        return {"group": group, "role": role, "how": how, "node": node}

    def move(self, group):
        self.done.append(("move", group))
        self.moving.set()
        if self._moved is None:
            raise UsageError("the master is dead")
        return self._moved

    def heal(self, node):
        self.done.append(("heal", node))


@pytest.mark.parametrize("kind, done, killed", [
    ("process", [("process", "m1")], ["m1"]), ("hang", [("hang", "m1")], ["m1"]), ("spare", [("link", "m2")], ["m2"]),
    ("stutter", [("hang", "m1"), ("heal", "m1")], ["m1"]),
    ("checkpoint", [("hang", "st"), ("link", "m1"), ("heal", "st")], ["m1"]),
    ("recovery", [("link", "m1"), ("link", "m2")], ["m1", "m2"]),
    ("twice", [("link", "m1"), ("link", "m1")], ["m1", "m1"]),
    ("spare-and-master", [("link", "m2"), ("link", "m1")], ["m2", "m1"]),
    ("input-logger", [("link", "il")], ["il"]), ("output-logger", [("link", "ol")], ["ol"]), ("store", [("link", "st")], ["st"]),
    ("input-hang", [("hang", "il")], ["il"]), ("output-hang", [("hang", "ol")], ["ol"]), ("store-hang", [("hang", "st")], ["st"]),
    ("loggers", [("link", "ol"), ("link", "il")], ["ol", "il"]),
    ("move", [("move", "nat")], ["m1"]),
    ("controller", [("process", "controller"), ("heal", "controller")], ["controller"]),
    ("away", [("process", "controller"), ("link", "m1"), ("heal", "controller")], ["controller", "m1"])])
def test_what_each_kind_does(kind, done, killed):
    emulator = Emulator()
    ground = kills.Ground(emulator, "nat", lambda holds, what: None)
    how = "link" if "link" in kills.KINDS[kind].hows else kills.KINDS[kind].hows[0]
    kills.KINDS[kind].strike(ground, kills.Strike(kind, how, 0, 1))
    assert emulator.done == done and ground.killed == killed


def test_a_node_that_is_both_loggers_is_killed_once():
    emulator = Emulator(input_logger="ol")
    kills.KINDS["loggers"].strike(kills.Ground(emulator, "nat", None), kills.Strike("loggers", "host", 0, 0))
    assert emulator.done == [("host", "ol")]


def test_a_move_that_does_not_hold_is_told():
    ground = kills.Ground(Emulator(moved={"error": "m2 died"}), "nat", None)
    with pytest.raises(kills.MoveFailed, match="did not hold: m2 died"):
        kills.KINDS["move"].strike(ground, kills.Strike("move", "planned", 0, 0))


@pytest.mark.parametrize("moved", [{}, {"error": "m1 died"}, None])
def test_a_move_whose_master_dies_may_hold_or_not(moved):
    emulator = Emulator(moved=moved)
    ground = kills.Ground(emulator, "nat", None)
    ground.wait_ms = lambda _delay_ms: emulator.moving.wait(20)
    kills.KINDS["move-and-master"].strike(ground, kills.Strike("move-and-master", "host", 0, 50))
    assert emulator.done == [("move", "nat"), ("host", "m1")] and ground.killed == ["m1"]


def test_a_controller_that_was_killed_is_waited_for():
    """What is told while it is away is from before: "protected" would mean nothing."""
    emulator, seen = Emulator(), []
    ground = kills.Ground(emulator, "nat", lambda holds, what: seen.append((holds(None), emulator.done[-1])))
    kills.KINDS["controller"].strike(ground, kills.Strike("controller", "process", 0, 0))
    assert seen == [(True, ("heal", "controller"))]


@pytest.mark.parametrize("function", configuration.FUNCTIONS)
def test_the_configuration_is_single_with_another_function(function):
    got, single = config.read(configuration.text(function, 1), "x.yaml"), config.load("single")
    (group,) = got.groups.values()
    assert (group.name, group.function, group.workers) == (configuration.GROUP, function, 1)
    assert got.nodes == single.nodes and list(got.hosts) == list(single.hosts)
    gateways = {str(host.gateway) for name, host in got.hosts.items() if name.startswith("server")}
    assert gateways == ({"None"} if function == "nat" else {"192.0.2.254"})


def test_overrun_queues_are_read_from_ss():
    text = ("p_raw 0      0        *:fts1-9  * skmem:(r0,rb212992,t0,tb212992,f0,w0,o176,bl0,d0)\n"
            "p_raw 768    0        *:fts1-11 * skmem:(r768,rb212992,t0,tb212992,f0,w0,o176,bl0,d17)\n"
            "p_raw 0      0      [0]:*       * skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d3)\n"
            "p_raw 0      0        *:fts1-11 * skmem:(r0,rb212992,t0,tb212992,f0,w0,o176,bl0,d2)\n")
    assert queues.parse(text) == {"fts1-9": 0, "fts1-11": 19} and queues.parse("") == {}
    assert queues.frames_at_most({"fts1-9": 2, "fts1-11": 3}, {"fts1-11"}) == 2 + 3 * FRAMES_MAX
    assert all(dropped >= 0 for dropped in queues.overruns().values()), "ss runs here, whatever it lists"


def test_inputs_enter_the_network_at_the_ports_of_whoever_may_be_input_logger():
    assert queues.input_interfaces(configuration.text("nat", 1), configuration.GROUP) == ["fts1-5", "fts1-8", "fts1-11"]


def test_what_a_zombie_sends_in_vain_excuses_nothing():
    assert set(queues.interfaces(configuration.text("nat", 1))) == {"il", "ol", "st", "m1", "m2", "m3"}
    vain = queues.InVain({"il": ["a", "b"], "ol": ["c"]})
    for _ in range(2):
        vain.note(["il", "controller"], {"a": 1, "c": 1}, {"a": 4, "b": 2, "c": 9})
    assert vain.without({"a": 10, "b": 10, "c": 10}) == {"a": 4, "b": 6, "c": 10}
    vain = queues.InVain({"il": ["a"]})
    vain.note(["il"], {"a": 9}, {})
    assert vain.without({"a": 3}) == {"a": 3}, "an interface whose counter begins anew takes nothing back"


@pytest.mark.skipif(os.geteuid() != 0, reason="asks for a large receive buffer: needs root")
def test_both_sides_of_the_traffic_count_and_record_the_same(tmp_path):
    """Through no middlebox: all that was sent arrives, unstamped, from the socket that sent it."""
    def popen(_host, argv, **keywords):
        return subprocess.Popen(argv, **keywords)
    server = Program(popen, "here", "flows", "serve", "--address", "127.0.0.1", "--record", tmp_path / "s", package="ftmb.chaos")
    programs = [server]
    try:
        server.wait_for("ready", 20)
        client = Program(popen, "here", "flows", "send", "--to", "127.0.0.1", "--first-flow", 50, "--record", tmp_path / "c",
                         package="ftmb.chaos")
        programs.append(client)
        client.wait_for("ready", 20)
        deadline = time.monotonic() + 20
        while server.ask("flush", "flushed", 5)["received"] < 600:
            assert time.monotonic() < deadline
        sent = client.ask("stop", "stopped", 5)["sent"]
        while client.ask("flush", "flushed", 5)["received"] < sent:
            assert time.monotonic() < deadline
        results = [program.ask("finish", "result", 5) for program in (client, server)]
    finally:
        for program in programs:
            program.stop()
    assert results[0] == {"sent": sent, "received": sent, "damaged": 0, "misdelivered": 0, "errors": 0}
    assert results[1] == {"sent": sent, "received": sent, "damaged": 0, "misdelivered": 0, "full": 0}
    (answers, there), (questions, back) = (payload.read_records(str(tmp_path / name)) for name in "sc")
    assert ({each.datagram: each.sent_ns for each in answers} == {each.datagram: each.sent_ns for each in back}
            and {each.datagram: each.sent_ns for each in questions} == {each.datagram: each.sent_ns for each in there})
    assert len({arrival.datagram for arrival in there}) == len({arrival.datagram for arrival in back}) == sent
    assert {arrival.flow for arrival in there} >= set(range(50, 72)), "flows end and new ones begin"
    assert all(not arrival.back and arrival.source == arrival.inside and not arrival.stamp for arrival in there)
    assert all(arrival.back and arrival.sent_ns <= arrival.received_ns for arrival in back)


@pytest.mark.skipif(os.geteuid() != 0, reason="asks for a large receive buffer: needs root")
def test_the_programs_end_with_whoever_started_them(tmp_path):
    done = subprocess.run([sys.executable, "-m", "ftmb.chaos.flows", "send", "--to", "127.0.0.1", "--record", tmp_path / "c"],
                          input="", capture_output=True, text=True, timeout=20, check=False)
    assert json.loads(done.stdout)["event"] == "ready" and done.returncode == 0
