"""Determinants: what is needed to repeat a master's execution, in the order it happened (FTMB section 4).

A worker's k-th step processed input n. Where that is all, steps run together: from k on, from n on, *count* steps.
A step may have more to it (its *extra*): accesses to shared variables whose order matters (the packet access log),
and values recorded by ``ctx.record``. One log class serves both ends: at the master it holds what the output
logger has not acknowledged, at the output logger what is stored since the last durable checkpoint.

Encoded, big-endian: first k:u64, then items; an item is a run (0:u8, count:u32, n:u64) or a step with an extra
(1:u8, n:u64, length:u16, msgpack of [accesses, records]). An access is (number of the domain of shared variables, its
version, worker and k of the step that held the domain before); it is there only if that step was another worker's.
"""

import struct
from collections import deque
from itertools import islice

from libc.stdint cimport uint8_t, uint32_t
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from .channel import pack, unpack
from .frames import STEP_MAX

cdef extern from "<endian.h>" nogil:
    uint32_t be32toh(uint32_t value)
    uint64_t be64toh(uint64_t value)

_FIRST = struct.Struct(">Q")
_RUN = struct.Struct(">BIQ")
_STEP = struct.Struct(">BQH")
_COUNT_MAX, _N_END = (1 << 32) - 1, 1 << 64      # what a run has room for
_ONE_RUN = struct.Struct(">QBIQ")
cdef uint64_t _STEP_MAX = STEP_MAX

#: what nearly always comes, as it is on the wire: one run of steps
cdef packed struct OneRun:
    uint64_t first
    uint8_t kind
    uint32_t count
    uint64_t n

#: a step must fit one frame of the inner links (MTU 9000)
EXTRA_BYTES_MAX = 8000


class DeterminantError(ValueError):
    """Encoded determinants that can't be decoded, or that contradict what is stored."""


def encode_extra(accesses, records):
    """The bytes of a step's extra; None if there is none. Raises DeterminantError if it is too large."""
    if not accesses and not records:
        return None
    data = pack([accesses, records])
    if len(data) > EXTRA_BYTES_MAX:
        raise DeterminantError(f"a step recorded {len(data)} bytes, the limit is {EXTRA_BYTES_MAX}")
    return data


def decode_extra(extra):
    """(accesses, records) of *extra* (bytes or None). Raises DeterminantError."""
    if extra is None:
        return [], []
    try:
        accesses, records = unpack(extra)
        if type(accesses) is not list or type(records) is not list:
            raise ValueError("not two lists")
        for domain, version, worker, k in accesses:
            if not all(type(number) is int and number >= 0 for number in (domain, version, worker, k)):
                raise ValueError("an access is malformed")
        if not all(type(record) in (bytes, str) for record in records):
            raise ValueError("a record is malformed")
    except (ValueError, TypeError) as error:
        raise DeterminantError(f"a step's extra can't be decoded: {error}") from error
    return accesses, records


cdef class DeterminantLog:
    """One worker's determinants in (``trimmed``, ``last``], kept as runs.

    Items are lists [k, count, n, extra]: *count* steps from k, n on; extra is None for runs.
    """

    def __init__(self, k=0):
        self.trimmed = self.last = k
        self._items = deque()

    def __len__(self):
        """Items kept: what bounds the memory."""
        return len(self._items)

    cpdef append(self, n, extra=None):
        """Add the next step: it processed input *n*."""
        if extra is None:
            self.append_run(n, 1)
            return
        self.last += 1
        self._items.append([self.last, 1, n, extra])

    cdef int append_run(self, uint64_t n, uint64_t count) except -1:
        """Add the next *count* steps: they processed the inputs from *n* on."""
        cdef uint64_t k = self.last + 1
        cdef list tail
        self.last += count
        if self._items:
            tail = self._items[-1]
            if tail[3] is None and tail[2] + tail[1] == n:
                tail[1] += count
                return 0
        self._items.append([k, count, n, None])
        return 0

    cpdef tuple encode(self, uint64_t after, Py_ssize_t bytes_max):
        """(encoded, last k in it) of the steps after *after*; b"" if there are none. At least one item is taken.

        Raises DeterminantError if steps after *after* are trimmed already.
        """
        cdef list item
        items = self._items
        if after >= self.last:
            return b"", after
        if after < self.trimmed:
            raise DeterminantError(f"steps after {after} are asked for, those up to {self.trimmed} are trimmed")
        item = items[-1]
        if item[0] <= after + 1 and item[3] is None:
            skipped = after + 1 - item[0]
            return _ONE_RUN.pack(after + 1, 0, item[1] - skipped, item[2] + skipped), self.last
        parts, size, last = [_FIRST.pack(after + 1)], _FIRST.size, after
        index = self._index_after(after)
        # islice walks over what it skips; the newest item is what is asked for nearly always
        for k, count, n, extra in islice(items, index, None) if index < len(items) - 1 else (items[index],):
            if extra is None:
                skipped = max(0, after + 1 - k)
                part = _RUN.pack(0, count - skipped, n + skipped)
            else:
                part = _STEP.pack(1, n, len(extra)) + extra
            if size + len(part) > bytes_max and len(parts) > 1:
                break
            parts.append(part)
            size += len(part)
            last = k + count - 1
        return b"".join(parts), last

    def _index_after(self, after):
        """Index of the first item with a step beyond *after*, by halves: the log may be long and is asked for often."""
        items, low, high = self._items, 0, len(self._items) - 1
        if items[high][0] <= after + 1:
            return high                 # what is asked for nearly always: the newest
        while low < high:
            middle = (low + high) // 2
            if items[middle][0] + items[middle][1] <= after + 1:
                low = middle + 1
            else:
                high = middle
        return low

    cpdef bint store(self, bytes encoded) except -1:
        """Add what is new of *encoded*; False if a gap lies before it (nothing is taken). Raises DeterminantError."""
        if PyBytes_GET_SIZE(encoded) == sizeof(OneRun) and self._items and self._prolong(encoded):
            return True
        first, items = decode(encoded)
        if first > self.last + 1:
            return False
        for k, count, n, extra in items:
            skipped = self.last + 1 - k
            if skipped >= count:
                continue
            if extra is None:
                if self._items:
                    tail = self._items[-1]
                    if tail[3] is None and tail[2] + tail[1] == n + skipped and tail[1] + count <= _COUNT_MAX:
                        tail[1] += count - skipped
                        self.last = k + count - 1
                        continue
                self._items.append([k + skipped, count - skipped, n + skipped, None])
            else:
                self._items.append([k, 1, n, extra])
            self.last = k + count - 1
        return True

    cdef bint _prolong(self, bytes encoded) except -1:
        """What comes nearly always: the next steps, and they prolong the newest run; False if it is not so."""
        cdef const OneRun *run = <const OneRun *> PyBytes_AS_STRING(encoded)
        cdef uint64_t first = be64toh(run.first), count = be32toh(run.count), n = be64toh(run.n)
        cdef list tail = self._items[-1]
        # the last: n + count is no more than 64 bits have room for
        if first != self.last + 1 or run.kind or not count or first + count - 1 > _STEP_MAX or n > -count:
            return False
        if tail[3] is not None or tail[2] + tail[1] != n or tail[1] + count > _COUNT_MAX:
            return False
        tail[1] += count
        self.last = first + count - 1
        return True

    cpdef trim(self, uint64_t k):
        """Forget the steps up to *k*: a durable checkpoint covers them, stored here or not."""
        items = self._items
        while items and items[0][0] + items[0][1] - 1 <= k:
            items.popleft()
        if items and items[0][0] <= k:
            item = items[0]
            skipped = k + 1 - item[0]
            item[0], item[1], item[2] = k + 1, item[1] - skipped, item[2] + skipped
        self.trimmed = max(self.trimmed, k)
        self.last = max(self.last, k)

    def cut_off(self, k):
        """Forget the steps after *k*."""
        items = self._items
        while items and items[-1][0] > k:
            items.pop()
        if items:
            items[-1][1] = min(items[-1][1], k + 1 - items[-1][0])
        self.last = min(self.last, k)

    def steps(self):
        """(k, n, extra) of each step kept, in order."""
        for k, count, n, extra in self._items:
            for i in range(count):
                yield k + i, n + i, extra

    def extras(self):
        """(k, extra) of each step kept that has an extra, in order."""
        return [(k, extra) for k, _, _, extra in self._items if extra is not None]


def decode(encoded):
    """(first k, [(k, count, n, extra), ...]). Raises DeterminantError."""
    try:
        (first,) = _FIRST.unpack_from(encoded)
        offset, k, items = _FIRST.size, first, []
        while offset < len(encoded):
            if encoded[offset] == 0:
                _, count, n = _RUN.unpack_from(encoded, offset)
                offset += _RUN.size
                extra = None
            else:
                kind, n, length = _STEP.unpack_from(encoded, offset)
                offset += _STEP.size
                count, extra = 1, encoded[offset:offset + length]
                offset += length
                if kind != 1 or len(extra) != length:
                    raise DeterminantError("encoded determinants are truncated or of an unknown kind")
                decode_extra(extra)     # what is stored must be good when a failover needs it
            if count < 1 or first < 1:
                raise DeterminantError("encoded determinants have an empty run or start at step 0")
            if k + count - 1 > STEP_MAX or n + count > _N_END:
                raise DeterminantError("encoded determinants have an impossible number")
            items.append((k, count, n, extra))
            k += count
    except struct.error as error:
        raise DeterminantError(f"encoded determinants are truncated: {error}") from error
    return first, items


def first_step(encoded):
    """The first k of *encoded*, which decode() accepted."""
    return _FIRST.unpack_from(encoded)[0]


def recoverable_prefix(logs):
    """The largest prefix of the workers' logs that is closed under its dependencies: a list of k, one per worker.

    A step is in it only if every step that it depends on (the one that held its domain before) is in it. Each dependency is
    looked at a bounded number of times: the cost is that of sorting them.
    """
    prefix = [log.last for log in logs]
    # per worker: (k, worker and k of a step that depends on it), the highest k last
    dependants = [[] for _ in logs]
    for worker, log in enumerate(logs):
        for k, extra in log.extras():
            for _, _, before, before_k in decode_extra(extra)[0]:
                if before < len(logs):
                    dependants[before].append((before_k, worker, k))
                else:
                    prefix[worker] = min(prefix[worker], k - 1)
    for entries in dependants:
        entries.sort()
    cut = list(range(len(logs)))
    while cut:
        worker = cut.pop()
        entries = dependants[worker]
        while entries and entries[-1][0] > prefix[worker]:
            _, other, k = entries.pop()
            if k <= prefix[other]:
                prefix[other] = k - 1
                cut.append(other)
    return prefix
