"""What a hot spare keeps of the steps that it repeated: bounded, and what did not leave is found."""

import random

import pytest

from middleboxes.core import kept as module
from middleboxes.core.kept import KeptOutputs

OUTPUT = (0, b"12345")


def filled(steps, workers=1):
    kept = KeptOutputs(workers)
    for k, outputs in steps:
        kept.add(k, outputs)
    return kept


def test_only_steps_whose_single_output_is_released_are_passed_over():
    kept = filled([(1, [OUTPUT]), (2, [OUTPUT]), (5, [OUTPUT])])
    assert kept.not_among({1 << 16, 5 << 16}) == [(2, [OUTPUT])]
    assert kept.not_among(set()) == [(1, [OUTPUT]), (2, [OUTPUT]), (5, [OUTPUT])]


def test_a_step_with_several_outputs_is_always_told():
    kept = filled([(3, [OUTPUT, OUTPUT]), (4, [OUTPUT])])
    assert kept.not_among({3 << 16, 3 << 16 | 1, 4 << 16}) == [(3, [OUTPUT, OUTPUT])]


def test_what_is_covered_is_forgotten():
    kept = filled([(k, [OUTPUT]) for k in (1, 2, 4, 7)])
    kept.forget(4)
    assert kept.not_among(set()) == [(7, [OUTPUT])] and len(kept) == 1 and kept.dropped == 0
    kept.forget(3)
    assert len(kept) == 1


@pytest.mark.parametrize("bound, most", [("KEPT_STEPS_MAX", 6), ("KEPT_BYTES_MAX", 30)])
def test_workers_share_the_bounds_and_the_oldest_go(monkeypatch, bound, most):
    monkeypatch.setattr(module, bound, most)
    kept = filled([(k, [OUTPUT]) for k in range(1, 6)], workers=2)
    assert [k for k, _ in kept.not_among(set())] == [3, 4, 5] and kept.dropped == 2


def test_what_is_found_is_what_a_look_at_each_step_finds():
    for seed in range(200):
        rnd = random.Random(seed)
        steps = [(k, [OUTPUT] * rnd.choice((1, 1, 1, 2))) for k in range(1, rnd.randint(1, 300))]
        released = {k << 16 for k, _ in steps if rnd.random() < 0.9}
        kept, covered = filled(steps), rnd.randint(0, 50)
        kept.forget(covered)
        wanted = [(k, outputs) for k, outputs in steps if k > covered and (len(outputs) > 1 or k << 16 not in released)]
        assert kept.not_among(released) == wanted, seed
