"""Checkpoints on the wire and at the store: a header, then records of changes, in chunks; folded in order.

A checkpoint is a *base* (``base`` 0: from nothing) or a *delta* (everything that changed since checkpoint
``base``). A chunk is msgpack of ``[header or None, [[variable, removed keys, [key, value, key, value ...]], ...]]``; the
first chunk has the header. Chunks are made lazily, so a large state never becomes one large message or one long pause.
"""

from itertools import chain, islice
from typing import NamedTuple

from .channel import pack, unpack
from .messages import VERSION

#: keys serialised in one go: what one slice of a checkpoint costs the packet path
KEYS_PER_CHUNK = 256

#: keys that a store folds, or a spare loads, in one go
KEYS_PER_SLICE = 2048

#: the same for a base that a store sends: there are no packets to be held up, and each message costs
KEYS_PER_BASE_CHUNK = 2048

#: a chunk of more than one key is split beyond this, so that it fits a message
CHUNK_BYTES_MAX = 1 << 18

#: untrusted input: a checkpoint under construction may not grow beyond this
CHECKPOINT_BYTES_MAX = 1 << 30

#: roles that may be replaced around a living master; only a checkpoint cut after that protects the group again
COVERED = ("input-logger", "output-logger", "store")

_HEADER_FIELDS = {"version": int, "id": int, "base": int, "epoch": int, "covers": dict, "function": str, "positions": tuple,
                  "random": tuple, "times_ns": tuple, "clocks": tuple, "domains": tuple}


class CheckpointError(ValueError):
    """A checkpoint that is corrupt, of another version, out of order, or does not fit the middlebox."""


class Checkpoint(NamedTuple):
    """A decoded checkpoint: its header (dict) and records (variable, removed keys, flat items)."""

    header: dict
    records: list


class Cut(NamedTuple):
    """A consistent cut of a master; ``positions`` is [(n, k) per worker], ``changes`` [(variable, removed, dirty), ...].

    ``covers``: {role of COVERED: epoch of the last replacement of it that the master knew of when it cut}.
    ``sharing``: the part of the header that middleboxes.core.sharing keeps.
    """

    id: int
    base: int
    epoch: int
    covers: dict
    function: str
    positions: list
    random: list
    times_ns: list
    sharing: dict
    changes: list

    def header(self):
        """The header of this cut."""
        return {"version": VERSION, "id": self.id, "base": self.base, "epoch": self.epoch, "covers": self.covers,
                "function": self.function, "positions": self.positions, "random": self.random, "times_ns": self.times_ns,
                **self.sharing}

    def chunks(self):
        """Yield the encoded chunks, at least one."""
        yield from encode_chunks(self.header(), self.changes)


def encode_chunks(header, changes, keys=None):
    """Yield encoded chunks of *changes*: (variable, iterable of removed keys, dict of items) each; at least one.

    *keys*: of one chunk, at most (KEYS_PER_CHUNK).
    """
    keys = keys or KEYS_PER_CHUNK
    records, room = [], keys
    for name, removed, dirty in changes:
        gone, items = iter(removed), iter(dirty.items())
        while True:
            # whole slices at a time: keys are many
            some_gone = list(islice(gone, room))
            room -= len(some_gone)
            some_items = list(chain.from_iterable(islice(items, room)))
            room -= len(some_items) // 2
            if some_gone or some_items:
                records.append((name, some_gone, some_items))
            if room:
                break
            yield from _split(header, records)
            header, records, room = None, [], keys
    if records or header is not None:
        yield from _split(header, records)


def _split(header, records):
    data = pack([header, records])
    count = sum(len(gone) + len(items) // 2 for _, gone, items in records)
    if len(data) <= CHUNK_BYTES_MAX or count < 2:
        yield data
        return
    first, second = [], []
    half = count // 2
    for name, gone, items in records:
        keep_gone = min(half, len(gone))
        keep_items = 2 * min(half - keep_gone, len(items) // 2)
        half -= keep_gone + keep_items // 2
        first.append((name, gone[:keep_gone], items[:keep_items]))
        second.append((name, gone[keep_gone:], items[keep_items:]))
    yield from _split(header, [record for record in first if record[1] or record[2]])
    yield from _split(None, [record for record in second if record[1] or record[2]])


def decode_chunk(data):
    """(header or None, records) of one chunk. Raises CheckpointError."""
    maps = []
    try:
        header, records = unpack(data, use_list=False, on_map=lambda value: maps.append(value) or value)
        for name, removed, items in records:
            if type(name) is not str or type(removed) is not tuple or type(items) is not tuple or len(items) % 2:
                raise ValueError("a record is malformed")
            if maps:                    # those of the header, or one that can't be a key, and is not immutable
                hash((removed, items))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"a checkpoint's chunk can't be decoded: {error}") from error
    if header is not None:
        _check_header(header)
    return header, records


def _check_header(header):
    if not isinstance(header, dict) or header.get("version") != VERSION:
        version = header.get("version") if isinstance(header, dict) else None
        raise CheckpointError(f"the checkpoint is of version {version}, this is version {VERSION}")
    for name, kind in _HEADER_FIELDS.items():
        if not isinstance(header.get(name), kind):
            raise CheckpointError(f"the checkpoint's header has no valid {name!r}")
    if header["id"] < 1:
        raise CheckpointError("a checkpoint's number is 1 or more: 0 says that there is none")
    workers = len(header["positions"])
    if len(header["random"]) != workers or len(header["times_ns"]) != workers:
        raise CheckpointError("the checkpoint's header contradicts itself on the number of workers")
    for position in (*header["positions"], header["random"], header["times_ns"]):
        if type(position) is not tuple or any(type(number) is not int or number < 0 for number in position):
            raise CheckpointError("the checkpoint's header has an impossible number")
    if any(len(position) != 2 for position in header["positions"]):
        raise CheckpointError("the checkpoint's header has a malformed position")
    if set(header["covers"]) != set(COVERED) or any(type(epoch) is not int or epoch < 0 for epoch in header["covers"].values()):
        raise CheckpointError("the checkpoint's header has no valid 'covers'")
    _check_sharing(header, workers)


def _check_sharing(header, workers):
    """Vector clocks and domains: there are some only with several workers."""
    clocks = list(header["clocks"])
    if len(clocks) != (workers if workers > 1 else 0):
        raise CheckpointError("the checkpoint's header contradicts itself on the number of workers")
    for domain in header["domains"]:
        if type(domain) is not tuple or len(domain) != 5 or type(domain[0]) is not str or workers == 1:
            raise CheckpointError("the checkpoint's header has a malformed domain")
        _, version, worker, k, clock = domain
        if any(type(number) is not int or number < 0 for number in (version, worker, k)) or worker >= workers:
            raise CheckpointError("the checkpoint's header has a malformed domain")
        clocks.append(clock)
    for clock in clocks:
        if type(clock) is not tuple or len(clock) != workers or any(type(k) is not int or k < 0 for k in clock):
            raise CheckpointError("the checkpoint's header has a malformed vector clock")


class Assembler:
    """Puts the chunks of one checkpoint together, each decoded as it comes; nothing is visible before the last one."""

    def __init__(self):
        self._start()

    def _start(self):
        self._chunks, self._bytes = [], 0
        self._header, self._records = None, []

    def add(self, data):
        """Take the next chunk. Raises CheckpointError, also beyond CHECKPOINT_BYTES_MAX."""
        self._bytes += len(data)
        if self._bytes > CHECKPOINT_BYTES_MAX:
            raise CheckpointError(f"a checkpoint grew beyond {CHECKPOINT_BYTES_MAX} bytes")
        header, records = decode_chunk(data)
        if (header is not None) == bool(self._chunks):
            raise CheckpointError("a checkpoint has its header in the wrong place")
        self._header = header or self._header
        self._records += records
        self._chunks.append(data)

    def finish(self):
        """(the chunks, the decoded Checkpoint); starts anew. Raises CheckpointError."""
        chunks, checkpoint = self._chunks, Checkpoint(self._header, self._records)
        self._start()
        if checkpoint.header is None:
            raise CheckpointError("a checkpoint without chunks")
        return chunks, checkpoint


class Folded:
    """What a store keeps of one group: the last durable checkpoint, and recent deltas for those who follow.

    A checkpoint is durable as soon as its chunks are kept; folding it into the ones before can wait, and goes in slices.
    """

    RECENT_MAX = 16

    def __init__(self):
        self.header = None
        self.epoch = 0
        self._variables = {}
        self._recent = []           # [(base, id, chunks)], oldest first
        self._folding = iter(())    # slices of the last one

    @property
    def id(self):
        """Number of the last durable checkpoint, 0 if there is none."""
        return self.header["id"] if self.header else 0

    def refusal(self, epoch, base):
        """Why a checkpoint of *epoch* on *base* can't be taken; None if it can."""
        if epoch < self.epoch:
            return f"epoch {epoch} is fenced, the epoch is {self.epoch}"
        if base not in (0, self.id):
            return f"a delta on checkpoint {base}, the last durable one is {self.id}"
        return None

    def fold(self, chunks, checkpoint):
        """Make *checkpoint* the last durable one; call ``fold_slice`` until it is folded, too."""
        self._fold_all()
        header = checkpoint.header
        if header["base"] == 0:
            self._variables, self._recent = {}, []
        self._folding = self._slices(checkpoint.records)
        self.header = header
        self._recent.append((header["base"], header["id"], chunks))
        del self._recent[:-self.RECENT_MAX]

    def fold_slice(self):
        """Fold some keys of the last checkpoint; returns whether there are more."""
        return next(self._folding, None) is not None

    def _fold_all(self):
        while self.fold_slice():
            pass

    def _slices(self, records):
        keys = 0
        for name, removed, items in records:
            variable = self._variables.setdefault(name, {})
            for key in removed:
                variable.pop(key, None)
            pairs = iter(items)
            variable.update(zip(pairs, pairs))
            keys += len(removed) + len(items) // 2
            if keys >= KEYS_PER_SLICE:
                yield keys
                keys = 0

    def headers_since(self, have):
        """Like ``since``, without the changes: [(id, base, one chunk)] of the last durable checkpoint, if it is another than *have*."""
        if self.header is None or have == self.id:
            return []
        return [(self.id, self.header["base"], encode_chunks(self.header, ()))]

    def since(self, have):
        """[(id, base, chunks iterable)] that bring a follower from checkpoint *have* to the last durable one.

        A follower that is too far behind gets one base (base 0), from which it starts anew.
        """
        if self.header is None or have == self.id:
            return []
        for index, (base, _, _) in enumerate(self._recent):
            if base == have:
                return [(id_, base, chunks) for base, id_, chunks in self._recent[index:]]
        return [(self.id, 0, encode_chunks(*self.everything(), KEYS_PER_BASE_CHUNK))]

    def everything(self):
        """(header, changes) of a base with all that is folded, as ``encode_chunks`` takes them."""
        self._fold_all()
        # a copy of the references: the next checkpoint may be folded while this one is being sent
        return {**self.header, "base": 0}, [(name, (), dict(items)) for name, items in self._variables.items()]
