"""Each checker passes what is sound and finds its own kind of violation."""

import math

import pytest

from ftmb.chaos import accounts, checkers
from ftmb.chaos.payload import Arrival, Sent

CLIENT, OTHER = (0x0A000001, 5000), (0x0A000001, 5001)
SERVER = (0xC0000201, 7100)
MS = 1_000_000


def arrival(at_ms, number, stamp=0, *, flow=1, back=False, inside=CLIENT, source=None, count=0, sent_ms=None):
    """A datagram that was under way for 2 ms, unless told otherwise."""
    sent_ms = at_ms - 2 if sent_ms is None else sent_ms
    source = source or (SERVER if back else inside)
    return Arrival(at_ms * MS, back, inside, flow, number, sent_ms * MS, stamp, count, source)


def sound(count=30):
    """Two flows and their answers, stamped as a shared counter does."""
    seen, counts = [], {}
    for step in range(count):
        inside, flow = ((CLIENT, 1), (OTHER, 2))[step % 2]
        for back, source, later in ((False, inside, 0), (True, SERVER, 3)):
            counts[source] = counts.get(source, 0) + 1
            seen.append(arrival(10 * step + later + 2, step // 2, len(seen) + 1, flow=flow, back=back, inside=inside,
                                count=counts[source], source=source))
    return seen


@pytest.mark.parametrize("function", ["sequencer", "shared-counter", "nat"])
def test_sound_traffic_passes_in_any_order_of_records(function):
    assert checkers.check(function, sound()) == checkers.check(function, sound()[::-1]) == []


@pytest.mark.parametrize("function", ["sequencer", "shared-counter"])
def test_losses_and_reordering_of_the_network_are_no_violation(function):
    seen = [each for place, each in enumerate(sound()) if place % 7]
    swapped = [each._replace(received_ns=each.received_ns + 6 * MS) if place % 5 == 0 else each for place, each in enumerate(seen)]
    swapped = [each for each in swapped if each.sent_ns < each.received_ns]
    assert checkers.check(function, seen) == [] and checkers.check(function, swapped) == []


def changed(seen, place, **fields):
    return [*seen[:place], seen[place]._replace(**fields), *seen[place + 1:]]


@pytest.mark.parametrize("function, seen, said", [
    ("sequencer", [*sound(), sound()[4]._replace(received_ns=10**12)], "left twice"),
    ("sequencer", [*sound(), sound()[4]._replace(received_ns=10**12, stamp=99)], "left in two versions: number 5"),
    ("nat", [*sound(), sound()[4]._replace(received_ns=10**12)], "left twice"),
    ("sequencer", changed(sound(), 5, stamp=0), "answer 1 of flow 1 has no number"),
    ("sequencer", changed(sound(), 5, stamp=5), "number 5 is on datagram 1 of flow 1 and on answer 1 of flow 1"),
    ("sequencer", changed(sound(), 4, stamp=90), "datagram 2 of flow 1 has number 9, datagram 1 of flow 1, sent before it, has 90"),
    ("sequencer", changed(sound(), 40, stamp=1000), "number went back"),
    ("shared-counter", changed(sound(), 4, stamp=90), "number went back"),
    ("shared-counter", changed(sound(), 4, count=90), "count of 10.0.0.1:5000 went back"),
    ("shared-counter", changed(sound(), 4, count=1), "count 1 at total 5 after count 1 at total 1"),
    ("shared-counter", changed(sound(), 59, count=500), "count 500 at total 60"),
    ("nat", changed(sound(), 4, source=(0xC00002FE, 4000)), "the mapping of 10.0.0.1:5000 changed from 10.0.0.1:5000 to 192.0.2.254:4000"),
    ("nat", changed(sound(), 0, source=OTHER), "10.0.0.1:5001 was given to 10.0.0.1:5000 and to 10.0.0.1:5001"),
])
def test_each_violation_is_found(function, seen, said):
    assert any(said in text for text in checkers.check(function, seen)), checkers.check(function, seen)


def test_a_counter_that_goes_back_is_found_without_any_repeat():
    """Numbers 1 to 10, a failover, then other flows with numbers that nobody saw before: only the order in time tells."""
    seen = [arrival(10 * place, place, 2 * place) for place in range(1, 11)]
    seen += [arrival(200 + 10 * place, place, 2 * place + 1, flow=2) for place in range(1, 11)]
    assert checkers.one_stamp_for_one_datagram(seen) == checkers.flows_in_order(seen) == checkers.once(seen) == []
    assert "number went back" in checkers.check("sequencer", seen)[0]


def test_what_was_sent_before_the_other_arrived_may_have_any_order():
    seen = [arrival(10, 0, 2, sent_ms=5), arrival(11, 0, 1, flow=2, sent_ms=9), arrival(20, 0, 3, flow=3, sent_ms=10)]
    assert checkers.check("sequencer", seen) == []


def test_a_mapping_may_change_hands_after_it_timed_out():
    late_ms = 10 + checkers.MAPPING_KEPT_NS // MS
    seen = [arrival(10, 0, source=SERVER), arrival(late_ms, 1, source=CLIENT)]
    assert checkers.check("nat", seen) == []
    seen = [arrival(10, 0, source=SERVER), arrival(late_ms, 0, flow=2, inside=OTHER, source=SERVER)]
    assert checkers.check("nat", seen) == []


def test_many_violations_of_a_kind_are_told_in_few_lines():
    found = checkers.stamped([arrival(10 * place, place) for place in range(100)])
    assert len(found) == checkers.TOLD_MAX + 1 and found[-1] == "... and 95 more like the last"


# -- what was lost

SENT = [Sent(place * MS, back, 1, place) for place in range(0, 100, 10) for back in (False, True)]
ARRIVED = [arrival(each.number + 2, each.number, 1, back=each.back) for each in SENT]


@pytest.mark.parametrize("back, name", [(False, "datagram 50 of flow 1"), (True, "answer 50 of flow 1")])
def test_a_lost_datagram_is_the_network_s_only_around_the_death_of_a_logger(back, name, monkeypatch):
    seen = [each for each in ARRIVED if each.datagram != (back, 1, 50)]
    assert checkers.lost(SENT, seen, []) == ([], [name]) == checkers.lost(SENT[::-1], seen[::-1], [])
    for death in ((40 * MS, 50 * MS), (90 * MS, 91 * MS)):
        assert checkers.lost(SENT, seen, [death]) == ([name], []), "it may have been overtaken"
    monkeypatch.setattr(checkers, "ON_THE_WAY_NS", 0)
    for death in ((40 * MS, 50 * MS), (50 * MS, math.inf), (53 * MS, 54 * MS)):
        assert checkers.lost(SENT, seen, [(500 * MS, 600 * MS), death]) == ([name], [])
    for death in ((0, 49 * MS), (62 * MS, math.inf)):
        assert checkers.lost(SENT, seen, [death]) == ([], [name])
    slow = [each._replace(received_ns=each.received_ns + 30 * MS) for each in seen]
    assert checkers.lost(SENT, slow, [(62 * MS, math.inf)]) == ([name], []), "when all are slow it was on its way for longer"


def test_nothing_is_missing_in_sound_traffic_and_the_first_and_the_last_are_missed_too():
    assert checkers.lost(SENT, ARRIVED, []) == ([], [])
    assert checkers.lost(SENT, ARRIVED[1:-1], [])[1] == ["datagram 0 of flow 1", "answer 90 of flow 1"]


def test_losses_need_a_reason():
    assert checkers.losses_explained([], 0) == checkers.losses_explained(["a", "b"], 2) == []
    assert checkers.losses_explained(["a", "b"], 0) == ["2 datagrams were lost while no logger died: first a"]
    assert "explain only 1: first a" in checkers.losses_explained(["a", "b"], 1)[0]


# -- the roles' counters

HOLDERS = {"input-logger": "il", "master": "m", "output-logger": "ol"}


def sample(inputs=1000, ticks=50, k=1050, released=900, n=None, **changes):
    counters = {"input-logger": {"inputs": inputs, "ticks": ticks, "dropped_log_full": 0, "n": [inputs + ticks if n is None else n]},
                "master": {"k": [k], "bad_frames": 0, "function_errors": 0}, "output-logger": {"released": released, "bad_frames": 0}}
    for role, fields in changes.items():
        counters[role.replace("_", "-")].update(fields)
    return counters


def status(counters, epochs=None, **holders):
    """(status, its group) where the roles' *holders* (as HOLDERS) tell *counters*."""
    holders = {**HOLDERS, **{role.replace("_", "-"): node for role, node in holders.items()}}
    hosts = [{"name": node, "beat": [{"group": "g", "role": role, "epoch": (epochs or {}).get(role, 3), "counters": counters[role]}]}
             for role, node in holders.items() if role in counters]
    group = {"name": "g", "master_epoch": 3, "failovers": [], **{key: holders[role] for role, key in accounts.ROLES.items()}}
    return {"hosts": [{"name": "c"}, *hosts]}, group


def book(*told):
    """A Book that noted *told*: samples, or pairs (sample, holders that differ from HOLDERS)."""
    noted = accounts.Book()
    for each in told:
        counters, holders = each if isinstance(each, tuple) else (each, {})
        noted.note(*status(counters, **holders))
    return noted


def check(samples, workers=1, received=880, highest_stamp=1000, overrun=0, noted=None):
    return accounts.check(samples, noted or book(*samples), workers, received, highest_stamp, overrun)


def test_accounts_that_add_up_pass_though_beats_come_apart():
    samples = [sample(ticks=50 + place, k=1050 + place - (place % 4 == 1) + (place % 4 == 3)) for place in range(20)]
    assert check(samples) == []


@pytest.mark.parametrize("samples, said", [
    ([], "do not report"),
    ([sample(k=1047)] * 5, "3 inputs were logged and never processed"),
    ([sample(k=1052)] * 5, "2 steps more than inputs were logged"),
    ([sample(released=879)] * 5, "880 datagrams arrived, but only 879 packets were released"),
    ([sample(inputs=999, k=1049)] * 5, "number 1000 was given, but only 999 packets came in"),
    ([sample(master={"bad_frames": 1})] * 5, "the master counts 1 bad frames"),
    ([sample(output_logger={"bad_frames": 2})] * 5, "the output-logger counts 2 bad frames"),
    ([sample(master={"function_errors": 1})] * 5, "the master counts 1 function errors"),
    ([sample(k=1047, input_logger={"faults_lost": 1, "faults_reordered": 1})] * 5, "the network's losses explain only 2"),
])
def test_accounts_that_do_not_add_up_are_found(samples, said):
    (found,) = check(samples)
    assert said in found


@pytest.mark.parametrize("changes", [{"faults_lost": 2, "faults_reordered": 1}, {"dropped_log_full": 3, "n": [1047]}])
def test_inputs_that_a_counted_reason_explains_are_no_violation(changes):
    assert check([sample(k=1047, input_logger=changes)]) == []


def test_inputs_that_a_full_queue_of_the_network_explains_are_no_violation():
    samples = [sample(k=1047)]
    assert check(samples, overrun=3) == []
    assert "explain only 2" in check(samples, overrun=2)[0]


def test_steps_of_all_workers_count():
    workers = sample(ticks=25, input_logger={"n": [500, 550]}, master={"k": [500, 550]})
    assert check([workers], workers=2) == []
    assert "1 inputs were logged" in check([sample(ticks=25, input_logger={"n": [500, 551]}, master={"k": [500, 550]})], workers=2)[0]


# -- holders that were replaced

NEW = {"input_logger": "new"}


def test_a_new_input_logger_goes_on_with_the_master_s_numbers():
    """The dead one had told 1005 numbers, the master had 1000 of them: five inputs were on the way, no violation."""
    first, last = (sample(inputs, 1, n=1000 + inputs + 1, k=1000 + inputs + 1) for inputs in (10, 500))
    noted = book(sample(955, 50, n=1005, k=1000), (first, NEW), (last, NEW))
    assert check([last], noted=noted, highest_stamp=1400) == []
    assert noted.on_the_way(1) == (5, 0) and noted.replaced("input-logger") == 1 and noted.replaced("master") == 0


@pytest.mark.parametrize("n, said", [(1521, "20 inputs were logged and never processed"), (1481, "20 steps more than inputs were logged")])
def test_a_new_input_logger_that_leaves_numbers_out_or_repeats_them_is_found(n, said):
    last = sample(500, 1, n=n, k=1501)
    assert said in check([last], noted=book(sample(955, 50, n=1005, k=1000), (last, NEW)))[0]


def test_no_more_numbers_are_given_than_steps_were_made_whoever_was_input_logger():
    last = sample(500, 1, n=1501, k=1501)
    noted = book(sample(955, 50, n=1005, k=1000), (last, NEW))
    assert check([last], noted=noted, highest_stamp=1501) == []
    assert "number 1502 was given, but only 1501" in check([last], noted=noted, highest_stamp=1502)[0]


def test_what_a_dead_logger_s_fault_switch_lost_explains_what_is_missing_up_to_what_it_had_not_told():
    """It told 2 lost ones at number 995, and died at 1000 or later: 5 more may have been lost untold, not 6."""
    def noted(last, **changes):
        return book(sample(945, 50, n=995, k=990, input_logger=changes), (last, NEW))
    for lost, found in ((7, 0), (8, 1)):
        last = sample(500, 1, n=1501, k=1501 - lost)
        assert len(check([last], noted=noted(last, faults_lost=2))) == found
    last = sample(500, 1, n=1501, k=1500)
    assert "1 inputs were logged and never processed" in check([last], noted=noted(last))[0], "a network that loses nothing has no excuse"


@pytest.mark.parametrize("role, name", [("master", "bad_frames"), ("output_logger", "bad_frames"), ("master", "function_errors")])
def test_what_was_wrong_with_a_holder_is_found_after_it_was_replaced(role, name):
    noted = book(sample(**{role: {name: 1}}), (sample(), {role: "new"}))
    assert f"counts 1 {name.replace('_', ' ')}" in check([sample()], noted=noted)[0]


def test_the_book_adds_up_what_all_holders_released_and_keeps_failovers_that_a_new_controller_forgets():
    noted = book(sample(released=10), (sample(released=7), {"output_logger": "new"}), (sample(released=9), {"output_logger": "new"}))
    assert noted.total("output-logger", "released") == 19
    told, group = status(sample())
    early, late = {"role": "master", "at_ns": 5}, {"role": "store", "at_ns": 9}
    for failovers in ([early], [], [late]):
        noted.note(told, {**group, "failovers": failovers})
    assert noted.failovers() == [early, late]


def test_a_sample_needs_every_role_at_the_group_s_epoch_from_its_holder():
    told, group = status(sample())
    assert accounts.sample(told, group) == sample()
    assert accounts.sample(*status(sample(), {"master": 2})) is None
    assert accounts.sample(*status({"master": sample()["master"]})) is None
    assert accounts.sample(told, {**group, "output_logger": "new"}) is None, "a zombie beats, too"
