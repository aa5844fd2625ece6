"""The kinds of kills: how they are drawn from the seed, and how each is done. A further kind is one entry in KINDS.

A kind is a function of the Ground (what can be done to the network) and the Strike (what was drawn); it returns once
all of its kills are done. Waiting for the group and healing come after it, the same for every kind.
"""

import random
import time
from dataclasses import dataclass
from typing import Callable, Tuple

#: a strike comes so long after all was well
PAUSE_MS = (200, 900)


@dataclass(frozen=True)
class Kind:
    """*hows*: ways to draw from; *delay_ms*: range of the moment inside the strike; *nodes*: how many of the pool may die."""

    strike: Callable
    hows: Tuple[str, ...]
    delay_ms: Tuple[float, float] = (0, 0)
    nodes: int = 1


@dataclass(frozen=True)
class Strike:
    """One entry of a campaign, drawn ahead."""

    kind: str
    how: str
    pause_ms: float
    delay_ms: float


class Ground:
    """The network under test, as kinds see it. *emulator* is ``ftmb.emulator.client``, *group* the group's name.

    ``killed`` and ``resumed`` collect what was done to the pool's nodes.
    """

    def __init__(self, emulator, group, until):
        self._emulator, self._group = emulator, group
        self.until = until              # until(holds of the group, what) -> the group; raises when patience ends
        self.killed = []

    def group(self):
        """The group's entry in the status."""
        status = self._emulator.status()
        return next(group for group in status["groups"] if group["name"] == self._group)

    def kill(self, role, node, how):
        """Kill *node*, which has *role*."""
        self.killed.append(self._emulator.kill(self._group, role, how, node))

    def hang(self, role, node):
        """Stop *node* for a moment: it is no kill."""
        self._emulator.kill(self._group, role, "hang", node)

    def heal(self, node):
        """Undo what was done to *node*."""
        self._emulator.heal(node)

    @staticmethod
    def wait_ms(delay_ms):
        """A moment that the seed has chosen, not a wait for something."""
        time.sleep(delay_ms / 1e3)


def draw(seed, count, kinds=None):
    """The *count* Strikes of *seed*: every kind comes about equally often, in random order."""
    rng = random.Random(seed)
    names, strikes = list(KINDS) if kinds is None else list(kinds), []
    while len(strikes) < count:
        for name in rng.sample(names, len(names)):
            kind = KINDS[name]
            strikes.append(Strike(name, rng.choice(kind.hows), round(rng.uniform(*PAUSE_MS), 1),
                                  round(rng.uniform(*kind.delay_ms), 1)))
    return strikes[:count]


def _master(ground, strike):
    ground.kill("master", ground.group()["master"], strike.how)


def _spare(ground, strike):
    ground.kill("spare", ground.group()["spares"][0], strike.how)


def _stutter(ground, strike):
    """The master stands still for a moment around the suspicion, then goes on as if nothing had been."""
    node = ground.group()["master"]
    ground.kill("master", node, "hang")
    ground.wait_ms(strike.delay_ms)
    ground.heal(node)


def _checkpoint(ground, strike):
    """The store stands still, so that the master is in the middle of a checkpoint when it dies."""
    group = ground.group()
    ground.hang("store", group["store"])
    try:
        ground.wait_ms(strike.delay_ms)
        ground.kill("master", group["master"], strike.how)
    finally:
        ground.heal(group["store"])


def _recovery(ground, strike):
    """The spare dies while it recovers."""
    group = ground.group()
    ground.kill("master", group["master"], strike.how)
    ground.wait_ms(strike.delay_ms)
    ground.kill("master", group["spares"][0], strike.how)


def _twice(ground, strike):
    """The new master dies as soon as the group is protected again."""
    _master(ground, strike)
    dead = ground.killed[-1]["node"]
    ground.until(lambda group: group["state"] == "protected" and group["master"] != dead,
                 "protected between the two kills")
    _master(ground, strike)


_DEADLY = ("process", "host", "link")

KINDS = {
    "process": Kind(_master, ("process",)),
    "host": Kind(_master, ("host",)),
    "link": Kind(_master, ("link",)),
    # goes on as a zombie when it is healed, after the failover
    "hang": Kind(_master, ("hang",)),
    # the suspicion comes after a second of silence
    "stutter": Kind(_stutter, ("hang",), (100, 1500)),
    # longer than the interval of checkpoints, far shorter than a suspicion
    "checkpoint": Kind(_checkpoint, _DEADLY, (120, 300)),
    # a recovery takes some tens of milliseconds from the kill on
    "recovery": Kind(_recovery, _DEADLY, (0, 60), nodes=2),
    "twice": Kind(_twice, _DEADLY, nodes=2),
    "spare": Kind(_spare, (*_DEADLY, "hang")),
}

