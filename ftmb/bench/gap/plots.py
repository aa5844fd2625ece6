"""Charts of a gap run: where the time goes by readiness and way, and the gap against flows, rate and checkpoint interval. Pure."""

from .. import charts
from . import report, settings


def plots(rows, load):
    """{name: SVG text} of *rows*; *load*: {flows, rate_pps, checkpoint_interval_ms} of the first table."""
    made = {}
    measured = [row for row in rows if row["kills"]]
    # a hang is its detection time and little else: beside it the others could not be seen
    groups = {}
    for row in measured:
        if row["how"] != "hang" and all(row[name] == value for name, value in load.items()):
            groups.setdefault(row["how"], {})[row["readiness"]] = _parts(report.summary(row))
    if groups:
        made["bench-gap-parts"] = charts.bars(groups, "A failover's parts, ms: detect, fence and redirect, load, replay (medians)")
    for name, what in report.SWEEPS.items():
        lines = {}
        for row in report.series(measured, load, name):
            gap = report.summary(row)["gap_ms"]
            lines.setdefault(row["readiness"], []).append((row[name], gap["p50"]))
        if lines:
            made[f"bench-gap-{name.split('_')[0]}"] = charts.lines(lines, f"Client gap, ms (median; {settings.SWEEP_HOW})", what)
    return made


def _parts(summary):
    ms = summary["parts_p50_ms"]
    return [("detect", ms["detect"]), ("fence and redirect", max(ms["fence"], ms["redirect"])), ("load", ms["load"]), ("replay", ms["replay"])]
