"""The master's role on a host: what the runtime does around the core's Master."""

from collections import deque

from middleboxes.core.frames import HOP_ACK, HOP_INPUT, decode_input, hop_of

from .network import MS

#: frames that wait in the host's receive queue while the master is at its bound; the rest is lost
QUEUE_MAX = 64
BATCH_MAX = 8


class MasterRole:
    """Processes inputs (once *taking*), makes checkpoints and has them committed."""

    def __init__(self, host, core, store, checker, interval_ns, taking, tell, order):
        self.host, self.core, self.store, self.checker = host, core, store, checker
        self._interval_ns = interval_ns
        self._taking = taking
        self._tell = tell                                   # the controller: (host, epoch, name of an event, detail)
        self._order = order                                 # random: which worker is next, whose frames leave first
        self._queues = [deque() for _ in core.workers]      # inputs
        self._leaving = [deque() for _ in core.workers]     # frames: each worker's leave in order
        self._flush_due = False
        self._cut = self._chunks = self._chunk = None
        self._committing = False
        self._full = self._again = False
        self._stop_id = None
        self._covers_told = None
        self._timer = None
        host.role = self
        self._checkpoint()

    def frame(self, frame):
        hop = hop_of(frame)[1]
        if hop == HOP_INPUT:
            epoch, worker, item = decode_input(frame)
            if self._taking and len(self._queues[worker]) < QUEUE_MAX:
                self._queues[worker].append((epoch, item))
            elif self._taking:
                self.checker.queue_overflows += 1
        elif hop == HOP_ACK:
            self._send(self.core.acknowledged(frame))
        self._progress()

    def _progress(self):
        """Process what waits, as far as the bound allows; commit the checkpoint when it may be."""
        while self.host.alive:
            ready = [worker for worker, queue in enumerate(self._queues) if queue and self._ready(worker)]
            if not ready:
                break
            worker = self._order.choice(ready)
            self._leaving[worker] += self._process(worker, self._queues[worker])
            self._flush_due = True
            if self._order.random() < 0.5:
                self._leave(1)
        if self._flush_due:
            self._flush_due = False
            if len(self._queues) == 1:
                self._flush()
            else:
                # threads do not end their batches together
                self.host.later(int(self._order.random() * MS // 4), self._flush)
        if self._cut is not None and self._chunk is None:
            self._commit()

    def _process(self, worker, queue):
        """Of several workers one input; a worker that is alone takes batches, as its role does."""
        if len(self._queues) > 1:
            return [frame for item in self._admitted(worker, queue, 1) for frame in self.core.process(worker, item)]
        room = self.core.unacknowledged_max - self.core.ahead(worker)
        return self.core.process_all(self._admitted(worker, queue, min(len(queue), room, self._order.randint(1, BATCH_MAX))))

    def _admitted(self, worker, queue, count):
        """The next *count* inputs, but for those of a former input logger, or after a stop."""
        items = []
        for _ in range(count):
            epoch, item = queue.popleft()
            if epoch < self.core.inputs_from:
                self.core.refuse(worker)
            else:
                items.append(item)
        return items

    def _ready(self, worker):
        return self.core.ahead(worker) < self.core.unacknowledged_max

    def _flush(self):
        for worker, leaving in enumerate(self._leaving):
            leaving += self.core.flush_worker(worker)
        self._leave(sum(map(len, self._leaving)))

    def _leave(self, count):
        """Send *count* frames (fewer if there are fewer), each time of a worker that chance picks."""
        for _ in range(count):
            workers = [leaving for leaving in self._leaving if leaving]
            if not workers:
                return
            self._send([self._order.choice(workers).popleft()])

    def _send(self, frames):
        for frame in frames:
            self.checker.sent(self.core, frame)
            self.host.send(frame)

    # -- what changes around it

    def fence(self, epoch):
        """Another input logger: where it begins."""
        begin = self.core.fence_inputs(epoch)
        self.checker.change_told("input-logger", epoch)
        self._checkpoint_soon()
        return begin

    def use_store(self, epoch, store):
        """Another store: a base first."""
        self.core.use_store(epoch)
        self.checker.change_told("store", epoch)
        self.store, self._full = store, True
        self._checkpoint()

    def use_output_logger(self, epoch, output_epoch):
        """Another output logger."""
        self.core.use_output_log(epoch, output_epoch)
        self.checker.change_told("output-logger", epoch)
        self._checkpoint_soon()
        self._progress()

    def stop(self):
        """No more inputs, and a last checkpoint."""
        self.core.stop()
        self.checker.stopped(self.core)
        self._stop_id = self.core.checkpoint_id
        self._checkpoint_soon()

    # -- checkpoints

    def _checkpoint_soon(self):
        if self._cut is None:
            self._checkpoint()
        else:
            self._again = True

    def _due(self, number):
        if number == self._timer and self._cut is None:
            self._checkpoint()

    def _checkpoint(self):
        full, self._full, self._again, self._timer = self._full, False, False, None
        self._cut, self._committing = self.core.cut(full), False
        self.checker.cut(self._cut)
        self._chunks = self._cut.chunks()
        self._chunk = next(self._chunks)
        self._slice(self._cut)

    def _slice(self, cut):
        """Send one chunk; packets are processed between two of them."""
        if cut is not self._cut:
            return                      # given up: it was for another store
        if self._chunk is None:
            self._commit()
            return
        self.host.call(self.store.host, self.store.chunk, self.host, self.host.boot, self._cut.epoch, self._chunk)
        self._chunk = next(self._chunks, None)
        self.host.later(MS // 10, self._slice, cut)

    def _commit(self):
        """The last message, once the output logger holds all determinants before the cut."""
        cut = self._cut
        if not self._committing and self.may_commit(cut):
            self._committing = True
            self.checker.committed(self.core, cut)
            self.host.call(self.store.host, self.store.commit, self.host, self.host.boot, cut.epoch, cut.id, cut.base,
                           self._stored, self._refused)

    def may_commit(self, cut):
        return self.core.acknowledged_all(cut)

    def _stored(self, store, number):
        if self.host.role is not self or store is not self.store:
            return
        assert number == self._cut.id, "the store confirms another checkpoint"
        cut, self._cut = self._cut, None
        if not self._taking:
            self._taking = True
            self.checker.began()
        self.checker.heard(cut)
        for frame in self.core.durable(cut):
            self.host.send(frame)
        covers = self.covers_of(cut)
        if covers != self._covers_told:
            self._covers_told = covers
            self._tell(self.host, self.core.epoch, "protected", covers)
        if self._stop_id is not None and cut.id > self._stop_id:
            self._stop_id = None
            self._tell(self.host, self.core.epoch, "stopped", None)
        if self._again:
            self._checkpoint()
        elif not self.core.stopped:
            self._timer = cut.id
            self.host.later(self._interval_ns, self._due, cut.id)
        self._progress()

    def covers_of(self, cut):
        return cut.covers

    def _refused(self, reason):
        """The store is fenced: another master took over."""
        if self.host.role is self:
            self._tell(self.host, self.core.epoch, "refused", reason)
