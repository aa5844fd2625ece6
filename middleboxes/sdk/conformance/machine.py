"""Machine: a middlebox under the real core (input log, master, checkpoints, recovery) without network, threads or clocks.

    machine = Machine(Nat, parameters, ports, workers=4)
    emitted = machine.give("inside", frame, now_ns)        # [(port, frame), ...]
    machine.checkpoint()
    machine.take_over()         # the master dies; a fresh one loads, replays and goes on; raises if it is not the same
"""

from ...core.checkpoint import Assembler, Folded
from ...core.frames import decode_input, decode_output
from ...core.inputlog import InputLogger
from ...core.master import Master
from ...core.partition import flow_worker
from ...core.recovery import LiveBuffer, Recovery
from ...core.state import Counter

_GROUP, _MAC = 1, bytes.fromhex("024654010001")
_NO_BOUND = 1 << 30


class ConformanceError(AssertionError):
    """A function does not do what recovery needs; the message says what, and where if that is known."""


class Machine:
    """*cls* (a Middlebox class) with *parameters* and *ports* on so many *workers*."""

    def __init__(self, cls, parameters, ports, workers=1, seed=1, on_event=lambda name, detail: None):
        self.cls, self.parameters, self.ports, self.worker_count = cls, parameters, tuple(ports), workers
        self.on_event = on_event
        self._seeds = [seed * 1000 + number for number in range(workers)]
        self._names = [port.name for port in self.ports]
        own = cls.partition
        partition = flow_worker if own is None else lambda frame, port, count: own(frame, self._names[port], count)
        self._inputs = InputLogger(_GROUP, _MAC, workers, 1, _NO_BOUND, partition)
        self.master = self._fresh_master(1)
        self._store = Folded()
        self._emitted = {}          # (worker, k, j) -> (port, frame), since the last checkpoint
        self.checkpoint()

    def _fresh_master(self, epoch):
        instances = self.cls.instances(self.parameters, self.ports, self.worker_count)
        return Master(instances, _GROUP, _MAC, epoch, self._seeds, on_event=self._event)

    def _event(self, name, detail):
        self.on_event(name, detail)

    @property
    def function(self):
        """The function's instance at worker 0."""
        return self.master.function

    @property
    def instances(self):
        """The function's instances, one per worker."""
        return [worker.function for worker in self.master.workers]

    def summed(self, name):
        """The Map of that name, its numbers (or tuples of numbers) summed over the workers that have one of their own."""
        total = {}
        for stored, variable in self.function.variables.items():
            if stored.partition("[")[0] == name:
                for key, value in variable.items():
                    old = total.get(key)
                    total[key] = value if old is None else (
                        tuple(map(sum, zip(old, value))) if isinstance(value, tuple) else old + value)
        return total

    @property
    def function_errors(self):
        """How many steps raised."""
        return self.master.counters["function_errors"]

    @property
    def partition_errors(self):
        """How many frames the function's partition failed on."""
        return self._inputs.counters["partition_errors"]

    def give(self, port, frame, now_ns):
        """A *frame* comes in at the port of that name; what is emitted, as [(port name, frame)]."""
        return self._process([self._inputs.accept(self._names.index(port), frame, now_ns)])

    def tick(self, now_ns):
        """A tick for each worker; what is emitted."""
        return self._process(self._inputs.tick(now_ns))

    def _process(self, frames):
        emitted = []
        for frame in frames:
            _, worker, item = decode_input(frame)
            emitted += self._outputs(self.master.process(worker, item))
        return emitted

    def _outputs(self, frames):
        found = []
        for frame in frames:
            output = decode_output(frame)
            if output.k:
                found.append((self._names[output.port], output.frame))
                self._emitted[output.worker, output.k, output.j] = found[-1]
        return found

    def checkpoint(self, full=False):
        """Cut a checkpoint, as it goes over the wire, and make it the durable one."""
        cut = self.master.cut(full or self._store.header is None)
        assembler = Assembler()
        for chunk in cut.chunks():
            assembler.add(chunk)
        chunks, checkpoint = assembler.finish()
        refusal = self._store.refusal(cut.epoch, cut.base)
        if refusal:
            raise ConformanceError(f"the store refuses a checkpoint: {refusal}")
        self._store.fold(chunks, checkpoint)
        self.master.state.check_flows(cut.changes)
        self.master.durable(cut)
        self._inputs.trim(1, dict(enumerate(cut.positions)))
        self._emitted = {}

    def take_over(self):
        """The master dies. A fresh one loads the last checkpoint, replays, and is the master now. Raises ConformanceError."""
        old = self.master
        self.master = self.replayed()
        self.master.begin(old.epoch + 1, 0)

    def replayed(self):
        """A master that replayed everything since the last checkpoint. Raises ConformanceError if it is not the same as the master."""
        old, fresh = self.master, self.follower()
        before, self._emitted = self._emitted, {}
        try:
            self._replay(old, fresh)
            again = self._emitted
        finally:
            self._emitted = before
        if again != before:
            key = min(key for key in {*again, *before} if again.get(key) != before.get(key))
            raise ConformanceError(f"the replay emits something else: output {key[2]} of step {key[1]} of worker {key[0]} was"
                                   f" {_told(before.get(key))}, is {_told(again.get(key))}")
        self.compare(old, fresh)
        return fresh

    def _replay(self, old, fresh):
        recovery = Recovery(fresh, [worker.k for worker in old.workers], LiveBuffer())
        after_n, after_k, _ = recovery.loaded()
        for number, worker in enumerate(old.workers):
            recovery.determinants(number, worker.log.encode(after_k[number], _NO_BOUND)[0], True)
            recovery.inputs(number, self._inputs.after(number, after_n[number], _NO_BOUND)[0], True)
        # the log is the old master's until it is replaced, so it is not trimmed here
        while not recovery.finished:
            frames = recovery.step(1000)
            self._outputs(frames)
        for old_worker, worker in zip(old.workers, fresh.workers):
            worker.log, worker.sent_k, worker.durable_k = old_worker.log, old_worker.sent_k, old_worker.durable_k
            worker.counters.update(old_worker.counters)

    def follower(self):
        """A master that is brought to the last checkpoint, to be kept there by ``follow``."""
        fresh = self._fresh_master(self.master.epoch)
        self.follow(fresh)
        return fresh

    def follow(self, follower):
        """Load into *follower* the checkpoints that it has not."""
        for _, _, chunks in self._store.since(follower.checkpoint_id):
            assembler = Assembler()
            for chunk in chunks:
                assembler.add(chunk)
            follower.load(assembler.finish()[1])

    def compare(self, one, other):
        """Raise ConformanceError if two masters differ in anything that a checkpoint keeps, order included."""
        for name, variable in one.function.variables.items():
            was, now = _contents(variable), _contents(other.function.variables[name])
            if was != now:
                raise ConformanceError(f"after a replay state variable {name!r} is not the same: {_difference(was, now)}")
        for number, (was, now) in enumerate(zip(one.workers, other.workers)):
            if was.context.random_state != now.context.random_state:
                raise ConformanceError(f"after a replay worker {number} has drawn another number of random numbers")


def _contents(variable):
    return variable.value if isinstance(variable, Counter) else list(variable.items())


def _difference(was, now):
    if not isinstance(was, list):
        return f"it was {was!r}, is {now!r}"
    for item, other in zip(was, now):
        if item != other:
            return f"it had {item!r} where now is {other!r}"
    return f"it had {len(was)} items, has {len(now)}"


def _told(output):
    return "absent" if output is None else f"{output[1].hex()} at port {output[0]}"
