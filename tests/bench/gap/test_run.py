"""A run goes on where an earlier one stopped, goes on after a kill that was not survived, and refuses what it can't measure."""

import argparse
import io
import json

import pytest

from ftmb.bench.gap import run
from ftmb.bench.gap.bed import NotSurvived
from ftmb.errors import UsageError

from .samples import kill, row


class FakeBed:
    """Stands in for bed.Bed; *gaps_ms*: what kills give, in order; an error instead of a number is raised."""

    opened, gaps_ms = 0, ()

    def __init__(self, *_):
        type(self).opened += 1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def start(self):
        pass

    def kill(self, how):
        value = FakeBed.gaps_ms.pop(0)
        if isinstance(value, Exception):
            raise value
        return kill(value)


@pytest.fixture
def bed(monkeypatch):
    monkeypatch.setattr(run, "Bed", FakeBed)
    FakeBed.opened = 0
    return FakeBed


def measure(path, *words):
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    args = parser.parse_args(["--readiness", "warm", "--how", "process", "--no-sweeps", *words])
    args.json, args.plots, args.quick, args.machine = path and str(path), None, False, {}
    text = io.StringIO()
    return run.main(args, emulator=object(), stream=text, errors=io.StringIO()), text.getvalue()


def test_each_kill_is_in_the_file(bed, tmp_path):
    bed.gaps_ms = [10.0, 12.0]
    code, text = measure(tmp_path / "result", "--kills", "2")
    (found,) = json.loads((tmp_path / "result").read_text())["rows"]
    assert code == 0 and found["summary"]["gap_ms"]["max"] == 12.0 and bed.opened == 1
    assert "target: warm, process: p50 10.0 ms (held: <= 15 ms)" in text


def test_a_resumed_run_makes_only_the_kills_that_are_missing(bed, tmp_path):
    (tmp_path / "result").write_text(json.dumps({"rows": [row(gaps_ms=[10.0, 11.0])]}))
    bed.gaps_ms = [12.0]
    assert measure(tmp_path / "result", "--kills", "3", "--resume")[0] == 0
    (found,) = json.loads((tmp_path / "result").read_text())["rows"]
    assert [one["gap_ms"] for one in found["kills"]] == [10.0, 11.0, 12.0] and bed.gaps_ms == []
    assert measure(tmp_path / "result", "--kills", "3", "--resume")[0] == 0 and bed.opened == 1


def test_after_a_kill_that_was_not_survived_another_network_makes_the_rest(bed, tmp_path):
    bed.gaps_ms = [10.0, NotSurvived("it is gone"), 11.0]
    code, text = measure(tmp_path / "result", "--kills", "2")
    (found,) = json.loads((tmp_path / "result").read_text())["rows"]
    assert code == 1 and len(found["kills"]) == 2 and found["problems"] == ["it is gone"] and bed.opened == 2
    assert "NOT survived: warm, process: it is gone" in text


def test_a_network_that_survives_nothing_is_given_up(bed, tmp_path):
    bed.gaps_ms = [NotSurvived("it is gone")] * 10
    code, text = measure(tmp_path / "result", "--kills", "2")
    assert code == 1 and bed.opened == 3 and "no kill was survived" in text


@pytest.mark.parametrize("words, why", [(["--readiness", "tepid"], "--readiness: 'tepid'"), (["--how", "process,magic"], "--how: 'magic'"),
                                        (["--resume"], "needs --json")])
def test_what_is_not_known_is_refused(bed, words, why):
    with pytest.raises(UsageError, match=why):
        measure(None, *words)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rows": [{}]}', '{"rows": [7]}', '{"rows": [{"readiness": "tepid", "kills": []}]}'])
def test_a_file_that_is_no_result_is_not_gone_on_with(bed, tmp_path, content):
    (tmp_path / "result").write_text(content)
    with pytest.raises(UsageError, match="is no result of"):
        measure(tmp_path / "result", "--resume")
