"""The master's role: inputs through the middlebox, outputs to the output logger, checkpoints to the store.

One worker runs in the loop; several have threads (middleboxes.runtime.workers), and the loop has the rest.
"""

from contextlib import nullcontext

from ..core.frames import HOP_ACK, FrameError
from .link import BATCH
from .paths import Live
from .role import ROLE_FAILURES, Role, RoleError
from .workers import WorkerThreads

CHECKPOINT_RETRY_NS = 100_000_000
#: An idle master cuts this seldom at least: what a checkpoint's loggers trim by, and may have missed, comes again with the next.
QUIET_NS_MAX = 1_000_000_000


class MasterRole(Role):
    """Runs *core* (a middleboxes.core Master). Fresh, it processes nothing before its first checkpoint is durable."""

    role = "master"

    def __init__(self, node, group, epoch, core, store_address, checkpoint_interval_ms, on_durable=None):
        super().__init__(node, group, epoch, core.group_id)
        self.core = core
        self._interval_ns = checkpoint_interval_ms * 1_000_000
        self._store_address = store_address
        self._store = None              # open connection to the store, None while there is none
        self._cut = self._chunks = self._chunk = None
        self._committing = False
        self._full = False              # the next cut is a base: the store has nothing that a delta could build on
        self._again = False             # another cut as soon as this one is durable
        self._errors = core.counters["function_errors"]     # steps of the middlebox that raised, up to the last cut
        self._stop_id = None            # stopping: the checkpoint before the last one
        self.taking = False
        self._on_durable = on_durable
        self._covers_told = {}          # which replacements are covered, as the controller was told
        self._timer = None
        self._quiet_until_ns = 0        # an idle group's next checkpoint may wait so long
        self._bad_frames = 0
        self._threads = None            # of several workers, once live
        self._early = []                # their inputs until then
        if len(core.workers) == 1:
            # called for each batch: without a step in between
            self.inputs = Live(core, node.send_all, node.hold_inputs).inputs
        self._connect()

    def counters(self):
        counters = {**self.core.counters, "checkpoint": self.core.checkpoint_id, "bad_frames": self._bad_frames + self.core.bad_frames,
                    "change": max(self._covers_told.values(), default=0), "k": [worker.k for worker in self.core.workers],
                    "stopped": self.core.stopped, "inputs_from": 0 if self.core.stopped else self.core.inputs_from,
                    "output_epoch": self.core.output_epoch,
                    "unacknowledged": max(map(self.core.ahead, range(len(self.core.workers)))),
                    "undurable": max(worker.k - worker.durable_k for worker in self.core.workers)}
        if self._threads is not None:
            counters["bad_frames"] += self._threads.bad_frames
        return counters

    def data_counters(self):
        if self._threads is None:
            return super().data_counters()
        inputs, acknowledgements = self._threads.counts()
        return self.node.data_counters([inputs], [acknowledgements])

    # -- packets

    def go_live(self, frames):
        """Process inputs from now on: *frames*, that came before, then what comes."""
        self.taking = True
        if len(self.core.workers) == 1:
            for first in range(0, len(frames), BATCH):
                self.inputs(frames[first:first + BATCH])
            return
        # their sockets queue all that comes from here on; what came before is in the node's queue
        threads = WorkerThreads(self.core, self.node.data_interface, self.loop, self.node.sender,
                                self.guarded(self._progress), self._worker_failed)
        self.node.leave_to_workers(self.group_id)
        self._early = list(frames)
        self.node.drain_inputs()
        self._threads = threads
        threads.start(self._early)
        self._early = []

    def _worker_failed(self, error):
        """A worker's thread ended: as if it had happened here."""
        if self.closed:
            return
        if not isinstance(error, ROLE_FAILURES):
            raise error
        self.node.fail(self, error)

    def inputs(self, frames):
        """INPUT frames of several workers: once live, their sockets have them, too."""
        if self._threads is None:
            self._early += frames

    @property
    def ready(self):
        # threads read for themselves
        return self._threads is not None or self.core.ready

    @property
    def turns(self):
        return self._threads.turns if self._threads is not None else 0

    def frame(self, hop, frame):
        if hop != HOP_ACK or self._threads is not None:
            return
        try:
            for output in self.core.acknowledged(frame):
                self.node.send(output)
        except FrameError:
            self._bad_frames += 1
        self._progress()

    def _progress(self):
        """Acknowledgements or a durable checkpoint came: go on with what waited for them."""
        self.node.hold_inputs()
        if self._cut is not None and self._chunk is None and self._committing:
            self.work(self._send_checkpoint)

    # -- what changes around it (docs/protocol.md, "Replacements")

    def _paused(self):
        """While this lasts, no worker runs."""
        return self._threads.paused() if self._threads else nullcontext()

    def fence(self, epoch):
        """Another input logger, of *epoch*: where it begins."""
        with self._paused():
            n, last_ns = self.core.fence_inputs(epoch)
        self._checkpoint_soon()
        return {"n": n, "last_ns": last_ns}

    def use_store(self, epoch, store):
        """From now on checkpoints go to the store at *store* [ip, port], a base first."""
        self.core.use_store(epoch)
        self._store_address = store
        self._connection.on_close = None
        self._connection.close("another store")
        self._store = self._cut = None
        self._full = True
        self.loop.cancel(self._timer)
        self._connect()

    def use_output_logger(self, epoch, output_epoch):
        """The output logger is a new one: a checkpoint is made for it, which does not wait for acknowledgements."""
        self.core.use_output_log(epoch, output_epoch)
        self._checkpoint_soon()
        self._progress()                # one that waits for the former output logger's need not wait any more

    def stop(self, epoch):
        """Take no more inputs, make a last checkpoint and tell `stopped` when it is durable."""
        with self._paused():
            self.core.stop()
        self._stop_id = self.core.checkpoint_id
        self._checkpoint_soon()

    def bundle(self, epoch, **peers):
        """The controller's answer to `bundle-wanted`: where store and loggers are."""
        self.node.bundles.begin(self.group, self.epoch, peers)

    # -- checkpoints

    def _checkpoint_soon(self):
        """Cut now, or as soon as the checkpoint under way is durable, or the store there."""
        if self._cut is not None:
            self._again = True
        elif self._store is not None:
            self.loop.cancel(self._timer)
            self._checkpoint()

    def _store_opened(self, connection):
        self._store = connection
        if self._cut is None:
            self._checkpoint()
        else:
            self._begin_sending()       # from the start: a store keeps no halves

    def _store_closed(self, connection, reason):
        self._store = None
        self.loop.cancel(self._timer)
        self._timer = self.after(CHECKPOINT_RETRY_NS, self._connect)

    def _connect(self):
        self._connection = self.node.connect(self, self._store_address, self._store_opened, self._store_message,
                                             self._store_closed)

    def _due(self):
        """The interval is over. Where nothing goes on a cut may wait: each wakes store, loggers and this one twice."""
        if self.core.quiet and self.loop.now_ns() < self._quiet_until_ns:
            with self._paused():        # as a cut would be: a worker that hangs is to hang this loop, too, since nothing else tells of it
                pass
            self._timer = self.after(self._interval_ns, self._due)
            self.loop.ease(self._timer, self._interval_ns // 10)
        else:
            self._checkpoint()

    def _checkpoint(self):
        """Cut now; the chunks go out in slices between packets."""
        self._timer = None
        if self._store is None:
            return
        full, self._full, self._again = self._full, False, False
        with self._paused():
            self._cut = self.core.cut(full)
            errors = self.core.counters["function_errors"]
        if not full:
            self.core.state.check_flows(self._cut.changes)
        if self.node.bundles.cut(self.group, self.epoch, errors > self._errors):
            self.event("bundle-wanted")
        self._errors = errors
        self._begin_sending()

    def _begin_sending(self):
        self._chunks = self._cut.chunks()
        self._chunk = next(self._chunks)
        self._committing = True         # the commit is still to be sent
        self.work(self._send_checkpoint)

    def _send_checkpoint(self):
        """One slice: a chunk, or the commit once the output logger holds all determinants before the cut."""
        if self._cut is None or self._store is None:
            return False
        if self._store.waiting_bytes > 0:
            self._store.on_drained = self.guarded(self._go_on)
            return False
        cut = self._cut
        message = {"t": "checkpoint", "group": self.group, "epoch": cut.epoch, "id": cut.id, "base": cut.base,
                   "last": False, "data": self._chunk}
        if self._chunk is not None:
            self._store.send(message)
            self._chunk = next(self._chunks, None)
            return True
        if self._committing and self._acknowledged(cut) and self.node.bundles.may_commit(self.group, cut, self.guarded(self._go_on)):
            self._committing = False
            self._store.send({**message, "last": True, "data": b""})
        return False        # committed, or called again by _progress

    def _go_on(self):
        self.work(self._send_checkpoint)

    def _acknowledged(self, cut):
        """Whether the output logger holds all determinants before *cut*; if not, ``_progress`` is called when more are there."""
        if self._threads is not None:
            self._threads.tell_acknowledgements()
        return self.core.acknowledged_all(cut)

    def _store_message(self, connection, message):
        if message["t"] == "refused":
            # fenced: no checkpoint of this master will ever be taken
            raise RoleError(f"the store refused checkpoint {self._cut.id if self._cut else '-'}: {message['error']}")
        if message["t"] != "stored" or self._cut is None:
            return
        if message["id"] == self._cut.id:
            self._durable()
        else:
            # a store that came back empty: what this delta builds on is gone, and not protected until the base is there
            self._covers_told, self._full = {}, True
            self._checkpoint()

    def _durable(self):
        cut, self._cut = self._cut, None
        for frame in self.core.durable(cut):
            self.node.send(frame)
        if cut.covers != self._covers_told:
            self._covers_told = cut.covers
            self.event("protected", checkpoint=cut.id, change=max(cut.covers.values()), covers=cut.covers)
        if self._on_durable:
            on_durable, self._on_durable = self._on_durable, None
            on_durable()
        if self._stop_id is not None and cut.id > self._stop_id:
            self._stop_id = None
            self.event("stopped", n=[n for n, _ in cut.positions], k=[k for _, k in cut.positions])
        if self._again:
            self._checkpoint()
        elif not self.core.stopped:
            self._quiet_until_ns = self.loop.now_ns() + QUIET_NS_MAX
            self._timer = self.after(self._interval_ns, self._due)
        self.node.hold_inputs()
        if self._threads is not None:
            self._threads.wake()

    def close(self):
        self.loop.cancel(self._timer)
        self._cut = None
        if self._threads is not None:
            self._threads.close()
            self.node.leave_to_workers(self.group_id, False)
        self._connection.on_close = None
        self._connection.close("role given up")
