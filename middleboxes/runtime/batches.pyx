"""recvmmsg and sendmmsg: many frames with one system call, which Python's socket module does not offer.

A Batches belongs to one socket and one thread. Received frames are copied once, from a buffer that is laid out once; sent ones
leave from where they are. While the kernel works the interpreter is free for other threads.
"""

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


cdef class Batches:
    """Up to *count* frames at once by the socket *fileno*; received ones are of *frame_bytes_max* at most.

    *calls*: how many system calls it made. *longest*: bytes of the longest frame that the last ``receive`` gave.
    """

    cdef readonly unsigned long long calls
    cdef readonly size_t longest
    cdef int _fileno
    cdef unsigned int _count
    cdef size_t _frame_bytes_max
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

    def receive(self):
        """The frames that are there now, at most *count*; one longer than *frame_bytes_max* is cut. Raises OSError."""
        cdef int number, count
        self.calls += 1
        with nogil:
            count = recvmmsg(self._fileno, self._in, self._count, MSG_DONTWAIT, NULL)
        if count < 0:
            raise _error()
        cdef list frames = []
        self.longest = 0
        for number in range(count):
            self.longest = max(self.longest, self._in[number].msg_len)
            frames.append(PyBytes_FromStringAndSize(self._buffer + number * self._frame_bytes_max, self._in[number].msg_len))
        return frames

    def send(self, list frames not None, Py_ssize_t start=0):
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
