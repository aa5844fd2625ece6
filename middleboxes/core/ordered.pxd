"""Ordered, for the compiled modules that build on it."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    # entries are in chunks of so many
    CHUNK_BITS = 9
    CHUNK = 1 << CHUNK_BITS


cdef struct Entry:
    PyObject *key
    void *value             # an object, or a number (int64)
    Py_hash_t hash
    uint32_t before         # places of the neighbours in order, 0 at both ends
    uint32_t after
    uint32_t next           # the next place of the same bucket, or the next free one; 0 at the end
    bint is_plain           # the key is an int, and its own hash


cdef class Ordered:
    cdef bint _holds_numbers        # values are ints of 64 bits, kept without an object for each
    cdef Entry **_chunks
    cdef uint32_t **_segments
    cdef uint32_t _chunk_count, _chunk_room, _segment_count, _segment_room
    cdef uint32_t _buckets          # so many there are, 0 without any key yet
    cdef uint32_t _mask             # the largest power of two that is not above that, less 1
    cdef uint32_t _places           # that were ever taken, from 1 on
    cdef uint32_t _free             # the first free one of these, 0: none
    cdef uint32_t _count, _first, _last
    cdef uint64_t _version          # changes with each key that comes, goes or moves

    cdef uint32_t _find(self, object key, Py_hash_t hash) except? 0xFFFFFFFF
    cdef uint32_t _free_place(self) except 0
    cdef int _add_segment(self) except -1
    cdef int _split(self) except -1
    cdef void _unlink(self, Entry *entry) noexcept
    cdef void _link_last(self, uint32_t place, Entry *entry) noexcept
    cdef uint32_t _insert(self, object key, Py_hash_t hash, object value) except 0
    cdef int _replace(self, Entry *entry, object value) except -1
    cdef int _remove(self, uint32_t place) except -1
    cdef void _move_to_end(self, uint32_t place) noexcept
    cdef object _value(self, Entry *entry)
    cdef void _clear(self) noexcept


cdef inline Entry *entry_at(Ordered table, uint32_t place) noexcept:
    return &table._chunks[(place - 1) >> CHUNK_BITS][(place - 1) & (CHUNK - 1)]
