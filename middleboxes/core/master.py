"""The master: runs the middlebox, logs the order of what it did, and cuts checkpoints.

A *step* is one input processed by one worker. Inputs of a worker are processed in rising n: what comes late or twice is
dropped and counted (the network's doing), so a step's determinant is its n, plus what ``ctx.record`` gave.
Replay is the same step with the determinant given instead of made.

Bounds: at most ``unacknowledged_max`` steps of a worker are ahead of the output logger's acknowledgement, and UNDURABLE_MAX ahead
of the last durable checkpoint; at a bound it takes no more inputs (``ready`` is False) until acknowledgements or a durable checkpoint come.

Threads: with several workers, each may have a thread that alone calls ``process``, ``flush_worker`` and ``acknowledged`` for
it: all that these change is the worker's own, or guarded as middleboxes.core.sharing says. ``cut``, ``load``, ``replay``
are for when no worker runs. ``acknowledged_all``, ``durable`` and ``counters`` may come at any time: of workers that run they
read numbers that never go back, and write one, ``durable_k``, that only ``durable`` writes.
"""

import traceback

from .channel import pack, unpack
from .checkpoint import Cut, CheckpointError
from .determinants import DeterminantLog, encode_extra, decode_extra
from .frames import DETERMINANTS_INLINE_BYTES_MAX, PACKET, FrameError, OutputEncoder, decode_ack, encode_trim
from .state import StateError, check_value

_MASK = (1 << 64) - 1
BATCH_BYTES_MAX = 1200
#: Steps beyond the last durable checkpoint, at most. Below what an output logger stores (its items_max), so that
#: with the store away the master stops first: a full output log could never acknowledge the checkpoint that frees it.
UNDURABLE_MAX = 1 << 19
#: determinants are asked for again in portions: a long gap must not hold up packets
RESENT_BATCHES_MAX = 16
EVENT_CHARACTERS_MAX = 1000

#: bounds of one step, the same in replay; all that it records must fit determinants.EXTRA_BYTES_MAX
OUTPUTS_MAX = 1 << 16
RECORDS_MAX = 32
RECORDED_BYTES_MAX = 4096
_REASON_CHARACTERS_MAX = 24


class ReplayError(Exception):
    """Logged inputs and determinants do not fit together: the state can't be restored from them."""


class RecordError(Exception):
    """A ``ctx.record`` gave no value: its function raised, or the value is too large or of a kind that can't be kept."""


class StepContext:
    """What one worker's steps see as ``ctx`` (documented in middleboxes.sdk.middlebox.Context)."""

    __slots__ = ("port", "now_ns", "outputs", "records", "random_state", "_replayed", "_numbers", "_on_event", "_replaying")

    def __init__(self, numbers, random_state, on_event):
        self.port, self.now_ns = "", 0
        self.outputs, self.records = [], []
        self.random_state = random_state
        self._numbers, self._on_event = numbers, on_event
        self._replaying, self._replayed = False, None

    def emit(self, port, frame):
        # checked here: the fault is the function's, on this packet, and must not surface in the master
        if type(frame) is not bytes:
            raise TypeError(f"a frame is bytes, not {type(frame).__name__}")
        if len(self.outputs) == OUTPUTS_MAX:
            raise ValueError(f"more than {OUTPUTS_MAX} outputs in one step")
        self.outputs.append((self._numbers[port], frame))

    def random(self):
        # splitmix64 (Steele, Lea, Flood 2014): 64 bits of state, in the checkpoint
        self.random_state = state = (self.random_state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def record(self, fn):
        if len(self.records) == RECORDS_MAX:
            raise RecordError(f"more than {RECORDS_MAX} records in one step")
        if self._replaying:
            if not self._replayed:
                raise ReplayError("the middlebox asks for a recorded value that was not logged: it is not deterministic")
            outcome = self._replayed.pop(0)
        else:
            outcome = self._outcome(fn)
        self.records.append(outcome)
        if type(outcome) is str:
            raise RecordError(outcome)
        return unpack(outcome, use_list=False)      # what replay will see, not what *fn* gave

    def _outcome(self, fn):
        """The packed value of *fn()*, or as text why there is none: a step that failed so must fail so again."""
        try:
            value = fn()
            check_value("ctx.record", value)
            packed = pack(value)
        except Exception as error:
            return type(error).__name__[:_REASON_CHARACTERS_MAX]
        if sum(map(len, self.records)) + len(packed) > RECORDED_BYTES_MAX:
            return "too large"
        return packed

    def event(self, name, detail):
        # checked in replay, too: what fails live must fail again
        for text in (name, detail):
            if type(text) is not str or len(text) > EVENT_CHARACTERS_MAX or not text.isprintable():
                raise ValueError(f"an event is two printable texts of at most {EVENT_CHARACTERS_MAX} characters")
        if not self._replaying:
            self._on_event(name, detail)

    def begin_replay(self, records):
        self._replaying, self._replayed = True, list(records)

    def end_replay(self):
        self._replaying = False


class Worker:
    """One worker's position: *n* of its last input, *k* of its last step, and what the output logger lacks."""

    def __init__(self, context, function, session):
        self.n = self.k = 0
        self.sent_k = 0           # determinants up to here were sent at least once
        self.durable_k = 0        # steps up to here are in a durable checkpoint
        self.last_ns = 0
        self.context = context
        self.function, self.session = function, session
        self.log = DeterminantLog()
        self.counters = {"steps": 0, "outputs": 0, "late_inputs": 0, "function_errors": 0, "resent": 0}


class Master:
    """The master of one group; frames in, frames out. *seeds*: one 64-bit number per worker (used when fresh).

    *function*: the middlebox; with several workers a list, one instance for each (Middlebox.instances).
    """

    def __init__(self, function, group_id, source, epoch, seeds, unacknowledged_max=65536, on_event=lambda name, detail: None):
        functions = function if isinstance(function, list) else [function]
        self.function = function = functions[0]
        self.state = function.whole_state
        if not len(functions) == len(seeds) == self.state.workers:
            raise StateError(f"{len(functions)} instances and {len(seeds)} seeds for {self.state.workers} workers")
        self.epoch = epoch
        self.group_id, self.source = group_id, source
        self.unacknowledged_max = unacknowledged_max
        self.checkpoint_id = 0
        self._names = tuple(function.ports)
        numbers = {name: number for number, name in enumerate(self._names)}
        self.workers = [Worker(StepContext(numbers, seed, on_event), instance, session)
                        for seed, instance, session in zip(seeds, functions, self.state.sessions)]
        self._encoder = OutputEncoder(group_id, source)
        self._on_event = on_event
        self._errors_told = set()

    # -- live

    @property
    def counters(self):
        """The workers' counters, summed."""
        return {name: sum(worker.counters[name] for worker in self.workers) for name in self.workers[0].counters}

    @property
    def ready(self):
        """Whether a further input, of whichever worker, may be processed."""
        return all(map(self.worker_ready, range(len(self.workers))))

    def worker_ready(self, number):
        """``ready`` for one worker."""
        worker = self.workers[number]
        return worker.k - worker.log.trimmed < self.unacknowledged_max and worker.k - worker.durable_k < UNDURABLE_MAX

    def ahead(self, number):
        """How many steps worker *number* is ahead of the output logger's acknowledgements."""
        worker = self.workers[number]
        return worker.k - worker.log.trimmed

    def process(self, number, item):
        """Process *item* (an Input) at worker *number*: the frames for the output logger."""
        worker = self.workers[number]
        if item.n <= worker.n:
            worker.counters["late_inputs"] += 1
            return ()
        context, session = worker.context, worker.session
        if session is None:
            self._step(worker, item)
            worker.log.append(item.n, encode_extra((), context.records) if context.records else None)
        else:
            self._shared_step(worker, item)
            worker.log.append(item.n, encode_extra(session.accesses, context.records))
        if not context.outputs:
            return ()
        return self._encode_outputs(number, worker)

    def flush(self):
        """Frames with the determinants that no output carried; call at the end of each batch of inputs."""
        frames = []
        for number in range(len(self.workers)):
            frames += self.flush_worker(number)
        return frames

    def flush_worker(self, number):
        """``flush`` for one worker."""
        worker = self.workers[number]
        return self._batches(number, worker) if worker.sent_k < worker.k else []

    def acknowledged(self, frame):
        """Take an ACK frame; returns determinants that are asked for again. Raises FrameError."""
        epoch, number, k, resend = decode_ack(frame)
        if number >= len(self.workers):
            raise FrameError(f"acknowledgement for worker {number}: there is no such")
        worker = self.workers[number]
        if epoch != self.epoch or k > worker.k:
            return []
        worker.log.trim(k)
        worker.sent_k = max(worker.sent_k, k)
        if not resend:
            return []
        worker.counters["resent"] += 1
        frames, last = [], worker.log.trimmed
        while last < worker.sent_k and len(frames) < RESENT_BATCHES_MAX:
            encoded, last = worker.log.encode(last, BATCH_BYTES_MAX)
            frames.append(self._encoder.encode_batch(self.epoch, number, encoded))
        return frames

    def _shared_step(self, worker, item):
        """A step that may use variables of all workers: what it took of them it has to the end."""
        worker.session.begin()
        try:
            self._step(worker, item)
        finally:
            worker.session.end(worker.k)

    def _step(self, worker, item):
        context = worker.context
        context.port = self._names[item.port] if item.port < len(self._names) else ""
        context.now_ns = worker.last_ns = item.timestamp_ns
        context.outputs, context.records = [], []
        try:
            if item.kind == PACKET:
                worker.function.handle(item.frame, context)
            else:
                worker.function.tick(context)
        except ReplayError:
            raise
        except Exception as error:  # a function's fault on one packet must not take down master after master
            self._function_failed(worker, error)
        worker.n = item.n
        worker.k += 1
        worker.counters["steps"] += 1

    def _function_failed(self, worker, error):
        """Count a step that raised, and tell the operator the first time at each place. Replay does the same."""
        worker.counters["function_errors"] += 1
        trace = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{trace.filename}:{trace.lineno}"
        # two workers at once may tell one place twice, no more
        if place not in self._errors_told and len(self._errors_told) < 100:
            self._errors_told.add(place)
            reason = ascii(str(error))[:EVENT_CHARACTERS_MAX]
            self._on_event("function-error", f"{type(error).__name__}: {reason} at {place}; the step ends there")

    def _encode_outputs(self, number, worker):
        frames = []
        determinants, last = worker.log.encode(worker.sent_k, DETERMINANTS_INLINE_BYTES_MAX)
        if last < worker.k or len(determinants) > DETERMINANTS_INLINE_BYTES_MAX:
            frames += self._batches(number, worker)
            determinants = b""
        else:
            worker.sent_k = last
        encode, epoch, k = self._encoder.encode, self.epoch, worker.k
        clock = () if worker.session is None else self._clock(number, worker.session.clock)
        for j, (port, frame) in enumerate(worker.context.outputs):
            frames.append(encode(epoch, number, k, j, port, clock, determinants, frame))
            determinants = b""
        worker.counters["outputs"] += len(worker.context.outputs)
        return frames

    def _clock(self, number, clock):
        """The entries that release must wait for: of other workers, beyond what the output logger acknowledged."""
        workers = self.workers
        return [(other, k) for other, k in enumerate(clock) if other != number and k > workers[other].log.trimmed]

    def _batches(self, number, worker):
        frames = []
        while worker.sent_k < worker.k:
            encoded, worker.sent_k = worker.log.encode(worker.sent_k, BATCH_BYTES_MAX)
            frames.append(self._encoder.encode_batch(self.epoch, number, encoded))
        return frames

    # -- replay

    def replay(self, number, item, extra, released=frozenset()):
        """Repeat a step as its determinant says; the frames of its outputs, but for those *released* (keys k << 16 | j).

        Raises ReplayError.
        """
        worker = self.workers[number]
        accesses, records = decode_extra(extra)
        worker.context.begin_replay(records)
        if worker.session is None:
            self._step(worker, item)
        else:
            self._shared_step(worker, item)
            if worker.session.accesses != accesses:
                raise ReplayError(f"step {worker.k} of worker {number} had shared variables in another order than was logged:"
                                  f" {worker.session.accesses}, logged is {accesses}")
        worker.context.end_replay()
        if worker.context.records != records:
            raise ReplayError(f"step {worker.k} of worker {number} recorded other values than were logged")
        worker.log.trim(worker.k)
        worker.sent_k = worker.k
        k, outputs = worker.k, worker.context.outputs
        return [self._encoder.encode(self.epoch, number, k, j, port, (), b"", frame)
                for j, (port, frame) in enumerate(outputs) if k << 16 | j not in released]

    # -- checkpoints

    def cut(self, full=False):
        """A consistent cut at this packet boundary: returns a Cut, whose chunks are made afterwards.

        *full*: a base instead of a delta, for a store that lost what this master's deltas build on. Only then does the
        pause grow with the state (a copy of references, about 10 ns a key).
        """
        # above all of older epochs: a follower must not take this one for what an older master numbered the same
        base, self.checkpoint_id = 0 if full else self.checkpoint_id, max(self.checkpoint_id, self.epoch << 32) + 1
        changes = [(name, *variable.cut()) for name, variable in self.function.variables.items()]
        if full:
            changes = [(name, (), variable.everything()) for name, variable in self.function.variables.items()]
        return Cut(id=self.checkpoint_id, base=base, epoch=self.epoch, function=type(self.function).__name__,
                   positions=[(worker.n, worker.k) for worker in self.workers],
                   random=[worker.context.random_state for worker in self.workers],
                   times_ns=[worker.last_ns for worker in self.workers],
                   sharing=self.state.header(), changes=changes)

    def acknowledged_all(self, cut):
        """Whether the output logger holds all determinants before *cut*; only then may the cut be committed."""
        return all(worker.log.trimmed >= k for worker, (_, k) in zip(self.workers, cut.positions))

    def durable(self, cut):
        """*cut* is durable: trim, and return the frames that let the loggers trim."""
        for worker, (_, k) in zip(self.workers, cut.positions):
            worker.durable_k = k
            # never so where a commit waits for the acknowledgements: then a worker's thread trimmed its log itself
            if worker.log.trimmed < k:
                worker.log.trim(k)
                worker.sent_k = max(worker.sent_k, k)
        return [frame for role in ("input-logger", "output-logger")
                for frame in encode_trim(role, self.group_id, self.source, self.epoch, cut.positions)]

    def load(self, checkpoint):
        """Apply one decoded checkpoint (base or delta) to a master that does not run. Raises CheckpointError."""
        header = checkpoint.header
        if header["function"] != type(self.function).__name__:
            raise CheckpointError(f"the checkpoint is of {header['function']}, this is {type(self.function).__name__}")
        if len(header["positions"]) != len(self.workers):
            raise CheckpointError(f"the checkpoint has {len(header['positions'])} workers, this group {len(self.workers)}")
        if header["base"] == 0:
            for variable in self.function.variables.values():
                variable.reset()
        elif header["base"] != self.checkpoint_id:
            raise CheckpointError(f"a delta on checkpoint {header['base']}, loaded is {self.checkpoint_id}")
        for name, removed, items in checkpoint.records:
            variable = self.function.variables.get(name)
            if variable is None:
                raise CheckpointError(f"the checkpoint has a state variable {name!r}, {type(self.function).__name__} has not")
            variable.apply(removed, items)
        for worker, (n, k), state, last_ns in zip(self.workers, header["positions"], header["random"], header["times_ns"]):
            self._start(worker, n, k)
            worker.context.random_state, worker.last_ns = state, last_ns
        self.state.load(header)
        self.checkpoint_id = header["id"]

    def start_at(self, positions_k):
        """Let a fresh master count its steps from *positions_k* (one k per worker)."""
        for worker, k in zip(self.workers, positions_k):
            self._start(worker, worker.n, k)

    def _start(self, worker, n, k):
        worker.n, worker.k, worker.sent_k, worker.durable_k = n, k, k, k
        worker.log = DeterminantLog(k)
