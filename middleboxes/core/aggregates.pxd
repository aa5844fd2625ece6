"""Several frames of one hop in one, for the compiled module that sends and receives them."""

from .frames cimport Head
from libc.stdint cimport uint8_t, uint32_t


#: the head of an aggregate; *worker* is where the frames in it have theirs
cdef packed struct AggregateHead:
    Head head
    uint32_t reserved
    uint8_t worker
    uint8_t reserved_too[3]


cdef bint is_aggregate(const char *message, Py_ssize_t size) noexcept
cdef Py_ssize_t gather(list frames, Py_ssize_t start, char *into, Py_ssize_t bytes_max, Py_ssize_t *used) noexcept
cdef int scatter(const char *message, Py_ssize_t size, list frames) except -1
