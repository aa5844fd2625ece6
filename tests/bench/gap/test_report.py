"""The tables: distributions, targets with what a hang may take, what was not survived; charts that a browser can read."""

from xml.etree import ElementTree

import pytest

from ftmb.bench.gap import plots, report

from .samples import LOAD, kill, row


def test_a_row_is_told_by_its_percentiles_and_the_medians_of_its_parts():
    found = report.summary(row(gaps_ms=[float(ms) for ms in range(10, 110)]))
    assert found["gap_ms"] == {"p50": 59.0, "p90": 99.0, "p99": 108.0, "max": 109.0}
    assert found["parts_p50_ms"] == {"detect": 1.0, "fence": 2.0, "redirect": 3.0, "load": 0.5, "replay": 54.0}
    assert found["load_lost"] == 200
    assert report.summary(row(gaps_ms=[])) is None


@pytest.mark.parametrize("readiness, how, gap_ms, expected", [
    ("hot", "process", 5.0, [True]), ("hot", "process", 5.1, [False]),
    ("warm", "host", 15.0, [True, True]), ("warm", "host", 20.0, [False, True]), ("warm", "host", 26.1, [False, False]),
    ("cold", "process", 60.0, [True]), ("cold", "process", 61.0, [False]),
    ("warm", "hang", 1015.0, [True, True]), ("warm", "hang", 1026.5, [False, False])])
def test_the_targets_are_those_of_the_readiness_and_a_hang_has_its_detection_time(readiness, how, gap_ms, expected):
    assert [ok for *_, ok in report.verdicts(row(readiness, how, [gap_ms]), 1000)] == expected


def test_at_another_load_there_are_no_targets():
    assert report.verdicts(row(flows=1000), 1000) == []
    assert any("no targets" in line for line in report.lines([row(flows=1000)], 1000, {**LOAD, "flows": 1000}))


def test_a_sweep_has_the_first_table_s_row_among_its_own_in_rising_order():
    rows = [row(), row("cold"), row(flows=10_000), row(flows=1000), row(rate_pps=1000), row(how="hang")]
    assert [found["flows"] for found in report.series(rows, LOAD, "flows")] == [1000, 10_000, 100_000]
    assert [found["rate_pps"] for found in report.series(rows, LOAD, "rate_pps")] == [1000, 10_000]
    assert report.series(rows, LOAD, "checkpoint_interval_ms") == []
    text = "\n".join(report.lines(rows, 1000, LOAD))
    assert "against flows" in text and "against packets a second" in text and "against ms" not in text


def test_what_was_not_survived_or_changed_a_mapping_is_no_success():
    assert report.held([row()])
    assert not report.held([row(problems=["no probe passed any more"])])
    assert not report.held([{**row(), "kills": [kill(10.0, mappings_changed=1)]}])
    assert report.lines([row(gaps_ms=[], problems=["it is gone"])], 1000, LOAD)[-1] == "NOT survived: warm, process: it is gone"


def test_silences_before_a_kill_and_after_its_gap_are_told():
    found = row()
    found["kills"] = [kill(10.0, quiet_ms=quiet_ms, later_ms=later_ms) for quiet_ms, later_ms in ((1.0, 2.0), (3.0, 90.0), (5.0, 4.0))]
    text = "\n".join(report.lines([found], 1000, LOAD))
    assert "without one: median 3.0 ms, 90 % 5.0 ms, longest 5.0 ms" in text and "loaded: median 4.0 ms, 90 % 90.0 ms, longest 90.0 ms" in text
    assert report.summary(found)["later_max_ms"] == 90.0


def test_charts_are_well_formed_and_leave_hangs_out():
    rows = [row(), row("cold", gaps_ms=[40.0]), row(how="hang", gaps_ms=[1010.0]), row(flows=1000, gaps_ms=[5.5])]
    made = plots.plots(rows, LOAD)
    assert set(made) == {"bench-gap-parts", "bench-gap-flows"}
    bars = [shape for shape in ElementTree.fromstring(made["bench-gap-parts"]).iter("{http://www.w3.org/2000/svg}rect")
            if shape.get("fill-opacity")]
    assert len(bars) == 2 * 4
    (line,) = ElementTree.fromstring(made["bench-gap-flows"]).iter("{http://www.w3.org/2000/svg}polyline")
    assert len(line.get("points").split()) == 2
