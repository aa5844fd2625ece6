"""``ftmb soak``: full load, the store stopped in the middle; memory stays bounded and every packet is accounted for.

Exit code 0: it held; 1: it did not; 2: usage or environment; 130: interrupted.
"""

import argparse
import secrets
import sys

from ..demo.programs import ProgramError
from ..demo.progress import Progress
from ..running import between, check_writable, write_json
from . import report
from .soak import Soak

INTERRUPTED = 130
#: load before and after the store is stopped, at least
_MARGIN_S = 8


def add_arguments(parser):
    """Declare the options of ``ftmb soak``."""
    parser.add_argument("--minutes", type=_minutes, default=10.0, metavar="M", help="how long load goes on (default 10)")
    parser.add_argument("--store-stopped", type=between(1, 300), default=30, metavar="S",
                        help="for how many seconds, in the middle, the store is stopped (default 30)")
    parser.add_argument("--workers", type=between(1, 12), default=1, metavar="W", help="workers of the middlebox (default 1)")
    parser.add_argument("--seed", type=between(0, 2 ** 31), metavar="S", help="of the download's content (default: drawn, and printed)")
    parser.add_argument("--keep", metavar="DIRECTORY", help="put the logs of controller and nodes here if something is violated")
    parser.add_argument("--json", metavar="FILE", help="write the result to FILE")


def _minutes(text):
    value = float(text)
    if not 0.1 <= value <= 60:
        raise argparse.ArgumentTypeError(f"must be between 0.1 and 60, is {value}")
    return value


_minutes.__name__ = "number"        # argparse names it in its messages


def main(args, emulator=None, stream=None):
    """Run the soak that *args* ask for; return the exit code. Raises UsageError (exit code 2)."""
    if emulator is None:
        from ..emulator import client as emulator
    progress = Progress(stream or sys.stdout)
    check_writable(args.json)
    seed = secrets.randbits(31) if args.seed is None else args.seed
    # what is too short for the stop is made as long as it takes
    wanted = report.Wanted(max(round(args.minutes * 60), args.store_stopped + 2 * _MARGIN_S), args.store_stopped, args.workers, seed)
    progress.line(f"seed {seed}: {wanted.seconds} s of full load, the store stopped for {wanted.store_stopped_s} s of it")
    try:
        outcome = Soak(wanted, emulator, progress, args.keep).run()
    except KeyboardInterrupt:
        progress.line("interrupted: traffic is ended and the network is down")
        return INTERRUPTED
    except ProgramError as error:
        progress.line(progress.colour(f"the soak could not go on: {error}", "bad"))
        return 1
    for text in report.summary(wanted, outcome):
        progress.line(text)
    if args.json:
        write_json(args.json, report.to_json(wanted, outcome))
    return 0 if report.held(outcome) else 1
