"""The kernel's clocks, for the compiled modules."""

from libc.stdint cimport int64_t
from posix.time cimport clock_gettime, clockid_t, timespec


cdef inline int64_t clock_ns(clockid_t clock) noexcept:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t> now.tv_sec * 1_000_000_000 + now.tv_nsec
