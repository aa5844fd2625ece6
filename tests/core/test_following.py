"""Hot spares: what they may repeat, where they begin, what they keep, and what is bounded."""

import pytest

from middleboxes.core import following as module
from middleboxes.core import kept as keeping
from middleboxes.core.checkpoint import Folded
from middleboxes.core.columns import unpack_column
from middleboxes.core.feeding import DeterminantFeed, InputFeed
from middleboxes.core.following import Follower
from middleboxes.core.frames import FrameError, decode_input
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.outputlog import pack_keys
from middleboxes.core.recovery import LiveBuffer, Recovery
from middleboxes.core.step import ReplayError

from .boxes import GROUP, MAC, Stamp, assembled, checkpoint, contents, master, output_logger, released


class Scene:
    """A living master with its loggers, a store, and a spare that follows from the first checkpoint on."""

    def __init__(self, feed_bytes_max=1 << 20, box=Stamp):
        self.inputs, self.logger = InputLogger(GROUP, MAC, 1, 1, 1 << 20), output_logger()
        self.old, self.spare, self.folded = master(box), master(box, epoch=2), Folded()
        self.left = []
        self.bytes_max = feed_bytes_max
        self.durable()
        self.follow()

    def follow(self):
        """The spare follows from the checkpoint that it has."""
        self.follower = Follower(self.spare)
        worker = self.spare.workers[0]
        self.input_feed = InputFeed(self.inputs, [worker.n], self.bytes_max)
        self.determinant_feed = DeterminantFeed(self.logger.logs, [worker.k], self.bytes_max)
        self.follower.inputs_begin(self.input_feed.begin)
        self.follower.determinants_begin(self.determinant_feed.begin)

    def pass_packets(self, words, stored=True, sent=True):
        """Packets through input logger, master and (*stored*) output logger; *sent* False: their determinants, not their outputs."""
        for word in words:
            frames = self.old.process(0, decode_input(self.inputs.accept(0, word, self.inputs.counters["inputs"]))[2]) or self.old.flush()
            if stored and sent:
                self.left += released(self.logger, frames)
            elif stored:
                worker = self.old.workers[0]
                assert self.logger.logs[0].store(worker.log.encode(self.logger.logs[0].last, 1 << 20)[0])

    def durable(self):
        """A checkpoint is durable: the spare hears its header, or loads it; the loggers trim."""
        self.cut = checkpoint(self.old.cut())
        self.folded.fold([], self.cut)
        if getattr(self, "follower", None) is not None and self.follower.begun:
            self.follower.durable(self.cut.header)
        elif self.cut.header["base"] in (0, self.spare.checkpoint_id):
            self.spare.load(self.cut)
        if hasattr(self, "input_feed"):
            self.input_feed.save()
            self.determinant_feed.save()
        positions = dict(enumerate(self.cut.header["positions"]))
        self.inputs.trim(1, positions)
        self.logger.trim(1, positions, 1)

    def stream(self):
        """All that the loggers have for the follower reaches it."""
        while frames := self.input_feed.take():
            self.follower.inputs(frames)
        while batches := self.determinant_feed.take():
            for number, data in batches:
                self.follower.determinants(number, data)
        self.follower.covered([self.logger.logs[0].trimmed])
        self.follower.begin()
        while self.follower.step(3):
            pass

    def fail_over(self):
        """The master dies; the spare recovers from where it stands, and is the master."""
        stored = self.logger.fence(2)
        self.stream()
        self.follower.released(0, pack_keys(self.logger.released(0, self.logger.logs[0].trimmed, stored[0])))
        self.follower.fenced(2, stored)
        assert self.follower.may_become_master(stored)
        self.spare.begin(2, 0)
        recovery = Recovery(self.spare, stored, LiveBuffer())
        self.follower.hand_over(recovery)
        recovery.determinants(0, b"", True)
        recovery.inputs(0, [], True)
        while not recovery.finished:
            self.left += released(self.logger, recovery.step(5))
        self.follower.settle()
        return recovery


def words(*numbers):
    return [b"send %d" % number for number in numbers]


def test_a_hot_spare_repeats_only_what_is_stored():
    scene = Scene()
    scene.pass_packets(words(1, 2, 3))
    scene.pass_packets(words(4, 5), stored=False)
    scene.stream()
    assert scene.spare.workers[0].k == 3 and scene.follower.behind == 0
    recovery = scene.fail_over()
    assert (recovery.replayed, recovery.processed) == (0, 2), "the logged inputs beyond are new steps"
    wanted = Scene()
    wanted.pass_packets(words(1, 2, 3, 4, 5))
    assert contents(scene.spare) == contents(wanted.old) and scene.left == wanted.left


def test_it_begins_where_a_checkpoint_meets_both_streams():
    """The logs were trimmed before it followed: the checkpoint that trimmed them has to be loaded first."""
    scene = Scene()
    scene.pass_packets(words(1, 2))
    later = checkpoint(scene.old.cut())
    positions = dict(enumerate(later.header["positions"]))
    scene.inputs.trim(1, positions)
    scene.logger.trim(1, positions, 1)
    scene.follow()
    scene.pass_packets(words(3))
    scene.stream()
    assert not scene.follower.begun and scene.spare.workers[0].k == 0 and scene.follower.behind == 0
    scene.spare.load(later)
    scene.stream()
    assert scene.follower.begun and contents(scene.spare) == contents(scene.old)


def test_what_a_logger_forgets_is_kept_for_a_follower_and_beyond_the_bound_it_is_cut_off():
    for bytes_max, is_cut_off in ((1 << 20, False), (100, True)):
        scene = Scene(bytes_max)
        scene.pass_packets(words(*range(10)))
        scene.durable()
        assert scene.inputs.after(0, 0, 100)[0] == [] and scene.input_feed.cut_off == is_cut_off
        if not is_cut_off:
            scene.pass_packets(words(11))
            scene.stream()
            assert contents(scene.spare) == contents(scene.old)


def test_a_stream_of_determinants_with_steps_that_were_never_stored_ends():
    """A checkpoint covers what the output logger lost: the spare can't repeat it."""
    scene = Scene()
    scene.pass_packets(words(1, 2), stored=False)
    positions = {0: (2, 2)}
    scene.logger.trim(1, positions, 1)
    scene.old.workers[0].log.trim(2)
    scene.pass_packets(words(3))
    assert scene.determinant_feed.take() == [] and scene.determinant_feed.cut_off


def test_outputs_that_did_not_leave_are_sent_at_the_failover_and_others_are_not():
    scene = Scene()
    scene.pass_packets(words(1, 2))
    scene.pass_packets(words(3), sent=False)
    scene.pass_packets(words(4))
    scene.stream()
    duplicates = scene.logger.counters["duplicates"]
    assert scene.spare.workers[0].k == 4
    scene.fail_over()
    wanted = Scene()
    wanted.pass_packets(words(1, 2, 3, 4))
    assert sorted(scene.left) == sorted(wanted.left) and scene.logger.counters["duplicates"] == duplicates


def test_outputs_are_kept_until_they_are_covered_and_beyond_the_bound_the_oldest_go(monkeypatch):
    monkeypatch.setattr(keeping, "KEPT_STEPS_MAX", 3)
    scene = Scene()
    scene.pass_packets(words(1, 2, 3, 4, 5))
    scene.stream()
    assert scene.follower.dropped_outputs == 2
    scene.durable()
    scene.follower.covered([5])
    scene.pass_packets(words(6, 7))
    scene.stream()
    assert scene.follower.dropped_outputs == 2, "those that are covered made room"


def test_what_is_kept_is_bounded_in_bytes_too(monkeypatch):
    monkeypatch.setattr(keeping, "KEPT_BYTES_MAX", 15)
    scene = Scene()
    scene.pass_packets(words(1, 2, 3, 4, 5))
    scene.stream()
    assert scene.follower.dropped_outputs == 2, "an output has five bytes"


def test_a_fault_of_the_function_is_told_by_the_master_and_by_its_hot_spare_only_once_it_is_the_master():
    told = []
    scene = Scene()
    scene.spare._on_event = lambda name, detail: told.append(name)
    scene.pass_packets([b"fail 1"])
    scene.stream()
    assert not told and scene.spare.counters["function_errors"] == 1
    scene.fail_over()
    scene.spare._on_event("x", "")
    assert told == ["x"]
    scene = Scene()
    before = scene.spare._on_event
    scene.stream()
    assert scene.spare._on_event is not before
    scene.follower.give_up()
    assert scene.spare._on_event is before


def test_a_stream_that_ended_before_the_recoverable_prefix_is_of_no_use():
    """Another spare was the master in between; what the ended stream had beyond its end is not of this history."""
    scene = Scene()
    scene.pass_packets(words(1, 2, 3))
    scene.stream()
    scene.follower.fenced(2, [2 + 1])
    assert scene.follower.may_become_master([3]) and not scene.follower.may_become_master([4])
    assert not scene.follower.may_become_master([2]), "it stands beyond"
    assert not scene.follower.may_become_master([3, 3]), "another number of workers"
    assert scene.follower.may_become_master([3], [(3, 3)])
    assert not scene.follower.may_become_master([3], [(9, 4)]), "the output logger never had what only a checkpoint has"


class Forgetful(Stamp):
    """One that also removes keys."""

    def handle(self, frame, ctx):
        word, _, rest = frame.partition(b" ")
        if word == b"forget":
            self.seen.pop(rest, None)
        else:
            super().handle(frame, ctx)


@pytest.mark.parametrize("cuts", [(), (2,), (0, 1, 3), (2, 4, 5), range(6)])
@pytest.mark.parametrize("streams", [(5,), (1, 3, 5), (0, 1, 2, 3, 4, 5)])
def test_the_first_delta_of_a_hot_spare_gives_its_state_on_the_last_durable_checkpoint(cuts, streams):
    """Keys that come, go, come back and change, and their order; however far the spare was when checkpoints became durable."""
    scene = Scene(box=Forgetful)
    for number, step in enumerate(([b"send 1", b"send 2"], [b"forget 1", b"send 3"], [b"send 1", b"send 2"], [b"forget 3", b"send 3"],
                                   [b"forget 2", b"send 6", b"forget 6"], [b"send 7", b"send 2", b"forget 1"])):
        scene.pass_packets(step)
        if number in streams:
            scene.stream()
        if number in cuts:
            scene.durable()
    scene.fail_over()
    first = checkpoint(scene.spare.cut())
    assert first.header["base"] == scene.folded.id
    scene.folded.fold([], first)
    found = {name: list(zip(*map(unpack_column, columns))) for name, _, *columns in assembled(scene.folded.everything())[1].records}
    assert found["seen"] == contents(scene.spare)[0]["seen"] == [(b"3", 1), (b"7", 1), (b"2", 1)]
    assert found["total"] == [(None, contents(scene.spare)[0]["total"])]


def test_bounds_of_what_waits(monkeypatch):
    monkeypatch.setattr(module, "INPUT_BYTES_MAX", 60)
    scene = Scene()
    scene.pass_packets(words(*range(20)), stored=False)
    with pytest.raises(ReplayError, match="bytes of inputs"):
        scene.stream()
    monkeypatch.setattr(module, "STEPS_MAX", 2)
    monkeypatch.setattr(module, "RECORDS_MAX", 2)
    scene = Scene()
    with pytest.raises(ReplayError, match="determinants wait"):
        for word in words(1, 2, 3, 4):
            scene.inputs.accept(0, b"lost", 0)      # the network lost it: a run of determinants ends
            scene.pass_packets([word])
        scene.stream()
    scene = Scene()
    header = {**scene.cut.header, "positions": ((0, 0),)}
    scene.pass_packets(words(1))
    scene.stream()
    with pytest.raises(ReplayError, match="do not come nearer"):
        for _ in range(4):
            scene.follower.durable(header)


def test_what_no_logger_would_send_is_refused():
    scene = Scene()
    with pytest.raises(FrameError):
        scene.follower.inputs([b"nonsense"])
    with pytest.raises(FrameError, match="worker 3"):
        scene.follower.inputs([InputLogger(GROUP, MAC, 4, 1, 1 << 20, lambda frame, port, workers: 3).accept(0, b"send 1", 1)])
    with pytest.raises(ReplayError, match="worker 1"):
        scene.follower.determinants(1, b"")
    with pytest.raises(FrameError, match="worker 1"):
        scene.follower.released(1, b"")
