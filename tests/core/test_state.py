"""State variables: a restored one equals the one that went on, order included; bad values name the variable."""

import random

import pytest

from middleboxes.core.channel import pack, unpack
from middleboxes.core.state import Counter, IdleTimers, Map, StateError, declared

from ..columns import delta_of


def made(kind=Map):
    return kind().fresh("flows")


def restored(deltas, kind=Map):
    variable = made(kind)
    for columns in deltas:
        variable.apply(*columns)
    return variable


def delta(variable):
    """A cut as it comes out of a checkpoint."""
    return unpack(pack(delta_of(variable)), use_list=False)


class Model:
    """A list of pairs with the semantics of dict."""

    def __init__(self):
        self.pairs = []

    def set(self, key, value):
        for index, (have, _) in enumerate(self.pairs):
            if have == key:
                self.pairs[index] = (key, value)
                return
        self.pairs.append((key, value))

    def delete(self, key):
        self.pairs = [pair for pair in self.pairs if pair[0] != key]


@pytest.mark.parametrize("seed", range(100))
def test_map_equals_its_base_and_deltas_in_order(seed):
    rng = random.Random(seed)
    live, model, deltas = made(), Model(), []
    for step in range(400):
        key = (rng.randrange(12), "k")
        kind = rng.random()
        if kind < 0.5:
            live[key] = step
            model.set(key, step)
        elif kind < 0.8 and key in live:
            if rng.random() < 0.5:
                del live[key]
            else:
                assert live.pop(key) == dict(model.pairs)[key]
            model.delete(key)
        elif kind < 0.9:
            live.move_to_end(key, -step)
            model.delete(key)
            model.set(key, -step)
        elif kind < 0.95:
            deltas.append(delta(live))
        assert list(live.items()) == model.pairs
    deltas.append(delta(live))
    assert list(restored(deltas).items()) == list(live.items())


def test_a_key_deleted_and_set_again_moves_to_the_end_after_restore_too():
    live = made()
    for key in "abc":
        live[key] = 1
    deltas = [delta(live)]
    del live["a"]
    live["b"] = 2
    live["a"] = 3
    deltas.append(delta(live))
    assert list(live) == ["b", "c", "a"] == list(restored(deltas))


def test_a_cut_is_not_touched_by_what_comes_after_it():
    live = made()
    live["a"] = 1
    removed, dirty = live.cut()
    live["a"], live["b"] = 2, 3
    del live["a"]
    assert dirty == {"a": 1} and list(removed) == ["a"], "an inserted key comes last, wherever the delta is applied to"


def test_restoring_leaves_no_changes_and_reset_forgets_them():
    copy = restored([((), ("a",), (1,))])
    assert copy.cut() == ({}, {})
    copy["b"] = 1
    copy.reset()
    assert not copy and copy.cut() == ({}, {})


@pytest.mark.parametrize("value", [None, True, 0, -(1 << 63), (1 << 64) - 1, 1.5, "text", "\u00e9", b"\xff", (), (1, ("a", b"b", (None,)))])
def test_good_values_survive_exactly(value):
    live = made()
    live["key"] = value
    live[value] = 1
    copy = restored([delta(live)])
    assert list(copy.items()) == list(live.items()) and type(copy["key"]) is type(value)


@pytest.mark.parametrize("value", [[], {}, set(), bytearray(b"x"), 1 << 64, -(1 << 63) - 1, (1, [2]), object(), "\ud800", ("a", "\udfff")])
def test_bad_values_are_refused_by_name_and_change_nothing(value):
    live = made()
    with pytest.raises(StateError, match="'flows'"):
        live["key"] = value
    if type(value).__hash__:
        with pytest.raises(TypeError):
            live[value] = 1
    assert not live and live.cut() == ({}, {})


@pytest.mark.parametrize("change", [lambda m: m.update(a=1), lambda m: m.clear(), lambda m: m.setdefault("a", 1),
                                    lambda m: m.popitem(), lambda m: m.__ior__({"a": 1})])
def test_changes_that_would_go_unseen_are_refused(change):
    live = made()
    live["b"] = 1
    with pytest.raises(StateError):
        change(live)
    assert dict(live) == {"b": 1}


def test_pop_of_an_absent_key():
    live = made()
    assert live.pop("a", 5) == 5
    with pytest.raises(KeyError):
        live.pop("a")
    assert live.cut() == ({}, {})


def test_counter_counts_restores_and_refuses_what_no_checkpoint_can_carry():
    live = made(Counter)
    assert live.cut() == ({}, {})
    live.add()
    deltas = [delta(live)]
    assert live.add(5) == 6
    deltas.append(delta(live))
    assert live.cut() == ({}, {})
    assert restored(deltas, Counter).value == 6
    for amount in (1 << 64, "x"):
        with pytest.raises(TypeError):
            live.add(amount)
    assert live.value == 6 and live.cut() == ({}, {})


@pytest.mark.parametrize("seed", range(20))
def test_idle_timers_expire_as_a_plain_search_says_also_after_restore(seed):
    rng = random.Random(seed)
    live, model, deltas, now = made(IdleTimers), {}, [], 0
    for _ in range(300):
        now += rng.randint(0, 3)
        key = rng.randrange(10)
        if rng.random() < 0.7:
            live.touch(key, now)
            model[key] = now
        elif rng.random() < 0.5:
            live.pop(key, None)
            model.pop(key, None)
        else:
            deltas.append(delta(live))
        timeout, limit = rng.randint(1, 10), rng.randint(0, 4)
        idle = sorted(now_ns for now_ns in model.values() if now - now_ns >= timeout)[:limit]
        assert [model[key] for key in live.expired(now, timeout, limit)] == idle
    deltas.append(delta(live))
    assert list(restored(deltas, IdleTimers).items()) == list(live.items())


def test_declared_variables_come_in_one_order_bases_included():
    class Base:
        b, a = Map(), Counter()

    class Derived(Base):
        c = Map()
    assert list(declared(Derived)) == ["a", "b", "c"]


def test_instances_share_nothing():
    prototype = Map()
    one, two = prototype.fresh("x"), prototype.fresh("x")
    one["a"] = 1
    assert not two and two.cut() == ({}, {})
