"""What a logger sends to a hot spare while the master lives: all that it logs or stores, in order, without a gap (docs/protocol.md, rule 23).

A feed is one follower's place in a logger's log: what is ``taken`` comes from the log itself, so it costs no memory. Only what the
log is about to forget and the follower has not got yet is kept for it, up to ``bytes_max``; a follower that is further behind is
``cut_off``, and begins anew from a checkpoint.
"""

from collections import deque

from .frames import decode_input

#: what is kept for one follower that is slow, in bytes
FEED_BYTES_MAX = 8 << 20
#: what one take gives at most
FRAMES_MAX, DETERMINANT_BYTES_MAX = 64, 32 << 10


class Feed:
    """What is kept for one follower. Subclasses know the log: ``_read`` gives the next [(cost in bytes, part)] of it."""

    def __init__(self, bytes_max):
        self.cut_off = False
        self._kept, self._kept_bytes, self._bytes_max = deque(), 0, bytes_max

    def take(self):
        """The next parts for the follower, [] if there are none now."""
        if self.cut_off:
            return []
        if self._kept:
            size, parts = self._kept.popleft()
            self._kept_bytes -= size
            return parts
        return self._read()[1]

    def save(self):
        """The log is about to forget something: keep what the follower has not got of it, or cut it off."""
        while not self.cut_off:
            size, parts = self._read()
            if not parts:
                return
            self._kept.append((size, parts))
            self._kept_bytes += size
            if self._kept_bytes > self._bytes_max:
                self.cut_off = True
        self._kept.clear()


class InputFeed(Feed):
    """Inputs of *core* (an InputLogger) after *after* (one n per worker), as INPUT frames.

    ``begin``: what it really begins after, per worker: the log may have forgotten some; a checkpoint covers them.
    """

    def __init__(self, core, after, bytes_max=FEED_BYTES_MAX):
        super().__init__(bytes_max)
        self._core = core
        self.begin = [self._first(worker, n, last) for worker, (n, last) in enumerate(zip(after, core.last_n))]
        self._n = list(self.begin)

    def _first(self, worker, n, last):
        frames, _ = self._core.after(worker, n, 1)
        return decode_input(frames[0])[2].n - 1 if frames else max(n, last)

    def _read(self):
        found = []
        for worker, n in enumerate(self._n):
            frames, _ = self._core.after(worker, n, FRAMES_MAX)
            if not frames:
                continue
            if decode_input(frames[0])[2].n != n + 1:
                self.cut_off = True         # the log forgot some without a word
                return 0, []
            self._n[worker] = n + len(frames)
            found += frames
        return sum(map(len, found)), found


class DeterminantFeed(Feed):
    """Determinants of *logs* (an OutputLogger's) after *after* (one k per worker), as (worker, encoded) pairs.

    ``begin`` as of an InputFeed. After a fence it gives no more than the recoverable prefix.
    """

    def __init__(self, logs, after, bytes_max=FEED_BYTES_MAX):
        super().__init__(bytes_max)
        self._logs = logs
        self.begin = [max(k, log.trimmed) for k, log in zip(after, logs)]
        self._k = list(self.begin)

    def _read(self):
        found = []
        for worker, (log, k) in enumerate(zip(self._logs, self._k)):
            if log.last <= k:
                continue
            if log.trimmed > k:
                self.cut_off = True         # steps that were never stored here: a checkpoint covers them
                return 0, []
            data, self._k[worker] = log.encode(k, DETERMINANT_BYTES_MAX)
            found.append((worker, data))
        return sum(len(data) for _, data in found), found
