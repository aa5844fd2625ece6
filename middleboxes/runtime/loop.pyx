"""One thread's event loop: file descriptors, timers, and background work in slices between packets."""

import heapq
import os
import select
from collections import deque

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC

from .clocks cimport clock_ns

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout_ms)

#: descriptors served in one turn
cdef enum:
    _EVENTS_MAX = 64
cdef int64_t _NS_PER_MS = 1_000_000
cdef int64_t _NEVER_NS = (1 << 63) - 1
#: a far timer is looked at again after this
cdef int64_t _WAIT_MS_MAX = 1_000_000


cdef class Loop:
    """``watch`` descriptors, call ``at`` a time, do ``work`` in slices. Times are CLOCK_MONOTONIC, ns; waiting is by whole ms.

    *turns*: how often it has found descriptors ready.
    """

    cdef readonly uint64_t turns
    cdef object _poll, _posted
    cdef dict _handlers
    cdef list _timers, _work, _easy
    cdef int64_t _numbers, _easy_ns
    cdef bint _running
    cdef int _fileno, _wake_read, _wake_write

    def __init__(self):
        self._poll = select.epoll()
        self._fileno = self._poll.fileno()
        self._handlers = {}         # fd -> [on_readable, on_writable]
        self._timers = []           # heap of [when_ns, number, function or None]
        self._numbers = 0
        self._easy = []             # [(when_ns at the earliest, timer)]: those that may come early, a few
        self._easy_ns = _NEVER_NS   # when the first of them may
        self._work = []
        self._running = False
        self._posted = deque()      # appended to by any thread, taken from by the loop's only
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.watch(self._wake_read, self._run_posted)

    @staticmethod
    def now_ns():
        """The loop's clock."""
        return clock_ns(CLOCK_MONOTONIC)

    def watch(self, fd, on_readable=None, on_writable=None):
        """Call the handlers when *fd* is ready; both None: stop watching."""
        known = fd in self._handlers
        if on_readable is None and on_writable is None:
            if known:
                del self._handlers[fd]
                self._poll.unregister(fd)
            return
        mask = (select.EPOLLIN if on_readable else 0) | (select.EPOLLOUT if on_writable else 0)
        self._handlers[fd] = (on_readable, on_writable)
        (self._poll.modify if known else self._poll.register)(fd, mask)

    def at(self, when_ns, function):
        """Call *function* at *when_ns*; returns a handle for ``cancel``."""
        self._numbers += 1
        timer = [when_ns, self._numbers, function]
        heapq.heappush(self._timers, timer)
        return timer

    def after(self, delay_ns, function):
        """Call *function* in *delay_ns*."""
        return self.at(clock_ns(CLOCK_MONOTONIC) + delay_ns, function)

    def ease(self, timer, slack_ns):
        """*timer* may come up to *slack_ns* sooner, in a turn that something else has made: waking up costs more than most timers do."""
        cdef int64_t when_ns = timer[0] - slack_ns
        self._easy.append((when_ns, timer))
        self._easy_ns = min(self._easy_ns, when_ns)

    @staticmethod
    def cancel(timer):
        """Forget a timer (None is allowed)."""
        if timer is not None:
            timer[2] = None

    def work(self, function):
        """Call *function* once per turn, between packets, for as long as it returns true."""
        if function not in self._work:
            self._work.append(function)

    def post(self, function):
        """Call *function* soon on the loop's thread: the one method that other threads may call. They bound what they post."""
        self._posted.append(function)
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass                    # the pipe is full of wake-ups already

    def _run_posted(self):
        os.read(self._wake_read, 4096)
        for _ in range(len(self._posted)):
            self._posted.popleft()()

    def stop(self):
        """Let ``run`` return after this turn."""
        self._running = False

    def run(self):
        """Serve until ``stop``."""
        self._running = True
        while self._running:
            self._turn()

    cpdef int _turn(self) except -1:
        """Wait for descriptors and timers, and serve those that are due; then a slice of each work."""
        cdef epoll_event events[_EVENTS_MAX]
        cdef int count, number, timeout_ms = self._timeout_ms()
        PyErr_CheckSignals()
        with nogil:
            count = epoll_wait(self._fileno, events, _EVENTS_MAX, timeout_ms)
        if count < 0:
            if errno != EINTR:
                raise OSError(errno, os.strerror(errno))
            PyErr_CheckSignals()
        self.turns += count > 0
        for number in range(count):
            self._serve(events[number].data.fd, events[number].events)
        if self._timers:
            self._call_timers()
        if self._work:
            work, self._work = self._work, []
            for function in work:
                if function():
                    self.work(function)
        return 0

    cdef int _timeout_ms(self) except? -2:
        cdef int64_t when_ns
        if self._work:
            return 0
        while self._timers and (<list> self._timers[0])[2] is None:
            heapq.heappop(self._timers)         # nobody is to be woken for a forgotten one
        if not self._timers:
            return -1
        when_ns = (<list> self._timers[0])[0]
        return min(max(0, (when_ns - clock_ns(CLOCK_MONOTONIC) + _NS_PER_MS - 1) // _NS_PER_MS), _WAIT_MS_MAX)

    cdef int _serve(self, int fd, uint32_t mask) except -1:
        """Call the handlers of *fd*, which an earlier one of this turn may have changed."""
        cdef tuple handlers = self._handlers.get(fd)
        if handlers is None:
            return 0
        # an error or hang-up is for whoever reads next: reading tells it
        if handlers[0] is not None and mask & (EPOLLIN | EPOLLERR | EPOLLHUP):
            handlers[0]()
        if mask & EPOLLOUT:
            handlers = self._handlers.get(fd, (None, None))
            if handlers[1] is not None:
                handlers[1]()
        return 0

    cdef int _call_timers(self) except -1:
        cdef int64_t now_ns = clock_ns(CLOCK_MONOTONIC), when_ns
        while self._timers:
            when_ns = (<list> self._timers[0])[0]
            if when_ns > now_ns:
                break
            timer = heapq.heappop(self._timers)
            function, timer[2] = timer[2], None
            if function is not None:
                function()
        if self._easy_ns <= now_ns:
            self._call_early(now_ns)
        return 0

    cdef int _call_early(self, int64_t now_ns) except -1:
        """Call what may come early; what has come in time, or was forgotten, is no more."""
        cdef int64_t when_ns
        cdef list easy = self._easy
        self._easy, self._easy_ns = [], _NEVER_NS
        for when_ns, timer in easy:
            function = timer[2]
            if function is None:
                continue
            if when_ns > now_ns:
                self._easy.append((when_ns, timer))
                self._easy_ns = min(self._easy_ns, when_ns)
                continue
            timer[2] = None
            function()
        return 0
