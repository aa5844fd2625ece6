"""Deliberate faults of the protocol around failovers, for tests that the checkers see them."""

from middleboxes.core import recovery
from middleboxes.core.checkpoint import Folded
from middleboxes.core.frames import decode_output, encode_trim
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.master import Master
from middleboxes.core.outputlog import OutputLogger
from middleboxes.core.sharing import Session

from .controller import Controller
from .master import MasterRole
from .spare import SpareRole


class ReleasesTooEarly(OutputLogger):
    """An output leaves when the determinants up to the step before it are stored."""

    def _admit(self, output, released):
        if output.k == self.logs[output.worker].last + 1:
            self._release(output, released)
        else:
            super()._admit(output, released)


class ReleasesUnstored(OutputLogger):
    """An output leaves at once, whatever is stored."""

    def _admit(self, output, released):
        self._release(output, released)


class LosesDeterminantsAtFence(OutputLogger):
    """The last stored step is not in the recoverable prefix that the fence tells."""

    def fence(self, epoch):
        if epoch > self.epoch:
            for log in self.logs:
                log.cut_off(max(log.trimmed, log.last - 1))
        return super().fence(epoch)


class IsNotFenced(OutputLogger):
    """The fence tells the prefix, but older epochs go on being taken."""

    def receive(self, frame):
        current, self.epoch = self.epoch, min(decode_output(frame).epoch, self.epoch)
        try:
            return super().receive(frame)
        finally:
            self.epoch = current


class ForgetsWhatLeft(OutputLogger):
    """No duplicate suppression."""

    def receive(self, frame):
        for known in self._released:
            known.clear()
        return super().receive(frame)


class ForgetsAtFence(OutputLogger):
    """Duplicate suppression only within an epoch."""

    def fence(self, epoch):
        if epoch > self.epoch:
            for known in self._released:
                known.clear()
        return super().fence(epoch)


class TrimsInputsTooFar(InputLogger):
    """The input log forgets one input more than the checkpoint covers."""

    def trim(self, epoch, positions):
        super().trim(epoch, {worker: (n + 1, k) for worker, (n, k) in positions.items()})


class TrimsOutputsTooFar(OutputLogger):
    """The output logger forgets a step that no checkpoint covers."""

    def trim(self, epoch, positions, covers):
        further = {worker: (n, min(k + 1, self.logs[worker].last)) for worker, (n, k) in positions.items()}
        return super().trim(epoch, further, covers)


class TurnsBackTheClock(InputLogger):
    """Time goes back when the epoch changes."""

    def fence(self, epoch):
        super().fence(epoch)
        self._last_ns = 0

    def _log(self, worker, port, kind, frame, now_ns):
        return super()._log(worker, port, kind, frame, now_ns - self.epoch * 5_000_000)


class TrimsBeforeDurable(MasterRole):
    """The loggers trim when the checkpoint is cut, not when it is durable."""

    def _checkpoint(self):
        super()._checkpoint()
        for role in ("input-logger", "output-logger"):
            for frame in encode_trim(role, self.core.group_id, self.core.source, self.core.epoch, self._cut.positions, self._cut.covers[role]):
                self.host.send(frame)


class CommitsAheadOfTheOutputLogger(MasterRole):
    """A checkpoint is committed without waiting for the output logger."""

    def may_commit(self, cut):
        return True


class StartsUnprotected(MasterRole):
    """A fresh master processes before its first checkpoint is durable."""

    def __init__(self, host, core, store, checker, interval_ns, taking, tell, order):
        super().__init__(host, core, store, checker, interval_ns, True, tell, order)


class AppliesDeltasTwice(Master):
    """A delta is applied again after the next one."""

    def load(self, checkpoint):
        super().load(checkpoint)
        last, self._last = getattr(self, "_last", None), checkpoint
        if last is not None and last.header["base"]:
            for name, *columns in last.records:
                self.function.variables[name].apply(*columns)


class IsNotFencedStore(Folded):
    """The store takes checkpoints of any epoch."""

    def refusal(self, epoch, base):
        return None


class KeepsEpoch(Controller):
    """The new master runs in the epoch of the old one."""

    def next_epoch(self):
        return self.epoch


class DropsOrder(Master):
    """A restored state has its keys in another order."""

    def load(self, checkpoint):
        super().load(checkpoint)
        flows = self.function.variables["flows"]
        keys = sorted(flows)
        flows.apply(keys, keys, [flows[key] for key in keys])


class ForgetsRandomState(Master):
    """The PRNG's state is not restored."""

    def load(self, checkpoint):
        states = [worker.context.random_state for worker in self.workers]
        super().load(checkpoint)
        for worker, state in zip(self.workers, states):
            worker.context.random_state = state


class RecordsAgain(Master):
    """Replay asks the outside again."""

    def replay(self, number, item, extra, released=frozenset()):
        return self.process(number, item)


class SkipsTheLog(recovery.Recovery):
    """Inputs beyond the recoverable prefix are not taken from the log."""

    def _catch_up(self, budget, frames):
        for inputs in self._replay.inputs:
            inputs.clear()
        super()._catch_up(budget, frames)


class SkipsTheLogSpare(SpareRole):
    recovery_class = SkipsTheLog


class ForgetsOverflow(recovery.Recovery):
    """An overflow of the live buffer is not made good, and the gap that it leaves is not looked at."""

    def _catch_up(self, budget, frames):
        self._gap_requests = recovery.GAP_REQUESTS_MAX
        self._dropped_at_request = self.buffer.dropped
        super()._catch_up(budget, frames)


class ForgetsOverflowSpare(SpareRole):
    recovery_class = ForgetsOverflow


class GoesLiveUnjoined(SpareRole):
    """The new master goes live when the log is processed, whether or not the live stream joins it: the switch may not have switched yet."""

    def may_go_live(self, recovery):
        return recovery.finished


class SendsNothingWhenFull(InputLogger):
    """With a full log there is no live input, so nothing shows a new master that the live stream joins the log."""

    def _again(self, worker):
        return None


class SendsNoClock(Master):
    """Outputs do not say on which steps of other workers they depend."""

    def _clock(self, number, clock):
        return ()


class Sessions(Master):
    """A master with other sessions."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        for session in filter(None, self.state.sessions):
            session.__class__ = self.session_class


class LogsNoAccess(Sessions):
    """Determinants do not say whose step had the shared variables before."""

    class session_class(Session):
        __slots__ = ()

        def enter(self, domain, variable):
            super().enter(domain, variable)
            self.accesses.clear()


class MergesNoClock(Sessions):
    """A step learns the step before it in a domain, not what that one depends on."""

    class session_class(Session):
        __slots__ = ()

        def _merged(self, domain):
            merged = list(self.clock)
            merged[domain.worker] = max(merged[domain.worker], domain.k)
            return tuple(merged)


class ForgetsDomains(Master):
    """A checkpoint does not bring back who had the shared variables last."""

    def load(self, checkpoint):
        super().load(checkpoint)
        for domain in self.state.domains:
            domain.version = domain.k = 0


class KeepsAnOpenPrefix(OutputLogger):
    """The recoverable prefix is all that is stored, whatever it depends on."""

    def fence(self, epoch):
        logs, self.logs = self.logs, [Closed(log) for log in self.logs]
        try:
            return super().fence(epoch)
        finally:
            self.logs = logs


class Closed:
    """A determinant log that says nothing of dependencies."""

    def __init__(self, log):
        self.log = log

    def __getattr__(self, name):
        return getattr(self.log, name)

    def extras(self):
        return []


class IgnoresOrder(recovery.Recovery):
    """Each worker's steps are repeated without regard to the others'."""

    def _begin(self, replay, begin_k):
        replay.may_follow = lambda extra: True
        super()._begin(replay, begin_k)


class IgnoresOrderSpare(SpareRole):
    recovery_class = IgnoresOrder
