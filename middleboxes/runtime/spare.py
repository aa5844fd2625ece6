"""The spare's role: prefetches checkpoints as they become durable; at `recover` it restores the state and becomes the master.

A hot one goes on from the checkpoint and repeats what the master does (middleboxes.runtime.following).
"""

import os
import threading

from ..core.checkpoint import decode_chunk
from ..core.frames import HOP_ACK, WORKERS_MAX, FrameError
from ..core.loading import Loader
from ..core.master import Master
from ..core.messages import MOVED
from ..core.recovery import Recovery
from ..functions import load
from ..sdk import Port
from .following import LOGGERS, Following
from .master import MasterRole
from .role import Role, RoleError
from .workers import EventRelay

RETRY_NS = 200_000_000
REDIAL_NS = 5_000_000
#: as many as leave in one batch: outputs do not wait for later ones
STEPS_PER_SLICE = 32
#: slices between two looks at what came: a look takes in up to 64 kB, hundreds of inputs, while it is the first steps that are waited for
SLICES_PER_TURN = 4
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


def _positions(told):
    """[(n, k)] per worker, as a request told it. Raises RoleError."""
    if any(not isinstance(item, list) or [type(number) for number in item] != [int, int] or min(item) < 0 for item in told):
        raise RoleError(f"positions must be pairs of numbers, not {told!r:.100}")
    return [tuple(item) for item in told]


class SpareRole(Role):
    """Follows the store; holds live inputs that come before it is told to recover."""

    role = "spare"

    def __init__(self, node, group, epoch, args):
        super().__init__(node, group, epoch, args["group_id"])
        self._args = dict(args)
        self.core = build_master(node, group, epoch, args, lambda name, detail: self.event(name, text=detail))
        self.loader = Loader(self.core)
        self._following = Following(self) if args["hot"] else None
        self._recovery = None
        self._bad_frames = 0
        self._wanted = None             # what the loggers are asked for
        self._allowed = None            # the (epoch, arguments) in which a hot one may go ahead
        self._confirmed = False         # it was told to recover: all is fenced, and the redirect in force
        self._resumed = False           # recovers from where it followed
        self._store_told = False        # asked by a recovery, the store has told all that it has
        self._times_ns = {}
        # open before they are needed: a recovery has no time for handshakes
        self._peers = {}
        for name in PEERS:
            self._dial(name)

    def counters(self):
        recovery = self._recovery
        following = self._following.counters() if self._following is not None else {"hot": False, "behind_steps": 0}
        return {"checkpoint": self.core.checkpoint_id, "recovering": recovery is not None, **following,
                "load_steps": self.loader.steps, "loading": not self.loader.idle,
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
                for output in self.core.acknowledged(frame):
                    self.node.send(output)
            except FrameError:
                self._bad_frames += 1
            self.work(self._step)

    # -- connections to the store and the loggers

    def _dial(self, name):
        self._peers[name] = self.node.connect(self, self._args[name], self._opened, self._message, self._lost)

    def _name_of(self, connection):
        return next((name for name, known in self._peers.items() if known is connection), None)

    def is_open(self, name):
        """Whether the connection to *name* (of PEERS) can be used."""
        return not self._peers[name].closed and self._peers[name].channel.established

    def send(self, name, message):
        """Send *message* to *name* (of PEERS)."""
        self._peers[name].send(message)

    def _subscribe(self, have, follow, headers=False):
        self.send("store", {"t": "subscribe", "group": self.group, "have": have, "follow": follow, "headers": headers})

    def want_headers(self):
        """From now on of later checkpoints only the headers count."""
        self._subscribe(self.core.checkpoint_id, True, True)

    def _opened(self, connection):
        if self._name_of(connection) == "store":
            self.loader.restart()
            self._subscribe(self.loader.taken_id, not self._confirmed, self._is_ahead())
        elif self._wanted is not None:
            self._ask(connection)
        elif self._following is not None:
            self._following.look()

    def _is_ahead(self):
        """Whether the state is beyond the last checkpoint: none may be loaded."""
        return self._following is not None and self._following.begun

    def _lost(self, connection, reason):
        name = self._name_of(connection)
        if name is None:
            return                      # replaced already
        if self._recovery is not None and name != "store" and (self._wanted is not None or self._resumed):
            # what it was sending can't be taken up in the middle: the next attempt starts from the beginning
            raise RoleError(f"the {name.replace('_', ' ')} went away during recovery: {reason}")
        if self._following is not None and self._recovery is None and name in LOGGERS:
            self.begin_anew(f"the {name.replace('_', ' ')} went away: {reason}")
        # a connection that died unnoticed while nothing was asked of it is no reason to fail
        self.after(RETRY_NS if self._recovery is None else REDIAL_NS, self._redial)

    def _redial(self):
        for name, connection in list(self._peers.items()):
            if connection.closed:
                self._dial(name)

    def _message(self, connection, message):
        name = self._name_of(connection)
        if message["t"] == "refused":
            if self._following is None or self._recovery is not None or name not in LOGGERS:
                raise RoleError(f"the {name} refused: {message['error']}")
            self.begin_anew(f"the {name.replace('_', ' ')} refused: {message['error']}")
        elif message["t"] == "chunk":
            self._chunk(message)
        elif message["t"] in ("followed_inputs", "followed_determinants", "followed_end"):
            if self._following is not None:
                self._following.message(message)
                self._look_ahead()
            if self._resumed:
                self.work(self._step)
        elif self._wanted is not None or self._resumed:
            self._logged(message)

    # -- checkpoints

    def _chunk(self, message):
        if message["id"] == 0:
            self._store_told = self._confirmed
        elif not self._is_ahead():
            self.loader.chunk(message["id"], message["data"], message["last"])
        elif not message["last"] and message["id"] > self.core.checkpoint_id:
            header, _ = decode_chunk(message["data"])
            if header is not None:
                self._following.header(header)
        self.work(self._load)

    def _load(self):
        """A slice of what came of the store; then whatever waited for it."""
        if self.loader.step():
            return True
        if self._recovery is None:
            if self._following is not None:
                self._following.look()
        elif self._resumed:
            self.work(self._step)
        elif self._store_told and "loaded" not in self._times_ns:
            self._all_loaded()
        return False

    def begin_anew(self, why):
        """What was repeated beyond the last checkpoint may not be what the group will go on from: back to a checkpoint."""
        if not self._following.active:
            return
        ahead = self._is_ahead()
        self._following.drop()
        for name in LOGGERS:
            self._renew(name)           # what is still on its way belongs to a stream that has ended
        if ahead:
            self.node.log(f"the hot spare of group {self.group} begins anew: {why}")
            self._forget()

    def _forget(self):
        """The state is of no use: load all of it again."""
        self.core.checkpoint_id = 0
        self.loader = Loader(self.core)
        self._renew("store")

    def _renew(self, name):
        old = self._peers[name]
        self._dial(name)                # first: what is replaced is nobody's loss
        old.close("begun anew")

    # -- recovery

    def go_ahead(self, epoch, args):
        """It may go on as the master of *epoch* as soon as the stream of the output logger has ended for it (docs/protocol.md, rule 28)."""
        self._allowed = epoch, args
        self._look_ahead()

    def _look_ahead(self):
        """Go ahead, if that is allowed and possible now."""
        if self._allowed is None or self._recovery is not None:
            return
        epoch, args = self._allowed
        stored = self._following.ended(epoch) if self._following is not None else None
        if stored is not None and self._follows(args) and self._following.may_become_master(stored):
            self._resume(epoch, stored, args["inputs_from"])

    def _follows(self, args):
        """Whether the loggers that *args* name are those that it follows."""
        return all(self._args[name] == args[name] and self.is_open(name) for name in LOGGERS)

    def _resume(self, epoch, stored, inputs_from):
        """Go on from where it followed."""
        self._resumed = True
        self._begin(epoch, stored, inputs_from)
        self._following.take_over(self._recovery)
        self.work(self._step)

    def _begin(self, epoch, stored, inputs_from):
        self.epoch = epoch
        self.core.begin(epoch, inputs_from)
        self._recovery = Recovery(self.core, stored, self.node.buffer(self.group_id))

    def recover(self, epoch, args):
        """Become the master of *epoch*; *args* of the request."""
        if self._confirmed:
            raise RoleError("is recovering already")
        self._confirmed = True
        self._times_ns = {"begin": self.loop.now_ns()}
        if self._recovery is not None and not (epoch == self.epoch and self._follows(args)):
            # it went ahead in an attempt that was given up: what it did there counts only as far as the loggers say
            self._recovery, self._resumed = None, False
            self._stop_following()
        elif self._recovery is None and self._following is not None:
            if self._follows(args) and self._following.may_become_master(args["stored"], _positions(args["positions"])):
                self._resume(epoch, args["stored"], args["inputs_from"])
            else:
                self._stop_following()
        if self._recovery is None:
            self._begin(epoch, args["stored"], args["inputs_from"])
        for name in PEERS:
            moved, self._args[name] = self._args[name] != args[name], args[name]
            if moved or self._peers[name].closed:
                self._renew(name)
        if self.is_open("store"):
            self._subscribe(self.loader.taken_id, False, self._resumed)
        if self._resumed:
            self._times_ns["loaded"] = self.loop.now_ns()
            self._following.end_inputs()
            self.work(self._step)
        elif args["positions"]:
            self._want(self._recovery.request(_positions(args["positions"])))
        if args["cause"] != MOVED:
            self.node.bundles.begin(self.group, epoch, {name: args[name] for name in PEERS}, args["stored"], args["cause"])

    def _stop_following(self):
        """Recover as any other spare does; what the streams still bring is ignored."""
        ahead = self._is_ahead()
        if self._following.active:
            self._following.drop()
        self._following.close()
        self._following = None
        if ahead:
            self._forget()

    def _all_loaded(self):
        """The store has nothing newer: what it has is loaded."""
        if self.core.checkpoint_id == 0:
            raise RoleError("the store has no checkpoint of this group")
        self._times_ns["loaded"] = self.loop.now_ns()
        wanted = self._recovery.loaded()
        if wanted is not None:
            self._want(wanted)
        self.work(self._step)

    def _want(self, wanted):
        """The loggers are to be asked for what is *wanted*."""
        self._wanted = wanted
        for connection in list(self._peers.values()):
            if connection.channel.established and not connection.closed:
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
        if not 0 <= worker < len(self.core.workers):
            raise RoleError(f"a logger speaks of worker {worker}: there is no such")
        if message["t"] == "input_batch":
            self._recovery.inputs(worker, message["frames"], message["end"])
        elif message["t"] == "determinant_batch":
            self._recovery.released(worker, message["released"])
            self._recovery.determinants(worker, message["data"], message["end"])
        self.work(self._step)

    def _step(self):
        """Some slices of the recovery; the live frames that come meanwhile go to the buffer."""
        recovery, done = self._recovery, True
        for _ in range(SLICES_PER_TURN):
            before = recovery.replayed + recovery.processed
            frames = recovery.step(STEPS_PER_SLICE)
            if frames:
                # in aggregates they would come to the output logger faster than a switch takes from it what leaves, and be lost there
                self.node.send_apart(frames)
            if recovery.finished and recovery.joined and (self._store_told or not self._resumed):
                self._go_live()
                return False
            done = bool(frames) or recovery.replayed + recovery.processed > before
            if not done:
                break
        again = recovery.again()
        if again is not None:
            self.send("input_logger", {"t": "inputs", "group": self.group, "after": again})
        # nothing done: what is missing comes by message or live, or an acknowledgement makes room
        return done

    def _go_live(self):
        now_ns = self.loop.now_ns()
        times, recovery = self._times_ns, self._recovery
        if self._resumed:
            self._following.settle()
        role = MasterRole(self.node, self.group, self.epoch, self.core, self._args["store"],
                          self._args["checkpoint_interval_ms"])
        self.node.replace(self, role)
        role.go_live(recovery.rest())
        role.event("live", load_ms=(times["loaded"] - times["begin"]) / 1e6,
                   replay_ms=(now_ns - times["loaded"]) / 1e6, replayed_packets=recovery.replayed,
                   processed_packets=recovery.processed, hot=self._resumed, at_ns=now_ns)

    def release(self):
        super().release()
        self._following = None

    def close(self):
        if self._following is not None:
            self._following.close()
        for connection in self._peers.values():
            connection.on_close = None
            connection.close("role given up")
