"""The verdict: a clean run holds, and each single defect is seen, named and turns it."""

import copy
import json

import pytest

from ftmb.demo import report

WANTED = report.Wanted(kills=2, connections=120, flows=100, new_per_s=200, recovery=True, seed=3, how="process")
KERNEL = {"OutRsts": 0, "EstabResets": 0, "RetransSegs": 4}
CLIENT = {"tcp_answered": 120, "udp_answered_flows": 100, "tcp_connections": 120, "tcp_broken": 0, "tcp_broken_why": {},
          "tcp_closed_in_order": 120, "tcp_messages": 5000, "udp_flows": 100, "udp_sent": 900, "udp_answered": 890,
          "udp_wrong": 0, "new_opened": 2000, "new_succeeded": 2000, "new_failed": 0, "new_failed_why": {},
          "new_left_out": 0, "new_retried": 9, "new_seconds": 10.0, "kernel": KERNEL}
SERVER = {"udp_flows": 100, "udp_datagrams": 890, "mappings_changed": 0, "mappings_shared": 0, "udp_duplicates": 0,
          "tcp_resets_seen": 0, "bad_payloads": 0, "kernel": KERNEL}
PROBE = {"sent": 9000, "received": 8990, "repeats": 0, "mappings_changed": 0, "quiet_ms": 2.5}
DOWNLOAD = {"bytes": 9_000_000, "sha256": "ab", "served_bytes": 9_000_000, "served_sha256": "ab", "curl_exit": 0, "error": ""}


def kill(**changes):
    fields = {"node": "m1", "at_ns": 1000, "protected": True, "failover": {"total_ms": 6.0, "timeline": []},
              "client": copy.deepcopy(CLIENT), "server": copy.deepcopy(SERVER), "download_bytes": 1000, "gap_ms": 8.0,
              "gap_end_ns": 9000, "probes_lost": 7, "probes_after": 50, "caught": 4}
    return report.Kill(**{**fields, **changes})


def clean():
    kills = [kill(), kill(node="m2", download_bytes=2000, gap_ms=12.0)]
    return kills, report.Totals(copy.deepcopy(CLIENT), copy.deepcopy(SERVER), dict(PROBE), dict(DOWNLOAD))


def test_a_clean_run_holds_and_its_json_has_the_keys_of_the_contract():
    kills, totals = clean()
    result = report.to_json(WANTED, kills, totals)
    contract = {"kills": 2, "survived": 2, "client_gap_ms": [8.0, 12.0], "tcp_resets": 0, "tcp_broken": 0,
                "download_ok": True, "nat_mappings_changed": 0, "failovers": [kills[0].failover, kills[1].failover]}
    assert {key: result[key] for key in contract} == contract
    assert report.held(WANTED, kills, totals) and result["held"]
    assert any("8 were under way while the NAT was dead" in text for text, _ in report.summary(WANTED, kills, totals))
    assert result["client_gap_ms_distribution"] == {"p50": 8.0, "p90": 12.0, "max": 12.0}
    json.dumps(result)
    assert "every connection went on" in report.verdict(WANTED, kills, totals)


@pytest.mark.parametrize("changes, words", [
    ({"protected": False}, "not protected"),
    ({"failover": None}, "no failover"),
    ({"probes_after": 0}, "probe flow"),
    ({"download_bytes": 1000}, "download"),
    ({"client": {**CLIENT, "tcp_answered": 119}}, "only 119 of 120 TCP"),
    ({"client": {**CLIENT, "udp_answered_flows": 99}}, "only 99 of 100 UDP"),
    ({"client": {**CLIENT, "tcp_broken": 2}}, "2 broken TCP"),
    ({"client": {**CLIENT, "new_failed": 1}}, "1 broken TCP"),
    ({"client": {**CLIENT, "udp_wrong": 1}}, "1 damaged"),
    ({"client": {**CLIENT, "kernel": {**KERNEL, "EstabResets": 3}}}, "3 TCP resets"),
    ({"server": {**SERVER, "kernel": {**KERNEL, "EstabResets": 1}}}, "1 TCP resets"),
    ({"server": {**SERVER, "mappings_changed": 5}}, "5 changed NAT"),
    ({"server": {**SERVER, "mappings_shared": 1}}, "1 NAT mappings given twice"),
    ({"server": {**SERVER, "udp_duplicates": 1}}, "1 repeated"),
])
def test_a_kill_is_not_survived_with(changes, words):
    """Each defect alone makes the kill that brought it count as not survived, and only that one."""
    kills, totals = clean()
    broken = kill(**{"node": "m2", "download_bytes": 2000, **changes})
    after = kill(download_bytes=3000, client=broken.client, server=broken.server)
    problems = report.all_problems(WANTED, [kills[0], broken, after])
    assert problems[0] == [] and any(words in problem for problem in problems[1])
    assert report.survived(WANTED, [kills[0], broken]) == 1
    assert not report.held(WANTED, [kills[0], broken], totals)


def test_harm_is_charged_to_the_kill_that_did_it_and_not_to_the_next():
    first = kill(server={**SERVER, "mappings_changed": 4})
    second = kill(download_bytes=2000, server={**SERVER, "mappings_changed": 4})
    assert [bool(problems) for problems in report.all_problems(WANTED, [first, second])] == [True, False]


@pytest.mark.parametrize("part, changes, name", [
    ("client", {"tcp_broken": 1}, "established TCP"),
    ("client", {"tcp_closed_in_order": 119}, "established TCP"),
    ("client", {"kernel": {**KERNEL, "EstabResets": 1}}, "TCP resets"),
    ("server", {"tcp_resets_seen": 1}, "TCP resets"),
    ("client", {"new_failed": 1}, "new TCP"),
    ("client", {"new_left_out": 1}, "new TCP"),
    ("client", {"new_succeeded": 1999}, "new TCP"),
    ("client", {"new_seconds": 20.0}, "new TCP"),
    ("client", {"udp_answered_flows": 99}, "UDP flows"),
    ("server", {"udp_flows": 99}, "UDP flows"),
    ("server", {"mappings_changed": 1}, "NAT mappings"),
    ("probe", {"mappings_changed": 1}, "NAT mappings"),
    ("server", {"mappings_shared": 1}, "NAT mappings"),
    ("server", {"udp_duplicates": 1}, "repeats"),
    ("probe", {"repeats": 1}, "repeats"),
    ("client", {"udp_wrong": 1}, "repeats"),
    ("server", {"bad_payloads": 1}, "repeats"),
    ("download", {"sha256": "cd"}, "download"),
    ("download", {"bytes": 8_000_000}, "download"),
    ("download", {"curl_exit": 56}, "download"),
    ("download", {"curl_exit": None, "served_bytes": None, "served_sha256": None}, "download"),
    ("probe", {"received": 0}, "probe flow"),
])
def test_one_defect_at_the_end_fails_its_check_and_no_other(part, changes, name):
    kills, totals = clean()
    getattr(totals, part).update(changes)
    assert [check.name for check in report.checks(WANTED, kills, totals) if not check.ok] == [name]
    assert not report.held(WANTED, kills, totals)
    assert "did not hold" in report.verdict(WANTED, kills, totals)


def test_kills_that_were_not_done_are_not_survived():
    kills, totals = clean()
    assert not report.held(WANTED, kills[:1], totals)
    assert report.to_json(WANTED, kills[:1], totals)["kills_done"] == 1
    assert any("1 kills were not done" in text for text, _ in report.summary(WANTED, kills[:1], totals))


def test_the_contrast_is_named_as_such():
    kills, totals = clean()
    without = report.dataclasses.replace(WANTED, recovery=False)
    assert "contrasts with nothing" in report.verdict(without, kills, totals)
    totals.client["tcp_broken"] = 120
    assert "without recovery" in report.verdict(without, kills, totals)


def test_resets_that_met_no_living_connection_are_told_and_not_judged():
    kills, totals = clean()
    totals.server["kernel"] = {**KERNEL, "OutRsts": 2}
    text = dict((check.name, check.text) for check in report.checks(WANTED, kills, totals))["TCP resets"]
    assert text == ("0 connections were reset, by the kernels' count"
                    " (2 answered late copies of segments of connections that had ended)")
    assert report.to_json(WANTED, kills, totals)["tcp_resets_sent"] == 2
    assert report.held(WANTED, kills, totals)
