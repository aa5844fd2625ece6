"""Scopes, domains and their order; threads that share state, and the replay of what they did."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from middleboxes.core.checkpoint import COVERED, CheckpointError, decode_chunk
from middleboxes.core.channel import pack
from middleboxes.core.determinants import decode_extra
from middleboxes.core.frames import decode_output
from middleboxes.core.step import ReplayError
from middleboxes.core.messages import VERSION
from middleboxes.core.sharing import DOMAINS_MAX, NoLock, State
from middleboxes.core.state import StateError
from middleboxes.sdk import Counter, IdleTimers, Map, Middlebox

from .boxes import PORTS, checkpoint, master, output_logger, outputs, packet
from .shared_box import WORKERS, Shared, bundle, digest, inputs, recover, run_threads
from .shared_box import master as shared_master

ROOT = Path(__file__).resolve().parents[2]


class Box(Middlebox):
    """Does what a test tells it: the frame is the name of a method."""

    ports = ("inside", "outside")
    a = Counter(domain="a")
    b = Map(domain="b")
    own = Counter(scope="worker")
    flows = Map(scope="flow")

    def handle(self, frame, ctx):
        getattr(self, frame.decode())(ctx)
        ctx.emit("outside", frame)

    def take_a(self, ctx):
        self.a.add()

    def take_b(self, ctx):
        self.b[ctx.now_ns] = self.worker_number

    def take_both(self, ctx):
        self.take_a(ctx)
        self.take_b(ctx)

    def read_a(self, ctx):
        assert self.a.value >= 0

    def wrong_order(self, ctx):
        self.take_b(ctx)
        self.take_a(ctx)

    def alone(self, ctx):
        self.own.add()

    def one_key(self, ctx):
        self.flows[b"key"] = self.flows.get(b"key", 0) + 1


def do(core, worker, *what):
    """*what*, step by step, at *worker*; the outputs."""
    frames = []
    for method in what:
        frames += core.process(worker, packet(core.workers[worker].n + 1, method.encode()))
    return outputs(frames)


def accesses(core, worker):
    """{k: accesses} of *worker*'s steps that have some."""
    return {k: decode_extra(extra)[0] for k, extra in core.workers[worker].log.extras()}


# -- scopes

def test_with_one_worker_variables_are_what_they_are():
    (view,) = State(Box, 1).views
    assert type(view.attributes["b"]) is Map and list(view.state.variables) == ["a", "b", "flows", "own"]
    assert master(Box).state.domains == [] and master(Box).cut().header()["domains"] == []


def test_each_worker_has_its_own_of_scope_worker_and_the_same_shared_ones():
    core = master(Box, workers=2)
    do(core, 0, "alone", "alone", "take_a")
    do(core, 1, "alone", "take_a")
    variables = core.function.variables
    assert (variables["own[0]"].value, variables["own[1]"].value, variables["a"].value) == (2, 1, 2)


def test_a_declaration_that_cannot_be_is_refused():
    with pytest.raises(StateError, match="scope"):
        Map(scope="global")
    with pytest.raises(StateError, match="no keys"):
        Counter(scope="flow")

    class Own(Map):
        pass
    with pytest.raises(StateError, match="'odd'.*Own"):
        State(type("Odd", (Middlebox,), {"odd": Own()}), 2)
    assert State(type("Odd", (Middlebox,), {"odd": Own(scope="worker")}), 2).variables
    many = {f"v{number}": Map(domain=f"d{number}") for number in range(DOMAINS_MAX + 1)}
    with pytest.raises(StateError, match="domains"):
        State(type("Many", (Middlebox,), many), 2)


def test_a_flows_key_at_two_workers_is_named():
    core = master(Box, workers=2)
    do(core, 0, "one_key")
    core.state.check_flows(core.cut().changes)
    do(core, 1, "one_key")
    with pytest.raises(StateError, match=r"'flows\[1\]'.*b'key'.*'flows\[0\]'"):
        core.state.check_flows(core.cut().changes)


def test_shared_state_is_for_steps_only():
    class Early(Box):
        def configure(self, parameters):
            self.b[1] = 1
    with pytest.raises(StateError, match="'b'.*only a step"):
        Early.instances({}, PORTS, 2)
    core = master(Box, workers=2)
    with pytest.raises(StateError, match="'a'"):
        core.workers[1].function.a.add()


class Spied(NoLock):
    """A lock that must not be taken twice."""

    held = 0

    def acquire(self):
        assert not self.held
        self.held = 1

    def release(self):
        self.held = 0


def methods(accessor):
    return [name for name in dir(type(accessor)) if not name.startswith("_") or name in (
        "__getitem__", "__setitem__", "__delitem__", "__contains__", "__len__", "__iter__", "__reversed__")]


@pytest.mark.parametrize("kind", [Map, IdleTimers, Counter])
def test_accessors_offer_what_variables_offer_and_every_access_takes_the_domain(kind):
    state = State(type("One", (Middlebox,), {"v": kind()}), 2, Spied)
    accessor, session, (domain,) = state.views[0].attributes["v"], state.sessions[0], state.domains
    # those of the checkpoint are not for authors
    offered = {name for name in dir(kind) if not name.startswith("_")} - {"apply", "cut", "everything", "fresh", "name", "reset", "put_back", "reserve", "shrink",
                                                                          "fromkeys", "scope", "domain", "has_changes"}
    assert offered <= set(methods(accessor))
    for name in methods(accessor):
        session.begin()
        try:
            function = getattr(accessor, name)
            for arguments in ((), (1,), (1, 2), (1, 2, 3)):
                try:
                    list(function(*arguments)) if callable(function) else None
                except (TypeError, KeyError):
                    pass        # the wrong number, or a key that is not there: after the domain was taken
            assert domain.lock.held and domain.holder == 0
        finally:
            session.end(1)
        assert not domain.lock.held and domain.holder is None


# -- the order of accesses

def test_an_access_is_logged_only_after_another_worker():
    core = master(Box, workers=2)
    do(core, 0, "take_a", "take_a")
    do(core, 1, "take_a", "take_a", "alone")
    do(core, 0, "read_a", "alone", "take_b")
    assert accesses(core, 0) == {3: [[0, 4, 1, 2]]} and accesses(core, 1) == {1: [[0, 2, 0, 2]]}
    (a, b) = core.state.domains
    assert (a.version, a.worker, a.k, a.clock) == (5, 0, 3, (2, 2)) and (b.version, b.worker, b.k) == (1, 0, 5)


def test_domains_are_taken_in_the_order_of_their_names_and_let_go_after_a_fault():
    core = master(Box, workers=2)
    told = []
    core._on_event = lambda name, detail: told.append(detail)
    assert do(core, 0, "wrong_order") == [] and core.counters["function_errors"] == 1
    assert "'a'" in told[0] and "'b'" in told[0]
    assert do(core, 0, "take_both", "take_a")
    assert [domain.version for domain in core.state.domains] == [2, 2]


def test_outputs_carry_the_clock_entries_that_are_not_acknowledged_and_dependencies_of_dependencies():
    core = master(Box, workers=3)
    do(core, 0, "alone", "take_a")
    do(core, 1, "take_a", "take_b")
    (output,) = do(core, 2, "take_b")
    assert output.clock == ((0, 2), (1, 2))
    core.workers[0].log.trim(2)
    assert do(core, 2, "take_b")[0].clock == ((1, 2),)
    assert do(core, 1, "alone")[0].clock == () and do(core, 0, "alone")[0].clock == ()


def test_an_output_waits_for_the_determinants_of_the_workers_it_depends_on():
    core, logger = master(Box, workers=2), output_logger(workers=2)
    first = core.process(0, packet(1, b"take_a"))
    second = core.process(1, packet(1, b"take_a"))
    assert [logger.receive(frame) for frame in second] == [[]]
    assert [packet for frame in first for packet in logger.receive(frame)] == [(1, b"take_a"), (1, b"take_a")]


def test_order_and_clocks_survive_a_checkpoint():
    core = master(Box, workers=2)
    do(core, 0, "take_a", "take_both")
    do(core, 1, "take_a")
    other = master(Box, workers=2, epoch=2)
    other.load(checkpoint(core.cut()))
    assert other.state.header() == core.state.header()
    do(other, 0, "take_a")
    assert accesses(other, 0) == {3: [[0, 3, 1, 1]]}


HEADER = {"version": VERSION, "id": 1, "base": 0, "epoch": 1, "covers": dict.fromkeys(COVERED, 1), "function": "Box", "positions": [[0, 0], [0, 0]], "random": [1, 2],
          "times_ns": [0, 0], "keys": {}, "clocks": [[0, 0], [0, 0]], "domains": [["a", 0, 0, 0, [0, 0]], ["b", 0, 0, 0, [0, 0]]]}


@pytest.mark.parametrize("change", [
    {"clocks": []}, {"clocks": [[0, 0]]}, {"clocks": [[0, 0], [0]]}, {"clocks": [[0, 0], 1]}, {"clocks": [[0, 0], [0, -1]]},
    {"domains": [1]}, {"domains": [["a", 0, 0, 0]]}, {"domains": [[1, 0, 0, 0, [0, 0]]]}, {"domains": [["a", 0, 2, 0, [0, 0]]]},
    {"domains": [["a", -1, 0, 0, [0, 0]]]}, {"domains": [["a", 0, 0, 0, [0]]]}, {"domains": [["a", 0, 0, None, [0, 0]]]},
    {"positions": [[0, 0]], "random": [1], "times_ns": [0], "clocks": []}])
def test_damaged_order_in_a_header_is_refused(change):
    decode_chunk(pack([HEADER, []]))
    with pytest.raises(CheckpointError):
        decode_chunk(pack([{**HEADER, **change}, []]))


def test_a_checkpoint_with_other_domains_is_refused():
    header, records = decode_chunk(pack([{**HEADER, "domains": HEADER["domains"][:1]}, []]))
    cut = checkpoint(master(Box, workers=2).cut())
    with pytest.raises(CheckpointError, match="domains"):
        master(Box, workers=2).load(cut._replace(header=header, records=records))


def test_a_replay_in_another_order_is_an_error():
    core = master(Box, workers=2)
    do(core, 0, "take_a")
    do(core, 1, "take_a")
    extras = dict(core.workers[1].log.extras())
    other = master(Box, workers=2, epoch=2)
    with pytest.raises(ReplayError, match="another order"):
        other.replay(1, packet(1, b"take_a"), extras[1])
    other = master(Box, workers=2, epoch=2)
    other.replay(0, packet(1, b"take_a"), None)
    with pytest.raises(ReplayError, match="another order"):
        other.replay(1, packet(1, b"take_a"), None)


# -- threads

@pytest.fixture
def restless():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("seed", range(8))
def test_threads_share_state_and_the_replay_gives_the_same_state(restless, seed):
    core, items = shared_master(), inputs(300, seed)
    frames = run_threads(core, items)
    assert any(accesses(core, number) for number in range(WORKERS))
    again = recover(bundle(core, items), budget=random.Random(seed).choice((1, 7, 1000)))
    assert digest(again) == digest(core)
    numbers = [int(output.frame) for each in frames for output in outputs(each)]
    assert sorted(numbers) == list(range(1, core.function.variables["number"].value + 1)), "each number once"


@pytest.mark.parametrize("seed", range(8))
def test_what_leaves_whichever_worker_is_heard_is_explained_by_what_is_stored(restless, seed):
    """The output logger hears some workers late: whatever it released by then, the closed prefix has it."""
    rng, core = random.Random(seed), shared_master()
    frames, logger, left = run_threads(core, inputs(200, seed)), output_logger(workers=WORKERS), []
    for _ in range(600):
        number = rng.choice([0, 0, 0, 1, 1, 2, 3])
        if frames[number]:
            output = decode_output(frames[number][0])
            left += [int(frame) for _, frame in logger.receive(frames[number].pop(0))]
            assert output.worker == number
    prefix = logger.fence(2)
    stored = [log.encode(0, 1 << 24)[0] if k else b"" for log, k in zip(logger.logs, prefix)]
    data = pack([[[list(item) for item in each[:k]] for each, k in zip(inputs(200, seed), prefix)], stored])
    again = recover(data)
    assert left and max(left) <= again.function.variables["number"].value


def test_the_replay_is_the_same_in_every_process(restless, tmp_path):
    core, items = shared_master(), inputs(300, 99)
    run_threads(core, items)
    file = tmp_path / "bundle"
    file.write_bytes(bundle(core, items))
    told = {subprocess.run([sys.executable, "-m", "tests.core.shared_box", str(file)], cwd=ROOT, check=True, capture_output=True,
                           text=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout.strip() for seed in ("0", "1", "77")}
    assert told == {digest(core)}


def test_shared_box_is_what_it_says():
    """Some steps hold one domain, some both, some none: otherwise the tests above prove little."""
    core = shared_master(NoLock)
    kinds = set()
    for number, each in enumerate(inputs(50, 1)):
        for item in each:
            before = [domain.version for domain in core.state.domains]
            core.process(number, item)
            kinds.add(tuple(domain.version - old for domain, old in zip(core.state.domains, before)))
    assert kinds == {(0, 0), (0, 1), (1, 0), (1, 1)} and Shared.used.domain == "timers"
