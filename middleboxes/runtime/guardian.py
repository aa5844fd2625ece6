"""A guardian: a small process that ends this process's connection to the controller at once when this process dies.

A kernel closes the files of a process that was killed only after it has given back its memory, which takes tens of milliseconds where the
state is large; so long the controller would not know. Before that it looks at the robust futexes of each thread (Linux, get_robust_list(2)). So the
guardian waits for a robust mutex that this process holds as long as it lives, and then shuts down the socket that it was last given.

It is made while the process is small, holds nothing of its memory that grows, and ends with it, however it ends. Without one (no robust
mutexes, no process to be had) all goes on, and a death is noticed when the kernel closes the socket.
"""

import ctypes
import mmap
import os
import signal
import socket
import threading

_PTHREAD_PROCESS_SHARED, _PTHREAD_MUTEX_ROBUST = 1, 1
_ATTRIBUTES_BYTES = 256          # more than any libc takes
_libc = ctypes.CDLL(None, use_errno=True)


class Guardian:
    """The guardian of this process, which begins with it. Raises OSError if there can't be one.

    To be made, like ``watch``, by the thread that lives as long as the process.
    """

    def __init__(self):
        self._mutex = _shared_memory()
        _make_robust_mutex(self._mutex)
        _check(_libc.pthread_mutex_lock(self._mutex))
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        child = os.fork()
        if child == 0:
            try:
                # not this process's own child: nobody has to wait for it
                if os.fork() == 0:
                    _guard(self._mutex, other)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        other.close()

    def watch(self, descriptor):
        """Shut the socket with this *descriptor* down at this process's death; only the last one given.

        It is open as long as no other is given: who closes it shuts it down first.
        """
        try:
            socket.send_fds(self._socket, [b"\0"], [descriptor])
        except OSError:
            pass                        # the guardian is gone: deaths are noticed later, nothing else


def _shared_memory():
    """The address of a page for this process and its guardian. It is never given back: a mutex that is gone can't tell of a death."""
    _libc.mmap.restype = ctypes.c_void_p
    address = _libc.mmap(None, ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS,
                         -1, ctypes.c_long(0))
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return ctypes.c_void_p(address)


def _make_robust_mutex(mutex):
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
    _check(_libc.pthread_mutexattr_init(attributes))
    _check(_libc.pthread_mutexattr_setpshared(attributes, _PTHREAD_PROCESS_SHARED))
    _check(_libc.pthread_mutexattr_setrobust(attributes, _PTHREAD_MUTEX_ROBUST))
    _check(_libc.pthread_mutex_init(mutex, attributes))


def _check(code):
    if code:
        raise OSError(code, os.strerror(code))


def _guard(mutex, given):
    """The guardian's life. The terminal's signals are for the process that it guards."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _close_all_but(given.fileno())
    watched = []

    def take():
        while True:
            data, descriptors, _, _ = socket.recv_fds(given, 1, 1)
            if not data:
                return
            for old in watched:
                old.close()
            watched[:] = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    threading.Thread(target=take, daemon=True).start()
    _libc.pthread_mutex_lock(mutex)     # returns when the one that holds it has died
    for connection in watched:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass                        # it was closed already


def _close_all_but(kept):
    """Nothing of the process is to be held open by its guardian."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
