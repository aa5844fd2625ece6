"""The determinant log against a naive model, the encoding against damage, the recoverable prefix against brute force."""

import itertools
import random
import time

import pytest

from middleboxes.core.channel import pack
from middleboxes.core.determinants import (_FIRST, _RUN, EXTRA_BYTES_MAX, DeterminantError, DeterminantLog, decode, decode_extra,
                                           encode_extra, recoverable_prefix)
from middleboxes.core.frames import STEP_MAX

from .boxes import mutations

EXTRA = encode_extra((), [pack(1), "KeyError"])


class Naive:
    """What a DeterminantLog does, one step at a time in a dict."""

    def __init__(self):
        self.steps, self.trimmed, self.last = {}, 0, 0

    def append(self, n, extra):
        self.last += 1
        self.steps[self.last] = (n, extra)

    def trim(self, k):
        self.steps = {at: step for at, step in self.steps.items() if at > k}
        self.trimmed, self.last = max(self.trimmed, k), max(self.last, k)

    def cut_off(self, k):
        self.steps = {at: step for at, step in self.steps.items() if at <= k}
        self.last = min(self.last, k)

    def listed(self):
        return [(k, n, extra) for k, (n, extra) in sorted(self.steps.items())]


def same(log, model):
    assert list(log.steps()) == model.listed()
    assert (log.trimmed, log.last) == (model.trimmed, model.last)
    assert len(log) <= len(model.steps)


def decoded_steps(encoded):
    first, items = decode(encoded)
    steps = [(k + i, n + i, extra) for k, count, n, extra in items for i in range(count)]
    assert not steps or steps[0][0] == first
    return steps


@pytest.mark.parametrize("seed", range(40))
def test_log_does_what_a_naive_one_does(seed):
    rng = random.Random(seed)
    log, model, n = DeterminantLog(), Naive(), 0
    for _ in range(300):
        kind = rng.random()
        if kind < 0.75:
            n += 1 if rng.random() < 0.8 else rng.randint(2, 5)
            extra = EXTRA if rng.random() < 0.15 else None
            log.append(n, extra)
            model.append(n, extra)
        elif kind < 0.85:
            k = rng.randint(model.trimmed, model.last + (rng.random() < 0.1) * 3)
            log.trim(k)
            model.trim(k)
        elif kind < 0.9:
            k = rng.randint(model.trimmed, model.last)
            log.cut_off(k)
            model.cut_off(k)
        else:
            after = rng.randint(model.trimmed, model.last)
            encoded, last = log.encode(after, rng.choice((1, 40, 200, 10_000)))
            wanted = [step for step in model.listed() if after < step[0] <= last]
            assert (decoded_steps(encoded) if encoded else []) == wanted
            assert last == after == model.last or last > after
        same(log, model)


@pytest.mark.parametrize("seed", range(40))
def test_a_lossy_stream_of_batches_ends_in_the_same_log(seed):
    """Batches lost, repeated and reordered: a gap is never stored over, and resending from ``last`` completes it."""
    rng = random.Random(seed)
    source, sink, n = DeterminantLog(), DeterminantLog(), 0
    in_flight = []
    for _ in range(200):
        n += rng.choice((1, 1, 1, 3))
        source.append(n, EXTRA if rng.random() < 0.2 else None)
        after = rng.choice((sink.last, max(sink.trimmed, source.last - 3)))
        in_flight.append(source.encode(after, 60)[0])
        if rng.random() < 0.5:
            batch = in_flight.pop(rng.randrange(len(in_flight)))
            before = sink.last
            if not batch:
                continue
            first = decode(batch)[0]
            assert sink.store(batch) == (first <= before + 1)
            assert sink.last >= before
        if rng.random() < 0.05:
            k = rng.randint(sink.trimmed, sink.last)
            sink.trim(k)
            source.trim(k)
        assert list(sink.steps()) == [step for step in source.steps() if step[0] <= sink.last]
    while sink.last < source.last:
        assert sink.store(source.encode(sink.last, 60)[0])
    assert list(sink.steps()) == list(source.steps())


def test_runs_take_no_memory():
    log = DeterminantLog()
    for n in range(1, 100_001):
        log.append(n)
    assert len(log) == 1 and len(log.encode(0, 1200)[0]) == 21


def test_a_trimmed_step_is_not_sent_under_another_number():
    log = DeterminantLog()
    for n in (1, 3, 5, 7):
        log.append(n)
    log.trim(2)
    with pytest.raises(DeterminantError):
        log.encode(1, 1000)
    assert decoded_steps(log.encode(2, 1000)[0]) == [(3, 5, None), (4, 7, None)]


def sample():
    log = DeterminantLog(4)
    for n in (1, 2, 3, 7, 8, 20):
        log.append(n, encode_extra([(0, 3, 1, 9)], [pack((1, b"x"))]) if n == 7 else None)
    return log.encode(4, 10_000)[0]


def test_every_truncation_raises_or_is_a_shorter_batch():
    encoded, whole = sample(), decoded_steps(sample())
    for length in range(len(encoded)):
        try:
            steps = decoded_steps(encoded[:length])
        except DeterminantError:
            continue
        assert steps == whole[:len(steps)]


def test_damaged_determinants_raise_nothing_but_determinant_error():
    for data in mutations([sample()], 10_000, seed=2):
        log = DeterminantLog(4)
        try:
            log.store(data)
        except DeterminantError:
            continue
        # what is accepted must be usable when it is needed
        recoverable_prefix([log, DeterminantLog()])
        for _, extra in log.extras():
            decode_extra(extra)


@pytest.mark.parametrize("extra", [1, [1, 2], [[], 1], [[], [1]], [[1], []], [[[0, 0, 0]], []], [[[0, 0, -1, 0]], []], [[["v", 0, 0, 0]], []],
                                   [{}, {}], [[], [], []]])
def test_malformed_extras_are_refused_where_they_arrive(extra):
    with pytest.raises(DeterminantError):
        decode_extra(pack(extra))
    log = DeterminantLog()
    log.append(1, pack(extra))
    with pytest.raises(DeterminantError):
        DeterminantLog().store(log.encode(0, 1000)[0])


def test_extra_has_a_bound_and_none_costs_nothing():
    assert encode_extra((), ()) is None and decode_extra(None) == ([], [])
    with pytest.raises(DeterminantError):
        encode_extra((), [bytes(EXTRA_BYTES_MAX)])


# -- the recoverable prefix

def log_of(steps, trimmed=0):
    """*steps*: for each step the (worker, k) that it depends on."""
    log = DeterminantLog(trimmed)
    for n, needs in enumerate(steps, 1):
        log.append(n, encode_extra([(0, 0, *need) for need in needs], ()))
    return log


def brute_force(logs):
    """The largest closed prefix by trying all."""
    def closed(prefix):
        return all(prefix[w] >= k for log, end in zip(logs, prefix) for at, extra in log.extras() if at <= end
                   for _, _, w, k in decode_extra(extra)[0])
    choices = [range(log.trimmed, log.last + 1) for log in logs]
    return list(max(filter(closed, itertools.product(*choices)), key=sum))


@pytest.mark.parametrize("seed", range(200))
def test_recoverable_prefix_is_the_largest_closed_one(seed):
    rng = random.Random(seed)
    workers = rng.randint(1, 3)
    lengths = [rng.randint(0, 5) for _ in range(workers)]
    logs = []
    for worker in range(workers):
        steps = []
        for k in range(1, lengths[worker] + 1):
            # also on steps that were lost
            needs = [(w, rng.randint(1, lengths[w] + 1)) for w in range(workers) if w != worker and rng.random() < 0.3]
            steps.append(needs)
        logs.append(log_of(steps))
    assert recoverable_prefix(logs) == brute_force(logs)


def test_without_dependencies_all_is_recoverable():
    assert recoverable_prefix([log_of([[], [], []]), log_of([[]]), log_of([])]) == [3, 1, 0]


def test_a_dependency_on_what_a_checkpoint_covers_is_fulfilled():
    assert recoverable_prefix([log_of([[(1, 5)]]), log_of([], trimmed=5)]) == [1, 5]


def test_a_dependency_on_a_worker_that_is_not_there_ends_the_prefix():
    assert recoverable_prefix([log_of([[], [(9, 1)], []])]) == [1]


def test_a_long_chain_that_breaks_at_its_end_falls_in_a_time_that_its_length_bounds():
    """Each step needs a later one of the other worker, and the last of them is missing: all fall, one by one."""
    length = 20_000
    logs = [log_of([[(1, k + 1)] for k in range(1, length + 1)]), log_of([[(0, k)] for k in range(1, length + 1)])]
    begin = time.process_time()
    assert recoverable_prefix(logs) == [0, 0]
    assert time.process_time() - begin < 2


def test_sending_what_is_new_does_not_cost_more_the_more_is_unacknowledged():
    log, begin = DeterminantLog(), time.process_time()
    for n in range(1, 30_001):
        log.append(2 * n, EXTRA)
        assert log.encode(n - 1, 96)[1] == n
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("encoded", [_FIRST.pack(1) + _RUN.pack(0, 2**32 - 1, 2**64 - 5), _FIRST.pack(STEP_MAX) + _RUN.pack(0, 2, 1),
                                     _FIRST.pack(STEP_MAX + 1) + _RUN.pack(0, 1, 1)])
def test_numbers_for_which_no_frame_has_room_are_refused(encoded):
    with pytest.raises(DeterminantError, match="impossible number"):
        DeterminantLog(k=_FIRST.unpack_from(encoded)[0] - 1).store(encoded)


def test_runs_are_not_joined_beyond_what_a_frame_has_room_for():
    log = DeterminantLog()
    half = 2**31
    for part in range(3):
        log.store(_FIRST.pack(1 + part * half) + _RUN.pack(0, half, 1 + part * half))
    assert log.last == 3 * half and len(log) == 3
    assert [count for _, count, _, _ in decode(log.encode(0, 1000)[0])[1]] == [half] * 3
