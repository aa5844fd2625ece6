"""Kills, rows and statuses as the tests of the gap run need them."""

from ftmb.bench.gap import settings

LOAD = {"flows": settings.FLOWS, "rate_pps": settings.RATE_PPS, "checkpoint_interval_ms": settings.INTERVAL_MS}


def kill(gap_ms, **more):
    return {"node": "m1", "gap_ms": gap_ms, "quiet_ms": 1.0, "later_ms": 2.0, "probes_lost": 0, "load_lost": 2, "mappings_changed": 0, "detect_ms": 1.0,
            "fence_ms": 2.0, "redirect_ms": 3.0, "load_ms": 0.5, "replay_ms": gap_ms - 5, "total_ms": gap_ms,
            "replayed_packets": 100, "cold": False, "cause": "control connection closed", **more}


def row(readiness="warm", how="process", gaps_ms=(10.0,), problems=(), **load):
    return {"readiness": readiness, "how": how, **LOAD, **load, "kills": [kill(gap_ms) for gap_ms in gaps_ms], "problems": list(problems)}


def status(spare="m2", checkpoint=7, state="protected", dead=(), **counters):
    """Of one group nat1 whose store has checkpoint 7; *spare* has *checkpoint*, and the *counters*."""
    beats = {"st": [{"group": "nat1", "role": "store", "counters": {"checkpoint": 7}}],
             "m2": [{"group": "nat1", "role": "spare", "counters": {"checkpoint": checkpoint, "recovering": False, **counters}}]}
    return {"groups": [{"name": "nat1", "state": state, "store": "st", "spares": [spare] if spare else [], "failovers": []}],
            "hosts": [{"name": name, "alive": name not in dead, "beat": beats.get(name, [])} for name in ("st", "m1", "m2", "m3")]}
