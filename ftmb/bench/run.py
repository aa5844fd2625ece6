"""``ftmb bench``: the whole benchmark in one run. Exit code 0: it was measured; 2: usage or environment; 130: interrupted.

What the targets say is part of the table, not of the exit code: a noisy machine is no failure.
"""

import os
import platform
import sys

from ..demo.progress import Progress
from ..errors import UsageError
from ..running import check_writable, write_json
from . import flows, growth, inside, iperf, measure, plots, report, resident, systems
from .gap import run as gap
from .network import network
from .programs import compiled

#: what is judged is without a switch, and single rounds differ by a factor of two
_ROUNDS, _SECONDS = {"direct": 7, "ovs": 3}, 0.7
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 0.6
_QUICK_FRAMES_BYTES = (64, 1500)
_IDLE_S = 5.0
_LATENCY_FLOWS = 100_000
#: packets and flows whose memory is measured
_KEPT = 100_000
#: what is measured in place of the price of protection
_PARTS = {"gap": gap, "growth": growth, "iperf": iperf}
_LATENCY_RATE, _LATENCY_S, _LATENCY_ROUNDS = 10_000, 3.0, 3


def add_arguments(parser):
    """Declare the options of ``ftmb bench``."""
    parser.add_argument("--quick", action="store_true", help="one short round, two sizes, without a switch only")
    parser.add_argument("--json", metavar="FILE", help="write the result to FILE")
    parser.add_argument("--plots", metavar="DIRECTORY", help="write the plots (SVG) into DIRECTORY (--iperf has none)")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--gap", action="store_true", help="instead: what a client feels when the master dies, and where the time goes")
    parts.add_argument("--growth", action="store_true", help="instead: what a packet costs as rates, flows, new flows and groups grow")
    parts.add_argument("--iperf", action="store_true", help="instead: what iperf3 gets through a protected NAT")
    gap.add_arguments(parser)


def main(args, stream=None):
    """Run the benchmark that *args* ask for; return the exit code. Raises UsageError."""
    check_writable(args.json)
    if args.plots and not os.path.isdir(args.plots):
        raise UsageError(f"--plots: {args.plots!r} is no directory")
    args.machine = {"processors": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    if not args.gap:
        gap.refuse_options(args)
    for name, part in _PARTS.items():
        if getattr(args, name):
            return part.main(args)
    return _price(args, Progress(stream or sys.stdout))


def _price(args, progress):
    """What protection costs, beside its limits."""
    missing = systems.missing()
    names = [name for name in systems.ALL if name not in missing]
    result = {"machine": args.machine, "quick": args.quick, "paths": {}, "notes": list(missing.values())}
    with compiled() as wire:
        _on_paths(args, wire, names, progress, result)
    progress.line("checkpoints, replay, memory and determinants, without a network")
    result["inside"] = {**inside.everything(args.quick), "memory": resident.memory(_KEPT),
                        "flows": [flows.costs(count) for count in inside.sizes(args.quick)]}
    saturated = result["paths"]["direct"]["systems"]["protected"][measure.FRAMES_BYTES[0]]["per_second"]
    result["inside"]["replay"]["of_protected"] = result["inside"]["replay"]["per_second"] / saturated
    for line in report.lines(result):
        progress.line(line)
    if args.json:
        write_json(args.json, result)
    if args.plots:
        progress.line(f"plots: {', '.join(plots.write(args.plots, result))}")
    return 0


def _on_paths(args, wire, names, progress, result):
    seconds = _QUICK_SECONDS if args.quick else _SECONDS
    frames_bytes = _QUICK_FRAMES_BYTES if args.quick else measure.FRAMES_BYTES
    fabrics = ["direct"] if args.quick else ["direct", "ovs"]
    for fabric in fabrics:
        rounds = _QUICK_ROUNDS if args.quick else _ROUNDS[fabric]
        with network(fabric):
            measured, rates = [], {}
            for number in range(rounds):
                progress.line(f"round {number + 1} of {rounds}, {report.FABRICS[fabric]}")
                measured.append(measure.one_round(wire, names, seconds, frames_bytes, rates, progress.line))
            result["paths"][fabric] = {"systems": measure.medians(measured),
                                       "ratios": {size: measure.ratios(measured, size) for size in frames_bytes}}
            if fabric == "direct":
                result["idle_percent"] = measure.idle_percent(wire, _IDLE_S)
                if not args.quick:
                    progress.line(f"latency with checkpoints on and off, {_LATENCY_FLOWS} flows")
                    result["checkpoints"] = measure.checkpoints_and_latency(wire, _LATENCY_RATE, _LATENCY_S, _LATENCY_FLOWS, _LATENCY_ROUNDS)
