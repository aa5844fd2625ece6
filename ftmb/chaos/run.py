"""``ftmb chaos``: kills drawn from a seed, on real processes under traffic, and the invariants checked on what arrived.

Exit code 0: no violation; 1: at least one, or the campaign could not go on; 2: usage or environment; 130: interrupted.
"""

import argparse
import secrets
import sys

from ..config import SPARES
from ..demo.programs import ProgramError
from ..demo.progress import Progress
from ..errors import UsageError
from ..running import between, check_writable, write_json
from . import configuration, kills, report
from .campaign import Campaign

KILLS_MAX = 500
INTERRUPTED = 130


def add_arguments(parser):
    """Declare the options of ``ftmb chaos``."""
    parser.add_argument("--kills", type=between(1, KILLS_MAX), default=10, metavar="N", help="kills, one after the other (default 10)")
    parser.add_argument("--seed", type=between(0, 2 ** 63), metavar="S",
                        help="decides which kills come, and when (default: drawn, and printed)")
    parser.add_argument("--function", choices=configuration.FUNCTIONS, default="sequencer",
                        help="the middlebox: sequencer and shared-counter stamp each packet, so that a state that went "
                             "back shows (default sequencer)")
    parser.add_argument("--workers", type=between(1, 64), default=1, metavar="W", help="workers of the middlebox (default 1)")
    parser.add_argument("--kind", action="append", choices=tuple(kills.KINDS), metavar="KIND",
                        help=f"only this kind of kill, may be repeated: {', '.join(kills.KINDS)} (default: all)")
    parser.add_argument("--spare", choices=SPARES, default="warm", help="how ready the spares are (default warm)")
    for name, text in (("loss", "gets lost"), ("duplicate", "comes twice"), ("reorder", "is overtaken")):
        parser.add_argument(f"--{name}", type=_probability, default=0.0, metavar="P",
                            help=f"probability that a frame between the roles {text} (default 0)")
    parser.add_argument("--no-recovery", action="store_true",
                        help="the contrast: a fresh master with empty state takes over; exit code 1 as invariants break")
    parser.add_argument("--keep", metavar="DIRECTORY", help="put the logs of controller and nodes here if something is violated")
    parser.add_argument("--json", metavar="FILE", help="write the result to FILE")


def _probability(text):
    value = float(text)
    if not 0 <= value <= 0.5:
        raise argparse.ArgumentTypeError(f"must be between 0 and 0.5, is {value}")
    return value


def main(args, emulator=None, stream=None):
    """Run the campaign that *args* ask for; return the exit code. Raises UsageError (exit code 2)."""
    if emulator is None:
        from ..emulator import client as emulator
    progress = Progress(stream or sys.stdout)
    check_writable(args.json)
    wanted = _wanted(args)
    faults = f", {', '.join(f'{name} {value}' for name, value in wanted.faults.items())}" if wanted.faults else ""
    progress.line(f"seed {wanted.seed}: {wanted.kills} kills of a {wanted.function}{faults}")
    try:
        outcome = Campaign(wanted, emulator, progress, args.keep).run()
    except KeyboardInterrupt:
        progress.line("interrupted: traffic is ended and the network is down")
        return INTERRUPTED
    except ProgramError as error:
        progress.line(progress.colour(f"the campaign could not go on: {error}", "bad"))
        return 1
    for text in report.summary(wanted, outcome):
        progress.line(text)
    if args.json:
        write_json(args.json, report.to_json(wanted, outcome))
    return 0 if report.held(wanted, outcome) else 1


def _wanted(args):
    seed = secrets.randbits(31) if args.seed is None else args.seed
    faults = {name: getattr(args, name) for name in ("loss", "duplicate", "reorder") if getattr(args, name)}
    chosen = tuple(dict.fromkeys(args.kind)) if args.kind else None
    if args.spare == "cold":
        wrong = [name for name in chosen or () if kills.KINDS[name].of_spare]
        if wrong:
            raise UsageError(f"--kind {wrong[0]}: with --spare cold no node is a spare before the master dies")
        chosen = chosen or tuple(kills.without_spares())
    return report.Wanted(args.kills, seed, args.function, args.workers, faults or None,
                         chosen, not args.no_recovery, args.spare)
