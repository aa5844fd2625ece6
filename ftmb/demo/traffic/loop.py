"""One epoll loop for a traffic program: sockets, a fixed tick, commands from stdin, JSON lines to stdout.

Light on purpose: several of these share two cores with the network that they test. Ticks stand on absolute
times of CLOCK_MONOTONIC; a late tick is followed at once by the next, none is left out.
"""

import heapq
import json
import os
import select
import signal
import sys
import time

#: A command line is never longer; whoever sends more is not the demo.
_COMMAND_BYTES_MAX = 4096


def emit(event, **fields):
    """Write one JSON line with the key ``event`` to stdout."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


class Loop:
    """Calls handlers of sockets, ``on_tick(now_ns)`` every *tick_ns* (if given) and ``on_command(words)``.

    SIGTERM comes as the command ``finish``. The end of stdin stops the loop.
    """

    def __init__(self, on_command, on_tick=None, tick_ns=None):
        self._epoll = select.epoll()
        self._handlers = {}
        self._on_command, self._on_tick, self._tick_ns = on_command, on_tick, tick_ns
        self._running = True
        self._commands = b""
        self._stdin = sys.stdin.fileno()
        os.set_blocking(self._stdin, False)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGTERM, lambda *_: None)      # the byte in the pipe is what counts
        self._add_fd(self._stdin, self._read_commands)
        self._add_fd(self._wake_read, self._read_signal)

    def _add_fd(self, fd, handler, events=select.EPOLLIN):
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def add(self, sock, handler, events=select.EPOLLIN):
        """Call ``handler(events)`` whenever *sock* is ready for *events*."""
        self._add_fd(sock.fileno(), handler, events)

    def want(self, sock, events):
        """Change what *sock* waits for."""
        self._epoll.modify(sock.fileno(), events)

    def close(self, sock):
        """Forget *sock* and close it."""
        del self._handlers[sock.fileno()]
        self._epoll.unregister(sock.fileno())
        sock.close()

    def stop(self):
        """``run`` returns after the handler at work."""
        self._running = False

    def run(self):
        """Run until ``stop`` or the end of stdin."""
        next_tick_ns = time.monotonic_ns()
        while self._running:
            timeout_s = None
            if self._tick_ns:
                timeout_s = max(0, next_tick_ns - time.monotonic_ns()) / 1e9
            for fd, events in self._epoll.poll(timeout_s):
                handler = self._handlers.get(fd)
                if handler is not None:         # closed by a handler before it
                    handler(events)
            if self._tick_ns and time.monotonic_ns() >= next_tick_ns and self._running:
                next_tick_ns += self._tick_ns
                self._on_tick(time.monotonic_ns())

    def _read_commands(self, _events):
        data = os.read(self._stdin, _COMMAND_BYTES_MAX)
        if not data:
            self.stop()
            return
        *lines, self._commands = (self._commands + data).split(b"\n")
        if len(self._commands) > _COMMAND_BYTES_MAX:
            raise ValueError("a command line is too long")
        for line in lines:
            self._on_command(line.decode("ascii").split())

    def _read_signal(self, _events):
        if signal.SIGTERM in os.read(self._wake_read, 64):
            self._on_command(["finish"])


class Wheel:
    """Gives each of many items its turn once a period, evenly spread over the period."""

    def __init__(self, items, period_ns, now_ns):
        items = list(items)
        step_ns = period_ns // max(1, len(items))
        self._period_ns = period_ns
        # the position settles ties, so that items need no order of their own
        self._heap = [(now_ns + position * step_ns, position, item) for position, item in enumerate(items)]

    def due(self, now_ns):
        """Items whose turn has come, in order; each is due again a period later."""
        heap = self._heap
        while heap and heap[0][0] <= now_ns:
            due_ns, position, item = heap[0]
            # after a stall one turn is enough, and everyone keeps its place in the period
            turns = 1 + (now_ns - due_ns) // self._period_ns
            heapq.heapreplace(heap, (due_ns + turns * self._period_ns, position, item))
            yield item
