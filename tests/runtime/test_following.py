"""A hot spare's role, without sockets: when it follows, and what makes it begin anew or recover as any other spare does."""

import pytest

from middleboxes.core.feeding import DeterminantFeed, InputFeed
from middleboxes.core.frames import decode_input
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.recovery import LiveBuffer
from middleboxes.runtime.followers import Followers
from middleboxes.runtime.role import RoleError
from middleboxes.runtime.spare import SLICES_PER_TURN, STEPS_PER_SLICE, SpareRole

from tests.core.boxes import GROUP, MAC, master, output_logger, released

STORE, IL, OL = ["127.0.0.1", 1], ["127.0.0.1", 2], ["127.0.0.1", 3]
ARGUMENTS = {"group_id": GROUP, "workers": 1, "function": "tests.core.boxes:Stamp", "parameters": {}, "checkpoint_interval_ms": 50,
             "ports": [{"name": "inside", "mac": "02:00:5e:00:01:01", "address": "10.0.0.254/24"},
                       {"name": "outside", "mac": "02:00:5e:00:01:02", "address": "192.0.2.254/24"}],
             "store": STORE, "input_logger": IL, "output_logger": OL, "hot": True}


class Loop:
    """Work and timers that the test runs."""

    def __init__(self):
        self.time_ns, self.timers, self.jobs = 1, [], []

    def now_ns(self):
        return self.time_ns

    def after(self, delay_ns, function):
        self.timers.append([delay_ns, function])
        return self.timers[-1]

    def cancel(self, timer):
        if timer in self.timers:
            self.timers.remove(timer)

    def work(self, function):
        if function not in self.jobs:
            self.jobs.append(function)

    def fire(self):
        """All timers."""
        timers, self.timers = self.timers, []
        for _, function in timers:
            function()

    def run(self):
        while self.jobs:
            job = self.jobs.pop(0)
            if job():
                self.work(job)


class Connection:
    """A connection of the spare's: what it sent, and a way to answer."""

    def __init__(self, address, on_open, on_message, on_close):
        self.address, self.sent, self.closed = address, [], False
        self._on_open, self._on_message, self.on_close = on_open, on_message, on_close
        self.channel = type("Channel", (), {"established": False})()

    def open(self):
        self.channel.established = True
        self._on_open(self)

    def send(self, message):
        self.sent.append(message)

    def answer(self, **message):
        if not self.closed:
            self._on_message(self, {"group": "g", **message})

    def close(self, reason="closed"):
        if not self.closed:
            self.closed = True
            if self.on_close:
                self.on_close(self, reason)

    def asked(self):
        return [message["t"] for message in self.sent]


class Node:
    """A node with nothing but a loop and connections."""

    name, mac = "m2", MAC
    send = send_all = staticmethod(lambda frames: None)

    def __init__(self):
        self.loop, self.connections, self.failed, self.lines = Loop(), [], [], []
        self.log = self.lines.append
        self.live = LiveBuffer()
        self.bundles = type("Bundles", (), {"watched": staticmethod(lambda group, args, on_event: on_event),
                                            "begin": staticmethod(lambda *args: None)})()

    def connect(self, role, address, on_open, on_message, on_close):
        self.connections.append(Connection(address, role.guarded(on_open), role.guarded(on_message), role.guarded(on_close)))
        return self.connections[-1]

    def buffer(self, group_id):
        return self.live

    def fail(self, role, error):
        self.failed.append(str(error))


class Scene:
    """A living master with its loggers, and a spare of it; ``follow`` lets the spare follow."""

    def __init__(self):
        self.inputs, self.logger, self.old = InputLogger(GROUP, MAC, 1, 1, 1 << 20), output_logger(), master()
        self.node = Node()
        self.cut = self.old.cut()
        self.spare = SpareRole(self.node, "g", 1, ARGUMENTS)

    def peer(self, address):
        """The newest connection to *address*."""
        return [connection for connection in self.node.connections if connection.address == address][-1]

    def load(self):
        """All connections open; the store sends what it has."""
        for address in (STORE, IL, OL):
            if not self.peer(address).channel.established:
                self.peer(address).open()
        self.chunks(self.cut)

    def chunks(self, cut):
        store = self.peer(STORE)
        for data in cut.chunks():
            store.answer(t="chunk", id=cut.id, base=cut.base, last=False, data=data)
        store.answer(t="chunk", id=cut.id, base=cut.base, last=True, data=b"")
        self.node.loop.run()

    def follow(self):
        self.load()
        after, = [message["after"] for message in self.peer(IL).sent if message["t"] == "follow_inputs"]
        self.input_feed = InputFeed(self.inputs, after)
        self.determinant_feed = DeterminantFeed(self.logger.logs, [worker.k for worker in self.spare.core.workers])
        self.peer(IL).answer(t="followed_inputs", begin=self.input_feed.begin, frames=[])
        self.tell(begin=self.determinant_feed.begin)
        self.node.loop.run()
        return self

    def tell(self, begin=(), batches=()):
        self.peer(OL).answer(t="followed_determinants", begin=list(begin), batches=list(batches),
                             covered=[log.trimmed for log in self.logger.logs])

    def packets(self, count):
        """Through the master, and by the streams to the spare."""
        for _ in range(count):
            item = decode_input(self.inputs.accept(0, b"send x", 1))[2]
            released(self.logger, self.old.process(0, item))
        self.peer(IL).answer(t="followed_inputs", begin=[], frames=self.input_feed.take())
        self.tell(batches=[list(batch) for batch in self.determinant_feed.take()])
        self.node.loop.run()

    def go_ahead(self, **changes):
        self.spare.go_ahead(2, {"input_logger": IL, "output_logger": OL, "inputs_from": 1, **changes})
        self.node.loop.run()

    def fenced(self, epoch=2):
        """The output logger is fenced, and ends the stream."""
        stored = self.logger.fence(epoch)
        self.peer(OL).answer(t="followed_end", epoch=epoch, worker=0, stored=stored, released=b"", last=True)
        self.node.loop.run()
        return stored

    def logged(self, count):
        """Inputs that the master never took, by the stream."""
        for _ in range(count):
            self.inputs.accept(0, b"send x", 1)
        self.peer(IL).answer(t="followed_inputs", begin=[], frames=self.input_feed.take())
        self.node.loop.run()

    def recover(self, **changes):
        stored = self.logger.fence(2)
        self.spare.recover(changes.pop("epoch", 2), {"stored": stored, "positions": [], "cold": False, "inputs_from": 1, "cause": "killed", "store": STORE,
                               "input_logger": IL, "output_logger": OL, **changes})
        self.node.loop.run()


def test_a_spare_follows_once_it_has_a_checkpoint_and_both_loggers():
    scene = Scene()
    scene.load()
    assert "follow_inputs" in scene.peer(IL).asked() and "follow_determinants" in scene.peer(OL).asked()
    assert scene.spare.counters()["hot"] is False
    scene.follow()
    scene.packets(5)
    counters = scene.spare.counters()
    assert counters["hot"] and counters["repeated"] == 5 and counters["behind_steps"] == 0
    assert scene.peer(STORE).sent[-1]["headers"] is True, "of later checkpoints it wants the headers only"
    later = scene.old.cut()
    scene.chunks(later)
    assert scene.spare.core.checkpoint_id == later.id and scene.spare.core.workers[0].k == 5
    scene.recover()
    assert scene.peer(IL).asked()[-1] == "unfollow_inputs" and not scene.node.failed


def broken_off(scene):
    scene.peer(IL).close("the node died")


def cut_off(scene):
    scene.peer(OL).answer(t="refused", error="it is too far behind")


def unrepeatable(scene):
    scene.tell(batches=[[0, bytes(8)[:-1] + b"\x09" + b"\x00" * 13]])


def malformed(scene):
    scene.tell(batches=[["x", 5]])


def nonsense(scene):
    scene.peer(IL).answer(t="followed_inputs", begin=[], frames=[b"nonsense"])


def another_master(scene):
    scene.peer(OL).answer(t="followed_end", epoch=2, worker=0, stored=[3], released=b"", last=True)
    scene.old.begin(2, 0)
    scene.chunks(scene.old.cut())


@pytest.mark.parametrize("what", [broken_off, cut_off, unrepeatable, malformed, nonsense, another_master])
def test_it_begins_anew_from_a_checkpoint(what):
    """All connections are new, the store is asked for all, what still comes by the old ones is ignored; then it follows again."""
    scene = Scene().follow()
    scene.packets(3)
    before = [scene.peer(address) for address in (STORE, IL, OL)]
    what(scene)
    scene.node.loop.run()
    counters = scene.spare.counters()
    assert (counters["hot"], counters["begun_anew"], counters["checkpoint"]) == (False, 1, 0) and not scene.node.failed
    assert all(connection.closed for connection in before)
    scene.load()
    assert scene.peer(STORE).sent[0]["have"] == 0 and scene.spare.core.workers[0].k == 0
    assert "follow_inputs" not in scene.peer(IL).asked(), "not at once"
    scene.node.loop.fire()
    scene.follow()
    assert scene.spare.counters()["hot"]


@pytest.mark.parametrize("changes", [{"output_logger": ["127.0.0.1", 9]}, {"input_logger": ["127.0.0.1", 9]}, {"stored": [2]}])
def test_with_another_logger_or_a_prefix_below_it_recovers_from_the_checkpoint(changes):
    scene = Scene().follow()
    scene.packets(3)
    scene.recover(**changes)
    assert scene.spare.core.checkpoint_id == 0 and not scene.spare.counters()["hot"]
    scene.peer(STORE).open()
    assert scene.peer(STORE).sent == [{"t": "subscribe", "group": "g", "have": 0, "follow": False, "headers": False}]
    scene.chunks(scene.cut)
    for address in (changes.get("input_logger", IL), changes.get("output_logger", OL)):
        if not scene.peer(address).channel.established:
            scene.peer(address).open()
    scene.peer(STORE).answer(t="chunk", id=0, base=0, last=True, data=b"")
    scene.node.loop.run()
    asked = [scene.peer(address).sent[-1] for address in (changes.get("input_logger", IL), changes.get("output_logger", OL))]
    assert [(message["t"], message["after"]) for message in asked] == [("inputs", [0]), ("determinants", [0])]


def test_a_spare_that_has_to_begin_anew_again_and_again_waits_longer():
    scene = Scene().follow()
    delays = []
    for _ in range(4):
        cut_off(scene)
        delays.append(scene.node.loop.timers[-1][0])
        scene.load()
        scene.node.loop.timers.pop()[1]()
        scene.follow()
    assert delays == sorted(delays) and delays[3] == 8 * delays[0]
    scene.node.loop.time_ns += 60_000_000_000
    cut_off(scene)
    assert scene.node.loop.timers[-1][0] < delays[3], "it went on for a while: a clean slate"


@pytest.mark.parametrize("allowed_first", [True, False])
def test_it_goes_ahead_once_it_may_and_its_stream_has_ended_and_asks_for_the_rest_only_when_it_is_to_recover(allowed_first):
    scene = Scene().follow()
    scene.packets(3)
    for step in (scene.go_ahead, scene.fenced) if allowed_first else (scene.fenced, scene.go_ahead):
        assert not scene.spare.counters()["recovering"]
        step()
    scene.logged(4)
    counters = scene.spare.counters()
    assert counters["recovering"] and (counters["replayed"], counters["processed"]) == (0, 4) and scene.spare.core.epoch == 2
    assert "unfollow_inputs" not in scene.peer(IL).asked() and scene.peer(STORE).sent[-1]["follow"]
    scene.chunks(scene.old.cut())
    assert not scene.spare.counters()["loading"], "of a later checkpoint it takes the header"
    scene.recover()
    assert scene.peer(IL).asked()[-1] == "unfollow_inputs" and not scene.peer(STORE).sent[-1]["follow"]
    assert scene.spare.core.workers[0].k == 7 and not scene.node.failed
    with pytest.raises(RoleError, match="already"):
        scene.recover()


@pytest.mark.parametrize("epoch, changes", [(3, {}), (1, {}), (2, {"input_logger": ["127.0.0.1", 9]})])
def test_it_does_not_go_ahead_in_another_epoch_than_its_stream_ended_for_or_with_another_logger(epoch, changes):
    scene = Scene().follow()
    scene.packets(3)
    scene.go_ahead(**changes)
    scene.fenced(epoch)
    scene.logged(2)
    assert not scene.spare.counters()["recovering"] and scene.spare.core.workers[0].k == 3


def test_kept_outputs_go_on_slice_after_slice_though_nothing_else_comes():
    scene, sent = Scene().follow(), []
    scene.node.send_all = sent.extend
    for _ in range(3):
        scene.packets(STEPS_PER_SLICE)
    assert not sent
    scene.go_ahead()
    scene.fenced()
    assert len(sent) == 3 * STEPS_PER_SLICE, "of none it was told that it left"


def test_a_turn_has_several_slices_so_that_what_is_waited_for_is_not_behind_all_that_comes():
    scene, sent = Scene().follow(), []
    scene.node.send_all = sent.extend
    for _ in range(SLICES_PER_TURN + 1):
        scene.packets(STEPS_PER_SLICE)
    loop = scene.node.loop
    loop.run = lambda: None
    scene.go_ahead()
    scene.fenced()
    assert not sent
    for job in list(loop.jobs):         # one turn
        job()
    assert len(sent) == SLICES_PER_TURN * STEPS_PER_SLICE


def test_one_that_is_not_hot_does_not_go_ahead():
    scene = Scene()
    scene.load()
    scene.go_ahead()
    assert not scene.spare.counters()["recovering"] and not scene.node.failed


def test_what_it_did_ahead_in_an_attempt_that_was_given_up_counts_no_more():
    scene = Scene().follow()
    scene.packets(3)
    scene.go_ahead()
    scene.fenced()
    scene.logged(2)
    assert scene.spare.core.workers[0].k == 5
    scene.recover(epoch=3, stored=[4])
    assert scene.spare.core.checkpoint_id == 0 and scene.spare.core.epoch == 3 and not scene.spare.counters()["hot"]
    scene.peer(STORE).open()
    scene.chunks(scene.cut)
    assert scene.spare.core.workers[0].k == 0 and not scene.node.failed


def test_a_stream_that_ends_ahead_of_the_recovery_fails_the_role():
    scene = Scene().follow()
    scene.packets(1)
    scene.go_ahead()
    scene.fenced()
    scene.peer(IL).close("the node died")
    assert len(scene.node.failed) == 1 and "during recovery" in scene.node.failed[0]


class Feed:
    """One follower's feed, that gives what is put in."""

    begin, cut_off = [0], False

    def __init__(self):
        self.parts = []

    def take(self):
        parts, self.parts = self.parts, []
        return parts


def test_what_is_logged_waits_for_more_but_not_once_a_follower_takes_over():
    node, feed = Node(), Feed()
    role = type("Role", (), {"loop": node.loop, "group": "g", "guarded": staticmethod(lambda function: function)})()
    followers = Followers(role, lambda feed, parts, begin: {"t": "followed_inputs", "frames": parts})
    connection = Connection(IL, None, None, None)
    connection.waiting_bytes = 0
    followers.add(connection, feed)
    node.loop.fire()
    feed.parts = [b"1"]
    followers.wake()
    assert connection.sent[-1]["frames"] == [] and len(node.loop.timers) == 1
    followers.hurry()
    assert connection.sent[-1]["frames"] == [b"1"] and not node.loop.timers, "what waited goes at once"
    feed.parts = [b"2"]
    followers.wake()
    assert connection.sent[-1]["frames"] == [b"2"] and not node.loop.timers
    connection.waiting_bytes = 1 << 30
    feed.parts = [b"3"]
    followers.wake()
    assert connection.sent[-1]["frames"] == [b"2"] and len(node.loop.timers) == 1, "a follower that does not read is not waited for"
    connection.waiting_bytes = 0
    node.loop.fire()
    assert connection.sent[-1]["frames"] == [b"3"]
