"""Outputs of steps that a hot spare repeated: they left, or the failover has to find out which did not.

When that is asked, a thousand and more wait in memory that is in no cache, nearly all of them left, and everybody waits for the first
new one. So their keys are apart from them, and of those that left only the keys are looked at.
"""

from collections import deque

#: Steps whose outputs are kept, of all workers, and bytes of these; beyond it the oldest of the worker that has most are dropped, counted:
#: what of them got lost stays lost.
KEPT_STEPS_MAX, KEPT_BYTES_MAX = 1 << 14, 32 << 20
#: in place of the key of a step with several outputs: it may be that some of them left
_SEVERAL = -1


class KeptOutputs:
    """The outputs [(port number, frame)] of steps of so many *workers*, in order for each."""

    def __init__(self, workers):
        self._steps = [deque() for _ in range(workers)]     # (k, outputs)
        self._keys = [deque() for _ in range(workers)]      # of each the key k << 16, or _SEVERAL
        self._count = self._bytes = 0
        self.dropped = 0

    def __len__(self):
        return self._count

    def add(self, number, k, outputs):
        """Keep the *outputs*, one or more, of step *k* of worker *number*."""
        self._steps[number].append((k, outputs))
        self._keys[number].append(k << 16 if len(outputs) == 1 else _SEVERAL)
        self._count += 1
        self._bytes += _size(outputs)
        while self._count > KEPT_STEPS_MAX or self._bytes > KEPT_BYTES_MAX:
            self._forget_oldest(self._fullest())
            self.dropped += 1

    def forget(self, number, k):
        """Outputs of worker *number* up to step *k* never leave again."""
        steps = self._steps[number]
        while steps and steps[0][0] <= k:
            self._forget_oldest(number)

    def forget_some(self, steps_max):
        """Forget up to *steps_max* steps, whichever: they are of no use any more, and all at once would take long."""
        for number, steps in enumerate(self._steps):
            some = min(steps_max, len(steps))
            for _ in range(some):
                self._forget_oldest(number)
            steps_max -= some

    def _fullest(self):
        return max(range(len(self._steps)), key=lambda number: len(self._steps[number]))

    def _forget_oldest(self, number):
        self._keys[number].popleft()
        self._bytes -= _size(self._steps[number].popleft()[1])
        self._count -= 1

    def not_among(self, released):
        """[(worker, k, outputs)] of steps of which not all outputs are for sure *released*: per worker, a set of keys k << 16 | j."""
        return [(number, *self._steps[number][place]) for number, keys in enumerate(self._keys)
                for place, key in enumerate(keys) if key not in released[number]]


def _size(outputs):
    return sum(len(frame) for _, frame in outputs)
