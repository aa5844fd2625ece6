"""Short time slices: asked for, with all else as it was; somebody's own choice of scheduling is left alone."""

import os
import threading

import pytest

from middleboxes.runtime.slices import SLICE_NS, ask_for_short_slices, slice_ns


def in_a_thread(function):
    """What *function* returns in a thread of its own, whose scheduling ends with it."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_slices_are_what_was_asked_for_and_the_rest_stays():
    def ask():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 7)
        before = slice_ns()
        return before, ask_for_short_slices(), slice_ns(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, asked, after, nice = in_a_thread(ask)
    assert asked and nice == 7
    if not before:
        pytest.skip("this kernel does not tell slices")
    assert after == SLICE_NS


def test_another_scheduling_class_is_left_alone():
    def ask():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        before = slice_ns()
        return ask_for_short_slices(), slice_ns() == before, os.sched_getscheduler(0)

    assert in_a_thread(ask) == (False, True, os.SCHED_BATCH)
