"""From the kills of each row to distributions, words and what the targets say. Pure.

A *row* is {readiness, flows, rate_pps, checkpoint_interval_ms, how, kills: [what bed.Bed.kill gives], problems: [text]}.
"""

from ...demo.gaps import percentile
from . import settings

#: {readiness: {percent: ms}} of the gap at the load of ``settings``; a hang has the configured detection time beside it
TARGETS_MS = {"hot": {50: 5}, "warm": {50: 15, 99: 26}, "cold": {50: 60}}
LANDMARK = "for comparison, measured elsewhere: keepalived with conntrackd, a dedicated twin: p50 27 ms, longest 35 ms"
PERCENTS = (50, 90, 99)
#: what a sweep changes -> what a table calls it
SWEEPS = {"flows": "flows", "rate_pps": "packets a second", "checkpoint_interval_ms": "ms between checkpoints"}
PARTS = ("detect", "fence", "redirect", "load", "replay")
_HEAD = (f"{'spare':6}{'how':9}{'kills':>6}  {'gap p50':>8}{'p90':>8}{'p99':>8}{'max ms':>8}  "
         + "".join(f"{part:>9}" for part in PARTS) + f"{'replayed':>10}{'probes lost':>13}{'load lost':>11}")


def summary(row):
    """{"gap_ms": {"p50", ...}, "parts_p50_ms": {...}, ...} of a row; None if no kill was survived."""
    kills = row["kills"]
    if not kills:
        return None
    gaps_ms = [kill["gap_ms"] for kill in kills]
    return {"gap_ms": {**{f"p{percent}": percentile(gaps_ms, percent) for percent in PERCENTS}, "max": max(gaps_ms)},
            "parts_p50_ms": {part: percentile([kill[f"{part}_ms"] for kill in kills], 50) for part in PARTS},
            "replayed_p50": percentile([kill["replayed_packets"] for kill in kills], 50),
            "later_max_ms": max(kill["later_ms"] for kill in kills),
            "probes_lost": sum(kill["probes_lost"] for kill in kills), "load_lost": sum(kill["load_lost"] for kill in kills),
            "mappings_changed": sum(kill["mappings_changed"] for kill in kills)}


def held(rows):
    """Whether every kill was survived, with every mapping as it was. How long it took is no matter of this."""
    return all(not row["problems"] and not any(kill["mappings_changed"] for kill in row["kills"]) for row in rows)


def verdicts(row, suspect_after_ms):
    """[(percent, found ms, bound ms, whether it held)] of the targets that there are for *row*."""
    load = row["flows"], row["rate_pps"], row["checkpoint_interval_ms"]
    if load != (settings.FLOWS, settings.RATE_PPS, settings.INTERVAL_MS) or not row["kills"]:
        return []
    gaps_ms, more_ms = [kill["gap_ms"] for kill in row["kills"]], suspect_after_ms if row["how"] == "hang" else 0
    found = []
    for percent, bound_ms in TARGETS_MS.get(row["readiness"], {}).items():
        value_ms = percentile(gaps_ms, percent)
        found.append((percent, value_ms, bound_ms + more_ms, value_ms <= bound_ms + more_ms))
    return found


def lines(rows, suspect_after_ms, at):
    """The tables as text; *at*: {flows, rate_pps, checkpoint_interval_ms} of the first one."""
    text = [f"client gap at {at['flows']:,} flows, {at['rate_pps']:,} packets a second, a checkpoint every"
            f" {at['checkpoint_interval_ms']} ms (parts: medians in ms; fence and redirect at the same time)", _HEAD]
    text += [_line(row) for row in rows if all(row[name] == value for name, value in at.items())]
    for name, title in SWEEPS.items():
        text += _sweep(rows, at, name, title)
    kills = [kill for row in rows for kill in row["kills"]]
    if kills:
        text += ["", "longest silence of the probe before a kill, without one: "
                 + _distribution([kill["quiet_ms"] for kill in kills]) + " (what the machine itself adds)",
                 "and from its gap until all was whole again, a new spare loaded: " + _distribution([kill["later_ms"] for kill in kills])]
    text += ["", *_targets(rows, suspect_after_ms), LANDMARK]
    return text + [f"NOT survived: {row['readiness']}, {row['how']}: {problem}" for row in rows for problem in row["problems"]]


def _distribution(values_ms):
    return f"median {percentile(values_ms, 50):.1f} ms, 90 % {percentile(values_ms, 90):.1f} ms, longest {max(values_ms):.1f} ms"


def _line(row, first=None):
    found, count = summary(row), len(row["kills"])
    start = f"{row['readiness']:6}{row['how'] if first is None else first:<9}{count:>6}  "
    if found is None:
        return start + "no kill was survived"
    gap = found["gap_ms"]
    return (start + f"{gap['p50']:>8.1f}{gap['p90']:>8.1f}{gap['p99']:>8.1f}{gap['max']:>8.1f}  "
            + "".join(f"{found['parts_p50_ms'][part]:>9.1f}" for part in PARTS)
            + f"{found['replayed_p50']:>10}{found['probes_lost']:>13}{found['load_lost']:>11}")


def series(rows, load, name):
    """The rows that differ from *load* (as in ``lines``) only in *name*, for each readiness in rising order of it; not if only one does."""
    same = [key for key in load if key != name]
    rows = [row for row in rows if row["how"] == settings.SWEEP_HOW and all(row[key] == load[key] for key in same)]
    rows = [row for row in rows if sum(other["readiness"] == row["readiness"] for other in rows) > 1]
    return sorted(rows, key=lambda row: (settings.order(row["readiness"]), row[name]))


def _sweep(rows, load, name, title):
    found = series(rows, load, name)
    if not found:
        return []
    return ["", f"against {title} ({settings.SWEEP_HOW})", _HEAD.replace(f"{'how':9}", f"{'':9}"),
            *(_line(row, row[name]) for row in found)]


def _targets(rows, suspect_after_ms):
    text = []
    for row in rows:
        for percent, value_ms, bound_ms, ok in verdicts(row, suspect_after_ms):
            text.append(f"target: {row['readiness']}, {row['how']}: p{percent} {value_ms:.1f} ms"
                        f" ({'held' if ok else 'missed'}: <= {bound_ms} ms)")
    return text or ["no targets: they are told for"
                    f" {settings.FLOWS:,} flows, {settings.RATE_PPS:,} packets a second and {settings.INTERVAL_MS} ms"]
