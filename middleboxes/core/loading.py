"""Loading checkpoints in slices, so that a large one holds nobody up: a Loader has those that have come and are not applied yet.

Chunks are decoded as they come. Nothing of a checkpoint is applied before all of it is here, and one that breaks off leaves no trace;
but for a base, where nothing is loaded that it could spoil: that one is applied as it comes, and forgotten if it breaks off.
"""

from collections import deque

from .checkpoint import KEYS_PER_SLICE, Assembler, Checkpoint, CheckpointError, keys_in

#: checkpoints that have come and are not loaded; beyond it the oldest is loaded at once, so that no more come meanwhile
WAITING_MAX = 4


def load_in_slices(master, checkpoint, is_whole=lambda: True):
    """Apply a decoded *checkpoint* (base or delta) to *master*, which does not run; yields the number of keys after each slice.

    *is_whole* says whether all records are here: while they are not, it yields 0 where it has to wait for more.
    Until it ends the master's state is neither the old nor the new one. Raises CheckpointError, before anything is changed that was whole.
    """
    header, records, variables = checkpoint.header, checkpoint.records, master.function.variables
    _check_fit(master, header)
    for name in (*header["keys"], *(name for name, *_ in records)):
        _find(master, name)
    if header["base"] == 0:
        for variable in variables.values():
            while variable.shrink(KEYS_PER_SLICE):
                yield KEYS_PER_SLICE
            variable.reset()
    for name, keys in header["keys"].items():
        variables[name].reserve(keys)
    done = keys = 0
    while done < len(records) or not is_whole():
        if done == len(records):
            records.clear()
            done = 0
            yield 0
            continue
        name, *columns = record = records[done]
        _find(master, name).apply(*columns)
        done += 1
        keys += keys_in(record)
        if keys >= KEYS_PER_SLICE:
            yield keys
            keys = 0
    master.stands_at(header)


def _check_fit(master, header):
    function = type(master.function).__name__
    if header["function"] != function:
        raise CheckpointError(f"the checkpoint is of {header['function']}, this is {function}")
    if len(header["positions"]) != len(master.workers):
        raise CheckpointError(f"the checkpoint has {len(header['positions'])} workers, this group {len(master.workers)}")
    if header["base"] not in (0, master.checkpoint_id):
        raise CheckpointError(f"a delta on checkpoint {header['base']}, loaded is {master.checkpoint_id}")


def _find(master, name):
    variable = master.function.variables.get(name)
    if variable is None:
        raise CheckpointError(f"the checkpoint has a state variable {name!r}, {type(master.function).__name__} has not")
    return variable


class Loader:
    """The checkpoints that a spare got and has not loaded into *master* yet, in order."""

    def __init__(self, master):
        self._master = master
        self._assembler = Assembler(keeps_chunks=False)
        self._waiting = deque()
        self._slices = None
        self._is_coming = False                     # what is being loaded is a base that is not complete yet
        self.taken_id = master.checkpoint_id        # the last that is here completely
        self.steps = 0              # chunks taken and slices loaded: whoever drives this sees that it goes on

    @property
    def idle(self):
        """Whether all that came completely is loaded."""
        return not self._waiting and self._slices is None

    def restart(self):
        """What came of an incomplete checkpoint comes again, by another connection."""
        self._assembler = Assembler(keeps_chunks=False)
        if self._is_coming:
            self._slices, self._is_coming = None, False

    def chunk(self, number, data, last):
        """A chunk of checkpoint *number*; *last* ends it and has no data. Raises CheckpointError."""
        if number <= self.taken_id:
            return
        self.steps += 1
        if not last:
            self._assembler.add(data)
            self._begin_early()
            if self._is_coming:
                self.step()                         # at once: what came is in the processor's caches, and takes no more room
            return
        _, checkpoint = self._assembler.finish()
        self.taken_id = number
        if self._is_coming:
            self._is_coming = False
            return
        self._waiting.append(checkpoint)
        while len(self._waiting) > WAITING_MAX:
            self.step()

    def _begin_early(self):
        """Load what is coming as it comes, if it is a base and nothing is there that it could spoil."""
        coming = self._assembler.coming
        if self.idle and self._master.checkpoint_id == 0 and coming.header["base"] == 0:
            self._is_coming = True
            self._slices = load_in_slices(self._master, coming, lambda: not self._is_coming)

    def step(self):
        """Load a slice; returns whether there is more to load now. Raises CheckpointError."""
        if self._slices is None:
            if not self._waiting:
                return False
            self._slices = load_in_slices(self._master, self._waiting.popleft())
        keys = next(self._slices, None)
        if keys == 0:
            return False
        self.steps += 1
        if keys is None:
            self._slices = None
        return not self.idle
