"""A smaller schedule that fails in the same way: fewer workers, crashes, faults and packets, and if need be another seed.

A number that is changed changes all that is drawn after it, so a smaller schedule of the same seed is another schedule. Each
step therefore tries the seed first and some after it, and takes the first that fails as the given one does.
"""

import re
from typing import NamedTuple

from .checkers import Violation
from .group import Parts
from .network import FAULTS
from .run import Size, run

SEEDS_PER_STEP = 30
RUNS_MAX = 3_000


class Shrunk(NamedTuple):
    """The smallest schedule found."""

    seed: int
    size: Size
    text: str               # what it says, with the command that repeats it
    runs: int


def kind_of(violation):
    """What a Violation is about: its cause's text without the numbers."""
    cause = violation.__cause__
    return type(cause).__name__, re.sub(r"\d[\d, ()\[\]]*", "# ", str(cause))[:60]


def smaller(size):
    """Sizes to try instead of *size*, those that simplify most first."""
    for workers in range(1, size.workers):
        yield size._replace(workers=workers)
    for crashes in range(size.crashes):
        yield size._replace(crashes=crashes)
    for fault in FAULTS:
        if fault not in size.without:
            yield size._replace(without=(*size.without, fault))
    for packets in sorted({size.packets // 4, size.packets // 2, size.packets * 3 // 4, size.packets - 1}):
        if 0 < packets < size.packets:
            yield size._replace(packets=packets)


def shrink(seed, parts=Parts(), size=None, runs_max=RUNS_MAX):
    """The smallest schedule like the failing one of *seed*. Raises ValueError if that does not fail."""
    size = size or Size.of(seed)
    violation = failure(seed, parts, size)
    if violation is None:
        raise ValueError(f"the schedule of seed {seed} does not fail: {size}")
    kind, runs = kind_of(violation), 1
    while True:
        found = None
        for candidate, candidate_seed in _candidates(size, seed):
            if runs == runs_max:
                break
            runs += 1
            found = failure(candidate_seed, parts, candidate)
            if found is not None and kind_of(found) == kind:
                seed, size, violation = candidate_seed, candidate, found
                break
            found = None
        if found is None:
            return Shrunk(seed, size, f"smaller, after {runs} runs: {size}\n{violation}", runs)


def failure(seed, parts, size):
    """The Violation of one schedule, or None."""
    try:
        run(seed, parts, size)
    except Violation as violation:
        return violation
    return None


def _candidates(size, seed):
    for candidate in smaller(size):
        for offset in range(SEEDS_PER_STEP):
            yield candidate, seed + offset
