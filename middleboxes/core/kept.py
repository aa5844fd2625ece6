"""Outputs of steps that a hot spare repeated: they left, or the failover has to find out which did not.

When that is asked, thousands wait in memory that is in no cache, nearly all of them left, and everybody waits for the first new one.
So the keys of outputs are apart from them, and only what did not leave is looked at.
"""

from collections import deque

#: Steps whose outputs are kept, of all workers, and bytes of these; beyond it the oldest of the worker are dropped, counted: what of them
#: got lost stays lost.
KEPT_STEPS_MAX, KEPT_BYTES_MAX = 1 << 14, 32 << 20
#: in place of the key of a step with several outputs: it may be that some of them left
_SEVERAL = -1


class KeptOutputs:
    """The outputs [(port number, frame)] of one worker's steps, oldest first. *workers*: how many share the bounds."""

    def __init__(self, workers):
        self._steps, self._keys = deque(), deque()      # (k, outputs), and of each the key k << 16 or _SEVERAL
        self._bytes = 0
        self._steps_max, self._bytes_max = KEPT_STEPS_MAX // workers, KEPT_BYTES_MAX // workers
        self.dropped = 0

    def __len__(self):
        return len(self._steps)

    def add(self, k, outputs):
        """Keep the *outputs*, one or more, of step *k*."""
        self._steps.append((k, outputs))
        self._keys.append(k << 16 if len(outputs) == 1 else _SEVERAL)
        self._bytes += _size(outputs)
        while len(self._steps) > self._steps_max or self._bytes > self._bytes_max:
            self._forget_oldest()
            self.dropped += 1

    def forget(self, k):
        """Outputs of steps up to *k* never leave again."""
        while self._steps and self._steps[0][0] <= k:
            self._forget_oldest()

    def _forget_oldest(self):
        self._keys.popleft()
        self._bytes -= _size(self._steps.popleft()[1])

    def not_among(self, released):
        """[(k, outputs)] of steps of which not all outputs are for sure *released* (keys k << 16 | j)."""
        return [self._steps[place] for place, key in enumerate(self._keys) if key not in released]


def _size(outputs):
    return sum(len(frame) for _, frame in outputs)
