"""The detector: what is evidence at once, what only after a while, and that a slow controller blames nobody."""

import pytest

from ryu_app.liveness import CLOSED, LINK_DOWN, SILENT, Liveness

MS = 1_000_000
TICK, SUSPECT = 20 * MS, 1000 * MS


@pytest.fixture
def liveness():
    """Two nodes, alive at time 0."""
    detector = Liveness(["a", "b"], SUSPECT, TICK)
    detector.tick(0)
    for node in ("a", "b"):
        assert [verdict.alive for verdict in detector.connected(node, 0)] == [True]
    return detector


def _facts(verdicts):
    return [(verdict.node, verdict.alive, verdict.cause) for verdict in verdicts]


def test_a_closed_connection_is_evidence_at_once_and_only_once(liveness):
    assert _facts(liveness.closed("a")) == [("a", False, CLOSED)]
    assert liveness.closed("a") == []


def test_a_port_that_goes_down_is_evidence_at_once_and_up_again_is_life(liveness):
    assert _facts(liveness.port("a", False)) == [("a", False, LINK_DOWN)]
    assert _facts(liveness.port("a", True)) == [("a", True, None)]


def test_a_node_without_a_link_is_not_alive_by_saying_hello(liveness):
    liveness.port("a", False)
    liveness.closed("a")
    assert liveness.connected("a", 5) == []
    assert _facts(liveness.port("a", True)) == [("a", True, None)]


def test_silence_is_evidence_after_the_time_set_and_tells_the_last_sign_of_life(liveness):
    found = []
    for now in range(TICK, 2 * SUSPECT, TICK):
        liveness.beat("b", now)
        if now == 100 * MS:
            liveness.beat("a", now)
        found += [(now, verdict) for verdict in liveness.tick(now)]
    (now, verdict), = found
    assert (verdict.node, verdict.cause, verdict.last_seen_ns) == ("a", SILENT, 100 * MS)
    assert SUSPECT < now - 100 * MS <= SUSPECT + 2 * TICK


def test_a_controller_that_did_not_run_suspects_nobody(liveness):
    liveness.tick(TICK)
    assert liveness.tick(TICK + 60_000 * MS) == []
    liveness.beat("a", TICK + 60_001 * MS)
    assert liveness.tick(2 * TICK + 60_000 * MS) == []


def test_beats_of_a_node_that_was_given_up_do_not_revive_it(liveness):
    liveness.closed("a")
    assert liveness.beat("a", 5) == []
    assert liveness.tick(TICK) == []
    assert _facts(liveness.connected("a", 6)) == [("a", True, None)]
