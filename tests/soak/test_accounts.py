"""The accounts of a soak add up, or say what is missing; the bounds are looked at; pure."""

import pytest

from ftmb.soak import accounts, bounds, report
from middleboxes.core.aggregates import FRAMES_MAX

from .samples import counters, sample, zero

MIB = 1 << 20
RESIDENT = dict.fromkeys(report.ROLES, 20 * MIB)


def check(*after):
    return accounts.check([zero()] * 3, list(after), 1)


def test_what_adds_up_is_no_violation():
    lines, violations = check(*[sample()] * 3)
    assert violations == [] and len(lines) == len(accounts.EXACT) + len(accounts.WITH_LOSSES)


def test_one_beat_that_came_late_is_none_either():
    _, violations = check(sample(), sample(input_logger__ticks=1, input_logger__data_sent=1), sample())
    assert violations == []


def test_a_frame_between_every_second_pair_of_beats_is_none_either():
    def rest(make, late):
        return [make(), make(**{late: 1})] * 15
    late = "output_logger__data_others"
    for before, after in ((rest(zero, late), rest(sample, late)), ([zero()] * 30, rest(sample, late)), (rest(zero, late), [sample()] * 30)):
        assert accounts.check(before, after, 1)[1] == []


def test_counters_that_are_never_twice_alike_say_nothing():
    for counter, said in (("output_logger__data_others", "frames that the master sent"), ("master__outputs", "outputs of the master")):
        _, violations = accounts.check([zero()] * 30, [sample(**{counter: number}) for number in range(30)], 1)
        assert len(violations) == 1 and said in violations[0] and "not at rest" in violations[0]


@pytest.mark.parametrize("lost", [1, 2, -1, -2])
def test_a_frame_that_is_missing_at_every_beat_is_told_though_another_is_late_now_and_then(lost):
    late = {"output_logger__data_others": 1 - lost}
    after = [sample(output_logger__data_others=-lost)] * 24 + [sample(**late)] * 6
    _, violations = accounts.check([zero()] * 30, after, 1)
    assert any("frames that the master sent" in text for text in violations)


@pytest.mark.parametrize("change, said", [
    ("network__edge", "from the edge"),
    ("input_logger__received", "frames received there"),
    ("input_logger__inputs", "dropped with the log full"),
    ("input_logger__dropped_log_full", "dropped with the log full"),
    ("input_logger__repeated", "dropped with the log full"),
    ("input_logger__data_messages_sent", "messages sent to the master"),
    ("output_logger__data_messages_sent", "messages sent to the master"),
    ("master__data_messages_received", "messages sent to the master"),
    ("master__data_messages_sent", "messages that the master sent"),
    ("output_logger__data_messages_received", "messages that the master sent"),
    ("input_logger__data_sent", "frames sent to the master"),
    ("output_logger__data_sent", "frames sent to the master"),
    ("master__data_others", "frames sent to the master"),
    ("master__steps", "inputs that the master received"),
    ("master__data_inputs", "inputs that the master received"),
    ("master__data_sent", "frames that the master sent"),
    ("output_logger__data_others", "frames that the master sent"),
    ("output_logger__released", "outputs released"),
    ("master__outputs", "outputs of the master"),
])
def test_one_frame_that_nobody_accounts_for_is_told(change, said):
    """In each of the counters: none can be wrong unseen."""
    _, violations = check(*[sample(**{change: 1})] * 3)
    assert any(said in text for text in violations)


def test_losses_that_the_network_counts_are_accounted_for():
    one = {"master__data_messages_sent": 1, "network__master_lost": 1}
    for frames in (1, FRAMES_MAX):
        _, violations = check(*[sample(master__data_sent=frames, master__outputs=frames, **one)] * 3)
        assert violations == []
    _, violations = check(*[sample(master__data_sent=FRAMES_MAX, master__outputs=FRAMES_MAX + 1, **one)] * 3)
    assert len(violations) == 1 and "17 of 907 are missing" in violations[0]


def phases(resident=None, **changes):
    """A soak whose log is full while the store is stopped; *changes*: role__counter=(phase, value)."""
    samples = []
    for number, phase in enumerate(("idle", "before", "stopped", "stopped", "after", "after")):
        roles = counters()
        roles["input_logger"]["dropped_log_full"] = 40 * number
        for name, (where, value) in changes.items():
            role, counter = name.split("__")
            if where == phase:
                roles[role][counter] = value
        samples.append((phase, roles, {**RESIDENT, **((resident or {}) if phase == "stopped" else {})}))
    return samples


def test_within_the_bounds_there_is_no_violation():
    assert bounds.check(phases(input_logger__log_bytes=("stopped", 8 * MIB)), 8 * MIB, 1) == []


@pytest.mark.parametrize("change, said", [
    ({"input_logger__log_bytes": ("stopped", 8 * MIB + 1)}, "log_bytes of the input_logger reached"),
    ({"output_logger__waiting": ("before", 4097)}, "waiting of the output_logger reached 4097"),
    ({"output_logger__determinants": ("after", (1 << 20) + 1)}, "determinants of the output_logger reached"),
    ({"master__unacknowledged": ("before", 65537)}, "unacknowledged of the master reached"),
    ({"master__undurable": ("stopped", 1 << 20)}, "undurable of the master reached"),
    ({"input_logger__log_bytes": ("after", 7 * MIB)}, "log_bytes of the input_logger stays at"),
    ({"resident": {"store": 200 * MIB}}, "the process of the store reached"),
    ({"input_logger__dropped_log_full": ("stopped", 5)}, "never full"),
])
def test_each_bound_can_be_broken(change, said):
    found = bounds.check(phases(**change), 8 * MIB, 1)
    assert len(found) == 1 and said in found[0]


def test_the_traffic_programs_complaints_are_violations():
    download = {"curl_exit": 0, "bytes": 5, "sha256": "a", "served_bytes": 5, "served_sha256": "a", "error": ""}
    assert report.traffic_problems({"server": {"received": 3, "repeated": 0, "damaged": 0, "mappings_changed": 0}}, download) == []
    found = report.traffic_problems({"server": {"repeated": 1, "damaged": 2, "mappings_changed": 3}}, {**download, "bytes": 4})
    assert len(found) == 4
    assert report.traffic_problems({}, {**download, "curl_exit": None}) == ["the download did not go on to its end: it stood still"]
