"""What the controller knows: nodes, groups, requests under way; and the actions it has decided on. Pure."""

from collections import deque
from dataclasses import dataclass, field
from typing import Deque, Dict, List, Optional, Set, Tuple

from . import actions
from .deployment import GroupSpec, Place
from .flapping import Flapping
from .steering import Steering
from .underway import Holder, Move, Recovery, Replacement

#: The roles beside the master and its spare, in the order of their fences.
LOGS = ("output-logger", "input-logger", "store")
TICK_INTERVAL_NS, TICK_INTERVAL_MIN_NS = 20_000_000, 1_000_000
REQUEST_TIMEOUT_NS = 10_000_000_000     # an agent that beats but does not answer is as good as dead
UNFIT_NS = 60_000_000_000               # so long a process gets no role of a group that it failed
RECORDS_MAX = 1000                      # failovers remembered per group


@dataclass
class Node:
    """A role host. *roles* is what its process says it has: (group, role) -> epoch."""
    name: str
    boot: Optional[int] = None
    service: Optional[list] = None
    connected: bool = False             # said hello on a connection that still stands
    closing: bool = False               # its connection is being closed from here: what still comes of it counts no more
    alive: bool = False                 # connected, and its data port is up and has a path
    death: Tuple[str, int] = ("never seen", 0)      # cause, last sign of life in ns
    fenced: bool = False                # a rule drops what its data port sends
    drained: bool = False               # gets no roles until an operator says so
    restarting: bool = False            # was asked to, and has not come back yet
    roles: Dict[Tuple[str, str], int] = field(default_factory=dict)
    beat: Optional[list] = None         # what its last beat said of its roles; None: none since its hello
    retiring: Set[Tuple[str, str]] = field(default_factory=set)
    unfit: Dict[str, int] = field(default_factory=dict)     # groups that it failed -> when it may try again, in ns
    flapping: Flapping = field(default_factory=Flapping)

    def counters(self, group, role):
        """The counters that its last beat told of a role, {} if none."""
        for item in self.beat or ():
            if (isinstance(item, dict) and item.get("group") == group and item.get("role") == role
                    and isinstance(item.get("counters"), dict)):
                return item["counters"]
        return {}


@dataclass
class Group:
    """A protected middlebox. *phase*: waiting (for nodes), assigning, running or recovering.

    A checkpoint protects the group if it was cut in *due* or later: since then nothing has changed that it does
    not cover. *epoch* rises with each change, *master_epoch* is the one of the master's beginning.
    """
    spec: GroupSpec
    epoch: int = 0
    master_epoch: int = 0
    inputs_from: int = 0                # the epoch in which the input logger began; 0: not known
    phase: str = "waiting"
    holders: Dict[str, Holder] = field(default_factory=dict)    # LOGS and master
    spare: Optional[Holder] = None
    token: Optional[int] = None         # steering that must be in place before roles are assigned
    abandoned: bool = False             # a start was given up: its roles are to be given back
    change: int = 0                     # the epoch of the last change beside those that are under way
    durable_change: int = 0             # of the newest checkpoint that is known to be durable
    fresh: bool = False                 # nothing was ever durable
    presumed: bool = False              # relearned: durable, for all that is known
    replacing: Dict[str, Replacement] = field(default_factory=dict)
    recovery: Optional[Recovery] = None
    move: Optional[Move] = None
    failovers: Deque[dict] = field(default_factory=lambda: deque(maxlen=RECORDS_MAX))
    told: Optional[str] = None          # the state that was last published

    @property
    def name(self):
        return self.spec.name

    @property
    def due(self):
        return max([self.change, *(replacement.epoch for replacement in self.replacing.values())])

    @property
    def durable(self):
        return self.durable_change >= self.due


@dataclass(frozen=True)
class Pending:
    """A request that was sent and not answered. *owner*: the Recovery, Replacement or Move that it belongs to."""
    node: str
    do: str
    group: str
    role: str
    epoch: int
    sent_ns: int
    owner: object = None


class Context:
    """The facts, and the few verbs that change the world."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.nodes = {name: Node(name) for name in sorted(deployment.nodes)}
        self.groups = {name: Group(spec) for name, spec in deployment.groups.items()}
        self.pending: Dict[int, Pending] = {}
        self.now_ns = 0                         # of the event at hand
        self.down: Set[Place] = set()
        self.switches: Set[str] = set()         # connected
        self.gathered = False                   # hellos are in: roles may be given
        self.impatient = False                  # who is not here by now is not waited for
        self._actions: List[object] = []
        self._token: Optional[int] = None       # of a steering that take() will hand out
        self._numbers = 0
        self._link_ends = frozenset(end for link in deployment.links for end in link)

    # -- facts

    def intact(self, group, role):
        """Whether the process that was given *role* is alive and still has it."""
        holder = group.holders.get(role)
        return holder is not None and holder.acked and self.standing(holder)

    def standing(self, holder):
        """Whether the process that *holder* speaks of is alive."""
        node = self.nodes[holder.node]
        return node.alive and node.boot == holder.boot

    def expected(self, node, key):
        """Whether *node*'s process should have the role *key* = (group, role)."""
        group = self.groups.get(key[0])
        if group is None:
            return False
        if group.phase == "waiting":
            return not group.abandoned          # else: not decided yet
        holders = [group.holders.get(key[1]) if key[1] != "spare" else group.spare]
        if key[1] == "spare" and group.recovery is not None:
            holders.append(group.holders.get("master"))     # the target stays a spare until it is live
        if key[1] in group.replacing:
            holders.append(group.replacing[key[1]].previous)    # until the new one protects the group
        if group.recovery is not None and key[1] == "store":
            holders.append(group.recovery.former_store)         # until the new one is known to have something
        if group.recovery is not None and key[1] in group.recovery.doubtful:
            holders.append(group.recovery.doubtful[key[1]].previous)
        return any(holder is not None and holder.node == node.name and holder.boot == node.boot for holder in holders)

    def stale(self, node):
        """The roles that *node* says it has and should not have."""
        return sorted(key for key in node.roles if not self.expected(node, key))

    def superseded(self, node):
        """Whether a role of *node*'s process is being taken over from it."""
        return any(replacement.previous is not None and replacement.previous.node == node.name
                   and replacement.previous.boot == node.boot
                   for group in self.groups.values() for replacement in group.replacing.values())

    def steering(self):
        """Who is active now, by what is decided; where nothing is yet, the switches keep what they have.

        So does the fence of a node that was not heard yet, or was the master of a group that is not decided.
        """
        active = {}
        undecided = frozenset(group.name for group in self.groups.values() if group.phase == "waiting")
        for group in self.groups.values():
            if group.name in undecided:
                continue
            for role in ("input-logger", "output-logger", "master"):
                holder = group.holders.get(role)
                active[group.name, role] = holder.node if holder else None
        fenced = frozenset(name for name, node in self.nodes.items() if node.fenced)
        unjudged = frozenset(name for name, node in self.nodes.items()
                             if node.boot is None or any((group, "master") in node.roles for group in undecided))
        # no path leads over any other port: a node that dies with its host asks for what one asks for that dies alone
        return Steering(active, fenced, self._link_ends & self.down, undecided, unjudged)

    # -- verbs

    def request(self, now_ns, node, do, group, role, args, owner=None, epoch=None):
        """Ask *node*; the answer comes back with the Pending that is noted here. *epoch*: the group's, if none is given."""
        self._numbers += 1
        epoch = group.epoch if epoch is None else epoch
        self.pending[self._numbers] = Pending(node, do, group.name, role, epoch, now_ns, owner)
        self._actions.append(actions.Request(node, {"t": "request", "id": self._numbers, "do": do, "group": group.name,
                                                    "epoch": epoch, "args": args}))

    def close(self, node):
        if node in self.nodes:
            self.nodes[node].closing = True
        self._actions.append(actions.Close(node))

    def steer(self):
        """Have the switches follow the facts as ``take`` finds them; returns the token that tells when they do."""
        if self._token is None:
            self._numbers += 1
            self._token = self._numbers
        return self._token

    def publish(self, level, what, now_ns, group=None, node=None):
        self._actions.append(actions.Publish(level, what, now_ns, group.name if group else None, node))

    def take(self):
        """The actions decided since the last call, each kind in order: what nodes wait for, at most one Steer, what is for people.

        A request takes a fraction of the time that a Steer does, and its answer takes as long as the switches': so both go on at once.
        """
        taken, self._actions = self._actions, []
        told = [action for action in taken if isinstance(action, actions.Publish)]
        taken = [action for action in taken if not isinstance(action, actions.Publish)]
        if self._token is not None:
            taken.append(actions.Steer(self.steering(), self._token))
            self._token = None
        return taken + told
