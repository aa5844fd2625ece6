"""What operators ask for, through a stand-in for the app's event loop: waiting, refusals, bounds and the end of a move."""

import collections
import types

import eventlet
import eventlet.queue
import pytest

from ryu_app import operations as module
from ryu_app.events import EventLog
from ryu_app.operations import Operations
from ryu_app.refusal import Late, Refused, Unavailable


class Core:
    """Takes every request, unless *refusal* is set; tests end the moves."""

    def __init__(self):
        self.group = types.SimpleNamespace(epoch=1, phase="running", move=None, failovers=collections.deque())
        self.context = types.SimpleNamespace(groups={"nat": self.group})
        self.asked, self.refusal = [], None

    def _take(self, *what):
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(what)
        return [what[0]]

    def move(self, group, to, reload, now_ns):
        decided = self._take("move", group, to, reload)
        self.group.move = "under way"
        return decided

    def decide(self, group, policy, now_ns):
        return self._take("decide", group, policy)

    def drain(self, node, now_ns):
        return self._take("drain", node)

    def undrain(self, node, now_ns):
        return self._take("undrain", node)

    def fail_over(self, cause, role="master"):
        self.group.epoch += 1
        self.group.move = None if role == "master" else self.group.move
        self.group.failovers.append({"role": role, "epoch": self.group.epoch, "cause": cause, "to": "m2"})


class Loop:
    """The app: an event loop, and what it was told to do."""

    def __init__(self):
        self.core, self.acted, self.withdrawals = Core(), [], []
        self._queue = eventlet.queue.LightQueue()
        self.log = EventLog()
        self.operations = Operations(self.core, self.log, lambda *call: self._queue.put(call), self._act, dict,
                                     self.withdrawals.append)
        self.thread = None

    def start(self):
        self.thread = eventlet.spawn(self._run)

    def _run(self):
        while True:
            method, *args = self._queue.get()
            method(*args)

    def _act(self, decided):
        self.acted += decided
        self.operations.settled()


@pytest.fixture
def loop():
    loop = Loop()
    with eventlet.Timeout(10):
        yield loop
    if loop.thread is not None:
        loop.thread.kill()


def until(condition):
    while not condition():
        eventlet.sleep(0)


def test_drain_and_undrain_are_done_by_the_event_loop(loop):
    loop.start()
    assert loop.operations.drain("m1") == {"node": "m1", "draining": True}
    assert loop.operations.undrain("m1") == {"node": "m1", "draining": False}
    assert loop.core.asked == [("drain", "m1"), ("undrain", "m1")]
    assert loop.operations.decide("nat", "empty") == {"group": "nat", "policy": "empty"}
    until(lambda: loop.acted == ["drain", "undrain", "decide"])


def test_the_answer_to_a_move_comes_when_it_is_done_and_is_its_record(loop):
    loop.start()
    asking = eventlet.spawn(loop.operations.move, "nat", None, False)
    until(lambda: loop.acted == ["move"])
    loop.operations.settled()
    assert not asking.dead
    loop.core.fail_over("moved")
    loop.core.group.phase = "recovering"
    loop.operations.settled()
    eventlet.sleep(0)
    assert not asking.dead, "the record is there, but the group does not run yet"
    loop.core.group.phase = "running"
    loop.operations.settled()
    assert asking.wait() == {"group": "nat", "master": "m2", "failover": {"role": "master", "epoch": 2, "cause": "moved", "to": "m2"}}


def test_a_master_that_dies_while_it_is_moved_is_told_as_such(loop):
    loop.start()
    asking = eventlet.spawn(loop.operations.move, "nat", "m2", False)
    until(lambda: loop.acted)
    loop.core.fail_over("connection closed")
    loop.operations.settled()
    with pytest.raises(Unavailable, match="failed while it was moved: connection closed; m2 has taken over"):
        asking.wait()


def test_another_roles_record_is_not_the_moves(loop):
    loop.start()
    asking = eventlet.spawn(loop.operations.move, "nat", None, False)
    until(lambda: loop.acted)
    loop.core.fail_over("connection closed", "store")
    loop.operations.settled()
    eventlet.sleep(0)
    assert not asking.dead
    loop.core.fail_over("moved")
    loop.operations.settled()
    assert asking.wait()["failover"]["epoch"] == 3


@pytest.mark.parametrize("events, text", [([], "the move of nat was called off"), ([
    ("error", "fw", "another group's"), ("error", "nat", "called off: m2 was lost"), ("info", "nat", "something else")], "called off: m2 was lost")])
def test_a_move_that_is_called_off_is_told_with_its_reason(loop, events, text):
    loop.start()
    loop.log.add({"what": "an older error", "group": "nat", "level": "error"})
    asking = eventlet.spawn(loop.operations.move, "nat", "m2", False)
    until(lambda: loop.acted)
    for level, group, what in events:
        loop.log.add({"what": what, "group": group, "level": level})
    loop.core.group.move = None
    loop.operations.settled()
    with pytest.raises(Unavailable, match=text):
        asking.wait()
    assert loop.operations._moves == {}


def test_a_move_that_takes_too_long_is_told_and_leaves_nothing_behind(loop, monkeypatch):
    monkeypatch.setattr(module, "MOVE_S", 0.01)
    loop.start()
    with pytest.raises(Late, match="under way"):
        loop.operations.move("nat", None, False)
    assert loop.operations._moves == {}
    loop.core.fail_over("moved")
    loop.operations.settled()


@pytest.mark.parametrize("ask", [lambda it: it.move("nat", None, False), lambda it: it.drain("m1"), lambda it: it.undrain("m1")])
def test_a_refusal_of_the_core_reaches_who_asked(loop, ask):
    loop.start()
    loop.core.refusal = Refused("not as things are")
    with pytest.raises(Refused, match="not as things are"):
        ask(loop.operations)
    assert loop.operations._moves == {} and loop.acted == []


def test_a_request_whose_turn_does_not_come_is_given_up_and_never_begun(loop, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    with pytest.raises(Unavailable, match="no time"):
        loop.operations.drain("m1")
    loop.start()
    eventlet.sleep(0)
    until(lambda: loop._queue.empty())
    assert loop.core.asked == []


def test_no_more_requests_wait_than_the_limit(loop):
    waiting = [eventlet.spawn(loop.operations.drain, "m1") for _ in range(module.WAITING_MAX)]
    until(lambda: loop.operations._waiting == module.WAITING_MAX)
    with pytest.raises(Unavailable, match="the most there may be"):
        loop.operations.drain("m2")
    assert loop.operations.counters == {"operations_refused": 1}
    loop.start()
    for thread in waiting:
        thread.wait()
    assert loop.operations.drain("m2")["draining"] and loop.operations._waiting == 0


def test_rules_are_withdrawn_once_and_every_asker_waits_for_the_same_end(loop, monkeypatch):
    loop.start()
    monkeypatch.setattr(module, "WITHDRAW_S", 0.01)
    with pytest.raises(Unavailable, match="not every switch"):
        loop.operations.withdraw()
    monkeypatch.setattr(module, "WITHDRAW_S", 10)
    again = eventlet.spawn(loop.operations.withdraw)
    eventlet.sleep(0)
    (done,) = loop.withdrawals
    done()
    assert again.wait() == loop.operations.withdraw() == {"removed": True}
