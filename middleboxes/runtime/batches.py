"""recvmmsg and sendmmsg: many frames with one system call, which Python's socket module does not offer.

A Batches belongs to one socket and one thread. Nothing is allocated for a call but the frames themselves: messages and buffers
are laid out once, and only lengths and offsets change. While the kernel works the interpreter is free for other threads.
"""

import ctypes
import errno
import mmap
import os
import socket
from array import array
from itertools import accumulate

_MSG_DONTWAIT = socket.MSG_DONTWAIT
_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.c_void_p),
                ("vectors_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class _Message(ctypes.Structure):
    """struct mmsghdr: *length* is that of what was received or sent."""

    _fields_ = [("header", _Header), ("length", ctypes.c_uint32)]


class _Ring:
    """*count* messages of one buffer each; ``lengths`` of what came, ``vectors`` to be set for what goes."""

    def __init__(self, count, bytes_each):
        self.buffer = mmap.mmap(-1, count * bytes_each)
        self._vectors = (_Vector * count)()
        self.messages = (_Message * count)()
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        size = ctypes.sizeof(_Vector)
        for number, message in enumerate(self.messages):
            self._vectors[number] = _Vector(base + number * bytes_each, bytes_each)
            message.header.vectors = ctypes.addressof(self._vectors) + number * size
            message.header.vectors_count = 1
        self.base = base
        words = memoryview(self._vectors).cast("B").cast("L")
        self.bases, self.sizes = words[0::2], words[1::2]
        stride = ctypes.sizeof(_Message) // 4
        self.lengths = memoryview(self.messages).cast("B").cast("I")[_Message.length.offset // 4::stride]


class Batches:
    """Up to *count* frames at once by the socket *fileno*; received ones are of *frame_bytes_max* at most."""

    def __init__(self, fileno, count, frame_bytes_max):
        self._fileno, self._count = fileno, count
        self._in, self._out = _Ring(count, frame_bytes_max), _Ring(count, frame_bytes_max)
        self._starts = [number * frame_bytes_max for number in range(count)]

    def receive(self):
        """The frames that are there now, at most *count*; one longer than *frame_bytes_max* is cut. Raises OSError."""
        ring = self._in
        count = _libc.recvmmsg(self._fileno, ring.messages, self._count, _MSG_DONTWAIT, None)
        if count < 0:
            raise _error()
        buffer = ring.buffer
        return [buffer[start:start + length] for start, length in zip(self._starts, ring.lengths[:count].tolist())]

    def send(self, frames):
        """Send *frames* (a list of at most *count*); the number that was taken. Raises OSError if it is none."""
        ring, count = self._out, len(frames)
        data = b"".join(frames)
        if len(data) > len(ring.buffer):
            if count == 1:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            return self.send(frames[:count // 2])
        lengths = list(map(len, frames))
        ring.buffer[:len(data)] = data
        ring.bases[:count] = memoryview(array("L", accumulate(lengths[:-1], initial=ring.base)))
        ring.sizes[:count] = memoryview(array("L", lengths))
        taken = _libc.sendmmsg(self._fileno, ring.messages, count, _MSG_DONTWAIT)
        if taken < 0:
            raise _error()
        return taken


def _error():
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
