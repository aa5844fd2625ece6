"""What is under way in a group: the recovery of its master, the replacement of another role, a planned move. Data only."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Set


@dataclass
class Holder:
    """Who has a role of a group: a certain process (boot) of a node."""
    node: str
    boot: Optional[int]
    acked: bool = False
    peers: Optional[dict] = None        # of a spare: the addresses that it was told
    hot: bool = False                   # of a spare: it is to repeat what the master does


@dataclass
class Recovery:
    """A failover of a master; ``began_ns`` is when the death was noticed."""
    cause: str
    dead: str
    last_seen_ns: int
    began_ns: int
    attempts: int = 0
    waiting: Set[str] = field(default_factory=set)  # of LOGS and "switch": who has not answered
    asked: Set[str] = field(default_factory=set)
    token: Optional[int] = None
    stored: Optional[list] = None       # R, as the output logger told it
    covered_from: int = 0               # of the output logger: it needs a checkpoint that covers this epoch of it
    begins_after: Optional[list] = None             # of the input logger: it has no inputs up to here
    cold: bool = True
    calm: bool = False                  # nothing else was under way, or lacked a durable checkpoint, when the master died
    let_go_ahead: bool = False          # the target, a hot spare, was told that it may go on before all is fenced
    sent: bool = False
    prepared: bool = False              # the target was asked to become a spare, or is one
    refilled: bool = False              # the store is new: the spare has the checkpoint, or nobody
    former_store: Optional[Holder] = None           # of a store that may have nothing yet
    doubtful: Dict[str, "Replacement"] = field(default_factory=dict)    # of loggers: only the store knows how far it came
    due: int = 0                        # the store's checkpoint must have been cut in this epoch or later
    checkpoint: Optional[dict] = None   # what the store told of it
    beyond: Optional[str] = None        # why the state can't be recovered, whoever comes back
    lost: Optional[str] = None          # why it can't be now
    policy: Optional[str] = None        # the operator's decision, instead of on_loss
    complete: bool = False              # the last checkpoint has all: the master had stopped, and nobody went on yet
    salvage: bool = False               # goes on from the last checkpoint, nothing beyond it
    counters: Optional[list] = None     # what the target last told of its progress
    idle_ns: int = 0                    # time since they last changed
    looked_ns: int = 0                  # at them, last
    failed: bool = False                # some node tried and could not
    fenced_ns: Optional[int] = None
    redirected_ns: Optional[int] = None
    timeline: List[dict] = field(default_factory=list)

    def mark(self, what, at_ns):
        self.timeline.append({"what": what, "at_ns": at_ns})


@dataclass
class Replacement:
    """Another node takes over *role* (of LOGS) while the master lives. *epoch*: a checkpoint cut from this one on ends it."""
    role: str
    cause: str
    dead: str                           # who had the role
    last_seen_ns: int
    began_ns: int
    epoch: int
    previous: Optional[Holder]          # the last that had the role complete
    attempts: int = 1
    token: Optional[int] = None         # steering that is not in place yet
    start: Optional[Dict] = None        # of an input logger: what the master answered to its fence
    asked: bool = False                 # the new node was asked to take the role
    told: bool = False                  # the master was asked to use it
    fenced_ns: Optional[int] = None
    redirected_ns: Optional[int] = None
    told_ns: Optional[int] = None
    placed_ns: Optional[int] = None     # the new node has the role, and traffic gets there
    timeline: List[dict] = field(default_factory=list)

    def mark(self, what, at_ns):
        self.timeline.append({"what": what, "at_ns": at_ns})


@dataclass
class Move:
    """A planned move of the master to *target*. *stage*: restarting, preparing, stopping or stopped."""
    target: str
    stage: str
    since_ns: int                       # the stage began
    boot: Optional[int] = None          # of the process that is to restart
    asked: bool = False


def milliseconds(ns):
    """*ns* in ms, to the microsecond."""
    return round(ns / 1e6, 3)
