"""``ftmb bench --gap``: kills of the master under load, and what a client felt of each.

Exit code 0: every kill was survived, whatever it took; 1: one was not; 2: usage or environment; 130: interrupted. The file
of ``--json`` is written after each kill's way in each network, so that ``--resume`` can go on where a run was stopped.
"""

import json
import os
import random
import secrets
import sys

from ... import config
from ...demo.programs import ProgramError
from ...demo.progress import Progress
from ...errors import UsageError
from ...running import between, check_writable, write_json
from ..plots import write_all
from ..programs import compiled
from . import report, settings
from .bed import Bed, NotSurvived
from .plots import plots

KILLS, QUICK_KILLS = 50, 3
SOURCE = "gap/load.c"
#: in a network setting, after which it is given up
_PROBLEMS_MAX = 3
_OPTIONS = ("kills", "readiness", "how", "flows", "rate_pps", "interval_ms", "no_sweeps", "seed", "resume")


def add_arguments(parser):
    """Declare the options of the part ``--gap``."""
    group = parser.add_argument_group("with --gap")
    group.add_argument("--kills", type=between(1, 1000), metavar="N", help=f"kills of each way for each readiness (default {KILLS}; quick: {QUICK_KILLS})")
    group.add_argument("--readiness", metavar="LIST", help=f"of {','.join(sorted(config.readiness(), key=settings.order))} (default: all)")
    group.add_argument("--how", metavar="LIST", help=f"of {','.join(settings.HOWS)} (default: {','.join(settings.DEFAULT_HOWS)})")
    group.add_argument("--flows", type=between(1, settings.FLOWS_MAX), metavar="N",
                       help=f"flows through the NAT (default {settings.FLOWS})")
    group.add_argument("--rate-pps", type=between(1, 100_000), metavar="N",
                       help=f"packets a second, of all flows in turn (default {settings.RATE_PPS})")
    group.add_argument("--interval-ms", type=between(1, 60_000), metavar="N",
                       help=f"time between checkpoints (default {settings.INTERVAL_MS})")
    group.add_argument("--no-sweeps", action="store_true", help="not also against flows, rate and checkpoint interval")
    group.add_argument("--seed", type=between(0, 2 ** 63), metavar="S", help="decides when kills come (default: drawn, and printed)")
    group.add_argument("--resume", action="store_true", help="keep the kills that the file of --json has already")


def refuse_options(args):
    """Raises UsageError if there are any of this part's in *args*, which are for another."""
    given = [f"--{name.replace('_', '-')}" for name in _OPTIONS if getattr(args, name) not in (None, False)]
    if given:
        raise UsageError(f"{', '.join(given)}: only with --gap")


def main(args, emulator=None, stream=None, errors=None):
    """Measure what *args* ask for; return the exit code. Raises UsageError."""
    if emulator is None:
        from ...emulator import client as emulator
    progress, table = Progress(errors or sys.stderr), Progress(stream or sys.stdout)
    check_writable(args.json)
    load = {"flows": args.flows or settings.FLOWS, "rate_pps": args.rate_pps or settings.RATE_PPS,
            "checkpoint_interval_ms": args.interval_ms or settings.INTERVAL_MS}
    kills = args.kills or (QUICK_KILLS if args.quick else KILLS)
    known = sorted(config.readiness(), key=settings.order)
    readiness = _some(args.readiness, known, known, "--readiness")
    plan = settings.plan(readiness, _some(args.how, settings.HOWS, settings.DEFAULT_HOWS, "--how"), kills, load,
                         not (args.quick or args.no_sweeps))
    seed = secrets.randbits(31) if args.seed is None else args.seed
    result = {"seed": seed, "machine": args.machine, "suspect_after_ms": config.Controller.suspect_after_ms,
              "rows": _earlier(args.json) if args.resume else []}
    progress.line(f"seed {seed}: {sum(sum(settings.left(setting, result['rows']).values()) for setting in plan)} kills in {len(plan)} networks")
    run = _Run(emulator, progress, random.Random(seed), result, args.json)
    with compiled(SOURCE) as program:
        for number, setting in enumerate(plan, 1):
            progress.line(f"network {number} of {len(plan)}: {setting.readiness}, {setting.flows} flows, {setting.rate_pps} packets/s,"
                          f" a checkpoint every {setting.checkpoint_interval_ms} ms")
            run.measure(program, setting)
    for line in report.lines(result["rows"], result["suspect_after_ms"], load):
        table.line(line)
    if args.plots:
        progress.line(f"plots: {', '.join(write_all(args.plots, plots(result['rows'], load)))}")
    return 0 if report.held(result["rows"]) else 1


def _some(text, allowed, default, option):
    """The names in the LIST *text*, in the order of *allowed*. Raises UsageError."""
    names = text.split(",") if text else default
    wrong = [name for name in names if name not in allowed]
    if wrong:
        raise UsageError(f"{option}: {', '.join(map(repr, wrong))}: not one of {', '.join(allowed)}")
    return [name for name in allowed if name in names]


def _earlier(path):
    """The rows in the file *path* of an earlier run; none if there is no such file. Raises UsageError."""
    if path is None:
        raise UsageError("--resume: of which run? It needs --json FILE")
    if not os.path.exists(path):
        return []
    try:
        with open(path, encoding="ascii") as file:
            rows = json.load(file)["rows"]
        for row in rows:
            report.summary(row)
            settings.order(row["readiness"])
        return rows
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--resume: {path!r} is no result of ftmb bench --gap: {error}") from error


class _Run:
    """Fills the rows of *result*."""

    def __init__(self, emulator, progress, drawn, result, path):
        self._emulator, self._progress, self._random = emulator, progress, drawn
        self._result, self._path = result, path

    def measure(self, program, setting):
        """All kills of *setting* that are not there yet, in one network, or in another one after a kill that was not survived."""
        problems = 0
        while (missing := settings.left(setting, self._result["rows"])) and problems < _PROBLEMS_MAX:
            row = None
            try:
                with Bed(self._emulator, program, setting, self._random, self._progress) as bed:
                    bed.start()
                    for how, count in missing.items():
                        row = self._row(setting.key(how))
                        self._kills(bed, row, count)
            except (NotSurvived, ProgramError) as error:
                problems += 1
                (row or self._row(setting.key(next(iter(missing)))))["problems"].append(str(error))
                self._progress.line(self._progress.colour(f"NOT survived: {error}", "bad"))
            finally:
                self._save()

    def _kills(self, bed, row, count):
        for number in range(1, count + 1):
            self._progress.live(f"{row['how']}, kill {number} of {count}")
            kill = bed.kill(row["how"])
            row["kills"].append(kill)
            self._progress.line(f"  {row['how']:8}{number:>4}/{count}  gap {kill['gap_ms']:8.1f} ms  probes lost {kill['probes_lost']}"
                                f"  load lost {kill['load_lost']}")
        self._save()

    def _row(self, key):
        row = settings.find(self._result["rows"], key)
        if row is None:
            row = {**key, "kills": [], "problems": []}
            self._result["rows"].append(row)
        return row

    def _save(self):
        if self._path:
            rows = [{**row, "summary": report.summary(row)} for row in self._result["rows"]]
            write_json(self._path, {**self._result, "rows": rows})
