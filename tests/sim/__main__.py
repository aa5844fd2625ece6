"""A campaign: ``python -m tests.sim --schedules 10000 --seed 1``."""

import argparse
import sys

from .run import campaign


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Run seeded schedules of the simulator.")
    parser.add_argument("--schedules", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1); the others follow it")
    options = parser.parse_args()
    sys.exit(1 if campaign(options.schedules, options.seed, lambda line: print(line, flush=True)) else 0)


if __name__ == "__main__":
    main()
