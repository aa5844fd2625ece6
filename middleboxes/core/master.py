"""The master: runs the middlebox, logs the order of what it did, and cuts checkpoints.

Each packet's path, the *steps*, is in middleboxes.core.steps (compiled). Replay is the same step with the determinant given
instead of made.

Bounds: at most ``unacknowledged_max`` steps of a worker are ahead of the output logger's acknowledgement, and UNDURABLE_MAX ahead
of the last durable checkpoint; at a bound it takes no more inputs (``ready`` is False) until acknowledgements or a durable checkpoint come.

Around it input logger, output logger and store may be replaced: ``fence_inputs``, ``use_output_log`` and ``use_store`` tell it
so (docs/protocol.md, "Replacements"). ``covers`` has the epoch of the last replacement of each, or that of its own beginning.

Threads: with several workers, each may have a thread that alone calls ``process``, ``flush_worker`` and ``acknowledged`` for
it: all that these change is the worker's own, or guarded as middleboxes.core.sharing says. ``cut``, ``load``, ``replay``,
``fence_inputs`` and ``stop`` are for when no worker runs. ``acknowledged_all``, ``use_output_log``, ``use_store``, ``durable`` and
``counters`` may come at any time: of workers that run they read numbers that never go back, and write one, ``durable_k``,
that only ``durable`` writes.
"""

from .checkpoint import COVERED, Cut, all_of, count_keys
from .determinants import DeterminantLog, decode_extra
from .frames import FrameError, OutputEncoder, decode_ack, encode_trim
from .loading import load_in_slices
from .state import StateError
from .step import ReplayError, StepContext
from .steps import BATCH_BYTES_MAX, Steps, Worker

#: Steps beyond the last durable checkpoint, at most. Below what an output logger stores (its items_max), so that
#: with the store away the master stops first: a full output log could never acknowledge the checkpoint that frees it.
UNDURABLE_MAX = 1 << 19
#: a cut that says nothing new but where it is may wait while no more steps than this are to be repeated without it
QUIET_STEPS_MAX = 64
#: determinants are asked for again in portions: a long gap must not hold up packets
RESENT_BATCHES_MAX = 16
#: above every epoch: who takes inputs only from here on takes none
_NO_INPUTS = 1 << 32


class Master(Steps):
    """The master of one group; frames in, frames out. *seeds*: one 64-bit number per worker (used when fresh).

    *function*: the middlebox; with several workers a list, one instance for each (Middlebox.instances).
    """

    def __init__(self, function, group_id, source, epoch, seeds, unacknowledged_max=65536, on_event=lambda name, detail: None):
        functions = function if isinstance(function, list) else [function]
        self.function = function = functions[0]
        self.state = function.whole_state
        if not len(functions) == len(seeds) == self.state.workers:
            raise StateError(f"{len(functions)} instances and {len(seeds)} seeds for {self.state.workers} workers")
        names = tuple(function.ports)
        numbers = {name: number for number, name in enumerate(names)}
        workers = [Worker(StepContext(numbers, seed, on_event), instance, session)
                   for seed, instance, session in zip(seeds, functions, self.state.sessions)]
        super().__init__(workers, names, OutputEncoder(group_id, source), on_event)
        self.begin(epoch, 0)
        self.group_id, self.source = group_id, source
        self.unacknowledged_max, self.undurable_max = unacknowledged_max, UNDURABLE_MAX
        self.checkpoint_id = 0
        self._durable = None            # positions of the last durable checkpoint, and what it covers
        self._disturbances_cut = 0      # inputs that came late and steps that failed, up to the last cut
        self._unlogged_id = None        # a new output logger: the last checkpoint cut before it was told of
    # -- who is around it

    def begin(self, epoch, inputs_from):
        """It is the master of *epoch* from now on, for which the output logger was fenced or began.

        INPUT frames of an epoch below *inputs_from* are a former input logger's.
        """
        self.epoch, self.inputs_from, self.output_epoch = epoch, inputs_from, epoch
        self.covers = dict.fromkeys(COVERED, epoch)

    def _replaced(self, role, epoch):
        """Checkpoints cut from now on say that *role* was replaced in *epoch*: one that is being cut must not see half of it."""
        self.covers = {**self.covers, role: max(self.covers[role], epoch)}

    def use_store(self, epoch):
        """The store is a new and empty one, in *epoch*: the next cut must be full."""
        self._replaced("store", epoch)

    def fence_inputs(self, epoch):
        """Another input logger, of *epoch*: no input below it is taken any more. ([n per worker], time in ns) it goes on from."""
        self.inputs_from = max(self.inputs_from, epoch)
        self._replaced("input-logger", epoch)
        return [worker.n for worker in self.workers], max(worker.last_ns for worker in self.workers)

    def use_output_log(self, epoch, output_epoch):
        """The output logger is a new and empty one: until a checkpoint cut after this is durable, none waits for acknowledgements.

        *output_epoch*: of the frames to and from it. What former ones acknowledge, or a late switch still leads to them, counts no more.
        """
        self._replaced("output-logger", epoch)
        self.output_epoch = max(self.output_epoch, output_epoch)
        self._unlogged_id = self.checkpoint_id

    def stop(self):
        """Take no more inputs, for good."""
        self.inputs_from = _NO_INPUTS

    @property
    def stopped(self):
        """Whether ``stop`` was called."""
        return self.inputs_from == _NO_INPUTS

    # -- live

    @property
    def counters(self):
        """The workers' counters, summed."""
        return {name: sum(worker.counters[name] for worker in self.workers) for name in self.workers[0].counters}

    def ahead(self, number):
        """How many steps worker *number* is ahead of the output logger's acknowledgements."""
        worker = self.workers[number]
        return worker.k - worker.log.trimmed

    def refuse(self, number):
        """Count an input for worker *number* whose epoch is below ``inputs_from``."""
        self.workers[number].refused_inputs += 1

    def acknowledged(self, frame):
        """Take an ACK frame; returns determinants that are asked for again, and what is durable. Raises FrameError."""
        epoch, number, k, resend = decode_ack(frame)
        if number >= len(self.workers):
            raise FrameError(f"acknowledgement for worker {number}: there is no such")
        worker = self.workers[number]
        if epoch != self.output_epoch or k > worker.k:
            return []
        worker.log.trim(k)
        worker.sent_k = max(worker.sent_k, k)
        if not resend:
            return []
        worker.resent += 1
        frames, last, durable_k = [], worker.log.trimmed, worker.durable_k
        if (k < durable_k or not k) and self._durable is not None:
            # its TRIM was lost, or the output logger is a new one, which waits for it even if there is nothing to trim
            frames = self._trims("output-logger")
        if last > max(k, durable_k):
            return frames           # of no use to a new output logger: it waits for the next checkpoint
        while last < worker.sent_k and len(frames) < RESENT_BATCHES_MAX:
            encoded, last = worker.log.encode(last, BATCH_BYTES_MAX)
            frames.append(self._encoder.encode_batch(self.output_epoch, number, encoded))
        return frames

    # -- replay

    def replay(self, number, item, extra, released=frozenset()):
        """Repeat a step as its determinant says; the frames of its outputs, but for those *released* (keys k << 16 | j).

        Raises ReplayError.
        """
        outputs = self.repeat_step(number, item, extra)
        return self.resend(number, self.workers[number].k, outputs, released)

    def repeat_step(self, number, item, extra):
        """Repeat a step as its determinant says: its outputs [(port number, frame)]. Raises ReplayError."""
        worker = self.workers[number]
        accesses, records = decode_extra(extra)
        worker.context.begin_replay(records)
        self.repeat(worker, item)
        if worker.session is not None and worker.session.accesses != accesses:
            raise ReplayError(f"step {worker.k} of worker {number} had shared variables in another order than was logged:"
                              f" {worker.session.accesses}, logged is {accesses}")
        worker.context.end_replay()
        if worker.context.records != records:
            raise ReplayError(f"step {worker.k} of worker {number} recorded other values than were logged")
        worker.log.trim(worker.k)
        worker.sent_k = worker.k
        return worker.context.outputs

    def resend(self, number, k, outputs, released):
        """The frames of the *outputs* of a repeated step, but for those *released*."""
        return [self._encoder.encode(self.output_epoch, number, k, j, port, (), b"", frame)
                for j, (port, frame) in enumerate(outputs) if k << 16 | j not in released]

    # -- checkpoints

    def cut(self, full=False):
        """A consistent cut at this packet boundary: returns a Cut, whose chunks are made afterwards.

        *full*: a base instead of a delta, for a store that lost what this master's deltas build on. Only then does the
        pause grow with the state, about 10 ns a key.
        """
        # above all of older epochs: a follower must not take this one for what an older master numbered the same
        self._disturbances_cut = self._disturbances()
        base, self.checkpoint_id = 0 if full else self.checkpoint_id, max(self.checkpoint_id, self.epoch << 32) + 1
        changes = self.take_changes()
        if full:
            changes = all_of(self.function.variables)
        return Cut(id=self.checkpoint_id, base=base, epoch=self.epoch, covers=self.covers, function=type(self.function).__name__,
                   positions=[(worker.n, worker.k) for worker in self.workers],
                   random=[worker.context.random_state for worker in self.workers],
                   times_ns=[worker.last_ns for worker in self.workers],
                   keys=count_keys(self.function.variables) if full else {}, sharing=self.state.header(), changes=changes)

    @property
    def quiet(self):
        """Whether a cut now would say nothing that the last one, which is durable, does not, but for a few steps that changed nothing and did not fail.

        Not while inputs come late: the input logger may be full, and wait for what was durable to be told again.
        """
        if self._durable is None or self._disturbances() != self._disturbances_cut:
            return False
        if any(variable.has_changes for variable in self.function.variables.values()):
            return False
        return sum(worker.k - worker.durable_k for worker in self.workers) <= QUIET_STEPS_MAX

    def _disturbances(self):
        return sum(worker.counters["late_inputs"] + worker.counters["function_errors"] for worker in self.workers)

    def acknowledged_all(self, cut):
        """Whether the output logger holds all determinants before *cut*; only then may the cut be committed.

        A new output logger never will: nobody has them. What it can't release until then, the durable checkpoint explains.
        """
        return self._unlogged_id is not None or all(worker.log.trimmed >= k for worker, (_, k) in zip(self.workers, cut.positions))

    def durable(self, cut):
        """*cut* is durable: returns the frames that let the loggers trim. The master's own logs wait for acknowledgements."""
        self._durable = cut.positions, cut.covers
        for worker, (_, k) in zip(self.workers, cut.positions):
            worker.durable_k = k
        if self._unlogged_id is not None and cut.id > self._unlogged_id:
            self._unlogged_id = None
        return self._trims("input-logger") + self._trims("output-logger")

    def _trims(self, role):
        positions, covers = self._durable
        epoch = self.output_epoch if role == "output-logger" else self.epoch
        return encode_trim(role, self.group_id, self.source, epoch, positions, covers[role])

    def take_changes(self):
        """[(variable, removed keys, {key: value} in order)]: what changed since the last cut; most variables did not."""
        return [(name, *variable.cut()) for name, variable in self.function.variables.items() if variable.has_changes]

    def load(self, checkpoint):
        """Apply one decoded checkpoint (base or delta) to a master that does not run. Raises CheckpointError."""
        for _ in load_in_slices(self, checkpoint):
            pass

    def stands_at(self, header):
        """The checkpoint with this *header* is the last durable one, and loaded."""
        for worker, (n, k), state, last_ns in zip(self.workers, header["positions"], header["random"], header["times_ns"]):
            self._start(worker, n, k)
            worker.context.random_state, worker.last_ns = state, last_ns
            worker.context.end_replay()     # of a step that could not be repeated
        self.state.load(header)
        self.follows(header)

    def follows(self, header):
        """The checkpoint with this *header* is the last durable one: the next cut is a delta on it."""
        self._durable, self.checkpoint_id = (header["positions"], header["covers"]), header["id"]
        for worker, (_, k) in zip(self.workers, header["positions"]):
            worker.durable_k = k

    def start_at(self, positions_k):
        """Let a fresh master count its steps from *positions_k* (one k per worker)."""
        for worker, k in zip(self.workers, positions_k):
            self._start(worker, worker.n, k)

    def _start(self, worker, n, k):
        worker.n, worker.k, worker.sent_k, worker.durable_k = n, k, k, k
        worker.log = DeterminantLog(k)
