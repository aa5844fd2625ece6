"""The invariants of the protocol as checks on what a schedule does; ``Violation`` tells which one is broken.

The main one is the *history*: the determinants that output loggers ever took, less what fences cut off, with the steps that a
checkpoint committed for a new output logger covers, and the inputs that input loggers ever logged, less what is lost with a
former one. Repeated from the first checkpoint in a fresh instance they must give the surviving
state byte for byte, and every packet that ever left must be in it, once, as it left. That is output commit.
"""

from functools import lru_cache

from middleboxes.core.checkpoint import Assembler
from middleboxes.core.determinants import DeterminantLog, decode, decode_extra
from middleboxes.core.frames import HOP_OUTPUT, PACKET, decode_input, hop_of
from middleboxes.core.frames import decode_output as decode_output_once

from .changes import LOGS
from .witness import INPUT, OUTPUT, canonical


#: the checkers look at a frame, and at a step's extra, several times
decode_output = lru_cache(256)(decode_output_once)


@lru_cache(4096)
def accesses(extra):
    """The accesses in a step's *extra*, not to be changed."""
    return decode_extra(extra)[0]


class Violation(AssertionError):
    """An invariant is broken."""


def require(condition, what):
    if not condition:
        raise Violation(what)


def step_of(worker, item):
    """What the witness notes of a step of *worker* that processes *item*."""
    return worker, item.timestamp_ns, INPUT.unpack(item.frame)[1] if item.kind == PACKET else None


def repeat(core, plans, inputs):
    """Repeat steps [(n, extra) per worker] with *inputs* [{n: Input} per worker] in some order that the accesses allow.

    Yields the frames. Not the way in which Recovery does it: worker by worker, each as far as it can go.
    """
    plans = [list(reversed(plan)) for plan in plans]
    went_on = True
    while went_on:
        went_on = False
        for number in reversed(range(len(plans))):
            while plans[number]:
                n, extra = plans[number][-1]
                if any(core.workers[worker].k < k for _, _, worker, k in accesses(extra)):
                    break
                require(n in inputs[number], f"input {n} after the last checkpoint is trimmed")
                yield from core.replay(number, inputs[number][n], extra)
                plans[number].pop()
                went_on = True
    require(not any(plans), "the stored determinants depend on steps that are not stored")


class Checker:
    """Sees what the roles do, and complains at once or in ``finish``."""

    def __init__(self, events, workers):
        self._events = events
        self.inputs = [{} for _ in range(workers)]          # worker -> {n: (Input, when)}
        self.history = [[] for _ in range(workers)]         # worker -> [(n, extra)] of step 1, 2, ..., all ever stored
        self.first_checkpoint = None
        self.began_ns = None                                # when a fresh master began to take inputs
        self.durable_k = [0] * workers                      # positions of the last durable one
        self.durable_cuts = {}                              # store -> when its last checkpoint was cut
        self._order = 0                                     # of cuts, and of what masters are told
        self._told = {}                                     # role -> when the master was told of its last replacement, None: not yet
        self._epochs = {}                                   # (role, epoch) -> when the master was told of it
        self._cuts = {}                                     # id -> when it was cut
        self._uncovered = {}                                # id of a cut committed for a new output logger -> its steps
        self._unlogged = None                               # when a master was told of a new output logger, until that is covered
        self._behind = set()                                # workers whose determinants a new output logger has not yet
        self._unexplained = []
        self._fenced_epoch, self._judged = 0, False         # of the output logger; whether what left was explained since
        self._stopped = None                                # (core, [k]) of a master that takes no more inputs
        self.queue_overflows = 0                            # frames lost in front of a master at its bound
        self.releases = []                                  # (port, payload) in the order of leaving
        self.sources = {}                                   # epoch -> MAC of the master that passed the output logger
        self.accesses = self.cut_open = 0
        self.resumed = 0                                    # failovers to a hot spare that went on from where it stood
        self.went_ahead = 0                                 # of them, those before all was fenced and redirected
        self._closed = [0] * workers                        # steps whose dependencies are known to be stored
        self._came_as = {}                                  # payload -> (epoch, worker, k, j)
        self.left = {}                                      # (worker, k, j) -> payload
        self._numbers = {}                                  # (number, copy) -> payload
        self._fetched = {}                                  # core -> [(worker, Input)] fetched for its recovery

    # -- input logger

    def logged(self, frame):
        """An input was logged and is about to be sent; or one that is in the log is sent again."""
        _, worker, item = decode_input(frame)
        known = self.inputs[worker]
        if item.n in known:
            require(known[item.n][0] == item, f"input {item.n} is logged as two things")
            return
        if item.n - 1 in known:
            require(known[item.n - 1][0].timestamp_ns <= item.timestamp_ns, f"time goes back at input {item.n}")
        known[item.n] = item, self._events.now_ns

    def input_logger_began(self, start):
        """Another input logger begins after *start*: what the former one logged beyond is lost with it."""
        for known, n, history in zip(self.inputs, start, self.history):
            for number in [number for number in known if number > n]:
                del known[number]

    # -- output logger

    def output_logger_began(self):
        """Another one, empty."""
        self._behind = set(range(len(self.history)))

    def at_output_logger(self, logger, frame, is_former):
        """*frame* is about to be received."""
        output = decode_output(frame)
        if output.epoch == logger.epoch:
            source = self.sources.setdefault(output.epoch, frame[6:12])
            require(source == frame[6:12], f"two masters in epoch {output.epoch}")
            if output.determinants and not logger.covered_from and not self._is_late(logger, is_former):
                self._take(self.history[output.worker], output.determinants, logger.logs[output.worker].last)
        if output.k and output.epoch >= self._came_as.get(output.frame, (0,))[0]:
            self._came_as[output.frame] = output.epoch, output.worker, output.k, output.j

    def _take(self, history, determinants, last):
        k, items = decode(determinants)
        if k > last + 1:
            return                      # a gap: not stored
        for _, count, n, extra in items:
            for i in range(count):
                if k == len(history) + 1:
                    history.append((n + i, extra))
                    self.accesses += len(accesses(extra))
                k += 1

    def _is_late(self, logger, is_former):
        """Whether *logger* is a former one that serves a former master: nobody fences it for the next one."""
        return is_former and logger.epoch < self._fenced_epoch

    def _compare(self, logs, is_former):
        for worker, (history, log) in enumerate(zip(self.history, logs)):
            if len(history) == log.last:
                # what a former one still takes, the new one has not
                (self._behind.add if is_former else self._behind.discard)(worker)
            elif log.last > len(history) or not is_former and worker not in self._behind:
                raise Violation(f"worker {worker}: the output logger has {log.last} steps, {len(history)} came in order")

    def received(self, logger, packets, is_former, began):
        """An output logger took a frame, and *packets* left. *is_former*: another one is there already; *began*: the epoch in which it replaced one, or 0."""
        late = self._is_late(logger, is_former)
        if not late:
            self._compare(logger.logs, is_former)
        if packets and began:
            told = self._epochs.get(("output-logger", began))
            require(told is not None and told <= max(self.durable_cuts.values()),
                    "an output left a new output logger before a checkpoint that covers it was durable")
        for port, payload in packets:
            epoch, worker, k, j = self._came_as[payload]
            require(logger.logs[worker].trimmed <= self.durable_k[worker], "an output left before the checkpoint that explains it was durable")
            require(epoch == logger.epoch, f"an output of epoch {epoch} left in epoch {logger.epoch}")
            require((worker, k, j) not in self.left, f"output {j} of step {k} left twice")
            if late:
                # by what the store had when it was fenced, or, in the end, by the surviving history
                self._unexplained.append((worker, k))
                if self._judged:
                    self.explained()
            else:
                require(k <= len(self.history[worker]), f"an output of step {k} left before its determinants were stored")
                self._explained(worker, k)
            number, copy = OUTPUT.unpack(payload)[:2]
            require((number, copy) not in self._numbers, f"number {number} left twice")
            self.left[worker, k, j] = self._numbers[number, copy] = payload
            self.releases.append((port, payload))

    def _explained(self, worker, k):
        """All that step *k* of *worker* depends on is stored; told from the determinants alone, not from vector clocks."""
        todo = [(worker, k)]
        while todo:
            worker, k = todo.pop()
            history = self.history[worker]
            require(k <= len(history), f"an output left before determinants of another worker that it depends on were stored:"
                                       f" step {k} of worker {worker}")
            for done in range(self._closed[worker], k):
                todo += [(before, before_k) for _, _, before, before_k in accesses(history[done][1])]
            self._closed[worker] = max(self._closed[worker], k)

    def fenced(self, epoch, prefix):
        """The output logger was fenced for *epoch* and kept *prefix*; a durable checkpoint may cover more than a new one has."""
        self._fenced_epoch, self._judged = epoch, False
        self._behind = {worker for worker, k in enumerate(prefix) if k < self.durable_k[worker]}
        prefix = list(map(max, prefix, self.durable_k))
        self._closed = list(map(min, self._closed, prefix))
        for history, end in zip(self.history, prefix):
            self.cut_open += len(history) - end
            del history[end:]
        self._unexplained = [(worker, k) for worker, k, _ in self.left if k > prefix[worker]]

    def explained(self):
        """The group is about to be recovered: it must explain all that left, with what the store had when it was fenced."""
        self._judged = True
        lost = [(worker, k) for worker, k in self._unexplained if k > self.durable_k[worker]]
        require(not lost, f"outputs of steps {lost} left and are not in the recoverable prefix")

    # -- store

    def cut(self, cut):
        """A master has cut a checkpoint."""
        self._order += 1
        self._cuts[cut.id] = self._order

    def committed(self, core, cut):
        """A master is about to commit *cut*; for a new output logger it need not wait for anybody's acknowledgements."""
        if self._unlogged is not None:
            # of the steps that it covers, a fence may cut off what only former output loggers had
            self._uncovered[cut.id] = [{**dict(enumerate(history, 1)), **{k: (n, extra) for k, n, extra in worker.log.steps()}}
                                       for history, worker in zip(self.history, core.workers)]

    def durable(self, store, former_id, checkpoint):
        """*checkpoint* was committed at *store*, whose last one was *former_id*."""
        header = checkpoint.header
        if header["base"] == 0:
            require(not former_id, "a base replaces a checkpoint that packets depend on")
            require(self.first_checkpoint is None or self._told, "a second first checkpoint")
            if self.first_checkpoint is None:
                self.first_checkpoint = checkpoint
        require(header["id"] > former_id, "checkpoint numbers go back")
        uncovered = self._uncovered.pop(header["id"], None)
        for worker, (history, (_, k)) in enumerate(zip(self.history, header["positions"])):
            while uncovered is not None and len(history) < k:
                history.append(uncovered[worker][len(history) + 1])
                self._behind.add(worker)
            require(k <= len(history), f"a checkpoint at step {k} is durable before its determinants are stored")
            self.durable_k[worker] = max(self.durable_k[worker], k)
        self.durable_cuts[store] = self._cuts[header["id"]]

    def heard(self, cut):
        """The master hears that *cut* is durable: if it was cut for a new output logger, the next ones wait for acknowledgements again."""
        if self._unlogged is not None and self._cuts[cut.id] > self._unlogged:
            self._unlogged = None

    # -- changes

    def change_begun(self, role):
        """*role* is being replaced."""
        self._told[role] = None

    def change_told(self, role, epoch):
        """The master is told of the replacement of *role* in *epoch*."""
        self._order += 1
        self._told[role] = self._epochs[role, epoch] = self._order
        if role == "output-logger":
            self._unlogged = self._order

    def claimed(self, covers):
        """The controller is told that a durable checkpoint *covers* so much."""
        told = [self._epochs.get(change, 0) for change in covers.items()]
        require(max(told) <= max(self.durable_cuts.values()), f"it is told that {covers} is covered, and no such checkpoint is durable")

    def legitimately_lost(self, group):
        """The controller gave the state up: a role is gone or being replaced, or that is not covered by the store that the group has."""
        told = list(self._told.values())
        covered = group.store in self.durable_cuts and None not in told and max(told, default=0) <= self.durable_cuts[group.store]
        changes = group.controller.changes
        complete = not changes.begun and None not in changes.holders.values() and all(map(group.in_place, LOGS))
        require(not covered or not complete, f"the state was given up, and could be recovered: {group.lost}")

    # -- masters

    def began(self):
        """A fresh master, whose first checkpoint is durable, takes inputs from now on."""
        self.began_ns = self._events.now_ns

    def stopped(self, core):
        """*core* takes no more inputs."""
        self._stopped = core, [worker.k for worker in core.workers]

    def failover(self, epoch):
        """A failover to *epoch* begins."""
        require(epoch not in self.sources, f"epoch {epoch} is used again")

    def sent(self, core, frame):
        """A master sends *frame*."""
        if self._stopped is not None and core is self._stopped[0]:
            require([worker.k for worker in core.workers] == self._stopped[1], "a master that was stopped goes on")
        if hop_of(frame)[1] == HOP_OUTPUT:
            # what was made before it was told of another output logger may leave after
            require(core.epoch <= decode_output(frame).epoch <= core.output_epoch, "a master sends in another epoch than its own")

    def fetched(self, core, frames):
        """*frames* of the input log reached a recovering spare."""
        self._fetched.setdefault(core, []).extend(decode_input(frame)[1:] for frame in frames)

    def recovered(self, core, stored):
        """*core* is about to go live: all that was logged beyond the recoverable prefix *stored* was processed."""
        done = set(core.function.trace)
        for worker, item in self._fetched.pop(core, ()):
            steps = self.history[worker][:stored[worker]]
            require(steps and item.n <= steps[-1][0] or step_of(worker, item) in done,
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
        if self._loses_no_output(group):
            unsent = sorted(outputs.keys() - self.left.keys())
            require(not unsent, f"outputs {unsent} never left, though the network lost nothing")
        self._flows_never_go_back()
        offline = self._offline(group)
        require(canonical(offline) == canonical(core), "checkpoint, inputs and determinants do not give the surviving state")

    def _loses_no_output(self, group):
        """Whether nothing but a fault can keep an output from leaving.

        Several workers' steps may be covered by a checkpoint before their outputs have left the dead master.
        """
        return (group.calm and group.workers == 1 and "output-logger" not in self._told and group.lost == ""
                and not group.output_logger.core.counters["dropped_pending_full"])

    def _repeat(self, group):
        core = group.fresh_core(0)
        core.load(self.first_checkpoint)
        outputs = {}
        items = [{n: item for n, (item, _) in inputs.items()} for inputs in self.inputs]
        for frame in repeat(core, [history[worker.k:] for worker, history in zip(core.workers, self.history)], items):
            output = decode_output(frame)
            outputs[output.worker, output.k, output.j] = output.frame
        return core, outputs

    def _offline(self, group):
        """From what the roles hold at the end: the store's last checkpoint and the two logs."""
        core = group.fresh_core(0)
        for _, _, chunks in group.store.folded.since(0):
            assembler = Assembler()
            for chunk in chunks:
                assembler.add(chunk)
            core.load(assembler.finish()[1])
        plans, inputs = [], []
        for number, log in enumerate(group.output_logger.core.logs):
            after = core.workers[number].k
            plan = DeterminantLog(after)
            encoded, _ = log.encode(after, 1 << 20)
            require(not encoded or plan.store(encoded), "determinants after the last checkpoint are trimmed")
            frames, _ = group.input_logger.core.after(number, core.workers[number].n, 1 << 20)
            inputs.append({item.n: item for _, _, item in map(decode_input, frames)})
            plans.append([(n, extra) for _, n, extra in plan.steps()])
        for _ in repeat(core, plans, inputs):
            pass
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
