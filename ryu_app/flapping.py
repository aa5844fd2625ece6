"""Flapping: a node that dies again and again gets no new role for a while. Pure; times in ns.

The DEATHS_MAX-th death within WINDOW_NS damps the node for PENALTY_MIN_NS, and each further one for twice as long
as the last, up to PENALTY_MAX_NS. FORGIVEN_NS without a death, and all is forgotten.
"""

from collections import deque

DEATHS_MAX = 3
WINDOW_NS = 60_000_000_000
PENALTY_MIN_NS = 30_000_000_000
PENALTY_MAX_NS = 3_600_000_000_000
FORGIVEN_NS = 7_200_000_000_000


class Flapping:
    """The deaths of one node."""

    def __init__(self):
        self._deaths = deque(maxlen=DEATHS_MAX)
        self._penalty_ns = 0
        self._until_ns = 0

    def died(self, now_ns):
        """The node died; returns for how long it is damped now, in ns, or 0."""
        if self._deaths and now_ns - self._deaths[-1] > FORGIVEN_NS:
            self._penalty_ns = 0
        self._deaths.append(now_ns)
        if len(self._deaths) < DEATHS_MAX or now_ns - self._deaths[0] > WINDOW_NS:
            return 0
        self._penalty_ns = min(max(2 * self._penalty_ns, PENALTY_MIN_NS), PENALTY_MAX_NS)
        self._until_ns = now_ns + self._penalty_ns
        return self._penalty_ns

    def damped(self, now_ns):
        """Whether it gets no new role now, unless there is nobody else."""
        return now_ns < self._until_ns
