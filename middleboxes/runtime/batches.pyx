"""recvmmsg and sendmmsg: many frames with one system call, which Python's socket module does not offer.

A Batches belongs to one socket and one thread. Received frames are copied once, from a buffer that is laid out once; sent ones
leave from where they are, or, between roles, several in one message (middleboxes.core.aggregates). While the kernel works the
interpreter is free for other threads.

``receive`` and ``send`` are one system call and raise what it says; ``take`` and ``give`` are for links, where a network's losses are
counted and nothing is raised for them.
"""

import errno
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport errno as c_errno
from libc.stdlib cimport calloc, free

from ..core.aggregates cimport gather, is_aggregate, scatter

from ..core.frames import FrameError

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
    """Up to *count* frames at once by the socket *fileno*; received messages are of *message_bytes_max* at most.

    *aggregate_bytes_max*: frames may be sent and received in aggregates of so many bytes; 0: each is a message of its own.
    *calls*: how many system calls it made. Messages so far: *messages_sent*, *messages_received*, and of these *malformed* aggregates.
    Frames so far: *sent*, *received*, *send_failed*, and *oversize* of those received.
    """

    cdef readonly unsigned long long calls, sent, received, send_failed, oversize, messages_sent, messages_received, malformed
    cdef int _fileno
    cdef unsigned int _count, _frames_a_message, _frames_of_first
    cdef size_t _message_bytes_max, _aggregate_bytes_max, _longest
    cdef char *_buffer
    cdef char *_aggregates
    cdef unsigned int *_frames_in
    cdef iovec *_vectors
    cdef mmsghdr *_in
    cdef mmsghdr *_out

    def __cinit__(self, int fileno, unsigned int count, size_t message_bytes_max, size_t aggregate_bytes_max=0):
        self._fileno, self._count, self._message_bytes_max = fileno, count, message_bytes_max
        self._aggregate_bytes_max, self._frames_a_message = aggregate_bytes_max, 1
        self._buffer = <char *> calloc(count, message_bytes_max)
        self._aggregates = <char *> calloc(count // 2 + 1, aggregate_bytes_max + 1)     # one has two frames or more
        self._frames_in = <unsigned int *> calloc(count, sizeof(unsigned int))
        self._vectors = <iovec *> calloc(2 * count, sizeof(iovec))
        self._in = <mmsghdr *> calloc(count, sizeof(mmsghdr))
        self._out = <mmsghdr *> calloc(count, sizeof(mmsghdr))
        if not (self._buffer and self._aggregates and self._frames_in and self._vectors and self._in and self._out):
            raise MemoryError("no room for the buffers of a batch")
        cdef unsigned int number
        for number in range(count):
            self._vectors[number].iov_base = self._buffer + number * message_bytes_max
            self._vectors[number].iov_len = message_bytes_max
            self._in[number].msg_hdr.msg_iov = &self._vectors[number]
            self._in[number].msg_hdr.msg_iovlen = 1
            self._out[number].msg_hdr.msg_iov = &self._vectors[count + number]
            self._out[number].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self._buffer)
        free(self._aggregates)
        free(self._frames_in)
        free(self._vectors)
        free(self._in)
        free(self._out)

    def take(self):
        """``receive``, but for messages that fill the buffer, which were cut; nothing if nothing is there."""
        cdef list frames
        try:
            frames = self.receive()
        except OSError as error:        # EAGAIN: there are none
            if error.errno not in _LOSSES:
                raise
            return []
        self.received += len(frames)
        if self._longest < self._message_bytes_max:
            return frames
        whole = [frame for frame in frames if len(frame) < self._message_bytes_max]
        self.oversize += len(frames) - len(whole)
        return whole

    def give(self, list frames not None, bint together=True):
        """``send`` all of *frames*, with as few system calls as possible; what the interface can't take is a network loss.

        *together*: in aggregates, if they are sent at all; else each alone.
        """
        cdef Py_ssize_t done = 0, taken
        while done < len(frames):
            try:
                taken = self.send(frames, done, together)
                self.sent += taken
                done += taken
            except OSError as error:    # it is the first message that could not be sent
                if error.errno not in _LOSSES:
                    raise
                self.send_failed += self._frames_of_first
                done += self._frames_of_first

    cpdef list receive(self):
        """The frames that are there now, some *count* at most; of a message longer than *message_bytes_max* what fits. Raises OSError."""
        # a message may have many frames: as many as the last ones had, so that a batch stays one
        cdef int number, count, asked = min(self._count, self._count // self._frames_a_message + 1)
        cdef char *message
        cdef size_t size
        self.calls += 1
        with nogil:
            count = recvmmsg(self._fileno, self._in, asked, MSG_DONTWAIT, NULL)
        if count < 0:
            raise _error()
        cdef list frames = []
        self._longest = 0
        self.messages_received += count
        for number in range(count):
            message, size = self._buffer + number * self._message_bytes_max, self._in[number].msg_len
            self._longest = max(self._longest, size)
            if not self._aggregate_bytes_max or size == self._message_bytes_max or not is_aggregate(message, size):
                frames.append(PyBytes_FromStringAndSize(message, size))
                continue
            try:
                scatter(message, size, frames)
            except FrameError:
                self.malformed += 1
        if count:
            self._frames_a_message = max(1, (len(frames) + count - 1) // count)
        return frames

    cpdef Py_ssize_t send(self, list frames, Py_ssize_t start=0, bint together=True) except -1:
        """Send *frames* (bytes) from *start* on, at most *count*; the number that was taken. Raises OSError if it is none."""
        cdef unsigned int messages
        cdef ssize_t taken
        cdef Py_ssize_t sent = 0
        if not 0 <= start < len(frames):
            raise IndexError("there are no frames to send")
        # a reference to each until the kernel has read it: meanwhile another thread might change the list
        cdef list held = frames[start:start + self._count]
        for frame in held:
            if type(frame) is not bytes:
                raise TypeError(f"a frame is bytes, not {type(frame).__name__}")
        messages = self._lay_out(held, self._aggregate_bytes_max if together else 0)
        self._frames_of_first = self._frames_in[0]
        self.calls += 1
        with nogil:
            if messages == 1:       # costs the kernel less
                taken = send(self._fileno, self._vectors[self._count].iov_base, self._vectors[self._count].iov_len, MSG_DONTWAIT)
                taken = -1 if taken < 0 else 1
            else:
                taken = sendmmsg(self._fileno, self._out, messages, MSG_DONTWAIT)
        if taken < 0:
            raise _error()
        self.messages_sent += taken
        for messages in range(taken):
            sent += self._frames_in[messages]
        return sent

    cdef unsigned int _lay_out(self, list frames, size_t bytes_max) noexcept:
        """Have *frames* in messages, alone where they are, or several in one of *bytes_max* bytes; the number of messages."""
        cdef unsigned int messages = 0
        cdef Py_ssize_t done = 0, count = 1, size = 0
        cdef iovec *vector = self._vectors + self._count
        cdef char *room = self._aggregates
        while done < len(frames):
            if bytes_max:
                count = gather(frames, done, room, bytes_max, &size)
            if count > 1:
                vector.iov_base, vector.iov_len = room, size
                room += bytes_max
            else:
                vector.iov_base, vector.iov_len = PyBytes_AS_STRING(frames[done]), PyBytes_GET_SIZE(frames[done])
            self._frames_in[messages] = count
            messages += 1
            vector += 1
            done += count
        return messages


cdef object _error():
    cdef int number = c_errno
    return OSError(number, os.strerror(number))
