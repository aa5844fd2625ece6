"""One thread's event loop: file descriptors, timers, and background work in slices between packets."""

import heapq
import os
import select
import time
from collections import deque


class Loop:
    """``watch`` descriptors, call ``at`` a time, do ``work`` in slices. Times are CLOCK_MONOTONIC, ns."""

    def __init__(self):
        self._poll = select.epoll()
        self._handlers = {}         # fd -> [on_readable, on_writable]
        self._timers = []           # heap of [when_ns, number, function or None]
        self._numbers = 0
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
        return time.monotonic_ns()

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
        return self.at(time.monotonic_ns() + delay_ns, function)

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

    def _turn(self):
        timers = self._timers
        if self._work:
            timeout = 0
        elif timers:
            timeout = max(0, (timers[0][0] - time.monotonic_ns()) / 1e9)
        else:
            timeout = -1
        for fd, mask in self._poll.poll(timeout):
            handlers = self._handlers.get(fd)
            if handlers is None:
                continue
            # an error or hang-up is for whoever reads next: reading tells it
            if handlers[0] and mask & (select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP):
                handlers[0]()
            if mask & select.EPOLLOUT and self._handlers.get(fd, (None, None))[1]:
                self._handlers[fd][1]()
        if timers:
            now_ns = time.monotonic_ns()
            while timers and timers[0][0] <= now_ns:
                function = heapq.heappop(timers)[2]
                if function is not None:
                    function()
        if self._work:
            work, self._work = self._work, []
            for function in work:
                if function():
                    self.work(function)
