"""What a hot spare keeps of the steps that it repeated: bounded, and what did not leave is found."""

import random

import pytest

from middleboxes.core import kept as module
from middleboxes.core.kept import KeptOutputs

OUTPUT = (0, b"12345")


def filled(steps, workers=1):
    kept = KeptOutputs(workers)
    for number, k, outputs in steps:
        kept.add(number, k, outputs)
    return kept


def test_only_steps_whose_single_output_is_released_are_passed_over():
    kept = filled([(0, 1, [OUTPUT]), (0, 2, [OUTPUT]), (0, 5, [OUTPUT])])
    assert kept.not_among([{1 << 16, 5 << 16}]) == [(0, 2, [OUTPUT])]
    assert kept.not_among([set()]) == [(0, 1, [OUTPUT]), (0, 2, [OUTPUT]), (0, 5, [OUTPUT])]


def test_a_step_with_several_outputs_is_always_told():
    kept = filled([(0, 3, [OUTPUT, OUTPUT]), (0, 4, [OUTPUT])])
    assert kept.not_among([{3 << 16, 3 << 16 | 1, 4 << 16}]) == [(0, 3, [OUTPUT, OUTPUT])]


def test_what_is_covered_is_forgotten_of_that_worker():
    kept = filled([(0, k, [OUTPUT]) for k in (1, 2, 4, 7)] + [(1, 1, [OUTPUT])], workers=2)
    kept.forget(0, 4)
    assert kept.not_among([set(), set()]) == [(0, 7, [OUTPUT]), (1, 1, [OUTPUT])] and len(kept) == 2 and kept.dropped == 0
    kept.forget(0, 3)
    assert len(kept) == 2


@pytest.mark.parametrize("bound, most", [("KEPT_STEPS_MAX", 4), ("KEPT_BYTES_MAX", 20)])
def test_workers_share_the_bounds_and_the_oldest_of_the_one_with_most_go(monkeypatch, bound, most):
    monkeypatch.setattr(module, bound, most)
    kept = filled([(1, 9, [OUTPUT])] + [(0, k, [OUTPUT]) for k in range(1, 6)], workers=2)
    assert [(number, k) for number, k, _ in kept.not_among([set(), set()])] == [(0, 3), (0, 4), (0, 5), (1, 9)] and kept.dropped == 2


def test_what_is_of_no_use_goes_some_at_a_time():
    kept = filled([(number, k, [OUTPUT]) for k in range(1, 6) for number in (0, 1)], workers=2)
    kept.forget_some(7)
    assert len(kept) == 3 and kept.dropped == 0
    kept.forget_some(7)
    assert not kept and kept.not_among([set(), set()]) == []


def test_what_is_found_is_what_a_look_at_each_step_finds():
    for seed in range(200):
        rnd = random.Random(seed)
        steps = [(number, k, [OUTPUT] * rnd.choice((1, 1, 1, 2))) for number in (0, 1) for k in range(1, rnd.randint(1, 300))]
        released = [{k << 16 for worker, k, _ in steps if worker == number and rnd.random() < 0.9} for number in (0, 1)]
        kept, covered = filled(steps, 2), [rnd.randint(0, 50), rnd.randint(0, 50)]
        for number, k in enumerate(covered):
            kept.forget(number, k)
        wanted = [(number, k, outputs) for number, k, outputs in steps
                  if k > covered[number] and (len(outputs) > 1 or k << 16 not in released[number])]
        assert kept.not_among(released) == wanted, seed
