"""``ftmb bench --growth``: what a packet costs as rates, flows, new flows and groups grow. It should be the same.

Rates, flows and new flows are measured on direct links, groups in an emulated network, where they share the nodes of their
logs. CPU time is per packet that arrived, by role. At low rates each packet comes alone and wakes everybody up, and what
an idle network takes is a large part; so flows are compared at full load, and each group brings the same rate.
"""

import random
import sys
import time

from ..demo.progress import Progress
from ..running import write_json
from . import charts, measure, plots, systems
from .gap import configuration
from .gap.bed import Bed
from .gap.settings import Setting
from .network import network
from .programs import compiled

RATES, RATES_FLOWS = (1000, 3000, 10_000, 30_000), 1000
FLOWS, FLOWS_RATE = (1000, 10_000, 100_000, 1_000_000), 10_000
#: packets a second of which each is of a flow of its own
NEW_FLOWS = (1000, 3000, 10_000)
#: the rate is that of each group
GROUPS, GROUPS_RATE, GROUPS_FLOWS = (1, 2, 4), 3000, 1000
_SECONDS, _QUICK_SECONDS, _QUICK_POINTS = 3.0, 1.0, 2
_FRAME_BYTES = measure.FRAMES_BYTES[0]
#: enough that no run comes to the same flow twice
_NEVER_AGAIN = 1_000_000
ROLES = ("input-logger", "master", "output-logger", "store")


def main(args, emulator=None, stream=None, errors=None):
    """Measure; return the exit code, 0. Raises UsageError."""
    if emulator is None:
        from ..emulator import client as emulator
    progress, table = Progress(errors or sys.stderr), Progress(stream or sys.stdout)
    seconds, points = (_QUICK_SECONDS, _QUICK_POINTS) if args.quick else (_SECONDS, None)
    result = {"machine": args.machine, "quick": args.quick}
    with compiled() as wire, network("direct"):
        result["idle_percent"] = measure.idle_percent(wire, seconds)
        result["rates"] = _rates(wire, RATES[:points], seconds, progress)
        result["flows"] = _flows(wire, FLOWS[:points], seconds, progress)
        result["new_flows"] = _new_flows(wire, NEW_FLOWS[:points], seconds, progress)
    with compiled("gap/load.c") as load:
        result["groups"] = [_groups(emulator, load, count, seconds, progress) for count in GROUPS[:points]]
    for line in lines(result):
        table.line(line)
    if args.json:
        write_json(args.json, result)
    if args.plots:
        progress.line(f"plots: {', '.join(plots.write_all(args.plots, drawn(result)))}")
    return 0


def _rates(wire, rates, seconds, progress):
    found = []
    with systems.protected(wire) as running:
        for rate in rates:
            progress.line(f"{rate} packets a second")
            found.append({"rate": rate, **measure.latency(wire, running, _FRAME_BYTES, rate, seconds, RATES_FLOWS)})
    return found


def _flows(wire, sizes, seconds, progress):
    found = []
    for flows in sizes:
        progress.line(f"{flows} flows, with checkpoints and without")
        found.append(measure.checkpoints_and_latency(wire, FLOWS_RATE, seconds, flows, 1))
    return found


def _new_flows(wire, rates, seconds, progress):
    found = []
    for rate in rates:
        progress.line(f"{rate} new flows a second")
        with systems.protected(wire) as running:
            found.append({"rate": rate, **measure.latency(wire, running, _FRAME_BYTES, rate, seconds, _NEVER_AGAIN)})
    return found


def _groups(emulator, load, count, seconds, progress):
    """{"groups", "idle_percent", "cpu_us", "received"} of *count* NATs that share the nodes of their logs."""
    progress.line(f"{count} groups")
    setting = Setting("warm", GROUPS_FLOWS, count * GROUPS_RATE, systems.CHECKPOINT_INTERVAL_MS, (), 0)
    with Bed(emulator, load, setting, random.Random(0), progress, count) as bed:
        idle, _ = _spent(emulator, bed, seconds, count)
        bed.start()
        spent, received = _spent(emulator, bed, seconds, count)
    return {"groups": count, "received": received, "idle_percent": {role: ns / seconds / 1e7 for role, ns in idle.items()},
            "cpu_us": {role: ns / 1000 / max(1, received) for role, ns in spent.items()}}


def _spent(emulator, bed, seconds, count):
    """({role: CPU time in ns, of all groups}, datagrams that arrived) of *seconds* from now."""
    before, received = emulator.cpu(), bed.received()
    time.sleep(seconds)                 # the time that is measured
    after = emulator.cpu()
    return configuration.by_role({node: after[node] - before[node] for node in after}, count), bed.received() - received


def _cpu(cpu_us):
    return "".join(f"{cpu_us[role]:>10.1f}" for role in ROLES) + f"{sum(cpu_us[role] for role in ROLES):>10.1f}"


def lines(result):
    """*result* as text."""
    head = "".join(f"{role.replace('put-logger', ' log'):>10}" for role in ROLES) + f"{'sum':>10}"
    late = f"{'p50 us':>10}{'p99 us':>10}{'p99.9':>10}{'lost':>8}"
    text = [f"CPU us per packet by role, latency one way; idle, all roles together take {result['idle_percent']:.1f} % of one processor",
            "", f"{'packets/s':>10}{head}{late}"]
    text += [f"{row['rate']:>10}{_cpu(row['cpu_us'])}{_late(row)}" for row in result["rates"]]
    text += ["", f"{'new/s':>10}{head}{late}   each packet opens a flow"]
    text += [f"{row['rate']:>10}{_cpu(row['cpu_us'])}{_late(row)}" for row in result["new_flows"]]
    text += ["", f"{'flows':>10}{head}{late}   p99.9 without checkpoints, ratio (target: <= 2 at 100,000); CPU at full load"]
    text += [f"{row['flows']:>10}{_cpu(row['cpu_us'])}{_late(row['on'])}{_off(row)}"
             for row in result["flows"]]
    text += ["", f"{'groups':>10}{head}   idle: %, all roles, and spares"]
    text += [f"{row['groups']:>10}{_cpu(row['cpu_us'])}{sum(row['idle_percent'][role] for role in ROLES):>11.1f}"
             f"{row['idle_percent']['spare']:>7.1f}" for row in result["groups"]]
    return text + ["", *_verdicts(result)]


def _late(row):
    return f"{row['p50_us']:>10.0f}{row['p99_us']:>10.0f}{row['p999_us']:>10.0f}{row['lost']:>8.0f}"


def _off(row):
    return f"{row['off']['p999_us']:>11.0f}{row['ratio']:>7.2f}" if row["ratio"] is not None else f"{'-':>11}{'-':>7}"


def _verdicts(result):
    """The sum of all roles' CPU time per packet, where there is most against where there is least."""
    def total(cpu_us):
        return sum(cpu_us[role] for role in ROLES)

    flows, groups, rates = result["flows"], result["groups"], result["rates"]
    return [f"CPU per packet, {rates[-1]['rate']:,} / {rates[0]['rate']:,} packets a second:"
            f" {total(rates[-1]['cpu_us']) / total(rates[0]['cpu_us']):.2f} (linear in packets: at most 1)",
            f"CPU per packet, {flows[-1]['flows']:,} / {flows[0]['flows']:,} flows:"
            f" {total(flows[-1]['cpu_us']) / total(flows[0]['cpu_us']):.2f} (constant in flows: 1)",
            f"CPU per packet, {groups[-1]['groups']} groups / 1: {total(groups[-1]['cpu_us']) / total(groups[0]['cpu_us']):.2f}"
            " (a group adds its packets and no more: 1)"]


def drawn(result):
    """{name: SVG text} of *result*."""
    def by_role(rows, key):
        return {role: [(row[key], row["cpu_us"][role]) for row in rows] for role in ROLES}

    cpu = "CPU time per packet by role, us"
    return {"bench-growth-rate": charts.lines(by_role(result["rates"], "rate"), cpu, "packets a second"),
            "bench-growth-flows": charts.lines(by_role(result["flows"], "flows"), f"{cpu}, at full load", "flows"),
            "bench-growth-groups": charts.lines(by_role(result["groups"], "groups"), cpu, "groups"),
            "bench-growth-latency": charts.lines({name: [(row["flows"], row["on"][f"{name}_us"]) for row in result["flows"]]
                                                  for name in ("p50", "p99", "p999")}, "Latency one way, us, with checkpoints", "flows")}
