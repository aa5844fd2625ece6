"""The output logger's rules, one by one: output commit, once only, fencing, gaps, bounds; one worker and several."""

import random

import pytest

from middleboxes.core.determinants import DeterminantLog, encode_extra
from middleboxes.core.frames import FrameError, OutputEncoder, decode_ack
from middleboxes.core.outputlog import ACK_INTERVAL_NS, ACK_STEPS_MAX, ACK_STEPS_SOON_MAX, FENCED_INTERVAL_NS, FENCED_REPEATS, FENCED_RESEND_EACH, IDLE_INTERVAL_NS, RESEND_INTERVAL_NS, by_port, pack_keys, unpack_keys

from .boxes import GROUP, MAC, output_logger, released

ENCODER = OutputEncoder(GROUP, MAC)


class Sender:
    """One worker of a master: makes steps, encodes outputs and determinants."""

    def __init__(self, worker=0, epoch=1, k=0):
        self.worker, self.epoch, self.log = worker, epoch, DeterminantLog(k)

    def step(self, needs=()):
        """A step that depends on the (worker, k) in *needs*."""
        self.log.append(self.log.last + 1, encode_extra([(0, 0, *need) for need in needs], ()))
        return self.log.last

    def batch(self, after=0):
        return ENCODER.encode_batch(self.epoch, self.worker, self.log.encode(after, 1 << 16)[0])

    def output(self, k, j=0, clock=(), after=None, port=0):
        """The output (k, j), with the determinants after *after* inline."""
        determinants = b"" if after is None else self.log.encode(after, 96)[0]
        return ENCODER.encode(self.epoch, self.worker, k, j, port, clock, determinants, self.payload(k, j))

    def payload(self, k, j=0):
        return b"%d/%d/%d" % (self.worker, k, j)


def sender(steps, **options):
    made = Sender(**options)
    for _ in range(steps):
        made.step()
    return made


# -- an output leaves iff what it depends on is stored

def test_an_output_that_carries_its_determinants_leaves_at_once():
    logger, worker = output_logger(), sender(1)
    assert logger.receive(worker.output(1, after=0, port=1)) == [(1, b"0/1/0")]


def test_an_output_waits_for_its_own_workers_determinants():
    logger, worker = output_logger(), sender(3)
    assert released(logger, [worker.output(1), worker.output(3)]) == []
    assert released(logger, [worker.batch()]) == [b"0/1/0", b"0/3/0"]


def test_determinants_after_a_gap_release_nothing():
    logger, worker = output_logger(), sender(5)
    assert released(logger, [worker.output(5, after=3)]) == [] and logger.logs[0].last == 0
    assert released(logger, [worker.batch()]) == [b"0/5/0"]


def test_an_output_waits_for_every_worker_of_its_clock_and_for_no_other():
    logger = output_logger(workers=4)
    workers = [sender(4, worker=w) for w in range(4)]
    assert released(logger, [workers[0].output(1, clock=((1, 2), (2, 3)), after=0)]) == []
    assert released(logger, [workers[1].batch()]) == []
    assert released(logger, [workers[2].batch()]) == [b"0/1/0"]     # worker 3 never spoke


def test_workers_release_in_parallel_without_order_between_them():
    logger, one, other = output_logger(workers=2), sender(3, worker=0), sender(3, worker=1)
    assert released(logger, [one.output(3)]) == []                  # waits
    assert released(logger, [other.output(1, after=0)]) == [b"1/1/0"]
    assert released(logger, [one.output(1, after=0)]) == [b"0/3/0", b"0/1/0"]   # nor within one


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_order_of_arrival_everything_leaves_once_and_never_early(seed):
    rng = random.Random(seed)
    workers = [Sender(worker=w) for w in range(3)]
    frames, needed = [], {}
    for _ in range(30):
        worker = rng.choice(workers)
        needs = [(other.worker, other.log.last) for other in workers if other is not worker and other.log.last and rng.random() < 0.3]
        k = worker.step(needs)
        frames.append(worker.output(k, clock=tuple(needs), after=k - 1 if rng.random() < 0.5 else None))
        needed[worker.payload(k)] = [(worker.worker, k), *needs]
        if rng.random() < 0.4:
            frames.append(worker.batch(rng.randint(0, k - 1)))
    for worker in workers:
        frames += [worker.batch(), worker.batch()] if worker.log.last else []
    frames += rng.sample(frames, 10)
    rng.shuffle(frames)
    logger, left = output_logger(workers=3), []
    for frame in frames + [worker.batch() for worker in workers if worker.log.last]:
        for _, payload in logger.receive(frame):
            assert all(logger.logs[worker].last >= k for worker, k in needed[payload])
            left.append(payload)
    assert sorted(left) == sorted(needed) and logger._pending == 0


# -- once only

def test_duplicates_never_leave_again():
    logger, worker = output_logger(), sender(2)
    assert released(logger, [worker.output(1, after=0), worker.output(1, after=0), worker.output(1)]) == [b"0/1/0"]
    assert released(logger, [worker.output(1, j=1)]) == [b"0/1/1"]
    assert logger.counters["duplicates"] == 2


def test_two_waiting_copies_leave_as_one():
    logger, worker = output_logger(), sender(2)
    assert released(logger, [worker.output(2), worker.output(2), worker.batch()]) == [b"0/2/0"]


def test_what_a_durable_checkpoint_covers_never_leaves_again():
    logger, worker = output_logger(), sender(4)
    released(logger, [worker.output(1, after=0), worker.batch()])
    assert logger.trim(1, {0: (3, 3)}, 1) == []
    assert released(logger, [worker.output(1), worker.output(2), worker.output(3), worker.output(4)]) == [b"0/4/0"]
    assert logger.counters["covered"] == 3
    assert logger._released == [[4 << 16]]


def test_what_waits_and_is_covered_by_a_durable_checkpoint_leaves_then():
    """A new output logger knows no determinants of before: the checkpoint stands for them, of all workers."""
    logger = output_logger(workers=2)
    one, other = sender(5, worker=0), sender(5, worker=1)
    assert released(logger, [one.output(5, clock=((1, 5),)), other.output(4, clock=((0, 5),)), other.output(5, clock=((0, 6),))]) == []
    assert sorted(payload for _, payload in logger.trim(1, {0: (5, 5), 1: (5, 5)}, 1)) == [b"0/5/0", b"1/4/0"]
    one.step()
    assert released(logger, [one.output(6, after=5)]) == [b"0/6/0"]


def test_trims_of_older_epochs_and_unknown_workers_are_refused():
    logger, worker = output_logger(epoch=2), sender(3, epoch=2)
    released(logger, [worker.batch()])
    logger.trim(1, {0: (3, 3)}, 1)
    logger.trim(2, {1: (3, 3)}, 1)
    assert logger.logs[0].trimmed == 0


# -- epochs

def test_older_epochs_neither_store_nor_release():
    logger, old = output_logger(epoch=1), sender(3, epoch=1)
    released(logger, [old.output(1, after=0)])
    assert logger.fence(2) == [3]
    old.step()
    assert released(logger, [old.output(2, after=0), old.batch(3)]) == [] and logger.logs[0].last == 3
    assert logger.counters["old_epoch"] == 2


def test_a_fence_keeps_the_recoverable_prefix_and_drops_what_waits():
    logger = output_logger(workers=2)
    one, other = Sender(worker=0), Sender(worker=1)
    one.step(), one.step(), one.step([(1, 3)]), one.step()
    other.step(), other.step()
    assert released(logger, [one.batch(), other.batch(), one.output(2), one.output(3, clock=((1, 3),))]) == [b"0/2/0"]
    assert logger.fence(2) == [2, 2]                # step 3 needs what was lost
    assert [list(log.steps())[-1][0] for log in logger.logs] == [2, 2]
    assert logger.counters["dropped_at_fence"] == 1 and logger._pending == 0
    # the new master's steps 3 are others; what left is still known
    new = sender(3, worker=0, epoch=2, k=0)
    assert released(logger, [new.output(2)]) == [] and released(logger, [new.output(3, after=2)]) == [b"0/3/0"]


def test_a_repeated_fence_tells_the_same_and_an_older_one_changes_nothing():
    logger, old = output_logger(), sender(3)
    released(logger, [old.batch()])
    assert logger.fence(2) == logger.fence(2) == logger.fence(1) == [3] and logger.epoch == 2
    new = sender(5, epoch=2)
    assert released(logger, [new.output(5)]) == []
    logger.fence(2)                                 # asked again: what waits in this epoch goes on waiting
    assert released(logger, [new.batch()]) == [b"0/5/0"]


def test_what_is_for_another_output_logger_is_refused_and_counted():
    """A late switch may lead what is for its successor to a former one, and the other way round."""
    former, new = output_logger(epoch=1), output_logger(epoch=1, covered_from=3)
    assert (former.epoch, new.epoch) == (1, 3)
    for logger, epoch, counter in ((former, 3, "later_epoch"), (new, 1, "old_epoch")):
        for_another = sender(1, epoch=epoch)
        logger.trim(epoch, {0: (1, 1)}, 3)
        assert released(logger, [for_another.output(1, after=0), for_another.batch()]) == []
        assert logger.logs[0].last == logger.logs[0].trimmed == 0 and logger.counters[counter] == 2
        assert [decode_ack(frame)[0] for frame in logger.acknowledge(0)[0]] == [logger.epoch]
    new.trim(3, {0: (0, 0)}, 3)
    assert released(new, [sender(1, epoch=3).output(1, after=0)]) == [b"0/1/0"]
    assert new.fence(4) == [1] and new.epoch == 4


@pytest.mark.parametrize("frame", [sender(1, worker=1).output(1, after=0), sender(1).output(1, after=0, port=2),
                                   sender(1).output(1, clock=((3, 1),), after=0), sender(1).output(1, clock=((3, 1),))])
def test_impossible_outputs_are_errors_and_change_nothing(frame):
    logger = output_logger()
    with pytest.raises(FrameError):
        logger.receive(frame)
    assert logger.logs[0].last == 0 and logger._pending == 0


# -- acknowledgements and gaps

def acks(logger, now_ns):
    frames, again_ns = logger.acknowledge(now_ns)
    return [decode_ack(frame)[1:] for frame in frames], again_ns


def test_progress_is_acknowledged_at_once_then_at_intervals():
    logger, worker = output_logger(), sender(3)
    assert acks(logger, 0)[0] == [(0, 0, True)]
    logger.receive(worker.output(1, after=0))
    assert acks(logger, 1) == ([], ACK_INTERVAL_NS)
    assert acks(logger, ACK_INTERVAL_NS)[0] == [(0, 3, False)]
    assert acks(logger, 2 * ACK_INTERVAL_NS)[0] == []


@pytest.mark.parametrize("workers, trimmed, steps_max", [(1, False, ACK_STEPS_SOON_MAX), (1, True, ACK_STEPS_MAX), (2, True, ACK_STEPS_SOON_MAX)])
def test_many_new_steps_are_acknowledged_before_the_time_and_sooner_to_a_master_that_catches_up(workers, trimmed, steps_max):
    """Until a checkpoint of its own is durable; and as long as what is acknowledged is left out of clocks."""
    logger, worker = output_logger(workers=workers), sender(1)
    logger.receive(worker.batch())
    logger.fence(2)
    acks(logger, 0)
    if trimmed:
        logger.trim(2, {0: (1, 1)}, 0)
    worker.epoch = 2
    for k in range(2, steps_max + 1):
        worker.step()
        logger.receive(worker.batch(k - 1))
        assert acks(logger, 1)[0] == []
    worker.step()
    logger.receive(worker.batch(steps_max))
    assert acks(logger, 1)[0] == [(0, steps_max + 1, False)]


def test_a_gap_is_asked_for_until_it_is_filled():
    logger, worker = output_logger(), sender(5)
    acks(logger, 0)
    logger.receive(worker.output(5, after=2))
    times = [RESEND_INTERVAL_NS * i for i in range(1, 4)]
    assert [acks(logger, time_ns) for time_ns in times] == [([(0, 0, True)], time_ns + RESEND_INTERVAL_NS) for time_ns in times]
    logger.receive(worker.batch())
    assert acks(logger, 10 * RESEND_INTERVAL_NS)[0] == [(0, 5, False)] and logger.counters["gaps"] == 1


def test_a_gap_is_not_forgotten_when_only_its_beginning_arrives():
    logger, worker = output_logger(), sender(6)
    acks(logger, 0)
    logger.receive(worker.output(6, after=4))
    short = sender(2)
    logger.receive(short.batch())
    assert acks(logger, RESEND_INTERVAL_NS)[0] == [(0, 2, True)]


def test_a_lost_batch_before_an_output_is_asked_for():
    logger, worker = output_logger(), sender(4)
    acks(logger, 0)
    logger.receive(worker.output(4))
    assert acks(logger, RESEND_INTERVAL_NS)[0] == [(0, 0, True)]


def test_the_last_acknowledgement_is_repeated_when_all_is_silent():
    """It, or the last determinants, may be lost, and a master at its bound sends nothing more by itself."""
    logger, worker = output_logger(), sender(2)
    logger.receive(worker.batch())
    frames, again_ns = acks(logger, 0)
    assert frames == [(0, 2, True)] and again_ns == IDLE_INTERVAL_NS
    assert acks(logger, again_ns - 1)[0] == []
    assert acks(logger, again_ns)[0] == [(0, 2, True)]


def test_a_lasting_gap_of_one_worker_does_not_delay_the_others():
    logger, one, other = output_logger(workers=2), sender(5, worker=0), Sender(worker=1)
    acks(logger, 0)
    logger.receive(one.output(5, after=2))
    seen = 0
    for now_ns in range(0, 10 * ACK_INTERVAL_NS, RESEND_INTERVAL_NS // 2):
        other.step()
        logger.receive(other.batch(other.log.last - 1))
        for worker, k, _ in acks(logger, now_ns)[0]:
            if worker == 1:
                assert other.log.last - k <= 2 * ACK_INTERVAL_NS // (RESEND_INTERVAL_NS // 2)
                seen += 1
    assert seen >= 9


def test_a_lost_acknowledgement_of_an_idle_worker_is_repeated_while_another_is_busy():
    """Else the next checkpoint would wait for it for ever."""
    logger, idle, busy = output_logger(workers=2), sender(1, worker=0), Sender(worker=1)
    logger.receive(idle.batch())
    told, now_ns = [], 0
    while now_ns < 3 * IDLE_INTERVAL_NS:
        busy.step()
        logger.receive(busy.batch(busy.log.last - 1))
        told += [ack for ack in acks(logger, now_ns)[0] if ack[0] == 0]
        now_ns += ACK_INTERVAL_NS
    assert told == [(0, 1, True)] * 3


def test_a_new_epoch_is_acknowledged_anew():
    logger, worker = output_logger(), sender(2)
    logger.receive(worker.batch())
    acks(logger, 0)
    logger.fence(2)
    frames, _ = logger.acknowledge(ACK_INTERVAL_NS)
    assert [decode_ack(frame) for frame in frames] == [(2, 0, 2, False)]


def test_acknowledgements_are_repeated_soon_after_a_fence():
    """Before the redirect is in force everywhere they go to the dead master; the new one may have sent all that it may, and wait."""
    logger, worker = output_logger(), sender(2)
    logger.receive(worker.batch())
    acks(logger, 0)
    logger.fence(2)
    told, asked, now_ns = [], [], ACK_INTERVAL_NS
    while len(told) < FENCED_REPEATS + 2:
        frames, again_ns = logger.acknowledge(now_ns)
        told += [now_ns] * len(frames)
        asked += [decode_ack(frame)[3] for frame in frames]
        now_ns = again_ns
    waits = [later - earlier for earlier, later in zip(told, told[1:])]
    assert waits == [FENCED_INTERVAL_NS] * FENCED_REPEATS + [IDLE_INTERVAL_NS]
    assert asked == [False, *([False] * (FENCED_RESEND_EACH - 1) + [True]) * (FENCED_REPEATS // FENCED_RESEND_EACH), True]


# -- bounds

def test_pending_outputs_are_bounded_and_the_newest_is_dropped():
    logger, worker = output_logger(pending_max=3), sender(9)
    assert released(logger, [worker.output(k) for k in range(1, 6)]) == []
    assert logger.counters["dropped_pending_full"] == 2
    assert released(logger, [worker.batch()]) == [b"0/1/0", b"0/2/0", b"0/3/0"]
    assert released(logger, [worker.output(4)]) == [b"0/4/0"]      # sent again in a replay, it may still leave


def test_determinants_are_bounded_and_trimming_makes_room():
    logger, worker = output_logger(items_max=4), Sender()
    for _ in range(6):
        worker.step([(0, 0)])
        logger.receive(worker.batch(worker.log.last - 1))
    assert logger.logs[0].last == len(logger.logs[0]) == 4 and logger.counters["refused_log_full"] == 2
    logger.trim(1, {0: (2, 2)}, 1)
    logger.receive(worker.batch(2))
    assert logger.logs[0].last == 6


def test_memory_of_what_left_follows_the_checkpoints():
    logger, worker = output_logger(), Sender()
    for k in range(1, 101):
        worker.step()
        released(logger, [worker.output(k, after=k - 1), worker.output(k, j=1)])
        if k % 10 == 0:
            logger.trim(1, {0: (k - 5, k - 5)}, 1)
            assert len(logger._released[0]) == 10


# -- what a new master need not send again

def test_the_keys_of_what_left_in_a_range_of_steps():
    logger, worker = output_logger(), sender(5)
    released(logger, [worker.batch(), *(worker.output(k, j) for k, j in ((4, 0), (2, 1), (2, 0), (5, 0), (1, 0)))])
    assert logger.released(0, 1, 4) == [2 << 16, 2 << 16 | 1, 4 << 16]
    assert unpack_keys(pack_keys(logger.released(0, 0, 5))) == (1 << 16, 2 << 16, 2 << 16 | 1, 4 << 16, 5 << 16)
    logger.trim(1, {0: (2, 2)}, 1)
    assert logger.released(0, 2, 5) == [4 << 16, 5 << 16]
    with pytest.raises(FrameError):
        unpack_keys(bytes(7))


def test_what_is_released_goes_to_its_port_in_its_order():
    assert by_port([(1, b"a"), (0, b"b"), (1, b"c")], 3) == [[b"b"], [b"a", b"c"], []]
