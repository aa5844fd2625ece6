"""The output logger: output commit (FTMB section 4.2), duplicate suppression and fencing.

Rules, in one place:

- An output (worker, k, j) with vector clock VC may leave iff for every worker i the determinants of i up to VC[i] are
  stored here (or covered by a durable checkpoint). It waits at the first worker for which that does not hold yet:
  there is no global order and no global lock.
- An output leaves once. What was released since the last durable checkpoint is remembered by (k, j); what a
  durable checkpoint covers never leaves again.
- One that replaces another (*covered_from*) stores and releases nothing until a durable checkpoint covers that: should the
  master die before, the former one has all that left, and takes the role back.
- Nothing but what is of its own epoch is stored, released or trimmed: that in which it began, or was last fenced. What is below is of a
  master or for an output logger of before, what is above is for one that replaces it. ``fence`` raises the epoch, keeps exactly the
  recoverable prefix of the determinants and drops the outputs that wait beyond it.
- A gap in the determinants is asked for again with the acknowledgement. With nothing new for a while, the last
  acknowledgement is repeated and asks for what may follow: it, or the last determinants, may have been lost.

Bounds: ``pending_max`` waiting outputs (beyond it the newest is dropped and counted: a network loss), ``items_max``
determinant items per worker (beyond it nothing is stored or acknowledged, and the master, bounded itself, waits).
"""

import struct
from bisect import bisect_left, insort

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from .determinants cimport DeterminantLog
from .frames cimport RUN_BYTES, OutputFields, read_common_output

from .determinants import DeterminantError, first_step, recoverable_prefix
from .frames import FrameError, decode_output, encode_ack

ACK_INTERVAL_NS = 5_000_000
#: An acknowledgement is due before its time with this many new steps: each wakes the master, which needs none of them soon, but
#: with several workers, which leave out of their clocks what is acknowledged, and as long as it catches up with what piled up in a
#: failover, in step with them (middleboxes.core.recovery). It does so until its first checkpoint is durable at the latest.
ACK_STEPS_MAX, ACK_STEPS_SOON_MAX = 1024, 32
RESEND_INTERVAL_NS = 2_000_000
#: longer than it is from one tick to the next by default: while these are acknowledged none is repeated
IDLE_INTERVAL_NS = 150_000_000
#: After a fence an acknowledgement is repeated sooner, so often: it may have gone to the dead master, and the new one waits for it
#: when it has as much under way as it may. Each FENCED_RESEND_EACH-th asks for what is missing, too, as every repeated one does later.
FENCED_INTERVAL_NS, FENCED_REPEATS, FENCED_RESEND_EACH = 1_000_000, 100, 5
cdef int64_t _ACK_INTERVAL_NS = ACK_INTERVAL_NS, _RESEND_INTERVAL_NS = RESEND_INTERVAL_NS, _NEVER_NS = (1 << 63) - 1


def pack_keys(keys):
    """Keys of outputs (k << 16 | j) as bytes."""
    return struct.pack(f">{len(keys)}Q", *keys)


def unpack_keys(data):
    """The keys in *data*. Raises FrameError."""
    if len(data) % 8:
        raise FrameError("keys of outputs are truncated")
    return struct.unpack(f">{len(data) // 8}Q", data)


def by_port(list released not None, Py_ssize_t ports):
    """The frames of *released*, [(port, frame), ...], as one list for each of *ports*."""
    cdef list lists = [[] for _ in range(ports)]
    for port, frame in released:
        (<list> lists[port]).append(frame)
    return lists


cdef class OutputLogger:
    """The output logger of one group. ``receive`` frames, get releases; acknowledgements by ``acknowledge``.

    *epoch*: its master's. *covered_from*: the epoch in which it was to replace another, until a checkpoint that covers that is durable;
    0: it need not wait. ``epoch``: of the frames that it takes and sends, the higher of the two, until it is fenced.
    """

    cdef public uint64_t epoch, covered_from
    cdef readonly Py_ssize_t ports, pending_max, items_max, _pending
    cdef readonly dict counters
    cdef public list logs
    cdef readonly list _released, _waiting, _acked, _seen, _next_idle_ns, _repeats
    cdef object _group_id
    cdef bytes _source
    cdef int64_t _next_ack_ns, _next_resend_ns, _ack_steps_max

    def __init__(self, group_id, source, workers, ports, epoch, pending_max=4096, items_max=1 << 20, covered_from=0):
        self.epoch, self.covered_from = max(epoch, covered_from), covered_from
        self.ports = ports
        self.pending_max, self.items_max = pending_max, items_max
        self.counters = {"released": 0, "duplicates": 0, "old_epoch": 0, "later_epoch": 0, "covered": 0, "bad_frames": 0, "gaps": 0,
                         "dropped_pending_full": 0, "dropped_at_fence": 0, "refused_log_full": 0, "early_trims": 0}
        self.logs = [DeterminantLog() for _ in range(workers)]
        self._group_id, self._source = group_id, source
        self._released = [[] for _ in range(workers)]           # keys k << 16 | j, rising: they leave nearly in order
        self._waiting = [[] for _ in range(workers)]            # outputs, by the worker they wait for
        self._pending = 0
        self._acked = [-1] * workers
        self._seen = [0] * workers              # the last step heard of: a gap lies between the log's end and this
        self._next_ack_ns = self._next_resend_ns = 0
        self._ack_steps_max = ACK_STEPS_SOON_MAX
        self._repeats = [0] * workers           # that are still due soon after a fence
        self._next_idle_ns = [0] * workers      # one's acknowledgement is repeated, however busy the others are

    @property
    def waiting(self):
        """Outputs that wait for determinants."""
        return self._pending

    @property
    def remembered(self):
        """Outputs that left since the last durable checkpoint, so that none leaves twice."""
        return sum(map(len, self._released))

    cpdef list receive(self, bytes frame):
        """Take one OUTPUT frame; returns the released [(port, frame), ...]. Raises FrameError, DeterminantError."""
        cdef list released = []
        self._take(frame, released)
        self.counters["released"] += len(released)
        return released

    def receive_all(self, list frames not None):
        """``receive`` each of *frames*; returns all that they release. What is wrong is counted (``bad_frames``)."""
        cdef list released = []
        cdef bytes frame
        for frame in frames:
            try:
                self._take(frame, released)
            except (FrameError, DeterminantError):
                self.counters["bad_frames"] += 1
        self.counters["released"] += len(released)
        return released

    cdef int _take(self, bytes frame, list released) except -1:
        """``receive`` *frame*, and add what it releases to *released*."""
        cdef OutputFields fields
        cdef const char *start = PyBytes_AS_STRING(frame)
        if not read_common_output(frame, &fields) or fields.epoch != self.epoch or fields.worker >= len(self.logs) or fields.port >= self.ports:
            self._take_other(frame, released)
            return 0
        cdef DeterminantLog log = self.logs[fields.worker]
        if fields.run_at:
            self._keep(fields.worker, PyBytes_FromStringAndSize(start + fields.run_at, RUN_BYTES), released)
        if log.last < fields.k:
            self._admit(decode_output(frame), released)
        else:
            self._let_out(fields.worker, fields.k, fields.j, fields.port,
                          PyBytes_FromStringAndSize(start + fields.packet_at, PyBytes_GET_SIZE(frame) - fields.packet_at), released)
        return 0

    def _take_other(self, frame, released):
        """``_take`` what is not common, or not of this epoch."""
        output = decode_output(frame)
        if output.epoch != self.epoch:
            self.counters["old_epoch" if output.epoch < self.epoch else "later_epoch"] += 1
            return
        self._check(output)
        if output.determinants:
            self._keep(output.worker, output.determinants, released)
        if output.k:
            self._admit(output, released)

    cdef int _keep(self, Py_ssize_t worker, bytes encoded, list released) except -1:
        """Store determinants, and release what waited for them."""
        if self._store(worker, encoded) and self._waiting[worker]:
            self._recheck(worker, released)
        return 0

    def _check(self, output):
        """Raise FrameError for an output that no master makes."""
        worker = output.worker
        if worker >= len(self.logs) or output.port >= self.ports:
            raise FrameError(f"output of worker {worker} for port {output.port}: there is no such")
        if any(other >= len(self.logs) for other, _ in output.clock):
            raise FrameError("an output depends on a worker that is not there")

    def _hear_of(self, worker, k):
        """The master made step *k* of *worker*; count it if that opens a gap."""
        last = self.logs[worker].last
        if self._seen[worker] <= last < k:
            self.counters["gaps"] += 1
        self._seen[worker] = max(self._seen[worker], k)

    cpdef _store(self, Py_ssize_t worker, bytes encoded):
        if self.covered_from:
            return False
        cdef DeterminantLog log = self.logs[worker]
        if len(log) >= self.items_max:
            self.counters["refused_log_full"] += 1
            return False
        if not log.store(encoded):
            self._hear_of(worker, first_step(encoded))
            return False
        return True

    cpdef _admit(self, output, list released):
        """Release *output*, or let it wait at the first worker whose determinants are missing."""
        logs, worker = self.logs, output.worker
        missing = None
        if logs[worker].last < output.k:
            missing = worker
            self._hear_of(worker, output.k)
        elif output.clock:
            for other, k in output.clock:
                if logs[other].last < k:
                    missing = other
                    break
        if missing is None:
            self._release(output, released)
        elif self._pending < self.pending_max:
            self._pending += 1
            self._waiting[missing].append(output)
        else:
            self.counters["dropped_pending_full"] += 1

    cpdef _release(self, output, list released):
        """*output* leaves, unless it did."""
        _, worker, k, j, port, _, _, packet = output
        self._let_out(worker, k, j, port, packet, released)

    cdef int _let_out(self, Py_ssize_t worker, uint64_t k, uint64_t j, port, bytes packet, list released) except -1:
        cdef uint64_t key = k << 16 | j
        cdef list known = self._released[worker]
        cdef DeterminantLog log = self.logs[worker]
        if k <= log.trimmed:
            self.counters["covered"] += 1
        elif not known or key > <uint64_t> known[-1]:
            known.append(key)
            released.append((port, packet))
        elif known[bisect_left(known, key)] == key:
            self.counters["duplicates"] += 1
        else:
            insort(known, key)
            released.append((port, packet))
        return 0

    def released(self, worker, after, to):
        """Keys of the outputs of *worker*'s steps in (*after*, *to*] that left and are remembered, in order."""
        known = self._released[worker]
        return known[bisect_left(known, (after + 1) << 16):bisect_left(known, (to + 1) << 16)]

    def _recheck(self, worker, released):
        waiting, self._waiting[worker] = self._waiting[worker], []
        self._pending -= len(waiting)
        for output in waiting:
            self._admit(output, released)

    def trim(self, epoch, positions, covers):
        """A checkpoint at *positions* {worker: (n, k)} is durable, the master's last new output logger then was that of epoch *covers*.

        Returns what that releases.
        """
        released = []
        if epoch != self.epoch:
            return released
        if covers < self.covered_from:
            self.counters["early_trims"] += 1
            return released
        self.covered_from = 0
        if len(self.logs) == 1:
            self._ack_steps_max = ACK_STEPS_MAX
        ahead = {worker: k for worker, (_, k) in positions.items()
                 if worker < len(self.logs) and k > self.logs[worker].trimmed}
        for worker, k in ahead.items():
            self.logs[worker].last = max(self.logs[worker].last, k)
        for worker in ahead:
            # what waits and is covered now may leave: the durable checkpoint explains it
            self._recheck(worker, released)
        for worker, k in ahead.items():
            self.logs[worker].trim(k)
            known = self._released[worker]
            del known[:bisect_left(known, (k + 1) << 16)]
        self.counters["released"] += len(released)
        return released

    def fence(self, epoch):
        """Refuse everything below *epoch*; returns the recoverable prefix, one k per worker."""
        if epoch > self.epoch:
            self.epoch, self._ack_steps_max = epoch, ACK_STEPS_SOON_MAX
            prefix = recoverable_prefix(self.logs)
            for worker, k in enumerate(prefix):
                self.logs[worker].cut_off(k)
                self.counters["dropped_at_fence"] += len(self._waiting[worker])
                self._waiting[worker] = []
                self._seen[worker] = k
                self._acked[worker], self._repeats[worker] = -1, FENCED_REPEATS
            self._pending = 0
        return [log.last for log in self.logs]

    def acknowledge(self, int64_t now_ns):
        """(ACK frames to send now, time in ns to call again). *now_ns*: any steady clock."""
        cdef bint ack_due = now_ns >= self._next_ack_ns, resend_due = now_ns >= self._next_resend_ns, gap, repeat
        cdef int64_t next_ns = _NEVER_NS, new, idle_ns
        cdef Py_ssize_t worker
        cdef DeterminantLog log
        cdef list frames = []
        for worker in range(len(self.logs)):
            log = self.logs[worker]
            new, idle_ns = log.last - <int64_t> self._acked[worker], self._next_idle_ns[worker]
            gap, repeat = resend_due and <uint64_t> self._seen[worker] > log.last, now_ns >= idle_ns
            if gap or repeat or new and (ack_due or new >= self._ack_steps_max):
                self._acked[worker] = log.last
                frames.append(encode_ack(self._group_id, self._source, self.epoch, worker, log.last,
                                         gap or repeat and self._repeats[worker] % FENCED_RESEND_EACH == 0))
                self._next_idle_ns[worker] = now_ns + (FENCED_INTERVAL_NS if self._repeats[worker] else IDLE_INTERVAL_NS)
                self._repeats[worker] = max(0, self._repeats[worker] - 1)
        if frames:
            if ack_due:
                self._next_ack_ns = now_ns + _ACK_INTERVAL_NS
            if resend_due:
                self._next_resend_ns = now_ns + _RESEND_INTERVAL_NS
        for worker in range(len(self.logs)):
            log = self.logs[worker]
            next_ns = min(next_ns, <int64_t> self._next_idle_ns[worker])
            if <uint64_t> self._seen[worker] > log.last:
                next_ns = min(next_ns, self._next_resend_ns)
            if <int64_t> log.last != <int64_t> self._acked[worker]:
                next_ns = min(next_ns, self._next_ack_ns)
        return frames, next_ns
