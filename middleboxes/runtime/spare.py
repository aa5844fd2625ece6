"""The spare's role: prefetches checkpoints as they become durable; at `recover` it restores the state and becomes the master."""

import os

from ..core.checkpoint import Assembler
from ..core.master import Master
from ..core.recovery import Recovery
from ..functions import load
from ..sdk import Port
from .master import MasterRole
from .role import Role, RoleError

RETRY_NS = 200_000_000
STEPS_PER_SLICE = 256


def build_master(node, group, epoch, args, on_event):
    """A core Master with empty state from a request's *args*. Raises ConfigurationError."""
    function = load(args["function"])
    ports = [Port.parse(port["name"], port["mac"], port["address"]) for port in args["ports"]]
    seeds = [int.from_bytes(os.urandom(8), "big") for _ in range(args["workers"])]
    return Master(function(args["parameters"], ports), args["group_id"], node.mac, epoch, seeds, on_event=on_event)


class SpareRole(Role):
    """Follows the store; holds live inputs that come before it is told to recover."""

    role = "spare"

    def __init__(self, node, group, epoch, args):
        super().__init__(node, group, epoch, args["group_id"])
        self._args = args
        self._core = build_master(node, group, epoch, args, lambda name, detail: self.event(name, text=detail))
        self._assembler = Assembler()
        self._recovery = None
        self._peers = {}                # name -> Connection
        self._times_ns = {}
        self._store_address = args["store"]
        self._follow()

    def counters(self):
        return {"checkpoint": self._core.checkpoint_id, "live_dropped": self.node.buffer(self.group_id).dropped}

    def inputs(self, frames):
        add = self.node.buffer(self.group_id).add
        for frame in frames:
            add(frame)

    def frame(self, hop, frame):
        # acknowledgements for what was sent in recovery
        if self._recovery is not None and self._recovery.master.workers:
            for output in self._core.acknowledged(frame):
                self.node.send(output)

    # -- following the store

    def _follow(self):
        self._peers["store"] = self.node.connect(self, self._store_address, self._store_opened, self._store_message,
                                                 self._store_closed)

    def _store_opened(self, connection):
        self._assembler = Assembler()
        connection.send({"t": "subscribe", "group": self.group, "have": self._core.checkpoint_id,
                         "follow": self._recovery is None})

    def _store_closed(self, connection, reason):
        if self._recovery is not None:
            raise RoleError(f"the store went away during recovery: {reason}")
        self.after(RETRY_NS, self._follow)

    def _store_message(self, connection, message):
        if message["t"] == "refused":
            raise RoleError(f"the store refused: {message['error']}")
        if message["t"] != "chunk":
            return
        if message["id"] == 0:
            self._all_loaded()
            return
        if message["id"] <= self._core.checkpoint_id:
            return                      # prefetched already
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
        self.epoch = self._core.epoch = epoch
        self._args = {**self._args, **args}
        self._times_ns = {"begin": self.loop.now_ns()}
        self._recovery = Recovery(self._core, args["stored"], self.node.buffer(self.group_id))
        for name in ("input_logger", "output_logger"):
            self._peers[name] = self.node.connect(self, args[name], self._peer_opened, self._peer_message, self._peer_closed)
        store = self._peers["store"]
        if store.channel.established and not store.closed:
            store.send({"t": "subscribe", "group": self.group, "have": self._core.checkpoint_id, "follow": False})

    def _all_loaded(self):
        """The store has nothing newer: what it has is loaded."""
        if self._core.checkpoint_id == 0:
            raise RoleError("the store has no checkpoint of this group")
        self._times_ns["loaded"] = self.loop.now_ns()
        self._wanted = self._recovery.loaded()
        for connection in list(self._peers.values()):
            if connection.channel.established:
                self._ask(connection)

    def _peer_opened(self, connection):
        if "loaded" in self._times_ns:
            self._ask(connection)

    def _ask(self, connection):
        after_n, after_k, to_k = self._wanted
        if connection is self._peers["input_logger"]:
            connection.send({"t": "inputs", "group": self.group, "after": after_n})
        elif connection is self._peers["output_logger"]:
            connection.send({"t": "determinants", "group": self.group, "after": after_k, "to": to_k})

    def _peer_closed(self, connection, reason):
        raise RoleError(f"a logger went away during recovery: {reason}")

    def _peer_message(self, connection, message):
        if message["t"] == "refused":
            raise RoleError(f"a logger refused: {message['error']}")
        worker = message.get("worker", 0)
        if worker >= len(self._core.workers) or worker < 0:
            raise RoleError(f"a logger speaks of worker {worker}: there is no such")
        if message["t"] == "input_batch":
            self._recovery.inputs(worker, message["frames"], message["end"])
        elif message["t"] == "determinant_batch":
            self._recovery.determinants(worker, message["data"], message["end"])
        self.work(self._step)

    def _step(self):
        """One slice of the recovery; the live frames that come meanwhile go to the buffer."""
        recovery = self._recovery
        before = recovery.replayed + recovery.processed
        for frame in recovery.step(STEPS_PER_SLICE):
            self.node.send(frame)
        if recovery.finished:
            self._go_live()
            return False
        again = recovery.again()
        if again is not None:
            self._peers["input_logger"].send({"t": "inputs", "group": self.group, "after": again})
        # nothing done: what is missing comes by message, or an acknowledgement makes room
        return recovery.replayed + recovery.processed > before or not self._core.ready

    def _go_live(self):
        now_ns = self.loop.now_ns()
        times, recovery = self._times_ns, self._recovery
        for connection in self._peers.values():
            connection.on_close = None
            connection.close("recovery is done")
        role = MasterRole(self.node, self.group, self.epoch, self._core, self._args["store"],
                          self._args["checkpoint_interval_ms"])
        self.node.replace(self, role)
        role.take_inputs()
        role.event("live", load_ms=(times["loaded"] - times["begin"]) / 1e6,
                   replay_ms=(now_ns - times["loaded"]) / 1e6, replayed_packets=recovery.replayed,
                   processed_packets=recovery.processed, at_ns=now_ns)

    def close(self):
        for connection in self._peers.values():
            connection.on_close = None
            connection.close("role given up")
