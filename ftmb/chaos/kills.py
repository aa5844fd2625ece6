"""The kinds of kills: how they are drawn from the seed, and how each is done. A further kind is one entry in KINDS.

A kind is a function of the Ground (what can be done to the network) and the Strike (what was drawn); it returns once
all of its kills are done. Waiting for the group and healing come after it, the same for every kind. Where a kind kills twice
before all is well again, it is a pair that the design survives (docs/operations.md has those that can't be).
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable, Tuple

from ..errors import UsageError

#: a strike comes so long after all was well
PAUSE_MS = (200, 900)


@dataclass(frozen=True)
class Kind:
    """*hows*: ways to draw from; *delay_ms*: range of the moment inside the strike; *nodes*: how many of the pool may die;
    *weight*: how often it comes, next to the others; *of_spare*: whether it strikes a spare that has a role, so not a cold one."""

    strike: Callable
    hows: Tuple[str, ...]
    delay_ms: Tuple[float, float] = (0, 0)
    nodes: int = 1
    weight: int = 1
    of_spare: bool = False


@dataclass(frozen=True)
class Strike:
    """One entry of a campaign, drawn ahead."""

    kind: str
    how: str
    pause_ms: float
    delay_ms: float


class MoveFailed(Exception):
    """A planned move was begun and did not hold."""


class Ground:
    """The network under test, as kinds see it. *emulator* is ``ftmb.emulator.client``, *group* the group's name.

    ``killed`` has the names of what was killed, or moved away from.
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
        self.killed.append(self._emulator.kill(self._group, role, how, node)["node"])

    def kill_controller(self):
        """Kill the controller: nobody replaces what dies until it is healed."""
        self.killed.append(self._emulator.kill("-", "controller", "process", None)["node"])

    def heal_controller(self):
        """Start the controller anew; returns once it answers: what is told until then is from before its death."""
        self._emulator.heal("controller")
        self.until(lambda group: self._emulator.status()["controller"]["alive"], "controlled again")

    def move(self):
        """Move the master to another node. Raises MoveFailed."""
        self.killed.append(self.group()["master"])
        error = self._emulator.move(self._group).get("error")
        if error is not None:
            raise MoveFailed(f"the move did not hold: {error}")

    def try_move(self):
        """As ``move``, with the master dying meanwhile: it may hold, fail on the way, or be refused."""
        try:
            return self._emulator.move(self._group)
        except UsageError as error:
            return {"error": str(error)}

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
    """The *count* Strikes of *seed* in random order: every kind by its weight; if *kinds* are chosen, equally often."""
    rng = random.Random(seed)
    names = [name for name, kind in KINDS.items() for _ in range(kind.weight)] if kinds is None else list(kinds)
    strikes = []
    while len(strikes) < count:
        for name in rng.sample(names, len(names)):
            kind = KINDS[name]
            strikes.append(Strike(name, rng.choice(kind.hows), round(rng.uniform(*PAUSE_MS), 1),
                                  round(rng.uniform(*kind.delay_ms), 1)))
    return strikes[:count]


def without_spares():
    """The kinds, each as often as its weight says, that strike no spare that has a role."""
    return [name for name, kind in KINDS.items() if not kind.of_spare for _ in range(kind.weight)]


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
    """The spare dies while it recovers; a cold one is known only then."""
    group = ground.group()
    ground.kill("master", group["master"], strike.how)
    ground.wait_ms(strike.delay_ms)
    if group["spares"]:
        target = group["spares"][0]
    else:
        target = ground.until(lambda now: now["master"] not in (None, group["master"]), "another master")["master"]
    ground.kill("master", target, strike.how)


def _twice(ground, strike):
    """The new master dies as soon as the group is protected again."""
    _master(ground, strike)
    dead = ground.killed[-1]
    ground.until(lambda group: group["state"] == "protected" and group["master"] != dead,
                 "protected between the two kills")
    _master(ground, strike)


def _holder(role):
    """The strike on whoever has *role*, a key of the group's status."""
    def strike_holder(ground, strike):
        ground.kill(role.replace("_", "-"), ground.group()[role], strike.how)
    return strike_holder


def _loggers(ground, strike):
    """Both loggers at once; one node may be both."""
    group = ground.group()
    for role, node in {group[role]: (role, group[role]) for role in ("output_logger", "input_logger")}.values():
        ground.kill(role.replace("_", "-"), node, strike.how)


def _spare_and_master(ground, strike):
    """The spare, and the master before another spare is ready: a cold one has to do."""
    group = ground.group()
    ground.kill("spare", group["spares"][0], strike.how)
    ground.wait_ms(strike.delay_ms)
    ground.kill("master", group["master"], strike.how)


def _move(ground, _strike):
    ground.move()


def _move_and_master(ground, strike):
    """The master dies in the middle of a move: whether that holds or not, another one goes on."""
    node = ground.group()["master"]
    with ThreadPoolExecutor(max_workers=1) as pool:
        moving = pool.submit(ground.try_move)
        ground.wait_ms(strike.delay_ms)
        ground.kill("master", node, strike.how)
        moving.result()


def _controller(ground, strike):
    """The controller is away for a while, and nothing else happens."""
    ground.kill_controller()
    try:
        ground.wait_ms(strike.delay_ms)
    finally:
        ground.heal_controller()


def _away(ground, strike):
    """The master dies while the controller is away."""
    node = ground.group()["master"]
    ground.kill_controller()
    try:
        ground.wait_ms(strike.delay_ms)
        ground.kill("master", node, strike.how)
    finally:
        ground.heal_controller()


_DEADLY = ("process", "host", "link")

KINDS = {
    "process": Kind(_master, ("process",), weight=4),
    "host": Kind(_master, ("host",), weight=4),
    "link": Kind(_master, ("link",), weight=4),
    # goes on as a zombie when it is healed, after the failover
    "hang": Kind(_master, ("hang",), weight=4),
    # the suspicion comes after a second of silence
    "stutter": Kind(_stutter, ("hang",), (100, 1500), weight=4),
    # longer than the interval of checkpoints, far shorter than a suspicion
    "checkpoint": Kind(_checkpoint, _DEADLY, (120, 300), weight=4),
    # a recovery takes some tens of milliseconds from the kill on
    "recovery": Kind(_recovery, _DEADLY, (0, 60), nodes=2, weight=4),
    "twice": Kind(_twice, _DEADLY, nodes=2, weight=4),
    "spare": Kind(_spare, (*_DEADLY, "hang"), weight=3, of_spare=True),
    "spare-and-master": Kind(_spare_and_master, _DEADLY, (0, 60), nodes=2, of_spare=True),
    "input-logger": Kind(_holder("input_logger"), _DEADLY, weight=4),
    "output-logger": Kind(_holder("output_logger"), _DEADLY, weight=4),
    "store": Kind(_holder("store"), _DEADLY, weight=3),
    "loggers": Kind(_loggers, _DEADLY),
    # each takes as long as the suspicion, so they are rare
    "input-hang": Kind(_holder("input_logger"), ("hang",)),
    "output-hang": Kind(_holder("output_logger"), ("hang",)),
    "store-hang": Kind(_holder("store"), ("hang",)),
    "move": Kind(_move, ("planned",), weight=2),
    # a move takes about as long as a checkpoint
    "move-and-master": Kind(_move_and_master, _DEADLY, (0, 100)),
    "controller": Kind(_controller, ("process",), (0, 800)),
    "away": Kind(_away, _DEADLY, (0, 800)),
}
