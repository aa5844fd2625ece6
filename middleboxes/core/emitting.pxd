"""Emitting, for the compiled modules around it."""

from libc.stdint cimport uint64_t


cdef class Emitting:
    cdef public object port
    cdef public uint64_t now_ns, random_state
    cdef public list outputs, records
    cdef dict _numbers

    cdef int begin(self, object port, uint64_t now_ns) except -1
