"""Ordered, for the compiled modules that build on it."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef enum:
    # entries are in chunks of so many
    CHUNK_BITS = 9
    CHUNK = 1 << CHUNK_BITS
    # and buckets in segments
    SEGMENT_BITS = 10
    SEGMENT = 1 << SEGMENT_BITS


cdef struct Entry:
    PyObject *key           # NULL if the key is an int and its own hash
    void *value             # an object, or an int of 64 bits
    Py_hash_t hash
    uint32_t before         # places of the neighbours in order, 0 at both ends
    uint32_t after
    uint32_t next           # the next place of the same bucket, or the next free one; 0 at the end
    bint is_number          # the value is an int


cdef class Ordered:
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
    cdef uint32_t _find_number(self, int64_t key) except? 0xFFFFFFFF
    cdef uint32_t _free_place(self) except 0
    cdef int _add_segment(self) except -1
    cdef int _reserve(self, uint32_t keys) except -1
    cdef int _split(self) except -1
    cdef void _unlink(self, Entry *entry) noexcept
    cdef void _link_last(self, uint32_t place, Entry *entry) noexcept
    cdef uint32_t _add(self, Py_hash_t hash) except 0
    cdef int _make_room(self, uint32_t keys) except -1
    cdef uint32_t _add_to(self, uint32_t *bucket, Py_hash_t hash) except 0
    cdef uint32_t _insert(self, object key, Py_hash_t hash, object value) except 0
    cdef int _remove(self, uint32_t place) except -1
    cdef void _move_to_end(self, uint32_t place) noexcept
    cdef void _clear(self) noexcept


cdef inline Entry *entry_at(Ordered table, uint32_t place) noexcept:
    return &table._chunks[(place - 1) >> CHUNK_BITS][(place - 1) & (CHUNK - 1)]


cdef inline object key_of(Entry *entry):
    return entry.hash if entry.key is NULL else <object> entry.key


cdef inline object value_of(Entry *entry):
    return <int64_t> entry.value if entry.is_number else <object> entry.value


cdef int set_value(Entry *entry, object value) except -1
cdef int set_number(Entry *entry, int64_t number) except -1


cdef inline uint32_t mixed(Py_hash_t hash) noexcept:
    """32 bits that all bits of *hash* have a part in, as if by chance: that of an int is the int, and those of a table often follow each other."""
    cdef uint64_t bits = <uint64_t> hash
    bits = (bits ^ (bits >> 32)) * 0xD6E8FEB86659FD93ULL
    return <uint32_t> (((bits ^ (bits >> 32)) * 0xD6E8FEB86659FD93ULL) >> 32)


cdef inline uint32_t *bucket_number(Ordered table, uint32_t number) noexcept:
    return &table._segments[number >> SEGMENT_BITS][number & (SEGMENT - 1)]


cdef inline uint32_t *bucket_of(Ordered table, Py_hash_t hash) noexcept:
    """Where the chain of entries begins that those with *hash* are in."""
    cdef uint32_t number = mixed(hash) & (2 * table._mask + 1)
    return bucket_number(table, number if number < table._buckets else number & table._mask)
