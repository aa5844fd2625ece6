"""The data plane as a witness: who is heard is alive though late with beats, who is silent for long is dead though it beats."""

import pytest
from deployments import single, with_candidates
from fake_fabric import Fabric

from ryu_app.liveness import HEARD_FACTOR, Liveness
from ryu_app.silence import PATIENCE_FACTOR, Silence

MS = 1_000_000
WHO = ("ol", 1, "m1", 2)


def _beats(silence, count, heard, sent, who=WHO, begin=0):
    """*count* beats, 50 ms apart; True if it was ever silent."""
    found = False
    for number in range(begin, begin + count):
        silence.beat("nat", who, heard(number), sent(number), number * 50 * MS)
        found = found or silence.is_silent("nat")
    return found


@pytest.fixture
def silence():
    return Silence(1000 * MS, 50 * MS)


def test_a_fed_master_of_whom_nothing_is_heard_is_silent_after_its_patience(silence):
    limit = PATIENCE_FACTOR * 1000 // 50
    assert not _beats(silence, limit, lambda number: 7, lambda number: number)
    assert _beats(silence, 5, lambda number: 7, lambda number: number, begin=limit)


@pytest.mark.parametrize("heard, sent", [(lambda number: number, lambda number: number),    # it is heard
                                         (lambda number: 7, lambda number: 3),              # it gets nothing to do
                                         (lambda number: 7, lambda number: None),           # something is under way
                                         (lambda number: None, lambda number: number)])     # the logger does not tell
def test_there_are_reasons_not_to_suspect_it(silence, heard, sent):
    assert not _beats(silence, 1000, heard, sent)


def test_beats_that_come_late_count_for_little(silence):
    for number in range(20):
        silence.beat("nat", WHO, 7, number, number * 10_000 * MS)
    assert not silence.is_silent("nat")


def test_the_output_logger_is_blamed_next_and_the_patience_doubles(silence):
    assert _beats(silence, 110, lambda number: 7, lambda number: number)
    assert silence.blame("nat") == "master"
    assert not _beats(silence, 110, lambda number: 7, lambda number: number, begin=110)
    assert _beats(silence, 110, lambda number: 7, lambda number: number, begin=220)
    assert silence.blame("nat") == "output-logger"


def test_a_master_that_beats_and_is_silent_is_failed_over():
    fabric = Fabric(with_candidates(single(), ["st"]))
    fabric.start()
    fabric.run()
    for number in range(300):
        fabric.agents["il"].counts["nat", "input-logger"] = {"inputs": 0, "ticks": number}
        fabric.agents["ol"].counts["nat", "output-logger"] = {"heard": 7}
        fabric.tick()
        if fabric.group().recovery is not None:
            break
    assert fabric.group().recovery.cause == "failed: data plane silent"
    fabric.run()
    assert fabric.master() == "m2"


def test_silence_counts_from_what_was_heard_last_and_not_from_when_that_was_told():
    liveness = Liveness(["a", "b"], 1000 * MS, 20 * MS)
    liveness.tick(0)
    for name in ("a", "b"):
        liveness.connected(name, 0)
    now = found = 0
    while not found:
        assert 0 < (step := liveness.next_ns(now)) <= 20 * MS
        now += step
        if now == 100 * MS:
            liveness.heard("a", now, 45 * MS)
        if now < 900 * MS:
            liveness.beat("b", now)
        found = now if liveness.tick(now) else 0
    assert found == 1055 * MS + 1, "it is judged as soon as it is time"


@pytest.mark.parametrize("ago_ms, after_ms", [(40, 960), (0, 1000), (-5, 1000), (10 ** 9, 900), ("long", 1000), (None, 1000)])
def test_an_output_logger_tells_when_it_heard_the_master_last(ago_ms, after_ms):
    fabric = Fabric(single())
    fabric.start()
    fabric.run()
    fabric.agents["m1"].hung = True
    counts = fabric.agents["ol"].counts
    for number in range(20):
        counts["nat", "output-logger"] = {"heard": number, "heard_ago_ms": ago_ms}
        fabric.tick()
    last_ns = fabric.now_ns
    while fabric.group().recovery is None:
        fabric.now_ns += fabric.core.next_tick_ns(fabric.now_ns)
        for name in ("il", "ol", "st", "m2"):
            fabric.do(fabric.core.message(name, fabric.agents[name].beat(), fabric.now_ns))
        fabric.do(fabric.core.tick(fabric.now_ns))
    assert after_ms * MS < fabric.now_ns - last_ns <= (after_ms + 1) * MS


def test_a_master_that_is_heard_may_miss_beats_longer_but_not_for_ever():
    tick = 20 * MS
    for hears, patience_ms in ((False, 1000), (True, HEARD_FACTOR * 1000)):
        liveness = Liveness(["a"], 1000 * MS, tick)
        liveness.tick(0)
        liveness.connected("a", 0)
        found = None
        for now in range(tick, 20_000 * MS, tick):
            if hears:
                liveness.heard("a", now)
            if liveness.tick(now):
                found = now
                break
        assert patience_ms * MS < found <= (patience_ms + 100) * MS
