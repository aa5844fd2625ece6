"""Short time slices: a process that often has little to do, and soon, beside others that compute for long.

Linux 6.12 and later let a process of the ordinary class say how long its slices are. Its share of the processor stays what it was; it
is only given in smaller pieces, and so sooner after a wake-up. Older kernels take the call and go on as before.
"""

import os

from libc.errno cimport errno
from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef extern from "<sys/syscall.h>" nogil:
    enum: SYS_sched_getattr, SYS_sched_setattr

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

#: a third of what is usual on two processors; with a fifth of that, packets at full load cost a tenth more
SLICE_NS = 500_000
cdef enum:
    _SCHED_OTHER = 0

#: the kernel's struct sched_attr in its first version (its header can't be read beside the C library's)
cdef struct Attributes:
    uint32_t size
    uint32_t policy
    uint64_t flags
    int32_t nice
    uint32_t priority
    uint64_t runtime_ns
    uint64_t deadline_ns
    uint64_t period_ns


cdef int _read(Attributes *attributes) except -1:
    if syscall(SYS_sched_getattr, 0, attributes, sizeof(Attributes), 0):
        raise OSError(errno, os.strerror(errno))
    return 0


def slice_ns():
    """The slices that this thread has, in ns; 0 if the kernel does not tell. Raises OSError."""
    cdef Attributes attributes
    _read(&attributes)
    return attributes.runtime_ns


def ask_for_short_slices():
    """Ask for slices of SLICE_NS, for this thread and those that it starts; False if it is of another class than the ordinary one.

    All else stays as it is. Raises OSError.
    """
    cdef Attributes attributes
    _read(&attributes)
    if attributes.policy != _SCHED_OTHER:
        return False
    attributes.runtime_ns = SLICE_NS
    if syscall(SYS_sched_setattr, 0, &attributes, 0):
        raise OSError(errno, os.strerror(errno))
    return True
