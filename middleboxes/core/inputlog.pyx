"""The input logger: gives each input its number and time, logs it, and sends it on to the master.

Nothing leaves for the master that is not logged first; the log is trimmed when a checkpoint that covers it is
durable. The log is bounded: at the bound a new input is dropped and counted, it is never forwarded unlogged.
One that replaces another goes on from where the master stands: its numbers above, its times not before.
A tick without room is made good by its worker's last input, sent again: with the log full a new master, too, must see
that the live stream joins the log, or it never goes live, and no checkpoint ever makes room. It is late for whoever has it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .frames cimport InputEncoder, InputFields, InputHead, at_epoch

from .frames import PACKET, TICK
from .partition import flow_worker

#: what one logged input takes besides its packet, roughly, in bytes: the head of its INPUT frame, and Python's of an object
_ENTRY_BYTES = 96
cdef uint64_t _ENTRY = _ENTRY_BYTES
cdef uint8_t _PACKET = PACKET


cdef class InputLogger:
    """The input logger of one group. Time is passed in (Unix, ns) and never goes back in what it hands out.

    *partition*: which worker a frame is for, a pure function (frame, port number, workers).
    *start*: one n per worker, of the last input before this logger's first; *start_ns*: the last timestamp before it.
    *epoch* is in its INPUT frames; *master_epoch* in the TRIM frames that it takes.
    """

    cdef public uint32_t epoch
    cdef public object master_epoch
    cdef public uint64_t log_bytes, log_bytes_max, _last_ns
    cdef readonly dict counters
    cdef readonly list _logs, _last_n
    cdef readonly tuple begins_after
    cdef object _partition
    cdef uint64_t _shared_bytes_max
    cdef readonly InputEncoder _encoder

    def __init__(self, group_id, source, workers, epoch, log_bytes_max, partition=flow_worker, *, start=None, start_ns=0,
                 master_epoch=None):
        self.epoch = epoch
        self.master_epoch = epoch if master_epoch is None else master_epoch
        # one worker needs no choice
        self._partition = partition if workers > 1 else None
        self.log_bytes = 0
        self.log_bytes_max = log_bytes_max
        self.counters = {"inputs": 0, "ticks": 0, "dropped_log_full": 0, "repeated": 0, "partition_errors": 0}
        # a worker that has nothing in the log has room for a tick, so that it has a last input
        self._shared_bytes_max = max(0, log_bytes_max - (workers - 1) * _ENTRY_BYTES)
        self._encoder = InputEncoder(group_id, source)
        # what was sent, as it was sent; a worker's numbers have no gaps: n is found by its index
        self._logs = [[] for _ in range(workers)]
        self._last_n = [0] * workers if start is None else list(start)
        self._last_ns = start_ns
        #: one n per worker: it never had this input or any before it
        self.begins_after = tuple(self._last_n)

    def accept(self, port, bytes frame not None, now_ns):
        """Log a *frame* that came in at *port* (number); returns the frame for the master, None if the log is full."""
        self.counters["inputs"] += 1
        return self._log(0 if self._partition is None else self._worker(port, frame), port, _PACKET, frame, now_ns)

    def accept_all(self, int port, list frames not None, uint64_t now_ns):
        """``accept`` each of *frames*; returns the frames for the master, those of one worker in their order."""
        cdef list accepted = []
        cdef bytes frame, logged
        for frame in frames:
            logged = self._log(0 if self._partition is None else self._worker(port, frame), port, _PACKET, frame, now_ns)
            if logged is not None:
                accepted.append(logged)
        self.counters["inputs"] += len(frames)
        if self._partition is not None:
            accepted.sort(key=_worker_of)    # those of one worker can go together
        return accepted

    def tick(self, now_ns):
        """Log a tick for every worker; returns the frames for the master."""
        self.counters["ticks"] += 1
        frames = [self._log(worker, 0, TICK, b"", now_ns) or self._again(worker) for worker in range(len(self._logs))]
        return [frame for frame in frames if frame is not None]

    def _again(self, worker):
        """The last input of *worker* once more; None if none is logged (a bound below one tick for each worker)."""
        cdef list log = self._logs[worker]
        if not log:
            return None
        self.counters["repeated"] += 1
        return at_epoch(log[-1], self.epoch)

    def _worker(self, port, frame):
        """What the partition says; worker 0, counted, if the function's own fails on this frame or names no worker."""
        workers = len(self._logs)
        try:
            worker = self._partition(frame, port, workers)
        except Exception:       # an author's code on an untrusted frame: this frame's fault must not stop all others
            worker = None
        if type(worker) is not int or not 0 <= worker < workers:
            self.counters["partition_errors"] += 1
            return 0
        return worker

    cpdef bytes _log(self, Py_ssize_t worker, uint8_t port, uint8_t kind, bytes frame, uint64_t now_ns):
        cdef list log = self._logs[worker]
        cdef uint64_t size = self.log_bytes + PyBytes_GET_SIZE(frame) + _ENTRY
        cdef InputFields fields
        if size > (self._shared_bytes_max if log or kind == _PACKET else self.log_bytes_max):
            self.counters["dropped_log_full"] += 1
            return None
        self.log_bytes = size
        self._last_ns = fields.timestamp_ns = max(now_ns, self._last_ns)
        self._last_n[worker] = fields.n = <uint64_t> self._last_n[worker] + 1
        fields.epoch, fields.worker, fields.port, fields.kind = self.epoch, <uint8_t> worker, port, kind
        cdef bytes logged = self._encoder.encode_fields(&fields, frame)
        log.append(logged)
        return logged

    @property
    def last_n(self):
        """One n per worker: of its last input."""
        return list(self._last_n)

    def fence(self, epoch):
        """The group has a new master, of *epoch*; trims by older ones are refused."""
        self.epoch = max(self.epoch, epoch)
        self.master_epoch = max(self.master_epoch, epoch)

    def trim(self, epoch, positions):
        """A checkpoint at *positions* {worker: (n, k)} is durable: forget the inputs that it covers."""
        if epoch != self.master_epoch:
            return
        for worker, (n, _) in positions.items():
            if worker >= len(self._logs):
                continue
            log = self._logs[worker]
            covered = self._index_after(worker, n)
            if covered > 0:
                self.log_bytes -= self._packet_bytes(log[:covered]) + covered * _ENTRY_BYTES
                del log[:covered]

    cdef uint64_t _packet_bytes(self, list logged) except? 0:
        """Bytes of the packets in *logged* INPUT frames."""
        cdef uint64_t total = 0
        cdef bytes frame
        for frame in logged:
            total += PyBytes_GET_SIZE(frame) - sizeof(InputHead)
        return total

    def _index_after(self, worker, n):
        """Where in the log of *worker* the inputs after number *n* begin."""
        log = self._logs[worker]
        return min(max(0, n - self._last_n[worker] + len(log)), len(log))

    def after(self, worker, n, limit):
        """Up to *limit* encoded inputs of *worker* after number *n*, and whether that is all there is now."""
        log = self._logs[worker]
        start = self._index_after(worker, n)
        frames = [at_epoch(frame, self.epoch) for frame in log[start:start + limit]]
        return frames, start + len(frames) >= len(log)


def _worker_of(bytes logged not None):
    """The worker in an INPUT frame of our own making."""
    return (<const InputHead *> PyBytes_AS_STRING(logged)).worker
