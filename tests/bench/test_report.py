"""The result: ratios of neighbours in time, the table with what held and what missed, plots that a browser can read."""

import argparse
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from ftmb.bench import measure, plots, programs, report, run
from ftmb.errors import UsageError


def measured(per_second, cpu_us, p50_us):
    return {"per_second": per_second, "lost": 0, "cpu_us": cpu_us, "traffic_cpu_us": 4.0,
            "latency": {"rate": 1000, "lost": 0, "cpu_us": {"master": 3.0}, "traffic_cpu_us": 9.5, "p50_us": p50_us, "p99_us": 2 * p50_us, "p999_us": 3 * p50_us, "max_us": 4 * p50_us}}


def one_round(protected_per_second):
    return {"limit": {64: measured(100_000, {"il": 3.0, "m": 3.0, "ol": 2.0}, 50.0)},
            "plain": {64: measured(120_000, {"master": 6.0}, 40.0)},
            "protected": {64: measured(protected_per_second, {"input-logger": 4.0, "master": 7.5, "output-logger": 5.0}, 90.0)}}


ROUNDS = [one_round(50_000), one_round(61_000), one_round(80_000)]


def result():
    return {"paths": {"direct": {"systems": measure.medians(ROUNDS), "ratios": {64: measure.ratios(ROUNDS, 64)}}},
            "inside": {"cores": [{"frame_bytes": 64, "input_logger_ns": 1.0, "master_ns": 3.0, "function_ns": 2.0, "output_logger_ns": 1.0}],
                       "changed_max": 10, "pauses": [{"flows": 1000, "changed": 10, "end_p99_us": 1.0, "pause_p50_us": 1.0, "pause_p99_us": 2.0, "slice_p99_us": 3.0,
                                                      "live_per_second": 1e5}],
                       "replay": {"per_second": 2e5, "live_per_second": 2e5, "of_protected": 3.0},
                       "flows": [{"flows": 1000, "packet_ns": 900.0, "longest_new_ns": 5000.0, "longest_use_ns": 4000.0}],
                       "determinants": [{"workers": 1, "bytes_per_packet": 0.4}],
                       "memory": {"logged_packet_bytes": 250.0, "flow_bytes": 400.0}},
            "idle_percent": 2.0, "notes": ["a note"]}


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    found = measure.ratios(ROUNDS, 64)
    assert found["throughput_of_limit"] == pytest.approx(0.61)
    assert found["master_cpu_to_plain"] == pytest.approx(1.25)
    assert found["latency_p50_to_limit"] == pytest.approx(1.8)
    assert found["cpu_of_limit"] == pytest.approx(12 / 20.5)


def test_a_limit_with_awake_processors_is_compared_where_it_was_measured():
    assert measure.ratios(ROUNDS, 64)["latency_p50_to_awake_limit"] is None
    rounds = [{**one, "limit-awake": {64: measured(100_000, {"il": 3.0, "m": 3.0, "ol": 2.0}, 40.0)}} for one in ROUNDS]
    found = measure.ratios(rounds, 64)
    assert found["latency_p50_to_awake_limit"] == pytest.approx(2.25)
    text = "\n".join(report.lines({**result(), "paths": {"direct": {"systems": measure.medians(rounds), "ratios": {64: found}}}}))
    assert "awake, too    64: 2.25" in text and "awake, too" not in "\n".join(report.lines(result()))


def test_the_table_says_what_held_and_what_missed():
    text = "\n".join(report.lines(result()))
    assert "3.0 in the roles and 9.5 in the traffic at the latency's rate" in text
    assert "64: 0.61 (held: >= 0.6)" in text and "64: 1.25 (missed: <= 1.1)" in text and text.endswith("a note")


def heights(path):
    """The heights of the bars, or their parts, in an SVG file, as they are drawn."""
    bars = [shape for shape in ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}rect") if shape.get("fill-opacity")]
    return [float(bar.get("height")) for bar in bars]


def test_plots_are_well_formed_and_their_bars_are_in_proportion(tmp_path):
    throughput, cpu = plots.write(tmp_path, result())
    limit, plain, protected = heights(throughput)
    assert protected / plain == pytest.approx(61 / 120, abs=0.01) and limit / plain == pytest.approx(100 / 120, abs=0.01)
    parts = heights(cpu)
    # three forwarders and the traffic, one process and the traffic, three roles and the traffic
    assert len(parts) == 4 + 2 + 4 and sum(parts[:4]) / sum(parts[6:]) == pytest.approx(12 / 20.5, abs=0.01)


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="apt-get install gcc"):
        with programs.compiled():
            pass


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_traffic_compiles_and_refuses_what_it_does_not_know():
    with programs.compiled() as wire:
        done = subprocess.run([wire, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage" in done.stderr


@pytest.fixture
def parsed():
    """What the command line makes of its words."""
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return lambda *words: parser.parse_args(words)


def test_plots_into_what_is_no_directory_are_refused_before_anything_is_measured(parsed, tmp_path):
    with pytest.raises(UsageError, match="no directory"):
        run.main(parsed("--quick", "--plots", str(tmp_path / "nowhere")))


@pytest.mark.parametrize("words", [["--kills", "3"], ["--growth", "--resume"], ["--iperf", "--rate-pps", "10"]])
def test_what_only_the_gap_knows_is_refused_elsewhere(parsed, words):
    with pytest.raises(UsageError, match="only with --gap"):
        run.main(parsed(*words))
