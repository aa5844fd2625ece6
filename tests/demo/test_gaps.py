"""Silences, losses and distributions of the probe flow."""

import array

import pytest

from ftmb.demo import gaps


def test_longest_silence_is_found_and_named_by_its_ends():
    assert gaps.longest_silence([0, 10, 20, 70, 80], 5, 80) == (20, 70)


def test_a_silence_that_began_before_the_window_counts_from_its_beginning():
    assert gaps.longest_silence([0, 50, 60], 40, 60) == (0, 50)


def test_a_silence_that_has_not_ended_counts_up_to_the_end():
    assert gaps.longest_silence([0, 10, 20], 10, 500) == (20, 500)


def test_no_arrival_at_all_is_one_long_silence():
    assert gaps.longest_silence([], 10, 500) == (10, 500)
    assert gaps.longest_silence([900], 10, 500) == (10, 500)


def test_losses_count_missing_numbers_and_not_late_ones():
    times = array.array("Q", [0, 1, 5, 6, 7])
    assert gaps.lost_between(array.array("Q", [0, 1, 5, 6, 7]), times, 1, 7) == 3
    assert gaps.lost_between(array.array("Q", [0, 2, 1, 3, 4]), times, 1, 7) == 0
    assert gaps.lost_between(array.array("Q"), array.array("Q"), 1, 7) == 0


def test_repeats_are_counted():
    assert gaps.repeats([1, 2, 3]) == 0
    assert gaps.repeats([1, 2, 2, 1]) == 2


def test_arrivals_after_a_moment_exclude_the_moment():
    assert gaps.arrived_after([1, 2, 3], 2) == 1


def test_distribution_is_of_values_that_occurred():
    assert gaps.distribution([5.0]) == {"p50": 5.0, "p90": 5.0, "max": 5.0}
    assert gaps.distribution(list(range(1, 21))) == {"p50": 10, "p90": 18, "max": 20}
    assert gaps.distribution([]) is None
    with pytest.raises(ValueError):
        gaps.percentile([], 50)
