"""Ordered: a map in order of insertion in which no operation has to wait for another, however many keys there are.

A dict is as fast on average, but grows all at once (at a million keys a packet would wait for tens of milliseconds), does so again
and again where keys move to its end, and finds its first key only behind the places of all that were removed before it. So here

- entries are in chunks that never move, linked in their order; the place of a removed one is taken by a later one,
- buckets are chains of entries, which grow by linear hashing (Litwin 1980): a key that comes splits two buckets at most,
- ints are kept as numbers: a key that is its own hash, and a value of 64 bits, have no object of their own, so that a lookup among more keys
  than the processor's caches hold waits for memory less often.

Keys are compared as in a dict. A key takes 40 bytes and about 5 for its bucket, with its value if that is an int, and all of it is given back
when all is forgotten.
Who goes through the keys gets RuntimeError if one comes, goes or moves meanwhile.
"""

from cpython.object cimport Py_EQ, PyObject, PyObject_Hash, PyObject_RichCompareBool
from cpython.long cimport PyLong_CheckExact
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef enum:
    # at most three keys for four buckets
    LOAD_KEYS = 3
    LOAD_BUCKETS = 4
    PLACES_MAX = 0xFFFF0000


def mixed_bits(Py_hash_t hash):
    """Where a hash leads to, for a test: the lowest bits choose the bucket."""
    return mixed(hash)


cdef inline bint is_plain_int(object key, Py_hash_t hash) except -1:
    """Whether *key* is an int, and its own hash."""
    cdef int overflow = 0
    return PyLong_CheckExact(key) and hash >= 0 and PyLong_AsLongLongAndOverflow(key, &overflow) == hash and not overflow


cdef int set_value(Entry *entry, object value) except -1:
    """Give *entry* another value."""
    cdef int overflow = 0
    cdef int64_t number = 0
    cdef PyObject *old = NULL if entry.is_number else <PyObject *> entry.value
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if PyLong_CheckExact(value) and not overflow:
        entry.is_number, entry.value = True, <void *> number
    else:
        Py_INCREF(value)
        entry.is_number, entry.value = False, <void *> value
    Py_XDECREF(old)
    return 0


cdef int set_number(Entry *entry, int64_t number) except -1:
    """Give *entry* another value, a number."""
    cdef PyObject *old = NULL if entry.is_number else <PyObject *> entry.value
    entry.is_number, entry.value = True, <void *> number
    Py_XDECREF(old)
    return 0


cdef inline void drop(Entry *entry) noexcept:
    """Forget what *entry* has."""
    Py_XDECREF(entry.key)
    if not entry.is_number:
        Py_XDECREF(<PyObject *> entry.value)
    entry.key, entry.value = NULL, NULL


cdef inline void *taken(void *memory) except NULL:
    """*memory*, if there was any."""
    if memory is NULL:
        raise MemoryError("no room for another key")
    return memory


cdef void **with_room(void **pointers, uint32_t count, uint32_t *room) except NULL:
    """*pointers*, of which there are *count*, with room for one more."""
    if count < room[0]:
        return pointers
    cdef void *larger = taken(realloc(pointers, (2 * count + 4) * sizeof(void *)))
    room[0] = 2 * count + 4
    return <void **> larger


cdef class Ordered:
    """The table: it is read like a dict; what writes is for those who build on it."""

    def __dealloc__(self):
        self._clear()

    # -- places and buckets

    cdef uint32_t _find(self, object key, Py_hash_t hash) except? 0xFFFFFFFF:
        """The place of *key*; 0 if it is not there."""
        if not self._count:
            return 0
        cdef bint is_plain = is_plain_int(key, hash)
        cdef uint32_t place = bucket_of(self, hash)[0]
        cdef uint64_t version
        cdef Entry *entry
        cdef object other
        while place:
            entry = entry_at(self, place)
            if entry.hash == hash:
                if entry.key == <PyObject *> key or is_plain and entry.key is NULL:
                    return place
                # a strange key's comparison may run any code
                version, other = self._version, key_of(entry)
                if PyObject_RichCompareBool(other, key, Py_EQ):
                    if version == self._version:
                        return place
                if version != self._version:
                    return self._find(key, hash)
            place = entry.next
        return 0

    cdef uint32_t _find_number(self, int64_t key) except? 0xFFFFFFFF:
        """The place of *key*, a number that is its own hash; 0 if it is not there."""
        cdef uint32_t place = bucket_of(self, key)[0] if self._count else 0
        cdef Entry *entry
        while place:
            entry = entry_at(self, place)
            if entry.hash == key:
                # else it may still be equal: 1 is 1.0 and True
                return place if entry.key is NULL else self._find(key, key)
            place = entry.next
        return 0

    cdef uint32_t _free_place(self) except 0:
        """A place to be taken: the first free one, or one that never was."""
        if self._free:
            return self._free
        if self._places == PLACES_MAX:
            raise MemoryError("too many keys")
        if self._places == <uint64_t> self._chunk_count << CHUNK_BITS:
            self._chunks = <Entry **> with_room(<void **> self._chunks, self._chunk_count, &self._chunk_room)
            self._chunks[self._chunk_count] = <Entry *> taken(malloc(CHUNK * sizeof(Entry)))
            self._chunk_count += 1
        self._places += 1
        # as if it had been given back
        entry_at(self, self._places).next = 0
        self._free = self._places
        return self._free

    cdef int _add_segment(self) except -1:
        self._segments = <uint32_t **> with_room(<void **> self._segments, self._segment_count, &self._segment_room)
        self._segments[self._segment_count] = <uint32_t *> taken(calloc(SEGMENT, sizeof(uint32_t)))
        self._segment_count += 1
        return 0

    cdef int _reserve(self, uint32_t keys) except -1:
        """As many buckets as so many *keys* take, while there is none: none is split on the way there."""
        cdef uint32_t buckets = max(SEGMENT, <uint64_t> keys * LOAD_BUCKETS // LOAD_KEYS + 1)
        if self._count or buckets <= self._buckets:
            return 0
        while <uint64_t> self._segment_count << SEGMENT_BITS < buckets:
            self._add_segment()
        self._buckets, self._mask = buckets, SEGMENT - 1
        while 2 * <uint64_t> self._mask + 1 < buckets:
            self._mask = 2 * self._mask + 1
        return 0

    cdef int _split(self) except -1:
        """One bucket more: it gets its part of the one that all its keys were in."""
        if self._buckets == <uint64_t> self._segment_count << SEGMENT_BITS:
            self._add_segment()
        cdef uint32_t old = self._buckets - self._mask - 1, bits = 2 * self._mask + 1
        cdef uint32_t *link = bucket_number(self, old)
        cdef uint32_t *other = bucket_number(self, self._buckets)
        cdef Entry *entry
        while link[0]:
            entry = entry_at(self, link[0])
            if mixed(entry.hash) & bits == old:
                link = &entry.next
            else:
                other[0], link[0], entry.next = link[0], entry.next, other[0]
        self._buckets += 1
        if self._buckets == bits + 1:
            self._mask = bits
        return 0

    # -- the order

    cdef void _unlink(self, Entry *entry) noexcept:
        if entry.before:
            entry_at(self, entry.before).after = entry.after
        else:
            self._first = entry.after
        if entry.after:
            entry_at(self, entry.after).before = entry.before
        else:
            self._last = entry.before

    cdef void _link_last(self, uint32_t place, Entry *entry) noexcept:
        entry.before, entry.after = self._last, 0
        if self._last:
            entry_at(self, self._last).after = place
        else:
            self._first = place
        self._last = place

    # -- what changes it

    cdef uint32_t _add(self, Py_hash_t hash) except 0:
        """A place for a key with that *hash*, as the last one: for now it is the number *hash*, without a value."""
        self._make_room(1)
        return self._add_to(bucket_of(self, hash), hash)

    cdef int _make_room(self, uint32_t keys) except -1:
        """Have buckets for so many *keys* more: up to two are split for each, so many keys at once are for loading only."""
        if not self._buckets:
            self._reserve(0)
        while (<uint64_t> self._count + keys - 1) * LOAD_BUCKETS >= <uint64_t> self._buckets * LOAD_KEYS:
            self._split()
        return 0

    cdef uint32_t _add_to(self, uint32_t *bucket, Py_hash_t hash) except 0:
        """``_add`` where there is room and its *bucket* is known."""
        cdef uint32_t place = self._free_place()
        cdef Entry *entry = entry_at(self, place)
        self._free = entry.next
        entry.hash, entry.key, entry.value, entry.is_number = hash, NULL, NULL, True
        entry.next, bucket[0] = bucket[0], place
        self._link_last(place, entry)
        self._count += 1
        self._version += 1
        return place

    cdef uint32_t _insert(self, object key, Py_hash_t hash, object value) except 0:
        """Add *key*, which is not there, as the last one; its place."""
        cdef bint is_plain = is_plain_int(key, hash)
        cdef uint32_t place = self._add(hash)
        cdef Entry *entry = entry_at(self, place)
        if not is_plain:
            Py_INCREF(key)
            entry.key = <PyObject *> key
        set_value(entry, value)
        return place

    cdef int _remove(self, uint32_t place) except -1:
        cdef Entry *entry = entry_at(self, place)
        cdef uint32_t *link = bucket_of(self, entry.hash)
        while link[0] != place:
            link = &entry_at(self, link[0]).next
        link[0] = entry.next
        self._unlink(entry)
        entry.next, self._free = self._free, place
        self._count -= 1
        self._version += 1
        drop(entry)
        return 0

    cdef void _move_to_end(self, uint32_t place) noexcept:
        if place == self._last:
            return
        cdef Entry *entry = entry_at(self, place)
        self._unlink(entry)
        self._link_last(place, entry)
        self._version += 1

    cdef void _clear(self) noexcept:
        """Forget all, and give the memory back."""
        cdef uint32_t place = self._first, number
        cdef Entry *entry
        while place:
            entry = entry_at(self, place)
            place = entry.after
            drop(entry)
        for number in range(self._chunk_count):
            free(self._chunks[number])
        for number in range(self._segment_count):
            free(self._segments[number])
        free(self._chunks)
        free(self._segments)
        self._chunks, self._segments = NULL, NULL
        self._chunk_count = self._chunk_room = self._segment_count = self._segment_room = 0
        self._buckets = self._mask = self._places = self._free = self._count = self._first = self._last = 0
        self._version += 1

    # -- what reads it

    def __len__(self):
        return self._count

    def __contains__(self, key):
        return self._find(key, PyObject_Hash(key)) != 0

    def __getitem__(self, key):
        cdef uint32_t place = self._find(key, PyObject_Hash(key))
        if not place:
            raise KeyError(key)
        return value_of(entry_at(self, place))

    def get(self, key, default=None):
        """The value of *key*, *default* if it is not there."""
        cdef uint32_t place = self._find(key, PyObject_Hash(key))
        return value_of(entry_at(self, place)) if place else default

    def __iter__(self):
        return _Iterator(self, KEYS, False)

    def __reversed__(self):
        return _Iterator(self, KEYS, True)

    def keys(self):
        """A view of the keys, in order."""
        return View(self, KEYS)

    def values(self):
        """A view of the values, in the order of their keys."""
        return View(self, VALUES)

    def items(self):
        """A view of (key, value), in order."""
        return View(self, ITEMS)

    def copy(self):
        """A dict of what is there now."""
        return dict(self.items())

    def __eq__(self, other):
        if isinstance(other, Ordered):
            return self.copy() == other.copy()
        return self.copy() == other if isinstance(other, dict) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"{type(self).__name__}({self.copy()!r})"


cdef enum:
    KEYS, VALUES, ITEMS


cdef class View:
    """What ``keys()``, ``values()`` or ``items()`` gives: it shows the map as it is when it is gone through."""

    cdef Ordered _of
    cdef int _kind

    def __cinit__(self, Ordered of not None, int kind):
        self._of, self._kind = of, kind

    def __len__(self):
        return len(self._of)

    def __iter__(self):
        return _Iterator(self._of, self._kind, False)

    def __reversed__(self):
        return _Iterator(self._of, self._kind, True)

    def __contains__(self, item):
        if self._kind == KEYS:
            return item in self._of
        return any(item is other or item == other for other in self)

    def __repr__(self):
        return f"{list(self)!r}"


cdef class _Iterator:
    cdef Ordered _of
    cdef int _kind
    cdef bint _is_reversed
    cdef uint32_t _place
    cdef uint64_t _version

    def __cinit__(self, Ordered of not None, int kind, bint is_reversed):
        self._of, self._kind, self._is_reversed = of, kind, is_reversed
        self._place, self._version = of._last if is_reversed else of._first, of._version

    def __iter__(self):
        return self

    def __next__(self):
        if not self._place:
            raise StopIteration
        if self._version != self._of._version:
            raise RuntimeError("keys came, went or moved while somebody was going through them")
        cdef Entry *entry = entry_at(self._of, self._place)
        self._place = entry.before if self._is_reversed else entry.after
        if self._kind == KEYS:
            return key_of(entry)
        return value_of(entry) if self._kind == VALUES else (key_of(entry), value_of(entry))
