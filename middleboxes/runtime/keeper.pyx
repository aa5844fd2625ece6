"""A keeper: a task that shares this process's memory, and nothing else of it, so that the memory outlasts the process by a moment.

A kernel that ends a process first gives back its memory, page by page, and then closes its files (Linux, do_exit): a large state keeps a
processor busy for milliseconds, just when controller, loggers and spare need processors for the failover, and until then
nobody knows of the death. Memory is given back with the last task that has it. So one more has it (clone(2), CLONE_VM): it waits for the end of
a pipe, which is the process's death, sleeps longer than a failover takes, and ends at the lowest priority.

It has no file of the process's, no signal reaches it but SIGKILL, and it runs no code of the interpreter's: a few system calls on a stack of its own.
"""

import os

from libc.errno cimport errno
from posix.unistd cimport read

cdef extern from "<sched.h>" nogil:
    int CLONE_VM
    int clone(int (*function)(void *) noexcept nogil, void *stack_top, int flags, void *argument)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIGCHLD, SIG_SETMASK
    int sigfillset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *former)

cdef extern from "<sys/wait.h>" nogil:
    unsigned int __WCLONE

cdef extern from "<sys/resource.h>" nogil:
    int PRIO_PROCESS
    int setpriority(int which, int who, int nice)

cdef extern from *:
    """
    #include <sys/syscall.h>
    #ifndef SYS_close_range
    #define SYS_close_range 436         /* everywhere, since Linux 5.9; headers may be older than the kernel */
    #endif
    """
    long SYS_close_range

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)
    unsigned int sleep(unsigned int seconds)

cdef enum:
    HELD_S = 1
    NICE_LOWEST = 19
    STACK_BYTES = 32 << 10

# The tasks' own as long as they live, which is longer than ``keep``; stacks grow downwards.
cdef char[STACK_BYTES] _maker_stack
cdef char[STACK_BYTES] _keeper_stack
cdef int _life


def keep():
    """Make the keeper of this process, once. Raises OSError if there can't be one: then all goes on, and failovers take longer.

    It ends after the process, and also after a program that replaces it (execve): neither leaves the pipe open. A child that is forked
    and runs no other program does.
    """
    global _life
    cdef sigset_t every, former
    cdef int maker
    _life, held_open = os.pipe()
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &former)
    try:
        # the keeper is not this process's own child: nobody has to wait for it; its maker is, whatever is done about SIGCHLD
        maker = clone(_make, _maker_stack + STACK_BYTES, CLONE_VM, NULL)
        code = errno if maker < 0 else os.waitstatus_to_exitcode(os.waitpid(maker, <int> __WCLONE)[1])
    finally:
        pthread_sigmask(SIG_SETMASK, &former, NULL)
        os.close(_life)
    if code:
        os.close(held_open)
        raise OSError(code, os.strerror(code))


cdef int _make(void *nothing) noexcept nogil:
    """Make the keeper, without any file but the pipe's end; the exit code is what went wrong."""
    if syscall(SYS_close_range, _life + 1, <unsigned int> -1, 0) or (_life > 0 and syscall(SYS_close_range, 0, _life - 1, 0)):
        return errno
    return errno if clone(_keep, _keeper_stack + STACK_BYTES, CLONE_VM | SIGCHLD, NULL) < 0 else 0


cdef int _keep(void *nothing) noexcept nogil:
    cdef char byte
    setpriority(PRIO_PROCESS, 0, NICE_LOWEST)
    read(_life, &byte, 1)
    sleep(HELD_S)
    return 0
