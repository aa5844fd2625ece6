"""Deliberate faults of hot spares."""

from middleboxes.core.following import Follower

from .following import Following
from .spare import SpareRole


class RepeatsUnstored(Follower):
    """It takes inputs as they come, whether or not the output logger stored the steps that the master made of them."""

    def step(self, budget):
        done = 0
        for number, inputs in enumerate(self._replay.inputs):
            worker = self.master.workers[number]
            while self.begun and inputs:
                self.master.process(number, self._replay.take(number))
                worker.log.trim(worker.k)
                worker.sent_k = worker.k
                self._replay.plans[number].trim(worker.k)
                done += 1
        return done


class BeginsTooEarly(Follower):
    """It begins with whichever checkpoint is there, though the streams may begin after it."""

    def begin(self):
        if self._inputs_begin is not None and self._determinants_begin is not None:
            self._inputs_begin = self._determinants_begin = [0] * len(self.master.workers)
        return super().begin()


class KeepsNoOutputs(Follower):
    """What the steps that it repeats emit is forgotten."""

    def _repeat(self, number, item, extra):
        self.master.repeat_step(number, item, extra)


class ForgetsChanges(Follower):
    """Its first checkpoint has what changed since it became the master."""

    def settle(self):
        self._records.clear()
        self.master.take_changes()


class CountsAsDurable(Follower):
    """What it has repeated is taken to be in the last durable checkpoint."""

    def durable(self, header):
        super().durable(header)
        self._records.clear()


class KeepsOldPlaces(Follower):
    """Its first checkpoint does not tell which of its keys are new: one that the store has already keeps the place that it had there."""

    def settle(self):
        super().settle()
        for variable in self.master.function.variables.values():
            removed, dirty = variable.cut()
            variable.put_back([({key: None for key in removed if key not in dirty}, dirty)])


class FollowsOn(Following):
    """Where a logger was replaced, it goes on from where it stands."""

    def is_same(self, input_logger, output_logger):
        self._moved = not super().is_same(input_logger, output_logger)
        return True

    def take_over(self, recovery):
        if not self._moved:
            super().take_over(recovery)
            return
        # as if what it has repeated were a checkpoint
        self._recovery = recovery
        self._follower.settle()
        self._spare.asks_both()


class GoesAhead(Following):
    """It goes ahead from where it stands, as soon as it may, though the output logger is not fenced yet."""

    def ended(self, epoch):
        return [worker.k for worker in self._spare.core.workers] if self.begun else None


def _spare(name, following):
    return type(name, (SpareRole,), {"following_class": following, "__doc__": following.__doc__})


def _with(follower):
    return _spare(f"{follower.__name__}Spare", type(f"{follower.__name__}Following", (Following,), {"follower_class": follower}))


RepeatsUnstoredSpare = _with(RepeatsUnstored)
BeginsTooEarlySpare = _with(BeginsTooEarly)
KeepsNoOutputsSpare = _with(KeepsNoOutputs)
ForgetsChangesSpare = _with(ForgetsChanges)
CountsAsDurableSpare = _with(CountsAsDurable)
KeepsOldPlacesSpare = _with(KeepsOldPlaces)
FollowsOnSpare = _spare("FollowsOnSpare", FollowsOn)
GoesAheadSpare = _spare("GoesAheadSpare", GoesAhead)
