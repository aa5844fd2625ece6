"""Fault switches: frames really get lost, doubled and overtaken, as often as asked, the same for each seed; none stays behind."""

import pytest

from middleboxes.runtime.faults import HELD_MAX, OVERTAKEN_BY_MAX, Faults


class Timers:
    """A loop that only keeps timers; ``ring`` calls them."""

    def __init__(self):
        self.functions = []

    def after(self, _delay_ns, function):
        self.functions.append(function)
        return function

    def ring(self):
        functions, self.functions = self.functions, []
        for function in functions:
            function()


def run(frames=20_000, **settings):
    """(what came out, Faults) of that many numbered frames."""
    out, timers = [], Timers()
    faults = Faults(out.extend, timers, {"seed": 1, **settings})
    for number in range(frames):
        faults.send(number)
    timers.ring()
    return out, faults


def test_without_probabilities_everything_passes_as_it_is():
    out, _ = run(frames=1000)
    assert out == list(range(1000))


def test_loss_loses_that_share():
    out, faults = run(loss=0.05)
    assert out == sorted(set(out)) and 0.04 < 1 - len(out) / 20_000 < 0.06
    assert faults.counters["faults_lost"] == 20_000 - len(out)


def test_duplicates_come_later_and_nothing_is_lost():
    out, faults = run(duplicate=0.05)
    assert sorted(set(out)) == list(range(20_000)) and len(out) - 20_000 == faults.counters["faults_duplicated"] > 800
    copies = [place for place, number in enumerate(out) if number in out[max(0, place - 20):place]]
    assert len(copies) == faults.counters["faults_duplicated"]
    assert any(out[place - 1] != out[place] for place in copies)


def test_reordered_frames_are_overtaken_by_a_few_and_nothing_is_lost():
    out, faults = run(reorder=0.05)
    assert sorted(out) == list(range(20_000)) and faults.counters["faults_reordered"] > 800
    late = [sum(1 for other in out[max(0, place - 20):place] if other > number) for place, number in enumerate(out)]
    assert 1 < max(late) <= OVERTAKEN_BY_MAX + 1
    assert sum(1 for count in late if count) > 700


def test_what_is_held_goes_out_when_nothing_follows():
    out, timers = [], Timers()
    faults = Faults(out.extend, timers, {"seed": 1, "reorder": 0.99})
    faults.send("only")
    assert out == [] and len(timers.functions) == 1
    timers.ring()
    assert out == ["only"] and not timers.functions


def test_what_is_held_is_bounded(monkeypatch):
    monkeypatch.setattr("middleboxes.runtime.faults.OVERTAKEN_BY_MAX", 10_000)
    out, timers = [], Timers()
    faults = Faults(out.extend, timers, {"seed": 1, "reorder": 0.99})
    for number in range(1000):
        faults.send(number)
    assert 1000 - len(out) <= HELD_MAX and len(timers.functions) == 1


def test_the_same_seed_draws_the_same_another_one_does_not():
    bad = {"loss": 0.1, "duplicate": 0.1, "reorder": 0.1, "frames": 500}
    assert run(**bad)[0] == run(**bad)[0] != run(**bad, seed=2)[0]


@pytest.mark.parametrize("settings", [None, [], {}, {"loss": 0.1}, {"seed": "1"}, {"seed": 1, "delay": 0.1}, {"seed": 1, "loss": 1},
                                      {"seed": 1, "loss": -0.1}, {"seed": 1, "reorder": "0.1"}, {"seed": 1, "duplicate": True},
                                      {"seed": 1, "loss": float("nan")}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="faults"):
        Faults(print, Timers(), settings)
