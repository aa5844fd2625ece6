"""Parts of the traffic programs: contents, tables, counters, turns, and what is said to a terminal or a log."""

import hashlib
import io

import pytest

from ftmb.demo.progress import Progress
from ftmb.demo.traffic import counters, payload
from ftmb.demo.traffic.loop import Wheel
from ftmb.demo.traffic.server import FlowTable

SNMP = ("Ip: Forwarding DefaultTTL\nIp: 1 64\n"
        "Tcp: RtoAlgorithm EstabResets RetransSegs OutRsts\nTcp: 1 2 3 4\n")


def test_a_message_is_parsed_back_and_any_changed_byte_is_refused():
    data = payload.message(7, 9)
    assert len(data) == payload.MESSAGE_BYTES and payload.parse(data) == (7, 9)
    for position in range(len(data)):
        bad = data[:position] + bytes([data[position] ^ 1]) + data[position + 1:]
        with pytest.raises(payload.PayloadError):
            payload.parse(bad)
    with pytest.raises(payload.PayloadError):
        payload.parse(data[:-1])


def test_a_flow_number_beyond_the_bound_is_refused():
    with pytest.raises(payload.PayloadError):
        payload.parse(payload.message(payload.FLOW_MAX, 0))


def test_the_download_is_the_same_for_a_seed_and_differs_between_seeds_and_blocks():
    data = payload.block(1, 0) + payload.block(1, 1)
    assert payload.download_digest(1, len(data) - 5) == hashlib.sha256(data[:-5]).hexdigest()
    assert len({payload.block(1, 0), payload.block(1, 1), payload.block(2, 0)}) == 3


def table(*seen):
    made = FlowTable()
    for flow, number, source in seen:
        made.seen(flow, number, source)
    return made


A, B = ("192.0.2.254", 1000), ("192.0.2.254", 1001)


def test_stable_flows_count_as_nothing_but_flows():
    made = table((1, 0, A), (2, 0, B), (1, 1, A), (2, 1, B))
    assert made.counts() == {"udp_flows": 2, "udp_datagrams": 4, "mappings_changed": 0, "mappings_shared": 0,
                             "udp_duplicates": 0}


def test_a_changed_source_is_a_changed_mapping():
    assert table((1, 0, A), (1, 1, B), (1, 2, B)).changed == 1


def test_one_source_for_two_flows_is_a_mapping_given_twice():
    made = table((1, 0, A), (2, 0, A))
    assert made.shared == 1 and made.changed == 0


def test_a_source_that_its_flow_has_left_may_be_given_again():
    assert table((1, 0, A), (1, 1, B), (2, 0, A)).shared == 0


def test_repeats_are_counted_and_reordering_and_loss_are_not():
    assert table((1, 0, A), (1, 5, A), (1, 3, A), (1, 4000, A), (1, 4001, A)).duplicates == 0
    assert table((1, 0, A), (1, 0, A)).duplicates == 1
    assert table((1, 0, A), (1, 5, A), (1, 3, A), (1, 3, A), (1, 0, A), (1, 5, A)).duplicates == 3


def test_counters_are_read_by_name():
    assert counters.parse_snmp(SNMP) == {"OutRsts": 4, "EstabResets": 2, "RetransSegs": 3}
    with pytest.raises(counters.CountersError):
        counters.parse_snmp(SNMP.replace("OutRsts", "Other"))
    with pytest.raises(counters.CountersError):
        counters.parse_snmp("")


def test_the_wheel_gives_each_item_one_turn_a_period_evenly_spread():
    wheel = Wheel("abcd", period_ns=40, now_ns=0)
    turns = {now_ns: "".join(wheel.due(now_ns)) for now_ns in range(0, 81, 5)}
    assert {now_ns: due for now_ns, due in turns.items() if due} == {
        0: "a", 10: "b", 20: "c", 30: "d", 40: "a", 50: "b", 60: "c", 70: "d", 80: "a"}


def test_the_wheel_does_not_make_up_for_turns_missed_in_a_stall():
    wheel = Wheel("ab", period_ns=20, now_ns=0)
    assert "".join(wheel.due(1005)) == "ab"
    assert ["".join(wheel.due(now_ns)) for now_ns in (1009, 1010, 1019, 1020)] == ["", "b", "", "a"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_plain_lines_and_no_live_ones():
    out = io.StringIO()
    progress = Progress(out)
    progress.phase("up")
    progress.live("often")
    progress.line(progress.colour("well", "good"))
    assert out.getvalue() == "up ...\nwell\n"


def test_a_terminal_gets_one_live_line_that_a_lasting_one_replaces(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    progress = Progress(out)
    progress.phase("up")
    progress.live("often")
    progress.line("done")
    assert out.getvalue().count("\n") == 1 and out.getvalue().endswith("\r\x1b[Kdone\n")
    assert "\x1b[32m" in progress.colour("well", "good")
    monkeypatch.setenv("NO_COLOR", "1")
    assert Progress(Terminal()).colour("well", "good") == "well"
