"""The log of determinants, for the compiled modules of master and output logger."""

from libc.stdint cimport uint64_t


cdef class DeterminantLog:
    cdef public uint64_t trimmed, last
    cdef readonly object _items

    cpdef append(self, n, extra=*)
    cdef int append_run(self, uint64_t n, uint64_t count) except -1
    cpdef tuple encode(self, uint64_t after, Py_ssize_t bytes_max)
    cpdef bint store(self, bytes encoded) except -1
    cdef bint _prolong(self, bytes encoded) except -1
    cpdef trim(self, uint64_t k)
