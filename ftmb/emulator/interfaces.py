"""Switching network interfaces up and down, also in other namespaces, without starting a program for it.

A kill has to happen when it is said to happen: starting ``ip`` takes longer than noticing the failure does.
"""

import ctypes
import fcntl
import os
import socket
import struct

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_IFREQ = struct.Struct("16sH22x")
_libc = ctypes.CDLL(None, use_errno=True)


class Interfaces:
    """The interfaces of one network namespace: that of the process *pid*, or ours.

    Make it in a process with one thread: that thread visits the other namespace for a moment.
    """

    def __init__(self, pid=None):
        if pid is None:
            self._socket = _socket()
            return
        home, there = (os.open(f"/proc/{of}/ns/net", os.O_RDONLY | os.O_CLOEXEC) for of in ("self", pid))
        try:
            _enter(there)
            try:
                # a socket belongs to the namespace where it was made
                self._socket = _socket()
            finally:
                _enter(home)
        finally:
            os.close(home)
            os.close(there)

    def set_up(self, names, is_up):
        """Set the interfaces *names* up or down, in this order. Raises OSError."""
        for name in names:
            request = _IFREQ.pack(name.encode(), 0)
            flags = _IFREQ.unpack(fcntl.ioctl(self._socket, _SIOCGIFFLAGS, request))[1]
            flags = flags | _IFF_UP if is_up else flags & ~_IFF_UP
            fcntl.ioctl(self._socket, _SIOCSIFFLAGS, _IFREQ.pack(name.encode(), flags))


def _socket():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _enter(descriptor):
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
