"""Packed columns, for the compiled modules that read and make them."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<endian.h>" nogil:
    uint64_t le64toh(uint64_t number)


cdef struct Numbers:
    const unsigned char *data   # of the first number; after the last one there are eight bytes more
    Py_ssize_t count
    Py_ssize_t width            # of a number, in bytes
    uint64_t mask
    uint64_t least


cdef inline int64_t number_at(const Numbers *numbers, Py_ssize_t place) noexcept:
    cdef uint64_t bits
    memcpy(&bits, numbers.data + place * numbers.width, sizeof(bits))
    return <int64_t> (numbers.least + (le64toh(bits) & numbers.mask))


cdef int open_numbers(bytes column, Numbers *numbers) except -1
cdef bytes pack_numbers(const int64_t *numbers, Py_ssize_t count)
