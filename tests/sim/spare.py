"""The spare's role on a host: what the runtime does around the core's Recovery."""

from functools import partial

from middleboxes.core.checkpoint import Assembler
from middleboxes.core.frames import HOP_ACK, HOP_INPUT, hop_of
from middleboxes.core.recovery import LiveBuffer, Recovery
from middleboxes.core.step import ReplayError

from .following import Following
from .network import MS

STEPS_PER_SLICE = 4
LIVE_FRAMES_MAX = 24


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
