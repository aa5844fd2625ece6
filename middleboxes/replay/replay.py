"""The replay of a bundle: the steps of all workers, one by one, on the real master of middleboxes.core.

In this order: the steps of the recoverable prefix (what the dead master had done, as far as anybody knows), those of the
master that went on, to where its checkpoint ends, and then inputs of which no determinant is left, as new ones. Of
several workers the step with the oldest input comes first, among those that need not wait for another worker's.

What must hold is looked at on the way: inputs and determinants fit together (else ReplayError), what had left is emitted again, and the
state is that of the master that went on (``differences``).
"""

import traceback
from collections import deque
from dataclasses import dataclass, field

from ..core.checkpoint import CheckpointError
from ..core.determinants import decode_extra
from ..core.frames import PACKET, FrameError, decode_output
from ..core.master import Master
from ..core.state import StateError
from ..core.step import ReplayError
from ..functions import load
from ..sdk import ConfigurationError
from . import state as states
from .errors import BundleError

_MAC = bytes.fromhex("024654010001")
#: steps that raised, and differences, that are kept with all that belongs to them; further ones are counted
KEPT_MAX = 100
#: what a step is: of the dead master; of the one that went on; of nobody that is known
RECOVERED, LATER, NEW = "recovered", "later", "new"


@dataclass
class Step:
    """One step that was replayed.

    - *worker*, *k*: its name; *n*: of its input; *port*: name, "" for a tick; *now_ns*; *frame*: bytes, empty for a tick
    - *phase*: "recovered", "later" or "new"; *accesses*, *records*: its determinant besides n (middleboxes.core.determinants)
    - *outputs*: [(port name, frame), ...]; *changes*: {variable: ([removed keys], {key: value})}
    - *error*: the exception that ended it, or None
    """

    worker: int
    k: int
    n: int
    port: str
    now_ns: int
    frame: bytes
    phase: str
    accesses: list = field(default_factory=list)
    records: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    changes: dict = field(default_factory=dict)
    error: Exception = None

    @property
    def is_tick(self):
        """Whether its input is a tick, not a packet."""
        return not self.port

    @property
    def traceback(self):
        """Of its error, as text without this library's own frames; "" if it has none."""
        return "" if self.error is None else function_traceback(self.error)


def function_traceback(error):
    """The traceback of what a step raised (or was interrupted by), as text, from the middlebox's own frames on."""
    trace = walked = error.__traceback__
    while walked is not None:
        if walked.tb_frame.f_globals.get("__name__") == __name__:
            trace = walked.tb_next or trace
        walked = walked.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


class Replay:
    """A replay of *bundle* (iterate over its Steps), by *function*: a Middlebox class or a name; None: the bundle's own.

    - ``errors``: [Step, ...] that raised, at most KEPT_MAX, ``error_count`` of all; ``steps``, ``outputs``: how many so far
    - ``differences``: lines of what did not hold, empty while all does; ``compared``: whether the state was looked at
    - ``current``: the Step under way or done last; so one that never ends has a name, too
    - ``run_step``: set to a function (method, packet or ctx ...) to have it call the middlebox's method, as a debugger does

    Raises BundleError if the function is not there or the checkpoint does not fit it.
    """

    def __init__(self, bundle, function=None):
        self.bundle = bundle
        self.is_other = function is not None
        self.steps = self.outputs = self.error_count = self.difference_count = 0
        self.errors, self.differences = [], []
        self.compared = False
        self.run_step = self.current = None
        self._error = None
        self._master = self._load(function)
        self._plans = [log.steps() for log in bundle.determinants]
        self._heads = [next(plan, None) for plan in self._plans]
        self._inputs = [deque(item for item in items if item.n > worker.n) for items, worker in zip(bundle.inputs, self._master.workers)]
        # per worker: step -> the highest number of its outputs that had left
        self._left = [{key >> 16: key & 0xFFFF for key in sorted(keys)} for keys in bundle.released]
        begin = [worker.k for worker in self._master.workers]
        recoverable = [max(k, first) for k, first in zip(bundle.recoverable, begin)]
        end = [k for _, k in bundle.result_header["positions"]] if bundle.result_header else [log.last for log in bundle.determinants]
        self._goals = deque([(RECOVERED, list(map(min, recoverable, end))), (LATER, end)])

    def _load(self, function):
        bundle = self.bundle
        try:
            cls = function if isinstance(function, type) else load(function or bundle.function)
            cls = _watched(cls, bundle.header["function"], self)
            instances = cls.instances(bundle.parameters, bundle.parsed_ports, bundle.workers)
            master = Master(instances, bundle.group_id, _MAC, bundle.epoch, [0] * bundle.workers)
            for checkpoint in bundle.checkpoints:
                for name, *_ in checkpoint.records:
                    if name not in master.function.variables:
                        raise CheckpointError(f"it has no state variable {name!r}, the checkpoint has")
                master.load(checkpoint)
        except (ConfigurationError, StateError, CheckpointError) as error:
            raise BundleError(f"function {function or bundle.function!r} does not fit the bundle: {error}") from error
        return master

    # -- what is there now

    @property
    def state(self):
        """{variable: number, or {key: value}}, a copy; with several workers, a variable of one is named ``name[worker]``."""
        return states.contents(self._master.function.variables)

    @property
    def digest(self):
        """SHA-256 (hex) of the state."""
        return states.digest(self.state)

    @property
    def positions(self):
        """Per worker (n, k) of its last step."""
        return [(worker.n, worker.k) for worker in self._master.workers]

    # -- steps

    def __iter__(self):
        while (step := self.step()) is not None:
            yield step

    def run(self, until=None):
        """Replay to the end, or through step *until* = (worker, k); returns that Step, else the last one."""
        last = None
        for last in self:
            if (last.worker, last.k) == until:
                break
        return last

    def step(self, new=True):
        """Replay the next step and return it; None if there is none. *new*: also those of no determinant. Raises ReplayError."""
        while self._goals:
            phase, goal = self._goals[0]
            number = self._runnable(goal)
            if number is not None:
                return self._repeat(number, phase)
            self._reached(phase, goal)
        number = self._oldest(number for number, inputs in enumerate(self._inputs) if inputs) if new else None
        return None if number is None else self._process(number)

    def _oldest(self, numbers):
        return min(numbers, key=lambda number: (self._inputs[number][0].timestamp_ns, number), default=None)

    def _runnable(self, goal):
        """The worker whose step is next on the way to *goal*; None if nothing is left to do or can be done."""
        return self._oldest(number for number, head in enumerate(self._heads)
                            if head is not None and head[0] <= goal[number] and self._may_follow(head[2]) and self._fetch(number, head))

    def _may_follow(self, extra):
        workers = self._master.workers
        return all(before < len(workers) and workers[before].k >= k for _, _, before, k in decode_extra(extra)[0])

    def _fetch(self, number, head):
        """Have the input of step *head* be the first one of the worker."""
        k, n, _ = head
        inputs = self._inputs[number]
        while inputs and inputs[0].n < n:
            inputs.popleft()                # the network lost it on its way to the master
        if not inputs or inputs[0].n != n:
            raise ReplayError(f"input {n} of worker {number} is needed by step {k} and not in the bundle")
        return True

    def _reached(self, phase, goal):
        """Nothing more can be done towards *goal*: it must be reached."""
        self._goals.popleft()
        for number, worker in enumerate(self._master.workers):
            if worker.k < goal[number]:
                why = "wait for steps that are not there" if self._heads[number] else "are not in the bundle"
                raise ReplayError(f"steps of worker {number} from {worker.k + 1} to {goal[number]} {why}: its determinants are not closed")
        if phase == LATER and self.bundle.result_header is not None and not self.is_other:
            self._compare()

    def _repeat(self, number, phase):
        k, n, extra = self._heads[number]
        accesses, records = decode_extra(extra)
        step = self._begin(number, k, self._inputs[number].popleft(), phase)
        step.accesses, step.records = accesses, records
        frames = self._master.replay(number, self._item, extra)
        self._heads[number] = next(self._plans[number], None)
        return self._end(step, frames)

    def _process(self, number):
        step = self._begin(number, self._master.workers[number].k + 1, self._inputs[number].popleft(), NEW)
        return self._end(step, self._master.process(number, self._item))

    def _begin(self, number, k, item, phase):
        self._item, self._error = item, None
        names = self._master.function.ports
        self.current = Step(number, k, item.n, names[item.port] if item.kind == PACKET else "", item.timestamp_ns, item.frame, phase)
        return self.current

    def _end(self, step, frames):
        names = self._master.function.ports
        for frame in frames:
            output = decode_output(frame)
            if output.k:                    # else determinants only
                step.outputs.append((names[output.port], output.frame))
        for name, variable in self._master.function.variables.items():
            removed, changed = variable.cut()
            if removed or changed:
                # a key that came or moved is told as removed, too, for who applies the change
                step.changes[name] = ([key for key in removed if key not in changed], changed)
        self.steps += 1
        self.outputs += len(step.outputs)
        if self._error is not None:
            step.error = self._error
            self.error_count += 1
            if len(self.errors) < KEPT_MAX:
                self.errors.append(step)
        if step.phase != NEW and not self.is_other:
            self._check_released(step)
        return step

    def _check_released(self, step):
        last = self._left[step.worker].get(step.k, -1)
        if last >= len(step.outputs):
            self._differ(f"output {last} of step {step.worker}:{step.k} had left, and the replay does not emit it")

    def _compare(self):
        """The replay stands where the master's checkpoint was cut: all that it keeps must be the same."""
        self.compared = True
        master, header = self._master, self.bundle.result_header
        was = states.folded(master.function.variables, [*self.bundle.checkpoints, self.bundle.result])
        for line in states.differences(was, self.state):
            self._differ(line)
        sharing = master.state.header()
        for what, then, now in (("positions (n, k)", header["positions"], self.positions),
                                ("random numbers drawn", header["random"], [worker.context.random_state for worker in master.workers]),
                                ("times", header["times_ns"], [worker.last_ns for worker in master.workers]),
                                ("order of shared variables", (header["clocks"], header["domains"]),
                                 (tuple(sharing["clocks"]), tuple(map(tuple, sharing["domains"]))))):
            if tuple(then) != tuple(now):
                self._differ(f"{what}: {now} in the replay, {then} in the checkpoint of the master that went on")

    def _differ(self, line):
        self.difference_count += 1
        if len(self.differences) < KEPT_MAX:
            self.differences.append(line)

    # -- called by the middlebox's class, see _watched

    def _run(self, method, *arguments):
        return method(*arguments) if self.run_step is None else self.run_step(method, *arguments)

    def _raised(self, error):
        self._error = error


def _watched(cls, name, replay):
    """A class like *cls*, under the *name* that checkpoints know, that tells *replay* what its steps raise."""

    class Watched(cls):
        def handle(self, frame, ctx):
            try:
                super().handle(frame, ctx)
            except Exception as error:
                replay._raised(error)
                raise

        def process(self, packet, ctx):
            replay._run(super().process, packet, ctx)

        def tick(self, ctx):
            try:
                replay._run(super().tick, ctx)
            except Exception as error:
                replay._raised(error)
                raise

    Watched.__name__ = Watched.__qualname__ = name
    Watched.__module__, Watched.__doc__ = cls.__module__, cls.__doc__
    return Watched
