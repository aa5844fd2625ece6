"""The invariants of the protocol as checks on what a schedule does; ``Violation`` tells which one is broken.

The main one is the *history*: the determinants that the output logger ever took, less what fences cut off, and the inputs
that the input logger ever logged. Repeated from the first checkpoint in a fresh instance they must give the surviving
state byte for byte, and every packet that ever left must be in it, once, as it left. That is output commit.
"""

from middleboxes.core.checkpoint import Assembler
from middleboxes.core.determinants import DeterminantLog, decode
from middleboxes.core.frames import HOP_OUTPUT, PACKET, decode_input, decode_output, hop_of

from .witness import INPUT, OUTPUT, canonical


class Violation(AssertionError):
    """An invariant is broken."""


def require(condition, what):
    if not condition:
        raise Violation(what)


def step_of(item):
    """What the witness notes of a step that processes *item*."""
    return item.timestamp_ns, INPUT.unpack(item.frame)[1] if item.kind == PACKET else None


class Checker:
    """Sees what the roles do, and complains at once or in ``finish``."""

    def __init__(self, events, workers):
        self._events = events
        self.inputs = [{} for _ in range(workers)]          # worker -> {n: (Input, when)}, all ever logged
        self.history = [[] for _ in range(workers)]         # worker -> [(n, extra)] of step 1, 2, ..., all ever stored
        self.first_checkpoint = None
        self.durable_ns = None                              # when the first checkpoint became durable
        self.durable_id = 0
        self.queue_overflows = 0                            # frames lost in front of a master at its bound
        self.releases = []                                  # (port, payload) in the order of leaving
        self.sources = {}                                   # epoch -> MAC of the master that passed the output logger
        self._came_as = {}                                  # payload -> (epoch, worker, k, j)
        self.left = {}                                      # (worker, k, j) -> payload
        self._numbers = {}                                  # (number, copy) -> payload
        self._fetched = {}                                  # core -> [(worker, Input)] fetched for its recovery

    # -- input logger

    def logged(self, frame):
        """An input was logged and is about to be sent."""
        _, worker, item = decode_input(frame)
        known = self.inputs[worker]
        require(item.n not in known, f"input {item.n} is logged twice")
        if item.n - 1 in known:
            require(known[item.n - 1][0].timestamp_ns <= item.timestamp_ns, f"time goes back at input {item.n}")
        known[item.n] = item, self._events.now_ns

    # -- output logger

    def at_output_logger(self, logger, frame):
        """*frame* is about to be received."""
        output = decode_output(frame)
        if output.epoch == logger.epoch:
            source = self.sources.setdefault(output.epoch, frame[6:12])
            require(source == frame[6:12], f"two masters in epoch {output.epoch}")
            if output.determinants:
                self._take(self.history[output.worker], output.determinants)
        if output.k and output.epoch >= self._came_as.get(output.frame, (0,))[0]:
            self._came_as[output.frame] = output.epoch, output.worker, output.k, output.j

    @staticmethod
    def _take(history, determinants):
        k, items = decode(determinants)
        for _, count, n, extra in items:
            for i in range(count):
                if k == len(history) + 1:
                    history.append((n + i, extra))
                k += 1

    def received(self, logger, packets):
        """The output logger took a frame, and *packets* left."""
        for worker, (history, log) in enumerate(zip(self.history, logger.logs)):
            require(len(history) == log.last, f"worker {worker}: the output logger has {log.last} steps, {len(history)} came in order")
        for port, payload in packets:
            epoch, worker, k, j = self._came_as[payload]
            require(epoch == logger.epoch, f"an output of epoch {epoch} left in epoch {logger.epoch}")
            require((worker, k, j) not in self.left, f"output {j} of step {k} left twice")
            require(k <= len(self.history[worker]), f"an output of step {k} left before its determinants were stored")
            number, copy = OUTPUT.unpack(payload)[:2]
            require((number, copy) not in self._numbers, f"number {number} left twice")
            self.left[worker, k, j] = self._numbers[number, copy] = payload
            self.releases.append((port, payload))

    def fenced(self, prefix):
        """The output logger was fenced and kept *prefix*."""
        for history, end in zip(self.history, prefix):
            del history[end:]
        lost = [(worker, k) for worker, k, _ in self.left if k > prefix[worker]]
        require(not lost, f"outputs of steps {lost} left and are not in the recoverable prefix {prefix}")

    # -- store

    def durable(self, checkpoint):
        """*checkpoint* was committed."""
        header = checkpoint.header
        if header["base"] == 0:
            require(not self.releases, "a base replaces a checkpoint that packets depend on which left")
            self.first_checkpoint = checkpoint
        if self.durable_ns is None:
            self.durable_ns = self._events.now_ns
        require(header["id"] > self.durable_id, "checkpoint numbers go back")
        for history, (_, k) in zip(self.history, header["positions"]):
            require(k <= len(history), f"a checkpoint at step {k} is durable before its determinants are stored")
        self.durable_id = header["id"]

    # -- masters

    def failover(self, epoch):
        """A failover to *epoch* begins."""
        require(epoch not in self.sources, f"epoch {epoch} is used again")

    def sent(self, core, frame):
        """A master sends *frame*."""
        if hop_of(frame)[1] == HOP_OUTPUT:
            require(decode_output(frame).epoch == core.epoch, "a master sends in another epoch than its own")

    def fetched(self, core, frames):
        """*frames* of the input log reached a recovering spare."""
        self._fetched.setdefault(core, []).extend(decode_input(frame)[1:] for frame in frames)

    def recovered(self, core, stored):
        """*core* is about to go live: all that was logged beyond the recoverable prefix *stored* was processed."""
        done = set(core.function.trace)
        for worker, item in self._fetched.pop(core, ()):
            steps = self.history[worker][:stored[worker]]
            require(steps and item.n <= steps[-1][0] or step_of(item) in done,
                    f"input {item.n} was logged beyond step {stored[worker]} and got lost in the failover")

    # -- always

    def bounds(self, group):
        """No queue or log is beyond its bound."""
        inputs, outputs = group.input_logger.core, group.output_logger.core
        require(inputs.log_bytes <= inputs.log_bytes_max, "the input log is beyond its bound")
        require(outputs._pending <= outputs.pending_max, "pending outputs are beyond their bound")
        for host in group.pool:
            core = getattr(host.role, "core", None)
            if core is not None:
                require(all(worker.k - worker.log.trimmed <= core.unacknowledged_max for worker in core.workers),
                        "a master is further ahead than its bound")

    # -- at the end

    def finish(self, group, core):
        """*core* is the surviving master, all is quiet."""
        reference, outputs = self._repeat(group)
        require(canonical(reference) == canonical(core), "the history repeated does not give the surviving state")
        for key, payload in self.left.items():
            require(outputs.get(key) == payload, f"what left as (worker, step, output) {key} is not in the surviving history")
        self._flows_never_go_back()
        offline = self._offline(group)
        require(canonical(offline) == canonical(core), "checkpoint, inputs and determinants do not give the surviving state")

    def _repeat(self, group):
        core = group.fresh_core(0)
        core.load(self.first_checkpoint)
        outputs = {}
        for number, (worker, history) in enumerate(zip(core.workers, self.history)):
            for n, extra in history[worker.k:]:
                for frame in core.replay(number, self.inputs[number][n][0], extra):
                    output = decode_output(frame)
                    outputs[number, output.k, output.j] = output.frame
        return core, outputs

    def _offline(self, group):
        """From what the roles hold at the end: the store's last checkpoint and the two logs."""
        core = group.fresh_core(0)
        for _, _, chunks in group.store.folded.since(0):
            assembler = Assembler()
            for chunk in chunks:
                assembler.add(chunk)
            core.load(assembler.finish()[1])
        for number, log in enumerate(group.output_logger.core.logs):
            after = core.workers[number].k
            plan = DeterminantLog(after)
            encoded, _ = log.encode(after, 1 << 20)
            require(not encoded or plan.store(encoded), "determinants after the last checkpoint are trimmed")
            frames, _ = group.input_logger.core.after(number, core.workers[number].n, 1 << 20)
            items = {item.n: item for _, _, item in map(decode_input, frames)}
            for _, n, extra in plan.steps():
                require(n in items, f"input {n} after the last checkpoint is trimmed")
                core.replay(number, items[n], extra)
        return core

    def _flows_never_go_back(self):
        last = {}
        for number, copy in sorted(self._numbers):
            _, _, flow, born, count, *_ = OUTPUT.unpack(self._numbers[number, copy])
            if flow == 0xFFFF or copy:
                continue
            require(last.get(flow, (0, 0)) < (born, count), f"flow {flow}: {(born, count)} after {last.get(flow)}")
            last[flow] = born, count

    def nothing_lost(self, ordered_since_ns):
        """On a network that lost and reordered nothing, all inputs logged after *ordered_since_ns* are in the history."""
        for worker, inputs in enumerate(self.inputs):
            done = {n for n, _ in self.history[worker]}
            missing = [n for n, (_, when_ns) in inputs.items() if when_ns > ordered_since_ns and n not in done]
            require(not missing, f"inputs {missing} were logged and never processed, though the network lost nothing")
