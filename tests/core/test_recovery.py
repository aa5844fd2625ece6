"""Recovery: what it asks for, in which order things may arrive, and that nothing is skipped in silence."""

import random

import pytest

from middleboxes.core.frames import FrameError, InputEncoder, decode_input
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.step import ReplayError
from middleboxes.core.recovery import GAP_REQUESTS_MAX, LiveBuffer, Recovery

from .boxes import GROUP, MAC, checkpoint, contents, master, output_logger, released


class Scene:
    """A master that processed *steps* inputs and died; the output logger stored its determinants up to *stored*."""

    def __init__(self, steps=20, stored=15, checkpoint_at=5, logged=25, live_max=100, skip=()):
        self.inputs = InputLogger(GROUP, MAC, 1, 1, 1 << 20)
        self.logger = output_logger()
        self.old = master()
        self.spare = master(epoch=2)
        self.buffer = LiveBuffer(live_max)
        self.left = []
        for n in range(1, logged + 1):
            frame = self.arrive()
            if n > steps or n in skip:
                continue
            frames = self.old.process(0, self.decoded(frame)) or self.old.flush()
            if self.old.workers[0].k <= stored:
                self.left += released(self.logger, frames)
            if n == checkpoint_at:
                self.durable = checkpoint(self.old.cut())
                self.spare.load(self.durable)
                self.spare.epoch = 2
        (self.stored,) = self.logger.fence(2)
        self.recovery = Recovery(self.spare, [self.stored], self.buffer)

    def arrive(self):
        """The next input is logged; returns its frame."""
        n = self.inputs.counters["inputs"] + 1
        return self.inputs.accept(0, b"send %d" % n, n)

    @staticmethod
    def decoded(frame):
        return decode_input(frame)[2]

    def determinants(self, bytes_max=60):
        k, to = self.asked[1][0], self.asked[2][0]
        while True:
            data, k = self.logger.logs[0].encode(k, bytes_max)
            yield data, k >= to
            if k >= to:
                return

    def input_batches(self, after, limit=4):
        while True:
            frames, end = self.inputs.after(0, after, limit)
            yield frames, end
            if end:
                return
            after = self.decoded(frames[-1]).n

    def load(self):
        self.asked = self.recovery.loaded()

    def give_all(self):
        for data, end in self.determinants():
            self.recovery.determinants(0, data, end)
        for frames, end in self.input_batches(self.asked[0][0]):
            self.recovery.inputs(0, frames, end)

    def finish(self, budget=3):
        for _ in range(1000):
            self.left += released(self.logger, self.recovery.step(budget))
            if self.recovery.finished:
                return
            again = self.recovery.again()
            if again is not None:
                for frames, end in self.input_batches(again[0]):
                    self.recovery.inputs(0, frames, end)
        pytest.fail("the recovery never ends")


def undisturbed(count, skip=()):
    """A master that processed *count* inputs without any failure."""
    scene = Scene(steps=count, stored=count, logged=count, checkpoint_at=None, skip=skip)
    return scene.old, scene.left


def test_it_tells_when_all_is_repeated_and_only_the_data_network_is_waited_for():
    scene = Scene(steps=20, stored=15, checkpoint_at=5, logged=200)
    scene.load()
    assert not scene.recovery.has_replayed, "nothing was answered yet"
    scene.give_all()
    assert not scene.recovery.has_replayed
    while scene.recovery.step(3):
        pass
    assert scene.recovery.has_replayed and not scene.recovery.finished, "no acknowledgement makes room for the rest"


def test_it_asks_for_what_follows_the_checkpoint():
    scene = Scene()
    scene.load()
    assert scene.asked == ([5], [5], [15])


def test_nothing_is_done_before_checkpoint_and_determinants_are_there():
    scene = Scene()
    assert scene.recovery.step(10) == []
    scene.load()
    for frames, end in scene.input_batches(5):
        scene.recovery.inputs(0, frames, end)
    assert scene.recovery.step(10) == [] and not scene.recovery.finished


@pytest.mark.parametrize("budget", [1, 2, 7, 1000])
def test_the_new_master_is_what_the_old_one_would_have_been(budget):
    scene = Scene()
    scene.load()
    scene.give_all()
    for _ in range(3):
        scene.buffer.add(scene.arrive())
    scene.finish(budget)
    wanted, left = undisturbed(28)
    assert contents(scene.spare) == contents(wanted)
    assert scene.left == left, "each output once, in no other version"
    assert (scene.recovery.replayed, scene.recovery.processed) == (10, 13)


@pytest.mark.parametrize("seed", range(50))
def test_any_order_of_arrival_and_any_slicing_gives_the_same(seed):
    rng = random.Random(seed)
    skip = tuple(rng.sample(range(6, 20), 3))
    scene = Scene(skip=skip, stored=rng.randint(5, 17), live_max=rng.choice((3, 100)))
    before = rng.randint(0, 5)
    for _ in range(before):
        scene.buffer.add(scene.arrive())
    scene.load()
    determinants, inputs, live = list(scene.determinants()), list(scene.input_batches(scene.asked[0][0])), rng.randint(0, 9)
    while determinants or inputs or live:
        kind = rng.randrange(4)
        if kind == 0 and determinants:
            scene.recovery.determinants(0, *determinants.pop(0))
        elif kind == 1 and inputs:
            scene.recovery.inputs(0, *inputs.pop(0))
        elif kind == 2 and live:
            live -= 1
            scene.buffer.add(scene.arrive())
        else:
            scene.left += released(scene.logger, scene.recovery.step(rng.randint(1, 5)))
    scene.finish()
    # what the network lost on the way to the old master and the prefix covers is lost, the rest is made good
    covered = [n for n in skip if n <= list(scene.logger.logs[0].steps())[scene.stored - 1][1]]
    wanted, left = undisturbed(scene.inputs.counters["inputs"], covered)
    assert contents(scene.spare) == contents(wanted) and scene.left == left


def test_an_overflow_of_the_live_buffer_is_made_good_from_the_log_while_traffic_goes_on():
    scene = Scene(live_max=4)
    scene.load()
    scene.give_all()
    for _ in range(12):
        scene.buffer.add(scene.arrive())
    asked = 0
    while not scene.recovery.finished:
        scene.left += released(scene.logger, scene.recovery.step(5))
        again = scene.recovery.again()
        if again is not None:
            asked += 1
            assert scene.recovery.again() is None, "one request at a time"
            batches = list(scene.input_batches(again[0], 100))
            scene.buffer.add(scene.arrive())            # one frame per round trip, for ever
            for frames, end in batches:
                scene.recovery.inputs(0, frames, end)
        assert asked < 5, "the recovery never catches up"
    wanted, left = undisturbed(scene.inputs.counters["inputs"])
    assert asked and contents(scene.spare) == contents(wanted) and scene.left == left


def test_a_gap_between_log_and_live_stream_is_filled_from_the_log():
    """A switch confirmed the redirect and still sent some frames to the dead master."""
    scene = Scene()
    scene.load()
    scene.give_all()
    scene.finish()
    assert not scene.recovery.joined, "nothing has come live"
    for _ in range(3):
        scene.arrive()                                  # logged after the answer, gone to the old master
    scene.buffer.add(scene.arrive())
    scene.recovery.step(10)
    assert not scene.recovery.finished and not scene.recovery.joined
    scene.finish()
    assert not scene.recovery.joined, "the answer held all that was logged"
    scene.buffer.add(scene.arrive())
    scene.finish()
    wanted, left = undisturbed(30)
    assert scene.recovery.joined and contents(scene.spare) == contents(wanted) and scene.left == left


def test_on_a_network_that_goes_on_losing_inputs_a_recovery_ends():
    scene = Scene()
    scene.load()
    scene.give_all()
    scene.finish()
    for asked in range(GAP_REQUESTS_MAX + 1):
        assert not scene.recovery.joined
        scene.arrive()
        scene.buffer.add(scene.arrive())
        scene.recovery.step(10)
        again = scene.recovery.again()
        assert (again is None) == (asked == GAP_REQUESTS_MAX)
        for frames, end in () if again is None else scene.input_batches(again[0]):
            scene.recovery.inputs(0, frames, end)
        scene.recovery.step(10)
    assert scene.recovery.finished and scene.recovery.joined


def test_live_frames_count_as_progress():
    scene = Scene()
    scene.load()
    scene.give_all()
    for _ in range(10):
        scene.buffer.add(scene.arrive())
    while not scene.recovery.finished:
        before = scene.recovery.replayed + scene.recovery.processed
        scene.recovery.step(3)
        assert scene.recovery.finished or scene.recovery.replayed + scene.recovery.processed > before


def test_at_the_masters_bound_recovery_waits_for_acknowledgements():
    scene = Scene()
    scene.spare.unacknowledged_max = 4
    scene.load()
    scene.give_all()
    for _ in range(10):
        scene.left += released(scene.logger, scene.recovery.step(100))
    assert not scene.recovery.finished and scene.spare.workers[0].k == 15 + 4
    for now_ns in range(0, 10**9, 10**7):
        for frame in scene.logger.acknowledge(now_ns)[0]:
            scene.spare.acknowledged(frame)
        scene.left += released(scene.logger, scene.recovery.step(100))
    assert scene.recovery.finished and scene.left == undisturbed(25)[1]


def test_at_the_masters_bound_live_frames_wait_too():
    scene = Scene(logged=20)
    scene.spare.unacknowledged_max = 8
    scene.load()
    scene.give_all()
    for _ in range(10):
        scene.buffer.add(scene.arrive())
    for _ in range(10):
        scene.recovery.step(100)
    assert not scene.recovery.finished and scene.spare.workers[0].k == 15 + 8


def test_a_prefix_behind_the_checkpoint_needs_no_determinants():
    """The output logger lost them, the durable checkpoint stands for them."""
    scene = Scene(stored=3)
    scene.load()
    assert scene.asked == ([5], [5], [5])
    scene.recovery.determinants(0, b"", True)
    for frames, end in scene.input_batches(5):
        scene.recovery.inputs(0, frames, end)
    scene.recovery.step(1000)
    assert scene.recovery.finished and contents(scene.spare) == contents(undisturbed(25)[0])


def test_a_missing_input_is_an_error_not_a_skipped_step():
    for gap in (slice(0, 1), slice(3, 4)):
        scene = Scene()
        scene.load()
        for data, end in scene.determinants():
            scene.recovery.determinants(0, data, end)
        frames = [frame for batch, _ in scene.input_batches(5) for frame in batch]
        del frames[gap]
        scene.recovery.inputs(0, frames, True)
        with pytest.raises(ReplayError, match="is needed by step"):
            scene.recovery.step(100)


def test_an_input_log_that_ends_too_early_is_an_error():
    scene = Scene()
    scene.load()
    for data, end in scene.determinants():
        scene.recovery.determinants(0, data, end)
    scene.recovery.inputs(0, [], True)
    with pytest.raises(ReplayError, match="not in the input log"):
        scene.recovery.step(100)


def test_determinants_with_a_gap_damaged_or_too_few_are_errors():
    def loaded():
        scene = Scene(skip=(7, 9, 11))
        scene.load()
        return scene, list(scene.determinants(30))
    scene, batches = loaded()
    with pytest.raises(ReplayError, match="gap"):
        scene.recovery.determinants(0, *batches[1])
    scene, batches = loaded()
    with pytest.raises(ReplayError, match="promised"):
        scene.recovery.determinants(0, batches[0][0], True)
    scene, batches = loaded()
    with pytest.raises(ReplayError):
        scene.recovery.determinants(0, batches[0][0][:-3], False)


def test_damaged_inputs_and_a_wrong_number_of_workers_are_errors():
    scene = Scene()
    scene.load()
    with pytest.raises(FrameError):
        scene.recovery.inputs(0, [b"nonsense"], True)
    with pytest.raises(ReplayError, match="workers"):
        Recovery(master(), [1, 2], LiveBuffer()).loaded()


def test_the_live_buffer_keeps_the_newest():
    buffer = LiveBuffer(3)
    frames = [InputEncoder(GROUP, MAC).encode(1, 0, Scene.decoded(Scene().arrive())._replace(n=n)) for n in range(1, 6)]
    for frame in frames:
        buffer.add(frame)
    assert [buffer.take() for _ in range(4)] == [*frames[2:], None] and buffer.dropped == 2


def test_a_malformed_live_frame_is_counted_and_harms_nothing():
    scene = Scene()
    scene.buffer.add(b"\x00" * 30)
    scene.asked = scene.recovery.loaded()
    scene.buffer.add(b"\x00" * 30)
    for data, end in scene.determinants():
        scene.recovery.determinants(0, data, end)
    for frames, end in scene.input_batches(scene.asked[0][0]):
        scene.recovery.inputs(0, frames, end)
    scene.recovery.step(1000)
    assert scene.recovery.bad_frames == 1 and scene.recovery.finished


def test_inputs_that_come_faster_than_they_are_caught_up_with_do_not_keep_it_from_going_live(monkeypatch):
    """A busy node: the buffer overflows again and again. It asks again a bounded number of times, then goes on live."""
    monkeypatch.setattr("middleboxes.core.recovery.LIVE_STEPS_MAX", 50)
    scene = Scene(live_max=5)
    scene.asked = scene.recovery.loaded()
    for data, end in scene.determinants():
        scene.recovery.determinants(0, data, end)
    after, asked = scene.asked[0], 0
    for _ in range(1000):
        if after is not None:
            asked += 1
            for frames, end in scene.input_batches(after[0]):
                scene.recovery.inputs(0, frames, end)
        for _ in range(15):
            scene.buffer.add(scene.arrive())
        for frame in scene.recovery.step(10):
            released(scene.logger, [frame])
        scene.spare.workers[0].log.trim(scene.spare.workers[0].k)
        if scene.recovery.finished:
            break
        after = scene.recovery.again()
    assert scene.recovery.finished and scene.recovery.joined and 4 <= asked <= 8
    scene.buffer.add(last := scene.arrive())
    assert scene.recovery.rest()[-1] == last and scene.recovery.rest() == []


def test_the_live_buffer_is_bounded_in_bytes_too():
    buffer = LiveBuffer(frames_max=100, bytes_max=1000)
    for number in range(20):
        buffer.add(bytes([number]) * 100)
    assert buffer.dropped == 10 and buffer.take() == b"\x0a" * 100
