"""Loading checkpoints in slices, so that a large one holds nobody up: a Loader has those that have come and are not applied yet.

Chunks are decoded as they come. Nothing of a checkpoint is applied before all of it is here: one that breaks off leaves no trace.
"""

from collections import deque

from .checkpoint import KEYS_PER_SLICE, Assembler, CheckpointError

#: checkpoints that have come and are not loaded; beyond it the oldest is loaded at once, so that no more come meanwhile
WAITING_MAX = 4


def load_in_slices(master, checkpoint):
    """Apply a decoded *checkpoint* (base or delta) to *master*, which does not run; yields the number of keys after each slice.

    Until it ends the master's state is neither the old nor the new one. Raises CheckpointError, before anything is changed.
    """
    header, variables = checkpoint.header, master.function.variables
    function = type(master.function).__name__
    if header["function"] != function:
        raise CheckpointError(f"the checkpoint is of {header['function']}, this is {function}")
    if len(header["positions"]) != len(master.workers):
        raise CheckpointError(f"the checkpoint has {len(header['positions'])} workers, this group {len(master.workers)}")
    if header["base"] not in (0, master.checkpoint_id):
        raise CheckpointError(f"a delta on checkpoint {header['base']}, loaded is {master.checkpoint_id}")
    for name, _, _ in checkpoint.records:
        if name not in variables:
            raise CheckpointError(f"the checkpoint has a state variable {name!r}, {function} has not")
    if header["base"] == 0:
        for variable in variables.values():
            while variable.shrink(KEYS_PER_SLICE):
                yield KEYS_PER_SLICE
            variable.reset()
    keys = 0
    for name, removed, items in checkpoint.records:
        variables[name].apply(removed, items)
        keys += len(removed) + len(items) // 2
        if keys >= KEYS_PER_SLICE:
            yield keys
            keys = 0
    master.stands_at(header)


class Loader:
    """The checkpoints that a spare got and has not loaded into *master* yet, in order."""

    def __init__(self, master):
        self._master = master
        self._assembler = Assembler()
        self._waiting = deque()
        self._slices = None
        self.taken_id = master.checkpoint_id        # the last that is here completely
        self.steps = 0              # chunks taken and slices loaded: whoever drives this sees that it goes on

    @property
    def idle(self):
        """Whether all that came completely is loaded."""
        return not self._waiting and self._slices is None

    def restart(self):
        """What came of an incomplete checkpoint comes again, by another connection."""
        self._assembler = Assembler()

    def chunk(self, number, data, last):
        """A chunk of checkpoint *number*; *last* ends it and has no data. Raises CheckpointError."""
        if number <= self.taken_id:
            return
        self.steps += 1
        if not last:
            self._assembler.add(data)
            return
        _, checkpoint = self._assembler.finish()
        self._waiting.append(checkpoint)
        self.taken_id = number
        while len(self._waiting) > WAITING_MAX:
            self.step()

    def step(self):
        """Load a slice; returns whether there is more to load. Raises CheckpointError."""
        if self._slices is None:
            if not self._waiting:
                return False
            self._slices = load_in_slices(self._master, self._waiting.popleft())
        self.steps += 1
        if next(self._slices, None) is None:
            self._slices = None
        return not self.idle
