"""The drawing of a kill."""

from ftmb.demo import timeline

from .test_report import kill

FAILOVER = {"detect_ms": 1.2, "fence_ms": 0.5, "redirect_ms": None, "load_ms": 0.0, "replay_ms": 2.0, "total_ms": 6.0,
            "replayed_packets": 57,
            "timeline": [{"what": "last sign of life", "at_ns": 500}, {"what": "recover sent", "at_ns": 5_001_000}, {"what": "detected", "at_ns": 1_201_000}]}


def test_steps_are_in_order_of_time_from_the_kill_to_the_client():
    drawn = timeline.lines(1, kill(failover=FAILOVER, at_ns=1_000, gap_end_ns=8_001_000), "process")
    assert drawn == ["kill 1: m1 dies",
                     "       +0.0 ms  SIGKILL to m1",
                     "       +1.2 ms  detected",
                     "       +5.0 ms  recover sent",
                     "       +8.0 ms  the client's packets arrive again",
                     "  in ms: detect 1.2 | fence 0.5 | load 0.0 | replay 2.0 | total 6.0; 57 packets replayed",
                     "  client saw a gap of 8.0 ms (7 of its 1 kHz packets lost); 4 new connections were under way"]


def test_a_kill_without_failover_or_return_shows_only_what_is_known():
    drawn = timeline.lines(2, kill(failover=None, probes_after=0), "hang")
    assert drawn[1:-1] == ["       +0.0 ms  SIGSTOP to m1"]


def test_a_long_failover_is_cut():
    many = {**FAILOVER, "timeline": [{"what": "x", "at_ns": 2000 + n} for n in range(1000)]}
    assert len(timeline.steps(kill(failover=many), "process")) == timeline.STEPS_MAX


def test_the_brief_line_names_what_went_wrong():
    assert timeline.brief(3, kill(), 20, []).endswith("survived")
    assert "NOT survived: 2 TCP resets" in timeline.brief(3, kill(), 20, ["2 TCP resets"])
