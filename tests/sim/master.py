"""The master's and the spare's role on a host: what the runtime does around the core's Master and Recovery."""

from collections import deque
from functools import partial

from middleboxes.core.checkpoint import Assembler
from middleboxes.core.frames import HOP_ACK, HOP_INPUT, decode_input, hop_of
from middleboxes.core.recovery import LiveBuffer, Recovery
from middleboxes.core.step import ReplayError

from .following import Following
from .network import MS

#: frames that wait in the host's receive queue while the master is at its bound; the rest is lost
QUEUE_MAX = 64
BATCH_MAX = 8
STEPS_PER_SLICE = 4
LIVE_FRAMES_MAX = 24


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


class SpareRole:
    """Follows the store, keeps live inputs, becomes the master when told to."""

    recovery_class, following_class = Recovery, Following

    def __init__(self, host, core, store, checker, on_live, loggers):
        self.host, self.core, self.store, self.checker = host, core, store, checker
        self._on_live = on_live
        self._buffer = LiveBuffer(LIVE_FRAMES_MAX)
        self._recovery = None
        self._stepping = False
        self._following = self.following_class(self, *loggers) if loggers else None     # of a hot one
        self._allowed = None                                # where it may go ahead
        self._confirmed = self._resumed = self._store_told = False
        self._feeding = 0                                   # number of the newest stream of checkpoints
        host.role = self
        self._subscribe(True)

    def _subscribe(self, follow):
        self._feeding += 1
        self._assembler = Assembler()
        self.host.call(self.store.host, self.store.subscribe, self.host, self.core.checkpoint_id, follow,
                       partial(self._checkpoint_chunk, self._feeding), self._all_loaded)

    def load_again(self):
        """Begin anew with all that the store has."""
        self.core.checkpoint_id = 0
        self._subscribe(not self._confirmed)

    def frame(self, frame):
        hop = hop_of(frame)[1]
        if hop == HOP_INPUT:
            self._buffer.add(frame)
            if self._recovery is not None:
                self._step()
        elif hop == HOP_ACK and self._recovery is not None:
            self._send(self.core.acknowledged(frame))
            self._step()

    def _send(self, frames):
        for frame in frames:
            self.checker.sent(self.core, frame)
            self.host.send(frame)

    def _checkpoint_chunk(self, feeding, data, last):
        if self.host.role is not self or feeding != self._feeding:
            return
        if not last:
            self._assembler.add(data)
            return
        checkpoint = self._assembler.finish()[1]
        if checkpoint.header["id"] <= self.core.checkpoint_id:
            return
        if self._following is not None and self._following.begun:
            self._following.header(checkpoint.header)
            return
        self.core.load(checkpoint)
        if self._following is not None:
            self._following.look()

    # -- recovery

    def go_ahead(self, epoch, inputs_from, input_logger, output_logger):
        """Go on as the master of *epoch* as soon as the output logger's stream has ended for it."""
        self._allowed = epoch, inputs_from, input_logger, output_logger
        self.look_ahead()

    def look_ahead(self):
        """Go ahead, if that is allowed and possible now."""
        if self._allowed is None or self._recovery is not None or self._following is None:
            return
        epoch, inputs_from, *loggers = self._allowed
        stored = self._following.ended(epoch)
        if stored is not None and self._following.may_become_master(stored, *loggers):
            self.checker.went_ahead += 1
            self._resume(epoch, stored, inputs_from)

    def _resume(self, epoch, stored, inputs_from):
        self._begin(epoch, stored, inputs_from)
        self._resumed = True
        self.checker.resumed += 1
        self._following.take_over(self._recovery)
        self._step()

    def _begin(self, epoch, stored, inputs_from):
        self.core.begin(epoch, inputs_from)
        self._recovery = self.recovery_class(self.core, stored, self._buffer)
        self._stored_prefix = stored

    def recover(self, epoch, stored, positions, inputs_from, input_logger, output_logger):
        """Become the master of *epoch*; *stored* is the recoverable prefix, *positions* are those of the last durable checkpoint."""
        self._confirmed = True
        self._input_logger, self._output_logger = input_logger, output_logger
        if self._recovery is None and self._following is not None:
            if self._following.may_become_master(stored, input_logger, output_logger, positions):
                self._resume(epoch, stored, inputs_from)
            else:
                self._stop_following()
        if self._recovery is None:
            self._begin(epoch, stored, inputs_from)
        if self._resumed:
            self._following.end_inputs()
            self._step()
        elif positions and self._following is None:
            self._ask(self._recovery.request(positions))
        self._subscribe(False)

    def _stop_following(self):
        if self._following.begun:
            self.core.checkpoint_id = 0
        self._following.stop()
        self._following = None

    def _all_loaded(self):
        if self.host.role is not self:
            return
        self._store_told = True
        if self._resumed:
            self._step()
            return
        wanted = self._recovery.loaded()
        if wanted is not None:
            self._ask(wanted)
        self._step()

    def _ask(self, wanted):
        after_n, after_k, to_k = wanted
        self._ask_inputs(after_n)
        for worker, (after, to) in enumerate(zip(after_k, to_k)):
            self.host.call(self._output_logger.host, self._output_logger.determinants, self.host, worker, after, to,
                           self.determinants_of_log)

    def _ask_inputs(self, after_n):
        for worker, after in enumerate(after_n):
            self.host.call(self._input_logger.host, self._input_logger.inputs, self.host, worker, after, self.inputs_of_log)

    def asks_both(self):
        """Ask both loggers, once the store has told what it has."""
        self._resumed = False

    def go_on(self):
        """Something came by the streams that it followed."""
        self._step()

    def inputs_of_log(self, worker, frames, end):
        if self.host.role is self:
            self.checker.fetched(self.core, frames)
            self._recovery.inputs(worker, frames, end)
            self._step()

    def determinants_of_log(self, worker, data, released, end):
        if self.host.role is self:
            self._recovery.released(worker, released)
            self._or_give_up(self._recovery.determinants, worker, data, end)
            self._step()

    def _or_give_up(self, function, *args):
        """What *function* gives; the role is given up if it fails and another node recovers by now: the logs have gone on."""
        try:
            return function(*args)
        except ReplayError:
            if self._output_logger.core.epoch <= self.core.epoch:
                raise
            self.host.role = None
            return ()

    def _step(self):
        if not self._stepping and self.host.role is self:
            self._stepping = True
            self.host.later(MS // 20, self._slice)

    def may_go_live(self, recovery):
        return recovery.finished and recovery.joined and (self._store_told or not self._resumed)

    def _slice(self):
        self._stepping = False
        recovery = self._recovery
        before = recovery.replayed + recovery.processed
        self._send(self._or_give_up(recovery.step, STEPS_PER_SLICE))
        if self.host.role is not self:
            return
        if self.may_go_live(recovery):
            # inputs came faster than they were taken: it may stop asking again (recovery.GROWING_ANSWERS_MAX)
            self.checker.queue_overflows += recovery.buffer.dropped - recovery._dropped_at_request
            self.checker.recovered(self.core, self._stored_prefix)
            if self._resumed:
                self._following.settle()
            self._on_live(self.host, self.core)
            return
        again = recovery.again()
        if again is not None:
            self._ask_inputs(again)
        if recovery.replayed + recovery.processed > before:
            self._step()
