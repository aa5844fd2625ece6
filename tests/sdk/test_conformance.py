"""The conformance suite finds what it is for, and names the line where there is one."""

import inspect
import re

import pytest

from middleboxes.functions import load
from middleboxes.sdk import conformance
from middleboxes.sdk.conformance import CHECKS, ConformanceError, Subject
from middleboxes.sdk.conformance.code import set_order_faults

from . import bad_functions

NAMED = {check.__name__: check for check in CHECKS}


def line_of(cls):
    """"file:line" of what is marked in *cls* or its helper."""
    for owner in (cls, bad_functions.Helper):
        lines, first = inspect.getsourcelines(owner)
        marked = [first + number for number, line in enumerate(lines) if line.rstrip().endswith("# here")]
        if marked:
            return f"bad_functions.py:{marked[0]}"


@pytest.mark.parametrize("cls", bad_functions.LINES, ids=lambda cls: cls.__name__)
def test_what_a_replay_could_not_repeat_is_found_with_its_line(cls):
    with pytest.raises(ConformanceError) as failure:
        NAMED["code_is_deterministic"](Subject(cls, steps=60, counters=None))
    assert re.search(re.escape(line_of(cls)) + r"\b", str(failure.value))


@pytest.mark.parametrize("cls, check, message", [
    (bad_functions.Forgetful, "survives_a_crash_at_every_packet", "the replay emits something else: output 0 of step"),
    (bad_functions.WallClock, "replay_is_equal", "state variable 'seen' is not the same: it had"),
    (bad_functions.SetOrder, "other_hash_seeds_change_nothing", "depends on the order of a set or on hash"),
    (bad_functions.HashOfText, "other_hash_seeds_change_nothing", "depends on the order of a set or on hash"),
    (bad_functions.Unbounded, "is_bounded", "'seen' has [0-9]+ keys after a flood of 3000 flows; it may have 1024"),
    (bad_functions.Unnamed, "is_bounded", "'seen' fills up in a flood of new flows, and Unnamed.victims does not say"),
    (bad_functions.Believing, "stands_hostile_packets", "a frame with an unsound IP header changes seen"),
    (bad_functions.Fragile, "stands_hostile_packets", "IndexError"),
    (bad_functions.Wrong, "stands_hostile_packets", "the partition of Wrong fails on the frame"),
    (bad_functions.TwoWorkers, "checkpoints_anywhere", "the partition gives this flow to two workers")])
def test_what_recovery_does_to_it_is_found(cls, check, message):
    counters = () if cls is bad_functions.Believing else None
    with pytest.raises(Exception, match=message):
        NAMED[check](Subject(cls, counters=counters))


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_one_passes(check):
    check(Subject(bad_functions.Good, counters=None, steps=100))


def test_a_trace_of_one_s_own_is_what_is_checked():
    frame = bytes(60)
    subject = Subject(bad_functions.Good, trace=[(5, "inside", frame), (6, "", b""), (7, "outside", frame)], counters=None)
    for name in ("replay_is_equal", "survives_a_crash_at_every_packet", "checkpoints_anywhere"):
        NAMED[name](subject)
    assert [step.port for step in subject.trace] == ["inside", "", "outside"]


@pytest.mark.parametrize("source, lines", [
    ("for x in {1, 2}: pass", [1]), ("a = set()\nlist(a)", [2]), ("a = frozenset(b)\n[x for x in a]", [2]),
    ("self.a = {x for x in b}\nfor x in self.a: pass", [2]), ("a = {1} | b\nnext(iter(a))", [2]), ("a = set(b)\na.pop()", [2]),
    ("','.join({'a'})", [1]), ("f(*{1})", [1]), ("a = b.keys() & c\nfor x in a: pass", [2]), ("{k: 1 for k in {1}}", [1]),
    ("for x in sorted({1, 2}): pass", []), ("len({1}); max({1}); 1 in {1}", []), ("any(x for x in {1})", []), ("{*a, *b}", []),
    ("a = [1]\nfor x in a: pass", []), ("{x for x in {1}}", []), ("a = {}\nfor x in a: pass", []), ("sorted({*a, *b})", [])])
def test_the_order_of_sets_is_found_in_the_text(source, lines):
    assert [line for line, _ in set_order_faults(source)] == lines


def test_the_debug_mode_is_a_function_of_a_configuration():
    cls = load("debug:tests.sdk.bad_functions:Undeclared")
    machine = conformance.Machine(cls, {}, Subject(bad_functions.Undeclared).ports)
    machine.give("inside", bytes(60), 1)
    assert machine.function_errors == 1 and cls.__name__ == "Undeclared"


def test_a_mutable_value_is_refused_without_the_debug_mode_too():
    machine = conformance.Machine(bad_functions.Mutating, {}, Subject(bad_functions.Mutating).ports)
    machine.give("inside", bytes(60), 1)
    assert machine.function_errors == 1
