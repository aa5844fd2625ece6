"""A campaign: ``python -m tests.sim --schedules 100000``; one schedule again, as a failing one says; ``--shrink SEED``."""

import argparse
import secrets
import signal
import sys

from .campaign import campaign, size_of
from .network import FAULTS
from .shrink import shrink

INTERRUPTED = 130


def parse():
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Run seeded schedules of the simulator.",
                                     epilog="exit code: 0 no violation, 1 some, 130 interrupted")
    parser.add_argument("--schedules", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--seed", type=int, help="the first seed, the others follow it (default: a fresh one, told)")
    parser.add_argument("--processes", type=int, help="how many run them (default: as many as there are cores)")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="find a smaller schedule that fails as this one does")
    parser.add_argument("--workers", type=int, choices=range(1, 5), help="this many, instead of what a seed draws")
    parser.add_argument("--packets", type=int, help="the same for packets")
    parser.add_argument("--crashes", type=int, help="the same for crashes")
    parser.add_argument("--without", action="append", choices=FAULTS, help="a fault that the network does not have (repeatable)")
    return parser.parse_args()


def main():
    options = parse()
    given = {name: getattr(options, name) for name in ("workers", "packets", "crashes") if getattr(options, name) is not None}
    if options.without:
        given["without"] = tuple(options.without)
    if options.shrink is not None:
        try:
            tell(shrink(options.shrink, size=size_of(options.shrink, given)).text)
        except ValueError as error:
            sys.exit(str(error))
        return 1
    seed = secrets.randbelow(1 << 40) if options.seed is None else options.seed
    return 1 if campaign(options.schedules, seed, tell, options.processes, given) else 0


def tell(line):
    print(line, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)       # as Ctrl-C: leave no process behind
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
