"""A base that is encoded before anybody asks for it, and the deltas after it: what a store sends a spare that has nothing.

To encode a large state takes as long as to load it; done ahead, in slices, it is no part of a recovery. ::

    add()       each checkpoint that is durable
    wants()     whether the base is to be made (anew): there is none, or too much came after it
    begin()     all of the state as it is now; then step() until it returns False
    entries()   what brings a spare that has nothing to the last checkpoint, None without a base

The base is made anew when the deltas after it have DELTAS_PART of its bytes, or are DELTAS_MAX. So memory is bounded by the
state's, as long as there is a step between two checkpoints.
"""

from .checkpoint import KEYS_PER_BASE_CHUNK, encode_chunks

#: the more, the less often all is encoded, and the more a spare has to load
DELTAS_PART = 0.5
#: one costs a spare some 50 us, also if nothing has changed
DELTAS_MAX = 128


class Snapshot:
    """One group's."""

    def __init__(self):
        self.clear()

    def clear(self):
        """Forget all."""
        self._base = None           # (id, chunks)
        self._deltas = []           # [(id, base, chunks)] after it, or after the one that is being made
        self._making = None         # (id, encoded chunks to come, those that are made)
        self._base_bytes = self._deltas_bytes = 0

    def add(self, number, base, chunks):
        """Checkpoint *number*, a delta on *base* or, if that is 0, a base itself."""
        if base == 0:
            self.clear()
            self._base, self._base_bytes = (number, chunks), _bytes(chunks)
        elif self._base is not None or self._making is not None:
            self._deltas.append((number, base, chunks))
            self._deltas_bytes += _bytes(chunks)

    def wants(self):
        """Whether ``begin`` is due."""
        if self._making is not None:
            return False
        return self._base is None or len(self._deltas) >= DELTAS_MAX or self._deltas_bytes > DELTAS_PART * self._base_bytes

    def begin(self, header, changes):
        """Make a base of all of the state: *header* and *changes* as ``checkpoint.encode_chunks`` takes them."""
        self._making = header["id"], encode_chunks(header, changes, KEYS_PER_BASE_CHUNK), []

    def step(self):
        """Encode some more; returns whether there is more to do."""
        if self._making is None:
            return False            # another base came meanwhile
        number, coming, made = self._making
        chunk = next(coming, None)
        if chunk is not None:
            made.append(chunk)
            return True
        self._deltas = [delta for delta in self._deltas if delta[0] > number]
        self._deltas_bytes = sum(_bytes(chunks) for _, _, chunks in self._deltas)
        self._base, self._base_bytes, self._making = (number, made), _bytes(made), None
        return False

    def entries(self):
        """[(id, base, chunks)] as ``checkpoint.Folded.since`` gives them, None without a base."""
        return None if self._base is None else [(self._base[0], 0, self._base[1]), *self._deltas]


def _bytes(chunks):
    return sum(map(len, chunks))
