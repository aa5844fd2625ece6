"""Each checker passes what is sound and finds its own kind of violation."""

import pytest

from ftmb.chaos import accounts, checkers
from ftmb.chaos.payload import Arrival

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


# -- the roles' counters

def sample(inputs=1000, ticks=50, k=1050, released=900, **changes):
    counters = {"input-logger": {"inputs": inputs, "ticks": ticks, "dropped_log_full": 0},
                "master": {"k": [k], "bad_frames": 0, "function_errors": 0}, "output-logger": {"released": released, "bad_frames": 0}}
    for role, fields in changes.items():
        counters[role.replace("_", "-")].update(fields)
    return counters


def test_accounts_that_add_up_pass_though_beats_come_apart():
    samples = [sample(ticks=50 + place, k=1050 + place - (place % 4 == 1) + (place % 4 == 3)) for place in range(20)]
    assert accounts.check(samples, 1, received=880, highest_stamp=1000) == []


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
    (found,) = accounts.check(samples, 1, received=880, highest_stamp=1000)
    assert said in found


@pytest.mark.parametrize("changes", [{"faults_lost": 2, "faults_reordered": 1}, {"dropped_log_full": 3}])
def test_inputs_that_a_counted_reason_explains_are_no_violation(changes):
    assert accounts.check([sample(k=1047, input_logger=changes)], 1, 880, 1000) == []


def test_inputs_that_a_full_queue_of_the_network_explains_are_no_violation():
    samples = [sample(k=1047)]
    assert accounts.check(samples, 1, 880, 1000, overrun=3) == []
    assert "explain only 2" in accounts.check(samples, 1, 880, 1000, overrun=2)[0]


def test_steps_of_all_workers_count_and_each_has_its_ticks():
    workers = sample(ticks=25, master={"k": [500, 550]})
    assert accounts.check([workers], 2, 880, 1000) == []


def test_a_sample_needs_every_role_at_the_group_s_epoch():
    def status(epochs):
        return {"hosts": [{"name": "c"}, *({"name": role, "beat": [{"group": "g", "role": role, "epoch": epoch, "counters": {role: 1}}]}
                                           for role, epoch in epochs.items())]}
    group = {"name": "g", "master_epoch": 3}
    epochs = dict.fromkeys(accounts.ROLES, 3)
    assert accounts.sample(status(epochs), group) == {role: {role: 1} for role in accounts.ROLES}
    assert accounts.sample(status({**epochs, "master": 2}), group) is None
    assert accounts.sample(status({"master": 3}), group) is None
