"""A hot spare's role, without sockets: when it follows, and what makes it begin anew or recover as any other spare does."""

import pytest

from middleboxes.runtime.followers import Followers
from middleboxes.runtime.role import RoleError
from middleboxes.runtime.spare import SLICES_PER_TURN, STEPS_PER_SLICE

from .spare_scene import IL, OL, STORE, Connection, Node, Scene


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
    scene.node.send_apart = sent.extend
    for _ in range(3):
        scene.packets(STEPS_PER_SLICE)
    assert not sent
    scene.go_ahead()
    scene.fenced()
    assert len(sent) == 3 * STEPS_PER_SLICE, "of none it was told that it left"


def test_a_turn_has_several_slices_so_that_what_is_waited_for_is_not_behind_all_that_comes():
    scene, sent = Scene().follow(), []
    scene.node.send_apart = sent.extend
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
