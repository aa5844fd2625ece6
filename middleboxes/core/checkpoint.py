"""Checkpoints on the wire and at the store: a header, then records of changes, in chunks; folded in order.

A checkpoint is a *base* (``base`` 0: from nothing) or a *delta* (everything that changed since checkpoint
``base``). A chunk is msgpack of ``[header or None, [[variable, removed keys, keys, values], ...]]``; the first chunk has the
header. Keys and values are columns (middleboxes.core.columns): arrays, or packed numbers. Chunks are made lazily, so a large
state never becomes one large message or one long pause.
"""

from itertools import islice
from typing import NamedTuple

from .channel import pack, unpack
from .columns import column_length, pack_column, unpack_column
from .messages import VERSION
from .table import Table

#: keys serialised in one go: what one slice of a checkpoint costs the packet path
KEYS_PER_CHUNK = 256

#: keys that a store folds, or a spare loads, in one go
KEYS_PER_SLICE = 2048

#: of a chunk of a base that a store sends: there are no packets to be held up, and each message costs
KEYS_PER_BASE_CHUNK = 2048

#: a chunk of more than one key is split beyond this, so that it fits a message
CHUNK_BYTES_MAX = 1 << 18

#: untrusted input: a checkpoint under construction may not grow beyond this; packed, a key takes two bytes, but not in a table
CHECKPOINT_BYTES_MAX, CHECKPOINT_KEYS_MAX = 1 << 30, 1 << 26

#: roles that may be replaced around a living master; only a checkpoint cut after that protects the group again
COVERED = ("input-logger", "output-logger", "store")

_HEADER_FIELDS = {"version": int, "id": int, "base": int, "epoch": int, "covers": dict, "function": str, "positions": tuple,
                  "random": tuple, "times_ns": tuple, "keys": dict, "clocks": tuple, "domains": tuple}


class CheckpointError(ValueError):
    """A checkpoint that is corrupt, of another version, out of order, or does not fit the middlebox."""


class Checkpoint(NamedTuple):
    """A decoded checkpoint: its header (dict) and records (variable, removed keys, keys, values): the last three are columns."""

    header: dict
    records: list


class Cut(NamedTuple):
    """A consistent cut of a master; ``positions`` is [(n, k) per worker], ``changes`` [(variable, removed, dirty), ...].

    ``covers``: {role of COVERED: epoch of the last replacement of it that the master knew of when it cut}.
    ``keys``: of a base {variable: how many keys it has}, so that whoever loads it has room at once; may be left out.
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
    keys: dict
    sharing: dict
    changes: list

    def header(self):
        """The header of this cut."""
        return {"version": VERSION, "id": self.id, "base": self.base, "epoch": self.epoch, "covers": self.covers,
                "function": self.function, "positions": self.positions, "random": self.random, "times_ns": self.times_ns,
                "keys": self.keys, **self.sharing}

    def chunks(self):
        """Yield the encoded chunks, at least one."""
        yield from encode_chunks(self.header(), self.changes)


def encode_chunks(header, changes):
    """Yield encoded chunks of *changes*, at least one: (variable, removed keys, items) each.

    Items are a dict, which goes into chunks of KEYS_PER_CHUNK keys, or what ``Variable.everything`` yields, a chunk for each.
    """
    records, room = [], KEYS_PER_CHUNK
    for name, removed, items in changes:
        if not isinstance(items, dict):
            for keys, values in items:
                yield from _split(header, [*records, (name, (), keys, values)])
                header, records, room = None, [], KEYS_PER_CHUNK
            continue
        gone, keys, values = iter(removed), iter(items), iter(items.values())
        while True:
            # whole slices at a time: keys are many
            some_gone = list(islice(gone, room))
            room -= len(some_gone)
            some_keys = list(islice(keys, room))
            room -= len(some_keys)
            if some_gone or some_keys:
                records.append((name, *map(pack_column, (some_gone, some_keys, list(islice(values, len(some_keys)))))))
            if room:
                break
            yield from _split(header, records)
            header, records, room = None, [], KEYS_PER_CHUNK
    if records or header is not None:
        yield from _split(header, records)


def all_of(variables):
    """What ``encode_chunks`` takes of all that *variables* {name: variable} have now, whatever changes later."""
    return [(name, (), list(variable.everything(KEYS_PER_CHUNK))) for name, variable in variables.items()]


def count_keys(variables):
    """{name: number of keys} of those of *variables* {name: variable} that have keys."""
    return {name: len(variable) for name, variable in variables.items() if isinstance(variable, Table) and variable}


def keys_in(record):
    """How many keys a *record* removes and sets."""
    _, removed, keys, _ = record
    return column_length(removed) + column_length(keys)


def _split(header, records):
    data = pack([header, records])
    count = 0 if len(data) <= CHUNK_BYTES_MAX else sum(map(keys_in, records))
    if count < 2:
        yield data
        return
    first, second = [], []
    half = count // 2
    for name, *columns in records:
        gone, keys, values = (list(unpack_column(column)) for column in columns)
        keep_gone = min(half, len(gone))
        keep = min(half - keep_gone, len(keys))
        half -= keep_gone + keep
        first.append((name, *map(pack_column, (gone[:keep_gone], keys[:keep], values[:keep]))))
        second.append((name, *map(pack_column, (gone[keep_gone:], keys[keep:], values[keep:]))))
    yield from _split(header, [record for record in first if keys_in(record)])
    yield from _split(None, [record for record in second if keys_in(record)])


def decode_chunk(data):
    """(header or None, records) of one chunk. Raises CheckpointError."""
    maps = []
    try:
        header, records = unpack(data, use_list=False, on_map=lambda value: maps.append(value) or value)
        for name, removed, keys, values in records:
            if type(name) is not str or column_length(keys) != column_length(values) or column_length(removed) < 0:
                raise ValueError("a record is malformed")
            if maps:                    # those of the header, or one that can't be a key, and is not immutable
                hash((removed, keys, values))
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
    keys = header["keys"]
    if any(type(name) is not str or type(number) is not int or number < 0 for name, number in keys.items()) or sum(keys.values()) > CHECKPOINT_KEYS_MAX:
        raise CheckpointError("the checkpoint's header has impossible numbers of keys")
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
    """Puts the chunks of one checkpoint together, each decoded as it comes; ``coming`` has what came so far.

    *keeps_chunks*: whether ``finish`` is to give them.
    """

    def __init__(self, keeps_chunks=True):
        self._keeps_chunks = keeps_chunks
        self._start()

    def _start(self):
        self._chunks, self._bytes, self._keys = [], 0, 0
        self.coming = Checkpoint(None, [])

    def add(self, data):
        """Take the next chunk. Raises CheckpointError, also beyond CHECKPOINT_BYTES_MAX and CHECKPOINT_KEYS_MAX."""
        self._bytes += len(data)
        if self._bytes > CHECKPOINT_BYTES_MAX:
            raise CheckpointError(f"a checkpoint grew beyond {CHECKPOINT_BYTES_MAX} bytes")
        header, records = decode_chunk(data)
        if (header is None) == (self.coming.header is None):
            raise CheckpointError("a checkpoint has its header in the wrong place")
        self._keys += sum(map(keys_in, records))
        if self._keys > CHECKPOINT_KEYS_MAX:
            raise CheckpointError(f"a checkpoint grew beyond {CHECKPOINT_KEYS_MAX} keys")
        if header is not None:
            self.coming = Checkpoint(header, [])
        self.coming.records.extend(records)
        if self._keeps_chunks:
            self._chunks.append(data)

    def finish(self):
        """(the chunks, the decoded Checkpoint); starts anew. Raises CheckpointError."""
        chunks, checkpoint = self._chunks, self.coming
        self._start()
        if checkpoint.header is None:
            raise CheckpointError("a checkpoint without chunks")
        return chunks, checkpoint


class Base:
    """All of a state that is being encoded as it is asked for, or at once: before the state changes.

    Whoever goes through it gets all of it, however often it is asked for.
    """

    def __init__(self, header, changes):
        self._made, self._coming = [], encode_chunks(header, changes)

    def _make(self):
        chunk = next(self._coming, None)
        if chunk is not None:
            self._made.append(chunk)
        return chunk is not None

    def complete(self):
        """Encode what is left."""
        while self._make():
            pass

    def __iter__(self):
        number = 0
        while number < len(self._made) or self._make():
            yield self._made[number]
            number += 1


class Folded:
    """What a store keeps of one group: the last durable checkpoint, and recent deltas for those who follow.

    A checkpoint is durable as soon as its chunks are kept; folding it into the ones before can wait, and goes in slices.
    """

    RECENT_MAX = 16

    def __init__(self):
        self.header = None
        self.epoch = 0
        self._variables = {}        # name -> Table
        self._recent = []           # [(base, id, chunks)], oldest first
        self._folding = iter(())    # slices of the last one
        self._base = None           # all of it, as somebody has asked for it

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
        if self._base is not None:
            self._base.complete()
            self._base = None
        header = checkpoint.header
        if header["base"] == 0:
            self._variables, self._recent = {}, []
            for name, keys in header["keys"].items():
                self._variables[name] = Table()
                self._variables[name].reserve(keys)
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
        for record in records:
            name, *columns = record
            self._variables.setdefault(name, Table()).apply(*columns)
            keys += keys_in(record)
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
        return [(self.id, 0, self.everything())]

    def everything(self):
        """The Base with all that is folded."""
        if self._base is None:
            self._fold_all()
            header = {**self.header, "base": 0, "keys": count_keys(self._variables)}
            self._base = Base(header, [(name, (), variable.everything(KEYS_PER_BASE_CHUNK)) for name, variable in self._variables.items()])
        return self._base
