"""The event loop's timers: nobody is woken for a forgotten one, and those that may come early do so when it is awake anyway."""

import os

import pytest

from middleboxes.runtime.loop import Loop

NS_PER_S = 1_000_000_000


class Awake:
    """A loop with something to read whenever ``turn`` is called."""

    def __init__(self):
        self.loop, self.called = Loop(), []
        self._read, self._write = os.pipe()
        self.loop.watch(self._read, lambda: os.read(self._read, 1))

    def timer(self, name, seconds):
        return self.loop.after(seconds * NS_PER_S, lambda: self.called.append(name))

    def turn(self):
        os.write(self._write, b"x")
        self.loop._turn()
        return self.called

    def close(self):
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def awake():
    awake = Awake()
    yield awake
    awake.close()


def test_a_forgotten_timer_wakes_nobody(awake):
    forgotten = awake.loop.after(0, lambda: awake.called.append("forgotten"))
    awake.loop.after(20_000_000, lambda: awake.called.append("due"))
    awake.loop.cancel(forgotten)
    awake.loop._turn()
    assert awake.called == ["due"], "one turn, which waited for it"


def test_a_timer_that_may_come_early_does_so_once_and_not_earlier_than_that(awake):
    awake.loop.ease(awake.timer("soon", 60), 60 * NS_PER_S)
    awake.loop.ease(awake.timer("later", 60), 10 * NS_PER_S)
    awake.timer("not eased", 60)
    assert awake.turn() == awake.turn() == ["soon"]


def test_a_timer_that_was_forgotten_does_not_come_early(awake):
    timer = awake.timer("forgotten", 60)
    awake.loop.ease(timer, 60 * NS_PER_S)
    awake.loop.cancel(timer)
    assert awake.turn() == []


def test_a_timer_that_came_in_time_does_not_come_again(awake):
    awake.loop.ease(awake.timer("due", 0), 60 * NS_PER_S)
    assert awake.turn() == awake.turn() == ["due"]


def test_a_timer_that_comes_early_may_begin_another(awake):
    def again():
        awake.called.append("beat")
        awake.loop.ease(awake.loop.after(60 * NS_PER_S, again), 10 * NS_PER_S)
    awake.loop.ease(awake.loop.after(60 * NS_PER_S, again), 60 * NS_PER_S)
    assert awake.turn() == awake.turn() == ["beat"]
