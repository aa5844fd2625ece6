"""A hot spare: it repeats what the living master does, so that a failover finds only the last steps left to repeat.

``Follower`` is fed what the loggers log and store, while the master lives (docs/protocol.md, "Hot spares")::

    input logger   all inputs from some n on             -> inputs_begin(), inputs()
    output logger  determinants that it stored           -> determinants_begin(), determinants(), covered()
                   at a fence: R, and what left          -> fenced()
    store          headers of durable checkpoints        -> durable()
    step(budget)   repeats up to *budget* steps

It begins once the checkpoint that is loaded meets the beginnings of both streams; from then on none is loaded. Outputs of
the steps that it repeats are kept as long as the output logger might not have got them. At the failover ``hand_over`` gives what
it has to a Recovery, and ``settle`` makes its record of changes that of a master whose last checkpoint is the durable one.

Any error here, and any end of a stream, means: begin anew from a checkpoint. Nothing that left depends on a hot spare.
"""

from collections import deque

from .frames import FrameError, decode_input
from .kept import KeptOutputs
from .outputlog import unpack_keys
from .replaying import Replay
from .step import ReplayError

#: Bounds of what waits here, beyond which the spare is too slow to be hot: bytes of inputs, steps to repeat.
INPUT_BYTES_MAX, STEPS_MAX = 64 << 20, 1 << 19
#: Records of changes between two headers of durable checkpoints; more are a spare that hears of none.
RECORDS_MAX = 1 << 10


class Follower:
    """Repeats at *master*, which runs nothing else, what the group's living master did."""

    def __init__(self, master):
        self.master = master
        self.begun = False
        self.repeated = 0
        self.fenced_epoch = self.stored = None      # the output logger was fenced in it with this R: the stream of determinants is over
        self._replay = Replay(master)
        self._inputs_begin = self._determinants_begin = None
        self._kept = KeptOutputs(len(master.workers))
        self._on_event = None               # what the master's is when nobody follows
        self._covered = [0] * len(master.workers)       # outputs up to here never leave again
        self._records = deque()             # ([k per worker] at its end, changes) of each record that is not durable for sure
        self._released = [set() for _ in master.workers]

    @property
    def dropped_outputs(self):
        """Steps whose outputs were dropped at the bound."""
        return self._kept.dropped

    @property
    def behind(self):
        """Steps that are stored at the output logger, known here, and not repeated."""
        return self._replay.steps_left if self.begun else 0

    # -- what arrives

    def inputs_begin(self, after):
        """The stream of inputs has all after *after* (one n per worker)."""
        self._inputs_begin = after

    def inputs(self, frames):
        """INPUT frames of the stream. Raises FrameError, ReplayError."""
        for frame in frames:
            _, number, item = decode_input(frame)
            if number >= len(self._replay.inputs):
                raise FrameError(f"an input for worker {number}: there is no such")
            self._replay.add(number, item)
        if self._replay.input_bytes > INPUT_BYTES_MAX:
            raise ReplayError(f"more than {INPUT_BYTES_MAX} bytes of inputs wait to be repeated")

    def determinants_begin(self, after):
        """The stream of determinants has all after *after* (one k per worker)."""
        self._determinants_begin = after
        for plan, k in zip(self._replay.plans, after):
            plan.trim(k)

    def determinants(self, number, data):
        """Encoded determinants of worker *number*. Raises ReplayError."""
        if number >= len(self._replay.plans):
            raise ReplayError(f"determinants of worker {number}: there is no such")
        self._replay.store(number, data)
        if len(self._replay.plans[number]) > STEPS_MAX:
            raise ReplayError(f"more than {STEPS_MAX} determinants wait to be repeated")

    def covered(self, positions):
        """Outputs of steps up to *positions* (one k per worker) never leave again."""
        self._covered = positions
        for number, k in enumerate(positions):
            self._kept.forget(number, k)

    def durable(self, header):
        """The checkpoint with this *header* is durable, of whatever position. Raises ReplayError."""
        self._records.append(([worker.k for worker in self.master.workers], self.master.take_changes()))
        positions = [k for _, k in header["positions"]]
        while self._records and all(map(int.__le__, self._records[0][0], positions)):
            self._records.popleft()
        if len(self._records) > RECORDS_MAX:
            raise ReplayError("the durable checkpoints do not come nearer")
        self.master.follows(header)

    def released(self, number, data):
        """Outputs of worker *number* that left and are not covered (packed keys), told at a fence. Raises FrameError."""
        if number >= len(self._released):
            raise FrameError(f"outputs of worker {number}: there is no such")
        self._released[number].update(unpack_keys(data))

    def fenced(self, epoch, stored):
        """The output logger was fenced for *epoch* and has told all that it has, up to *stored*, the recoverable prefix."""
        self.fenced_epoch, self.stored = epoch, stored
        for plan, k in zip(self._replay.plans, stored):
            plan.cut_off(k)             # another master may make other steps of these numbers

    # -- what to do

    def begin(self):
        """Begin at the checkpoint that is loaded, if it meets both streams; returns whether it has begun."""
        workers = self.master.workers
        if self.begun or self._inputs_begin is None or self._determinants_begin is None:
            return self.begun
        if all(worker.n >= n and worker.k >= k for worker, n, k in zip(workers, self._inputs_begin, self._determinants_begin)):
            self.begun = True
            # what it would tell of its function the living master has told
            self._on_event, self.master._on_event = self.master._on_event, lambda name, detail: None
            self._replay.begin()
        return self.begun

    def step(self, budget):
        """Repeat up to *budget* steps; returns how many. Raises ReplayError."""
        if not self.begun:
            return 0
        done = self._replay.run(budget, self._repeat, False)
        self.repeated += done
        return done

    def _repeat(self, number, item, extra):
        outputs = self.master.repeat_step(number, item, extra)
        k = self.master.workers[number].k
        if outputs and k > self._covered[number]:
            self._kept.add(number, k, outputs)

    def give_up(self):
        """Nothing that it has repeated counts: the master is to load a checkpoint."""
        if self.begun:
            self.master._on_event = self._on_event

    # -- the failover

    def may_become_master(self, stored, positions=()):
        """Whether it stands at or before *stored*, the recoverable prefix, and its stream has not ended before that.

        *positions*: [n, k] per worker of the last durable checkpoint. One that is beyond the prefix has steps that a new output logger never had.
        """
        if not self.begun or len(stored) != len(self.master.workers) or any(k > end for (_, k), end in zip(positions, stored)):
            return False
        if self.fenced_epoch is not None and any(plan.last < k for plan, k in zip(self._replay.plans, stored)):
            return False                # another master was there meanwhile
        return all(worker.k <= k for worker, k in zip(self.master.workers, stored))

    def hand_over(self, recovery):
        """Let *recovery* go on from here. Raises ReplayError."""
        self.master._on_event = self._on_event
        recovery.resume(self._replay, self._kept, self._released)

    def settle(self):
        """No more headers come: the next cut has all that changed since the last durable checkpoint, and some more."""
        changes = {}
        for _, record in self._records:
            for name, removed, dirty in record:
                changes.setdefault(name, []).append((removed, dirty))
        self._records.clear()
        for name, variable in self.master.function.variables.items():
            variable.put_back(changes.get(name, ()))
