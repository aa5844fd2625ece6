"""Table, for the compiled modules that build on it."""

from libc.stdint cimport int64_t, uint32_t

from .columns cimport Numbers
from .ordered cimport Ordered


cdef class Table(Ordered):
    cdef int _check_loaded(self, values) except -1
    cdef uint32_t _pack(self, uint32_t first, Py_ssize_t keys_max, list columns) except? 0
    cdef list _listed(self, uint32_t place, Py_ssize_t count, bint are_keys)
    cdef uint32_t _place_of_number(self, int64_t key, bint is_added) except? 0xFFFFFFFF
    cdef uint32_t _place_of(self, key, bint is_added) except? 0xFFFFFFFF
    cdef int _remove_all(self, keys) except -1
    cdef int _set_all(self, keys, values) except -1
    cdef int _find_places(self, const Numbers *keys, Py_ssize_t first, int count, uint32_t *places) except -1
