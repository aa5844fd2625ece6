"""Fault switches: a bad network between the roles, for tests and campaigns; off unless the node file asks for it.

``"faults": {"seed": 7, "loss": 0.01, "duplicate": 0.01, "reorder": 0.02}`` in a node file makes what the node sends on
its data interface (inputs, outputs, acknowledgements, trims) get lost, come twice or be overtaken, each frame with
these probabilities. Port interfaces and the management network are not touched. The same seed draws the same.
"""

import heapq
import random

#: an overtaken frame goes out after so many others at most, or after HOLD_NS
OVERTAKEN_BY_MAX = 8
HOLD_NS = 3_000_000
#: frames held back at a time; beyond it frames are sent at once
HELD_MAX = 64
_PROBABILITIES = ("loss", "duplicate", "reorder")


class Faults:
    """``send`` and ``send_all`` in the place of a link's, whose *send_all* sends what is left. Raises ValueError for *settings* that can't be."""

    def __init__(self, send_all, loop, settings):
        _check(settings)
        self.counters = {"faults_lost": 0, "faults_duplicated": 0, "faults_reordered": 0}
        self._send_all, self._loop = send_all, loop
        self._random = random.Random(settings["seed"])
        self._loss, self._duplicate, self._reorder = (settings.get(name, 0) for name in _PROBABILITIES)
        self._sent = 0              # frames that took their turn
        self._held = []             # heap of (turn after which it goes, number, frame)
        self._timer = None

    def send(self, frame):
        """``send_all`` of one."""
        self.send_all([frame])

    def send_all(self, frames):
        """Send *frames*, or what has become of them."""
        leaving = []
        for frame in frames:
            self._pass(frame, leaving)
        if leaving:
            self._send_all(leaving)

    def _pass(self, frame, leaving):
        draw = self._random.random()
        if draw < self._loss:
            self.counters["faults_lost"] += 1
        elif draw < self._loss + self._reorder and self._hold(frame):
            self.counters["faults_reordered"] += 1
        else:
            leaving.append(frame)
            if self._random.random() < self._duplicate and self._hold(frame):
                self.counters["faults_duplicated"] += 1
        self._sent += 1
        while self._held and self._held[0][0] <= self._sent:
            leaving.append(heapq.heappop(self._held)[2])

    def _hold(self, frame):
        """Keep *frame* for a while; False if too many are kept already."""
        if len(self._held) >= HELD_MAX:
            return False
        turn = self._sent + 1 + self._random.randint(1, OVERTAKEN_BY_MAX)
        heapq.heappush(self._held, (turn, self._random.getrandbits(32), frame))
        if self._timer is None:
            self._timer = self._loop.after(HOLD_NS, self._flush)
        return True

    def _flush(self):
        """Nothing is held for long, even if nothing follows."""
        self._timer = None
        leaving = []
        while self._held:
            leaving.append(heapq.heappop(self._held)[2])
        if leaving:
            self._send_all(leaving)


def _check(settings):
    if not isinstance(settings, dict) or set(settings) - {"seed", *_PROBABILITIES} or type(settings.get("seed")) is not int:
        raise ValueError(f"faults must be a map with an integer seed and any of {', '.join(_PROBABILITIES)}, not {settings!r}")
    for name in _PROBABILITIES:
        value = settings.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ValueError(f"faults: {name} must be a probability below 1, not {value!r}")
