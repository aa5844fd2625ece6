"""A master's path of each packet: inputs in, steps, their determinants, outputs out. What else a master does: middleboxes.core.master.

A *step* is one input processed by one worker. Inputs of a worker are processed in rising n: what comes late or twice is
dropped and counted (the network's doing), so a step's determinant is its n, plus what ``ctx.record`` gave.
"""

import traceback

from libc.stdint cimport uint64_t

from .determinants cimport DeterminantLog
from .emitting cimport Emitting
from .frames cimport InputFields, OutputEncoder, packet_of_input, read_input

from .determinants import encode_extra
from .frames import DETERMINANTS_INLINE_BYTES_MAX, PACKET, FrameError
from .step import EVENT_CHARACTERS_MAX, ReplayError

BATCH_BYTES_MAX = 1200
_ERRORS_TOLD_MAX = 100
cdef int _PACKET = PACKET
cdef Py_ssize_t _INLINE_BYTES_MAX = DETERMINANTS_INLINE_BYTES_MAX


cdef class Worker:
    """One worker's position: *n* of its last input, *k* of its last step, and what the output logger lacks.

    ``sent_k``: determinants up to here were sent at least once; ``durable_k``: steps up to here are in a durable checkpoint.
    """

    cdef public uint64_t n, k, sent_k, durable_k, last_ns
    cdef public uint64_t steps, outputs, late_inputs, refused_inputs, function_errors, resent
    cdef readonly Emitting context
    cdef readonly object function, session
    cdef public DeterminantLog log
    cdef object _handle
    # steps of the batch at hand that the log does not have yet: of the inputs from _run_n on
    cdef uint64_t _run_n, _run_steps

    def __init__(self, context, function, session):
        self.context = context
        self.function, self.session = function, session
        self.log = DeterminantLog()
        self._handle = function.handle

    cdef int _note(self, uint64_t n, bytes extra) except -1:
        """The determinant of the step that was just made; ``_settle`` puts it into the log."""
        if extra is None and self._run_steps and self._run_n + self._run_steps == n:
            self._run_steps += 1
            return 0
        self._settle()
        if extra is None:
            self._run_n, self._run_steps = n, 1
        else:
            self.log.append(n, extra)
        return 0

    cdef int _settle(self) except -1:
        """Let the log have the determinants of all steps."""
        if self._run_steps:
            self.log.append_run(self._run_n, self._run_steps)
            self._run_steps = 0
        return 0

    @property
    def counters(self):
        """Counters by name."""
        return {"steps": self.steps, "outputs": self.outputs, "late_inputs": self.late_inputs, "refused_inputs": self.refused_inputs,
                "function_errors": self.function_errors, "resent": self.resent}


cdef class Steps:
    """*workers*: a Worker for each; *names*: of the ports; *on_event(name, detail)*: for the operator's log."""

    cdef public uint64_t epoch, inputs_from, output_epoch
    #: how many steps a worker may be ahead of the acknowledgements, and of the last durable checkpoint
    cdef public uint64_t unacknowledged_max, undurable_max
    #: INPUT frames that could not be decoded, or are of a worker that is not there
    cdef public uint64_t bad_frames
    cdef readonly list workers
    cdef readonly OutputEncoder _encoder
    cdef tuple _names
    cdef public object _on_event
    cdef set _errors_told

    def __init__(self, workers, names, encoder, on_event):
        self.workers, self._names, self._encoder = workers, tuple(names), encoder
        self._on_event = on_event
        self._errors_told = set()

    # -- inputs in

    @property
    def ready(self):
        """Whether a further input, of whichever worker, may be processed."""
        cdef Py_ssize_t number
        for number in range(len(self.workers)):
            if not self.worker_ready(number):
                return False
        return True

    cpdef bint worker_ready(self, Py_ssize_t number) except -1:
        """``ready`` for one worker."""
        cdef Worker worker = self.workers[number]
        return worker.k - worker.log.trimmed < self.unacknowledged_max and worker.k - worker.durable_k < self.undurable_max

    def process(self, Py_ssize_t number, item):
        """Process *item* (an Input) at worker *number*: the frames for the output logger."""
        cdef Worker worker = self.workers[number]
        n, timestamp_ns, port, kind, frame = item
        if not self._run(worker, n, timestamp_ns, port, kind, frame):
            return ()
        worker._settle()
        if not worker.context.outputs:
            return ()
        clock = () if worker.session is None else self._clock(number, worker.session.clock)
        cdef list frames = []
        determinants = self._determinants(number, worker, frames)
        self._encode_outputs(number, worker.k, worker.context.outputs, clock, determinants, frames)
        return frames

    def process_all(self, items):
        """Process *items* (Inputs) at the only worker: the frames for the output logger, with the determinants of all steps.

        The first output has them all, in one run as a rule: the others cost the output logger nothing but their release.
        """
        cdef Worker worker = self.workers[0]
        cdef list made = []
        for n, timestamp_ns, port, kind, frame in items:
            if self._run(worker, n, timestamp_ns, port, kind, frame) and worker.context.outputs:
                made.append((worker.k, worker.context.outputs))
        return self._leave(worker, made)

    def take_all(self, list frames not None):
        """``process_all`` of INPUT *frames*; what is wrong with them is counted, and what a former input logger sent refused."""
        cdef Worker worker = self.workers[0]
        cdef list made = []
        cdef InputFields fields
        cdef bytes frame
        for frame in frames:
            try:
                read_input(frame, &fields)
            except FrameError:
                self.bad_frames += 1
                continue
            if fields.worker:
                self.bad_frames += 1
            elif fields.epoch < self.inputs_from:
                worker.refused_inputs += 1
            elif self._run(worker, fields.n, fields.timestamp_ns, fields.port, fields.kind, packet_of_input(frame)) and worker.context.outputs:
                made.append((worker.k, worker.context.outputs))
        return self._leave(worker, made)

    # -- steps

    cdef bint _run(self, Worker worker, uint64_t n, uint64_t timestamp_ns, Py_ssize_t port, int kind, bytes frame) except -1:
        """The next step of *worker*, and its determinant; False if its input is late."""
        if n <= worker.n:
            worker.late_inputs += 1
            return False
        extra = None
        if worker.session is None:
            self._step(worker, n, timestamp_ns, port, kind, frame)
            if worker.context.records:
                extra = encode_extra((), worker.context.records)
        else:
            self._shared_step(worker, n, timestamp_ns, port, kind, frame)
            extra = encode_extra(worker.session.accesses, worker.context.records)
        worker._note(n, extra)
        return True

    def repeat(self, Worker worker, item):
        """The step of *item* (an Input), whose determinant is logged already."""
        n, timestamp_ns, port, kind, frame = item
        if worker.session is None:
            self._step(worker, n, timestamp_ns, port, kind, frame)
        else:
            self._shared_step(worker, n, timestamp_ns, port, kind, frame)

    cdef int _shared_step(self, Worker worker, uint64_t n, uint64_t timestamp_ns, Py_ssize_t port, int kind, bytes frame) except -1:
        """A step that may use variables of all workers: what it took of them it has to the end."""
        worker.session.begin()
        try:
            self._step(worker, n, timestamp_ns, port, kind, frame)
        finally:
            worker.session.end(worker.k)
        return 0

    cdef int _step(self, Worker worker, uint64_t n, uint64_t timestamp_ns, Py_ssize_t port, int kind, bytes frame) except -1:
        worker.context.begin(self._names[port] if port < len(self._names) else "", timestamp_ns)
        worker.last_ns = timestamp_ns
        try:
            if kind == _PACKET:
                worker._handle(frame, worker.context)
            else:
                worker.function.tick(worker.context)
        except ReplayError:
            raise
        except Exception as error:  # a function's fault on one packet must not take down master after master
            self._function_failed(worker, error)
        worker.n = n
        worker.k += 1
        worker.steps += 1
        return 0

    def _function_failed(self, Worker worker, error):
        """Count a step that raised, and tell the operator the first time at each place. Replay does the same."""
        worker.function_errors += 1
        trace = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{trace.filename}:{trace.lineno}"
        # two workers at once may tell one place twice, no more
        if place not in self._errors_told and len(self._errors_told) < _ERRORS_TOLD_MAX:
            self._errors_told.add(place)
            reason = ascii(str(error))[:EVENT_CHARACTERS_MAX]
            self._on_event("function-error", f"{type(error).__name__}: {reason} at {place}; the step ends there")

    # -- outputs out

    cdef list _leave(self, Worker worker, list made):
        """The frames of a batch of the only worker: *made* is [(k, outputs), ...]."""
        worker._settle()
        if not made:
            return self.flush_worker(0)
        cdef list frames = []
        determinants = self._determinants(0, worker, frames)
        for k, outputs in made:
            self._encode_outputs(0, k, outputs, (), determinants, frames)
            determinants = b""
        return frames

    cdef int _encode_outputs(self, Py_ssize_t number, uint64_t k, list outputs, clock, bytes determinants, list frames) except -1:
        """Add the frames of a step's *outputs* to *frames*; the first one carries the *determinants*."""
        cdef Py_ssize_t j = 0
        for port, frame in outputs:
            frames.append(self._encoder.encode(self.output_epoch, number, k, j, port, clock, b"" if j else determinants, frame))
            j += 1
        (<Worker> self.workers[number]).outputs += j
        return 0

    cdef bytes _determinants(self, Py_ssize_t number, Worker worker, list frames):
        """What an output is to carry of the determinants that were not sent yet; if they are too many, they go into *frames* before it."""
        determinants, last = worker.log.encode(worker.sent_k, _INLINE_BYTES_MAX)
        if last < worker.k or len(determinants) > _INLINE_BYTES_MAX:
            frames += self._batches(number, worker)
            return b""
        worker.sent_k = last
        return determinants

    def _clock(self, Py_ssize_t number, clock):
        """The entries that release must wait for: of other workers, beyond what the output logger acknowledged."""
        workers = self.workers
        return [(other, k) for other, k in enumerate(clock) if other != number and k > workers[other].log.trimmed]

    cdef list _batches(self, Py_ssize_t number, Worker worker):
        cdef list frames = []
        while worker.sent_k < worker.k:
            encoded, worker.sent_k = worker.log.encode(worker.sent_k, BATCH_BYTES_MAX)
            frames.append(self._encoder.encode_batch(self.output_epoch, number, encoded))
        return frames

    def flush(self):
        """Frames with the determinants that no output carried; call at the end of each batch of inputs."""
        frames = []
        for number in range(len(self.workers)):
            frames += self.flush_worker(number)
        return frames

    cpdef list flush_worker(self, Py_ssize_t number):
        """``flush`` for one worker."""
        cdef Worker worker = self.workers[number]
        return self._batches(number, worker) if worker.sent_k < worker.k else []
