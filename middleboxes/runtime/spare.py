"""The spare's role: prefetches checkpoints as they become durable; at `recover` it restores the state and becomes the master."""

import os
import threading

from ..core.checkpoint import Assembler
from ..core.frames import HOP_ACK, WORKERS_MAX, FrameError
from ..core.master import Master
from ..core.messages import MOVED
from ..core.recovery import Recovery
from ..functions import load
from ..sdk import Port
from .master import MasterRole
from .role import Role, RoleError
from .workers import EventRelay

RETRY_NS = 200_000_000
REDIAL_NS = 5_000_000
STEPS_PER_SLICE = 256
PEERS = ("store", "input_logger", "output_logger")


def build_master(node, group, epoch, args, on_event):
    """A core Master with empty state from a request's *args*. Raises ConfigurationError."""
    function, workers = load(args["function"]), args["workers"]
    if not 1 <= workers <= WORKERS_MAX:
        raise RoleError(f"a group has 1 to {WORKERS_MAX} workers, not {workers}")
    ports = [Port.parse(port["name"], port["mac"], port["address"], port.get("address6", ())) for port in args["ports"]]
    seeds = [int.from_bytes(os.urandom(8), "big") for _ in range(workers)]
    instances = function.instances(args["parameters"], ports, workers, threading.Lock)
    on_event = node.bundles.watched(group, args, on_event)
    if workers > 1:
        on_event = EventRelay(node.loop, on_event)
    return Master(instances, args["group_id"], node.mac, epoch, seeds, on_event=on_event)


class SpareRole(Role):
    """Follows the store; holds live inputs that come before it is told to recover."""

    role = "spare"

    def __init__(self, node, group, epoch, args):
        super().__init__(node, group, epoch, args["group_id"])
        self._args = args
        self._core = build_master(node, group, epoch, args, lambda name, detail: self.event(name, text=detail))
        self._assembler = Assembler()
        self._recovery = None
        self._bad_frames = 0
        self._wanted = None             # what the loggers are asked for, once all checkpoints are loaded
        self._times_ns = {}
        # open before they are needed: a recovery has no time for handshakes
        self._peers = {}
        for name in PEERS:
            self._dial(name)

    def counters(self):
        recovery = self._recovery
        return {"checkpoint": self._core.checkpoint_id, "recovering": recovery is not None,
                "has_replayed": recovery is not None and recovery.has_replayed,
                "live_dropped": self.node.buffer(self.group_id).dropped,
                "replayed": recovery.replayed if recovery else 0, "processed": recovery.processed if recovery else 0,
                "bad_frames": self._bad_frames + (recovery.bad_frames if recovery else 0)}

    def inputs(self, frames):
        add = self.node.buffer(self.group_id).add
        for frame in frames:
            add(frame)
        if self._recovery is not None:
            self.work(self._step)

    def frame(self, hop, frame):
        # an acknowledgement of what was sent in recovery makes room for more
        if hop == HOP_ACK and self._recovery is not None:
            try:
                for output in self._core.acknowledged(frame):
                    self.node.send(output)
            except FrameError:
                self._bad_frames += 1
            self.work(self._step)

    # -- connections to the store and the loggers

    def _dial(self, name):
        self._peers[name] = self.node.connect(self, self._args[name], self._opened, self._message, self._lost)

    def _name_of(self, connection):
        return next((name for name, known in self._peers.items() if known is connection), None)

    def _opened(self, connection):
        if self._name_of(connection) == "store":
            self._assembler = Assembler()
            connection.send({"t": "subscribe", "group": self.group, "have": self._core.checkpoint_id,
                             "follow": self._recovery is None})
        elif self._wanted is not None:
            self._ask(connection)

    def _lost(self, connection, reason):
        name = self._name_of(connection)
        if name is None:
            return                      # replaced already
        if self._wanted is not None and name != "store":
            # what it was sending can't be taken up in the middle: the next attempt starts from the beginning
            raise RoleError(f"the {name.replace('_', ' ')} went away during recovery: {reason}")
        # a connection that died unnoticed while nothing was asked of it is no reason to fail
        self.after(RETRY_NS if self._recovery is None else REDIAL_NS, self._redial)

    def _redial(self):
        for name, connection in list(self._peers.items()):
            if connection.closed:
                self._dial(name)

    def _message(self, connection, message):
        if message["t"] == "refused":
            raise RoleError(f"the {self._name_of(connection)} refused: {message['error']}")
        if message["t"] == "chunk":
            self._chunk(message)
        elif self._wanted is not None:
            self._logged(message)

    # -- checkpoints

    def _chunk(self, message):
        if message["id"] == 0:
            if self._recovery is not None and self._wanted is None:
                self._all_loaded()
        elif message["id"] > self._core.checkpoint_id:      # else it was prefetched already
            if not message["last"]:
                self._assembler.add(message["data"])
                return
            _, checkpoint = self._assembler.finish()
            self._core.load(checkpoint)

    # -- recovery

    def recover(self, epoch, args):
        """Become the master of *epoch*; *args* of the request."""
        if self._recovery is not None:
            raise RoleError("is recovering already")
        self.epoch = epoch
        self._core.begin(epoch, args["inputs_from"])
        self._times_ns = {"begin": self.loop.now_ns()}
        self._recovery = Recovery(self._core, args["stored"], self.node.buffer(self.group_id))
        for name in PEERS:
            moved, self._args[name] = self._args[name] != args[name], args[name]
            old = self._peers[name]
            if moved or old.closed:
                self._dial(name)        # first: what is replaced is nobody's loss
                old.close("moved")
        store = self._peers["store"]
        if store.channel.established:
            store.send({"t": "subscribe", "group": self.group, "have": self._core.checkpoint_id, "follow": False})
        if args["cause"] != MOVED:
            self.node.bundles.begin(self.group, epoch, {name: args[name] for name in PEERS}, args["stored"], args["cause"])

    def _all_loaded(self):
        """The store has nothing newer: what it has is loaded."""
        if self._core.checkpoint_id == 0:
            raise RoleError("the store has no checkpoint of this group")
        self._times_ns["loaded"] = self.loop.now_ns()
        self._wanted = self._recovery.loaded()
        for connection in list(self._peers.values()):
            if connection.channel.established:
                self._ask(connection)

    def _ask(self, connection):
        after_n, after_k, to_k = self._wanted
        if connection is self._peers["input_logger"]:
            connection.send({"t": "inputs", "group": self.group, "after": after_n})
        elif connection is self._peers["output_logger"]:
            connection.send({"t": "determinants", "group": self.group, "after": after_k, "to": to_k})

    def _logged(self, message):
        """What a logger had."""
        worker = message.get("worker", -1)
        if not 0 <= worker < len(self._core.workers):
            raise RoleError(f"a logger speaks of worker {worker}: there is no such")
        if message["t"] == "input_batch":
            self._recovery.inputs(worker, message["frames"], message["end"])
        elif message["t"] == "determinant_batch":
            self._recovery.released(worker, message["released"])
            self._recovery.determinants(worker, message["data"], message["end"])
        self.work(self._step)

    def _step(self):
        """One slice of the recovery; the live frames that come meanwhile go to the buffer."""
        recovery = self._recovery
        before = recovery.replayed + recovery.processed
        for frame in recovery.step(STEPS_PER_SLICE):
            self.node.send(frame)
        if recovery.finished and recovery.joined:
            self._go_live()
            return False
        again = recovery.again()
        if again is not None:
            self._peers["input_logger"].send({"t": "inputs", "group": self.group, "after": again})
        # nothing done: what is missing comes by message or live, or an acknowledgement makes room
        return recovery.replayed + recovery.processed > before

    def _go_live(self):
        now_ns = self.loop.now_ns()
        times, recovery = self._times_ns, self._recovery
        role = MasterRole(self.node, self.group, self.epoch, self._core, self._args["store"],
                          self._args["checkpoint_interval_ms"])
        self.node.replace(self, role)
        role.go_live(recovery.rest())
        role.event("live", load_ms=(times["loaded"] - times["begin"]) / 1e6,
                   replay_ms=(now_ns - times["loaded"]) / 1e6, replayed_packets=recovery.replayed,
                   processed_packets=recovery.processed, at_ns=now_ns)

    def close(self):
        for connection in self._peers.values():
            connection.on_close = None
            connection.close("role given up")
