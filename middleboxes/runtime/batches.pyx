"""recvmmsg and sendmmsg: many frames with one system call, which Python's socket module does not offer.

A Batches belongs to one socket and one thread. Received frames are copied once, from a buffer that is laid out once; sent ones
leave from where they are. While the kernel works the interpreter is free for other threads.

``receive`` and ``send`` are one system call and raise what it says; ``take`` and ``give`` are for links, where a network's losses are
counted and nothing is raised for them.
"""

import errno
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport errno as c_errno
from libc.stdlib cimport calloc, free

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int MSG_DONTWAIT
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)

# What a network does when it is full or cut, or with a frame that is none (EINVAL: shorter than an Ethernet header).
_LOSSES = frozenset((errno.EINVAL, errno.ENOBUFS, errno.ENETDOWN, errno.EAGAIN, errno.EMSGSIZE, errno.ENXIO, errno.ENODEV))


cdef class Batches:
    """Up to *count* frames at once by the socket *fileno*; received ones are of *frame_bytes_max* at most.

    *calls*: how many system calls it made. Frames so far: *sent*, *received*, *send_failed*, and *oversize* of those received.
    """

    cdef readonly unsigned long long calls, sent, received, send_failed, oversize
    cdef int _fileno
    cdef unsigned int _count
    cdef size_t _frame_bytes_max, _longest
    cdef char *_buffer
    cdef iovec *_vectors
    cdef mmsghdr *_in
    cdef mmsghdr *_out

    def __cinit__(self, int fileno, unsigned int count, size_t frame_bytes_max):
        self._fileno, self._count, self._frame_bytes_max = fileno, count, frame_bytes_max
        self._buffer = <char *> calloc(count, frame_bytes_max)
        self._vectors = <iovec *> calloc(2 * count, sizeof(iovec))
        self._in = <mmsghdr *> calloc(count, sizeof(mmsghdr))
        self._out = <mmsghdr *> calloc(count, sizeof(mmsghdr))
        if not (self._buffer and self._vectors and self._in and self._out):
            raise MemoryError("no room for the buffers of a batch")
        cdef unsigned int number
        for number in range(count):
            self._vectors[number].iov_base = self._buffer + number * frame_bytes_max
            self._vectors[number].iov_len = frame_bytes_max
            self._in[number].msg_hdr.msg_iov = &self._vectors[number]
            self._in[number].msg_hdr.msg_iovlen = 1
            self._out[number].msg_hdr.msg_iov = &self._vectors[count + number]
            self._out[number].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self._buffer)
        free(self._vectors)
        free(self._in)
        free(self._out)

    def take(self):
        """``receive``, but for frames that fill the buffer, which were cut; nothing if nothing is there."""
        cdef list frames
        try:
            frames = self.receive()
        except OSError as error:        # EAGAIN: there are none
            if error.errno not in _LOSSES:
                raise
            return []
        self.received += len(frames)
        if self._longest < self._frame_bytes_max:
            return frames
        whole = [frame for frame in frames if len(frame) < self._frame_bytes_max]
        self.oversize += len(frames) - len(whole)
        return whole

    def give(self, list frames not None):
        """``send`` all of *frames*, with as few system calls as possible; what the interface can't take is a network loss."""
        cdef Py_ssize_t done = 0, taken
        while done < len(frames):
            try:
                taken = self.send(frames, done)
                self.sent += taken
                done += taken
            except OSError as error:    # it is the first one that could not be sent
                if error.errno not in _LOSSES:
                    raise
                self.send_failed += 1
                done += 1

    cpdef list receive(self):
        """The frames that are there now, at most *count*; one longer than *frame_bytes_max* is cut. Raises OSError."""
        cdef int number, count
        self.calls += 1
        with nogil:
            count = recvmmsg(self._fileno, self._in, self._count, MSG_DONTWAIT, NULL)
        if count < 0:
            raise _error()
        cdef list frames = []
        self._longest = 0
        for number in range(count):
            self._longest = max(self._longest, <size_t> self._in[number].msg_len)
            frames.append(PyBytes_FromStringAndSize(self._buffer + number * self._frame_bytes_max, self._in[number].msg_len))
        return frames

    cpdef Py_ssize_t send(self, list frames, Py_ssize_t start=0) except -1:
        """Send *frames* (bytes) from *start* on, at most *count*; the number that was taken. Raises OSError if it is none."""
        cdef unsigned int number, count
        cdef ssize_t taken
        cdef iovec *vector = self._vectors + self._count
        if not 0 <= start < len(frames):
            raise IndexError("there are no frames to send")
        count = min(<size_t> (len(frames) - start), self._count)
        # a reference to each until the kernel has read it: meanwhile another thread might change the list
        cdef list held = frames[start:start + count]
        for number in range(count):
            frame = held[number]
            if type(frame) is not bytes:
                raise TypeError(f"a frame is bytes, not {type(frame).__name__}")
            vector[number].iov_base = PyBytes_AS_STRING(frame)
            vector[number].iov_len = PyBytes_GET_SIZE(frame)
        self.calls += 1
        with nogil:
            if count == 1:      # costs the kernel less
                taken = send(self._fileno, vector.iov_base, vector.iov_len, MSG_DONTWAIT)
                taken = -1 if taken < 0 else 1
            else:
                taken = sendmmsg(self._fileno, self._out, count, MSG_DONTWAIT)
        if taken < 0:
            raise _error()
        return taken


cdef object _error():
    cdef int number = c_errno
    return OSError(number, os.strerror(number))
