"""One schedule from a seed, and a campaign of them."""

import random
import time
import traceback
from collections import Counter
from typing import NamedTuple

from .checkers import Violation
from .group import Group, Parts


class Report(NamedTuple):
    """What happened in one schedule; equal for equal seeds."""

    seed: int
    events: int
    released: int
    failovers: int
    workers: int
    accesses: int           # that put steps of different workers in order
    cut_open: int           # stored steps that a fence cut off because of what they depended on
    digest: int


def run(seed, parts=Parts()):
    """One schedule. Raises Violation, or whatever the core raises; both name the seed."""
    rng = random.Random(seed)
    group = None
    try:
        group = Group(rng, parts, workers=rng.choice((1, 1, 2, 3, 4)))
        group.run(packets=rng.choice((20, 60, 150)), crashes=rng.choice((0, 1, 1, 2, 4)))
    except Exception as error:
        at_ns = group.events.now_ns if group else 0
        raise Violation(f"seed {seed}, at {at_ns / 1e6:.3f} ms: {type(error).__name__}: {error}\n"
                        f"repeat with: python -m pytest tests/sim --seed {seed}") from error
    releases = group.checker.releases
    digest = random.Random(repr(releases)).getrandbits(64)
    return Report(seed, group.events.count, len(releases), group.controller.failovers, group.workers, group.checker.accesses,
                  group.checker.cut_open, digest)


def campaign(schedules, first_seed, progress=print, seconds_max=None):
    """Seeds *first_seed*, *first_seed* + 1 ...; returns the seeds that failed."""
    begin = told = time.monotonic()
    totals, failed = Counter(), []
    done = 0
    for seed in range(first_seed, first_seed + schedules):
        try:
            report = run(seed)
            totals.update(events=report.events, released=report.released, failovers=report.failovers)
        except Violation:
            failed.append(seed)
            progress(traceback.format_exc())
        done += 1
        now = time.monotonic()
        if now - told > 10:
            told = now
            progress(f"{done} of {schedules} schedules, {len(failed)} failed, {done / (now - begin):.0f} a second")
        if seconds_max is not None and now - begin > seconds_max:
            break
    progress(f"{done} schedules from seed {first_seed} on in {time.monotonic() - begin:.1f} s: {totals['failovers']} failovers,"
             f" {totals['released']} packets released, {totals['events']} events; {len(failed)} failed"
             + (f": {failed[:20]}" if failed else ""))
    return failed
