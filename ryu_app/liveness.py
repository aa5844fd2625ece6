"""Liveness: from signs of life to who is alive and who is dead, and why. Pure; times in ns.

A closed control connection or a data port that goes down is evidence at once. Silence is evidence after
*suspect_after*, counted in time during which this process itself ran: a tick that comes late (the
controller was not scheduled) adds at most two tick intervals, so a slow machine does not make everybody suspect.
A node whose beats are missed but whose data plane is heard is busy, not dead: it gets up to HEARD_FACTOR times as long.
"""

from dataclasses import dataclass
from typing import Dict, List, Optional

CLOSED = "control connection closed"
LINK_DOWN = "link down"
SILENT = "beats missed"
NO_PATH = "no path"
DATA_SILENT = "data plane silent"

HEARD_FACTOR = 5


@dataclass(frozen=True)
class Verdict:
    """A node's new standing. *cause* is None for alive; *last_seen_ns* its last sign of life."""
    node: str
    alive: bool
    cause: Optional[str]
    last_seen_ns: int


class _Watch:
    """What is known of one node."""

    def __init__(self):
        self.connected = False
        self.port_up = True         # until a switch tells otherwise
        self.reachable = True       # there is a path to it
        self.alive = False
        self.last_seen_ns = 0
        self.deadline_ns = 0        # in running time
        self.limit_ns = 0           # how far it can be put off by what is heard


class Liveness:
    """The detector of all *nodes*. Each event returns the Verdicts that it changes."""

    def __init__(self, nodes, suspect_after_ns, tick_interval_ns):
        self._suspect_after_ns = suspect_after_ns
        self._tick_interval_ns, self._step_max_ns = tick_interval_ns, 2 * tick_interval_ns
        self._watches: Dict[str, _Watch] = {node: _Watch() for node in sorted(nodes)}
        self._running_ns = 0
        self._last_tick_ns: Optional[int] = None

    def connected(self, node, now_ns) -> List[Verdict]:
        """The node authenticated and said hello."""
        watch = self._watches[node]
        watch.connected = True
        self._seen(watch, now_ns)
        return self._judge(node, None)

    def beat(self, node, now_ns) -> List[Verdict]:
        """Any message of the node came."""
        watch = self._watches[node]
        if watch.connected:
            self._seen(watch, now_ns)
        return []

    def heard(self, node, now_ns, ago_ns=0):
        """Others took frames of the node from the data network, the last one *ago_ns* ago."""
        watch = self._watches[node]
        deadline_ns = self._running_at(now_ns) - ago_ns + self._suspect_after_ns
        watch.deadline_ns = max(watch.deadline_ns, min(deadline_ns, watch.limit_ns))

    def closed(self, node) -> List[Verdict]:
        """The node's control connection is gone."""
        self._watches[node].connected = False
        return self._judge(node, CLOSED)

    def port(self, node, up) -> List[Verdict]:
        """The switch port of the node's data interface went up or down."""
        self._watches[node].port_up = up
        return self._judge(node, LINK_DOWN)

    def path(self, node, found) -> List[Verdict]:
        """Whether a path through the switches leads to the node."""
        self._watches[node].reachable = found
        return self._judge(node, NO_PATH)

    def tick(self, now_ns) -> List[Verdict]:
        """Call every tick interval, or after ``next_ns``; silence is judged here only."""
        if self._last_tick_ns is not None:
            self._running_ns += min(now_ns - self._last_tick_ns, self._step_max_ns)
        self._last_tick_ns = now_ns
        verdicts = []
        for node, watch in self._watches.items():
            if watch.connected and self._running_ns > watch.deadline_ns:
                # told of a node that was dead by its link already, too: its connection is of no more use
                watch.connected = watch.alive = False
                verdicts.append(Verdict(node, False, SILENT, watch.last_seen_ns))
        return verdicts

    def next_ns(self, now_ns):
        """How long it is, from *now_ns* on, until silence is to be judged next: a tick interval, or less if a node may be dead sooner."""
        running_ns = self._running_at(now_ns)
        left_ns = [watch.deadline_ns + 1 - running_ns for watch in self._watches.values() if watch.connected]
        return max(0, min([self._tick_interval_ns, *left_ns]))

    def _running_at(self, now_ns):
        since_tick_ns = 0 if self._last_tick_ns is None else min(now_ns - self._last_tick_ns, self._step_max_ns)
        return self._running_ns + since_tick_ns

    def _seen(self, watch, now_ns):
        running_ns = self._running_at(now_ns)
        watch.last_seen_ns = now_ns
        watch.deadline_ns = running_ns + self._suspect_after_ns
        watch.limit_ns = running_ns + HEARD_FACTOR * self._suspect_after_ns

    def _judge(self, node, cause):
        watch = self._watches[node]
        alive = watch.connected and watch.port_up and watch.reachable
        if alive == watch.alive:
            return []
        watch.alive = alive
        return [Verdict(node, alive, None if alive else cause, watch.last_seen_ns)]
