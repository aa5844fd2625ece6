"""Deliberate faults of the protocol around replaced loggers and stores, and moves."""

from middleboxes.core.determinants import first_step
from middleboxes.core.frames import decode_output
from middleboxes.core.master import Master
from middleboxes.core.outputlog import OutputLogger

from .changes import Lost
from .controller import Controller
from .master import MasterRole


class BeginsInTheMiddle(OutputLogger):
    """A new output logger takes the first determinants that it sees for the beginning."""

    def _store(self, worker, encoded):
        log = self.logs[worker]
        if not log.last and not log.trimmed:
            log.trim(first_step(encoded) - 1)
        return super()._store(worker, encoded)


class BeginsUncovered(OutputLogger):
    """A new output logger begins with whatever checkpoint is durable next."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.covered_from = 0


class TakesFormerInputs(Master):
    """What a former input logger still sends is processed."""

    def fence_inputs(self, epoch):
        begin = super().fence_inputs(epoch)
        self.inputs_from = 0
        return begin


class TellsTooLowNumbers(Master):
    """A new input logger begins below where the master stands."""

    def fence_inputs(self, epoch):
        n, last_ns = super().fence_inputs(epoch)
        return [max(0, number - 2) for number in n], last_ns


class TellsNoTime(Master):
    """A new input logger is not told the last timestamp."""

    def fence_inputs(self, epoch):
        return super().fence_inputs(epoch)[0], 0


class NeverWaitsAgain(Master):
    """After one new output logger no checkpoint ever waits for acknowledgements again."""

    def durable(self, cut):
        unlogged_id = self._unlogged_id
        frames = super().durable(cut)
        self._unlogged_id = unlogged_id
        return frames


class WaitsForNobody(Master):
    """A checkpoint for a new output logger waits for determinants that nobody has any more."""

    def use_output_log(self, epoch, output_epoch):
        super().use_output_log(epoch, output_epoch)
        self._unlogged_id = None


class GoesOn(Master):
    """A master that was stopped takes inputs."""

    stopped = False

    def stop(self):
        self.stopped = True


class RepeatsNoTrim(Master):
    """An output logger that lost a TRIM is not told again what is durable."""

    def acknowledged(self, frame):
        durable, self._durable = self._durable, None
        try:
            return super().acknowledged(frame)
        finally:
            self._durable = durable


class SendsADelta(MasterRole):
    """A new store gets a delta on what only the former one has."""

    def use_store(self, epoch, store):
        self.core.use_store(epoch)
        self.checker.change_told("store", epoch)
        self.store = store
        self._checkpoint()


class CoversTooSoon(MasterRole):
    """What is durable is told to cover all that the master was told since it was cut."""

    def covers_of(self, cut):
        return self.core.covers


class LosesTooSoon(Controller):
    """A state is given up although what was replaced is covered."""

    def told(self, host, epoch, name, detail):
        super().told(host, epoch, name, detail)
        if self.changes.made and self.changes.settled:
            raise Lost("a role was replaced some time ago")


class ComesLate(OutputLogger):
    """A durable checkpoint does not release what waits for it."""

    def trim(self, epoch, positions, covers):
        return []


class HeedsItsSuccessor(OutputLogger):
    """A former output logger takes what a late switch still leads to it, though it is meant for the one that replaces it."""

    def receive(self, frame):
        self.epoch = max(self.epoch, decode_output(frame).epoch)
        return super().receive(frame)


class KeepsOutputEpoch(Master):
    """What it sends to a new output logger is of the former one's epoch."""

    def use_output_log(self, epoch, output_epoch):
        super().use_output_log(epoch, self.output_epoch)


class SharesTheEpoch(OutputLogger):
    """A new output logger takes the frames that the former one takes, too. Only together with KeepsOutputEpoch."""

    def __init__(self, group_id, source, workers, ports, epoch, **bounds):
        super().__init__(group_id, source, workers, ports, epoch, **bounds)
        self.epoch = epoch
