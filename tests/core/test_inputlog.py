"""The input logger: numbers and times only rise, nothing is forwarded unlogged, the bound holds, trims respect the epoch."""

import random

from middleboxes.core.frames import TICK, decode_input
from middleboxes.core.inputlog import _ENTRY_BYTES, InputLogger

from .boxes import GROUP, MAC


def logger(workers=1, bytes_max=1 << 20, epoch=3):
    return InputLogger(GROUP, MAC, workers, epoch, bytes_max)


def logged(inputs, worker=0):
    """(n, frame) of all that is in the log, by asking as a new master does."""
    found, after = [], 0
    while True:
        frames, end = inputs.after(worker, after, 3)
        for frame in frames:
            item = decode_input(frame)[2]
            found.append((item.n, item.frame))
            after = item.n
        if end:
            return found


def test_what_is_forwarded_is_what_is_logged():
    inputs = logger()
    forwarded = [decode_input(inputs.accept(1, b"frame %d" % i, 1000 + i)) for i in range(10)]
    assert [(epoch, worker, item.n, item.port, item.timestamp_ns) for epoch, worker, item in forwarded] == [
        (3, 0, i + 1, 1, 1000 + i) for i in range(10)]
    assert logged(inputs) == [(item.n, item.frame) for _, _, item in forwarded]


def test_ticks_go_to_every_worker():
    inputs = logger(workers=3)
    assert [(worker, item.kind) for _, worker, item in map(decode_input, inputs.tick(5))] == [(w, TICK) for w in range(3)]


def test_time_never_goes_back():
    inputs = logger()
    times = [decode_input(inputs.accept(0, b"", now_ns))[2].timestamp_ns for now_ns in (5, 3, 9, 8, 9)]
    assert times == [5, 5, 9, 9, 9]


def test_at_the_bound_inputs_are_dropped_and_counted_and_trimming_makes_room():
    inputs = logger(bytes_max=5 * (_ENTRY_BYTES + 40))
    forwarded = [inputs.accept(0, bytes(40), i) for i in range(8)]
    assert [frame is not None for frame in forwarded] == [True] * 5 + [False] * 3
    # in place of the tick comes the last input again
    assert inputs.tick(9) == [forwarded[4]]
    assert inputs.counters == {"inputs": 8, "ticks": 1, "dropped_log_full": 4, "repeated": 1, "partition_errors": 0}
    assert [n for n, _ in logged(inputs)] == [1, 2, 3, 4, 5] and inputs.log_bytes == inputs.log_bytes_max
    inputs.trim(3, {0: (2, 2)})
    # no number is skipped for what was dropped: it was never an input
    assert decode_input(inputs.accept(0, bytes(40), 10))[2].n == 6
    assert [n for n, _ in logged(inputs)] == [3, 4, 5, 6]


def test_a_full_log_has_room_for_a_tick_of_a_worker_that_has_nothing_in_it():
    """Else a new master would wait for ever to see that worker's live stream."""
    inputs = InputLogger(GROUP, MAC, 3, 3, 10 * _ENTRY_BYTES, lambda frame, port, workers: 0)
    while inputs.accept(0, b"", 1) is not None:
        pass
    for _ in range(3):
        assert [(worker, item.n) for _, worker, item in map(decode_input, inputs.tick(2))] == [(0, 8), (1, 1), (2, 1)]
    assert inputs.log_bytes == inputs.log_bytes_max
    assert [item for worker in (1, 2) for item in logged(inputs, worker)] == [(1, b""), (1, b"")]


def test_the_bound_counts_right_over_any_sequence():
    rng, inputs, kept = random.Random(9), logger(workers=2, bytes_max=20_000), [[], []]
    for now_ns in range(2000):
        if rng.random() < 0.6:
            frame = inputs.accept(0, bytes(rng.randint(0, 1500)), now_ns)
            if frame is not None:
                kept[0].append(decode_input(frame)[2])
        elif rng.random() < 0.9:
            for _, worker, item in map(decode_input, inputs.tick(now_ns)):
                if item not in kept[worker][-1:]:       # else the last one again, the log being full
                    kept[worker].append(item)
        else:
            positions = {worker: (rng.choice(items).n, 0) for worker, items in enumerate(kept) if items}
            inputs.trim(3, positions)
            kept = [[item for item in items if item.n > positions.get(worker, (0, 0))[0]] for worker, items in enumerate(kept)]
        assert inputs.log_bytes == sum(len(item.frame) + _ENTRY_BYTES for items in kept for item in items) <= 20_000
    for worker in (0, 1):
        assert logged(inputs, worker) == [(item.n, item.frame) for item in kept[worker]]


def test_trims_of_older_epochs_and_unknown_workers_are_refused():
    inputs = logger()
    inputs.accept(0, b"", 1)
    inputs.fence(5)
    inputs.trim(4, {0: (1, 1)})
    inputs.trim(5, {1: (1, 1)})
    assert len(logged(inputs)) == 1
    inputs.fence(2)
    assert inputs.epoch == 5
    inputs.trim(5, {0: (1, 1)})
    assert logged(inputs) == []


def test_asking_beyond_the_end_or_of_an_empty_log_ends_at_once():
    inputs = logger()
    assert inputs.after(0, 0, 10) == ([], True)
    inputs.accept(0, b"", 1)
    assert inputs.after(0, 5, 10) == ([], True)
    frames, end = inputs.after(0, 0, 10)
    assert len(frames) == 1 and end


def test_what_was_logged_before_a_fence_is_told_in_the_new_epoch():
    inputs = logger(epoch=3)
    before = inputs.accept(0, b"before", 1)
    inputs.fence(4)
    frames, _ = inputs.after(0, 0, 10)
    assert [decode_input(frame)[0] for frame in (before, *frames)] == [3, 4]
    assert decode_input(frames[0])[2] == decode_input(before)[2]
