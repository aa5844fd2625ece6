"""One schedule from a seed."""

import random
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
    moves: int
    replaced: int           # input loggers, output loggers and stores
    resumed: int            # failovers to a hot spare that went on from where it stood
    went_ahead: int         # of them, those before all was fenced and redirected
    lost: int               # 1: the state was lost, as it must be
    digest: int


class Size(NamedTuple):
    """How large a schedule is, and which faults its network does without."""

    workers: int
    packets: int
    crashes: int
    without: tuple = ()

    @classmethod
    def draw(cls, rng):
        return cls(rng.choice((1, 1, 2, 3, 4)), rng.choice((10, 20, 30, 60, 120)), rng.choice((0, 1, 2, 3, 6)))

    @classmethod
    def of(cls, seed):
        """The size that *seed* draws."""
        return cls.draw(random.Random(seed))


def run(seed, parts=Parts(), size=None):
    """One schedule; *size* instead of what the seed draws. Raises Violation, which says how to repeat it, from what was raised."""
    rng = random.Random(seed)
    drawn = Size.draw(rng)
    size = size or drawn
    group = None
    try:
        group = Group(rng, parts, workers=size.workers)
        for fault in size.without:
            group.network.without(fault)
        group.run(size.packets, size.crashes)
    except Exception as error:
        at_ns = group.events.now_ns if group else 0
        raise Violation(f"seed {seed}, at {at_ns / 1e6:.3f} ms: {type(error).__name__}: {error}\n"
                        f"repeat with: {command(seed, size)}") from error
    releases = group.checker.releases
    digest = random.Random(repr(releases)).getrandbits(64)
    return Report(seed, group.events.count, len(releases), group.controller.failovers, group.workers, group.checker.accesses,
                  group.checker.cut_open, group.controller.moves, group.controller.changes.made, group.checker.resumed,
                  group.checker.went_ahead, int(bool(group.lost)), digest)


def command(seed, size):
    """The command that runs this one schedule."""
    words = f"python -m tests.sim --schedules 1 --seed {seed}"
    drawn = Size.of(seed)
    for name in ("workers", "packets", "crashes"):
        if getattr(size, name) != getattr(drawn, name):
            words += f" --{name} {getattr(size, name)}"
    return words + "".join(f" --without {fault}" for fault in size.without)
