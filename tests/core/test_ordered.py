"""Ordered, by way of Map and IdleTimers: it does what a dict does, in order, and no operation waits for all keys."""

import random

import pytest

from middleboxes.core.ordered import mixed_bits
from middleboxes.core.state import IdleTimers, Map, StateError
from middleboxes.sdk.packet import endpoint

from ..columns import items_of

#: an int that hashes as 1 does
ALIAS = (1 << 61)
KEYS = [0, 1, True, 1.0, -1, -2, ALIAS, ALIAS + 5, (1 << 64) - 1, -(1 << 63), None, "a", "b", b"a", "", b"", (), (1,), (1.0,), (True, "a"),
        (17, 0x0A000001, 5), 0.5, float("inf"), *range(100, 130), *((6, number, 80) for number in range(20))]


def made(kind=Map):
    return kind().fresh("flows")


def same(live, model):
    """Whether *live* reads as the dict *model* in every way, its order included."""
    assert list(live) == list(live.keys()) == list(model) and list(reversed(live)) == list(reversed(model))
    assert list(map(type, live)) == list(map(type, model))
    assert list(live.items()) == list(model.items()) and list(live.values()) == list(model.values())
    assert live == model and live.copy() == model and len(live) == len(live.items()) == len(model)
    for key in KEYS:
        assert (key in live) == (key in model) and live.get(key, "absent") == model.get(key, "absent")
        assert (key in live.keys()) == (key in model)
    assert items_of(live.everything(3)) == list(model.items())


@pytest.mark.parametrize("seed", range(30))
def test_it_is_a_dict_of_any_keys_in_order(seed):
    rng, live, model = random.Random(seed), made(), {}
    for step in range(600):
        key, draw = rng.choice(KEYS), rng.random()
        if draw < 0.45:
            live[key] = model[key] = step
        elif draw < 0.7:
            assert live.pop(key, "absent") == model.pop(key, "absent")
        elif draw < 0.8 and key in model:
            del live[key], model[key]
        elif draw < 0.9:
            kept = next((other for other in model if other == key), key)    # the key that is there stays
            model.pop(key, None)
            live.move_to_end(key, step)
            model[kept] = step
        elif draw < 0.91:
            live.reset()
            model.clear()
        if step % 20 == 0:
            same(live, model)
    same(live, model)


@pytest.mark.parametrize("key_of", [lambda number: number, lambda number: number << 40, lambda number: (17, number, 80), lambda number: f"{number}"])
def test_it_grows_and_shrinks_without_losing_a_key(key_of):
    live, model, rng = made(), {}, random.Random(1)
    for number in range(20_000):
        live[key_of(number)] = model[key_of(number)] = number
    for number in rng.sample(range(20_000), 15_000):
        assert live.pop(key_of(number)) == model.pop(key_of(number))
    for number in range(30_000, 40_000):
        live[key_of(number)] = model[key_of(number)] = number
    assert list(live.items()) == list(model.items())
    assert all(live[key] == value for key, value in model.items()) and key_of(25_000) not in live


def test_timers_keep_their_times_exactly():
    live = made(IdleTimers)
    for time_ns in (0, -1, (1 << 63) - 1, -(1 << 63)):
        live.touch("a", time_ns)
        assert live["a"] == live.get("a") == time_ns and list(live.items()) == [("a", time_ns)]


@pytest.mark.parametrize("time_ns", [1 << 63, 1.0, True, None, "1"])
def test_a_time_is_an_int_of_64_bits_and_what_is_not_changes_nothing(time_ns):
    live = made(IdleTimers)
    live.touch("a", 5)
    live.cut()
    for change in (lambda: live.touch("a", time_ns), lambda: live.touch("b", time_ns), lambda: live.__setitem__("a", time_ns),
                   lambda: live.move_to_end("a", time_ns), lambda: live.apply((), ("a",), (time_ns,))):
        with pytest.raises(StateError, match="flows"):
            change()
    assert live == {"a": 5} and live.cut() == ({}, {})


def test_a_touch_within_the_time_given_changes_nothing():
    live = made(IdleTimers)
    live.touch("a", 100)
    live.touch("b", 100)
    live.cut()
    live.touch("a", 149, 50)
    assert list(live.items()) == [("a", 100), ("b", 100)] and live.cut() == ({}, {})
    live.touch("a", 150, 50)
    assert list(live.items()) == [("b", 100), ("a", 150)] and live.cut() == ({"a": None}, {"a": 150})


@pytest.mark.parametrize("change", [lambda live: live.__setitem__("new", 1), lambda live: live.__delitem__(3), lambda live: live.move_to_end(2, 1),
                                    lambda live: live.reset()])
def test_who_goes_through_the_keys_while_they_change_is_told(change):
    live = made()
    for number in range(10):
        live[number] = number
    for going in (iter(live), iter(live.items()), reversed(live)):
        next(going)
        live[5] = "a value may change"
        next(going)
    change(live)
    with pytest.raises(RuntimeError):
        next(going)


def test_a_key_whose_comparison_changes_the_map_does_no_harm():
    live = made()

    class Strange:
        def __hash__(self):
            return hash("a")

        def __eq__(self, other):
            live.reset()
            live["other"] = 1
            return True
    live["a"] = 1
    assert live.get(Strange()) is None and live == {"other": 1}


def test_values_and_keys_are_given_back():
    import sys
    key, value = ("a key", 1.5), ("a value", 2.5)
    before = sys.getrefcount(key), sys.getrefcount(value)
    live = made()
    for _ in range(3):
        live[key] = value
        live.move_to_end(key, value)
        live[key] = value
        assert live.pop(key) is value
        live.cut()
        live[key] = value
    live.reset()
    assert (sys.getrefcount(key), sys.getrefcount(value)) == before
    live[key] = value
    del live
    assert (sys.getrefcount(key), sys.getrefcount(value)) == before


@pytest.mark.parametrize("keys", [
    pytest.param([endpoint(17, 0xC6120101 + n // 20000, 10000 + n % 20000) for n in range(100000)], id="ports of few hosts"),
    pytest.param([endpoint(6, 0x0A000000 + n, 443) for n in range(100000)], id="one port of many hosts"),
    pytest.param([endpoint(17, 0x0A000001, 2 * n) for n in range(32000)], id="even ports of one host"),
    pytest.param(list(range(100000)), id="numbers"), pytest.param([n << 20 for n in range(100000)], id="multiples"),
    pytest.param([1_700_000_000_000_000_000 + n * 100_000 for n in range(100000)], id="times")])
def test_keys_that_follow_each_other_are_spread_over_the_buckets_as_if_by_chance(keys):
    """So a lookup passes few others: each is memory that is in no cache. Evenly by chance, n keys in m buckets make n / 2m pairs for each key."""
    size = 1 << 17
    counts = [0] * size
    for key in keys:
        counts[mixed_bits(key) % size] += 1
    pairs = sum(count * (count - 1) // 2 for count in counts) / len(keys)
    assert pairs == pytest.approx(len(keys) / (2 * size), rel=0.1)
