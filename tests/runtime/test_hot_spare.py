"""Hot spares as real nodes: they repeat what the master does, take over where it stood, and begin anew where a stream ended."""

import os

import pytest

from .test_nodes import Group, harness, ping, received, serve_for

__all__ = ["harness"]       # a fixture

pytestmark = [pytest.mark.emulation,
              pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")]


def wait_hot(group, name):
    """Until spare *name* repeats what the master does, and is not behind; its counters."""
    group.harness.until(lambda: any(item["role"] == "spare" and item["counters"]["hot"] and item["counters"]["behind_steps"] == 0
                                    for item in group.harness.beats.get(name, ())))
    return group.counters(name, "spare")


def test_hot_spares_begin_anew_where_a_logger_did_and_take_over_twice(harness):
    """What was logged is not lost, hardly anything is left to repeat, and the store goes on with deltas."""
    group = Group(harness)
    group.spare("m2", hot=True)
    process = ping(800)
    wait_hot(group, "m2")
    # another input logger at the same address: what the spare has is of the former one
    group.replace_input_logger("il")
    harness.wait_event("protected")
    harness.until(lambda: group.counters("m2", "spare")["begun_anew"] == 1)
    wait_hot(group, "m2")
    serve_for(harness, 0.5)
    assert group.counters("m2", "spare")["repeated"] > 50
    for dead, name, spare in (("m1", "m2", "m3"), ("m2", "m3", None)):
        harness.kill(dead)
        harness.until(lambda: dead not in harness.connections)
        before = group.counters("st", "store")["checkpoint"]
        live = group.fail_over(name)
        assert live["hot"] and live["replayed_packets"] < 50
        harness.wait_event("protected")
        assert group.counters("st", "store")["checkpoint"] > before
        if spare is not None:
            group.spare(spare, hot=True)
            wait_hot(group, spare)
            serve_for(harness, 0.5)
    assert received(harness, process) >= 790      # those at the former input logger are lost
    counters = group.counters("ol", "output-logger")
    assert counters["bad_frames"] == counters["dropped_pending_full"] == counters["followers_cut_off"] == 0
