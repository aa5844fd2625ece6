"""Puts a bundle together from what store and loggers answer; no I/O.

``Capture(task)`` is fed messages: those of the checkpoint where it begins (``checkpoint``), those of checkpoints that become durable
later (``later``), inputs and determinants. Once it ``has_logs``, the loggers may forget; ``is_complete``, and ``bundle()`` makes
the Bundle. A task is a map of what a Bundle is of, and

- *stored*: the recoverable prefix, one k per worker; None: all that is done (no master died)
- *positions*: [[n, k] per worker] where the bundle ends, at a checkpoint that is being made; None if nobody makes one

Memory is bounded by *content_bytes_max*: BundleError beyond it.
"""

from ..core.checkpoint import CheckpointError, decode_chunk
from ..core.determinants import DeterminantError, DeterminantLog
from ..core.frames import FrameError, decode_input
from ..core.outputlog import unpack_keys
from .archive import CONTENT_BYTES_MAX
from .bundle import Bundle
from .errors import BundleError

#: of a task: what goes into the bundle as it is
COPIED = ("function", "parameters", "workers", "group", "group_id", "epoch", "cause", "detail", "node", "created_ns", "software")


class Capture:
    """One bundle in the making. Every method raises BundleError."""

    def __init__(self, task, content_bytes_max=CONTENT_BYTES_MAX):
        self._task = task
        self._workers = workers = task["workers"]
        self.positions = task.get("positions")
        self._bytes, self._bytes_max = 0, content_bytes_max
        self._base, self._base_ended = [], False
        self._base_id, self._head = 0, None     # the last checkpoint in it, and the chunk with its header
        self._result, self._chunks = None, []
        self._inputs = [[] for _ in range(workers)]
        self._determinants = [[] for _ in range(workers)]
        self._released = [set() for _ in range(workers)]
        self._inputs_missing = self._determinants_missing = workers

    @property
    def has_logs(self):
        """Whether the loggers are not needed any more, and the store has begun to answer."""
        return bool(self._base) and not self._inputs_missing and not self._determinants_missing

    @property
    def has_checkpoint(self):
        """Whether all of the checkpoint where it begins is here."""
        return self._base_ended

    @property
    def is_complete(self):
        """Whether all is here, with the checkpoint where it ends if there is to be one."""
        return self.has_logs and self._base_ended and (self._result is not None or self.positions is None)

    def checkpoint(self, message):
        """A chunk of the checkpoint where it begins; number 0 ends it."""
        if message["id"] == 0:
            if not self._base:
                raise BundleError("the store has no checkpoint")
            self._base_ended = True
        elif not message["last"]:
            self._base.append(self._counted(message["data"]))
            if message["id"] != self._base_id:
                self._base_id, self._head = message["id"], message["data"]

    def later(self, message):
        """A chunk of a checkpoint that became durable: kept is the one that ends where the bundle does."""
        if not message["last"]:
            self._chunks.append(self._counted(message["data"]))
            return
        chunks, self._chunks = self._chunks, []
        try:
            header = decode_chunk(chunks[0])[0] if chunks else None
        except CheckpointError as error:
            raise BundleError(f"the store sent a checkpoint that can't be used: {error}") from error
        if header is not None and [list(position) for position in header["positions"]] == self.positions:
            self._result = chunks
        else:
            self._bytes -= sum(map(len, chunks))

    def inputs(self, message):
        """A batch of a worker's inputs."""
        worker = self._worker(message)
        last_n = self.positions[worker][0] if self.positions else None
        try:
            for frame in message["frames"]:
                item = decode_input(frame)[2]
                if last_n is None or item.n <= last_n:
                    self._inputs[worker].append(item)
                    self._counted(frame)
        except FrameError as error:
            raise BundleError(f"the input logger sent what can't be used: {error}") from error
        self._inputs_missing -= message["end"]

    def determinants(self, message):
        """A batch of a worker's determinants, or of keys of what left."""
        worker = self._worker(message)
        if message["data"]:
            self._determinants[worker].append(self._counted(message["data"]))
        try:
            self._released[worker].update(unpack_keys(self._counted(message["released"])))
        except FrameError as error:
            raise BundleError(f"the output logger sent what can't be used: {error}") from error
        self._determinants_missing -= message["end"]

    def _worker(self, message):
        if not 0 <= message["worker"] < self._workers:
            raise BundleError(f"a logger speaks of worker {message['worker']}: there is no such")
        return message["worker"]

    def _counted(self, data):
        self._bytes += len(data)
        if self._bytes > self._bytes_max:
            raise BundleError(f"it would have more than {self._bytes_max} bytes")
        return data

    def bundle(self):
        """The Bundle."""
        begin = self._begin()
        goal = [k for _, k in self.positions] if self.positions else self._task["stored"]
        if goal is None or len(goal) != self._workers:
            raise BundleError("nobody says where it ends")
        goal = [max(k, first) for k, (_, first) in zip(goal, begin)]
        logs = [self._log(worker, k, goal[worker]) for worker, (_, k) in enumerate(begin)]
        inputs = [[item for item in items if item.n > n] for items, (n, _) in zip(self._inputs, begin)]
        for worker, (log, items) in enumerate(zip(logs, inputs)):
            logged = {item.n for item in items}
            for k, n, _ in log.steps():
                if n not in logged:
                    raise BundleError(f"input {n} of worker {worker}, which step {k} needs, was forgotten meanwhile")
        stored = self._task["stored"] or goal
        return Bundle(
            **{name: self._task[name] for name in COPIED}, ports=self._task["ports"], checkpoint_chunks=self._base,
            result_chunks=self._result, determinants=logs, recoverable=list(map(min, stored, goal)), inputs=inputs,
            released=[{key for key in keys if first < key >> 16 <= last} for keys, (_, first), last in zip(self._released, begin, goal)])

    def _begin(self):
        """Where it begins: [(n, k) per worker]."""
        try:
            header, _ = decode_chunk(self._head)
        except CheckpointError as error:
            raise BundleError(f"the store sent a checkpoint that can't be used: {error}") from error
        if header is None or len(header["positions"]) != self._workers:
            raise BundleError("the store's checkpoint is of another number of workers")
        return header["positions"]

    def _log(self, worker, first, last):
        log = DeterminantLog(first)
        try:
            for data in self._determinants[worker]:
                if not log.store(data):
                    raise BundleError(f"determinants of worker {worker} after step {first} were forgotten meanwhile")
        except DeterminantError as error:
            raise BundleError(f"the output logger sent what can't be used: {error}") from error
        if log.last < last:
            raise BundleError(f"determinants of worker {worker} end at step {log.last}, step {last} was promised")
        log.cut_off(last)
        return log
