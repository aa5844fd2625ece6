"""The threads of a master with several workers: one for each, with sockets of its own for its inputs and acknowledgements.

What is whose: a worker's position, log, acknowledgements and sockets are touched by its thread only; shared variables are
guarded by their domains' locks (middleboxes.core.sharing). The loop's thread keeps control, checkpoints and services.

Locks, all taken for a short time, and correct without a global interpreter lock:

- ``gate``, one per worker: held by the worker while it handles a batch, given up between two packets when ``_pausing`` is
  set. Who holds all gates has all workers at a packet boundary, holding no domain: a consistent cut.
- ``_waiting_lock``: orders "the loop waits for acknowledgements" against "acknowledgements were taken", so that none is missed.

A worker that fails ends its thread and is told to the loop. One that hangs lets the next checkpoint's pause hang, and with
it the beats: the controller sees a dead node, as it does of a master with one worker.
"""

import os
import select
import sys
import threading
from collections import deque
from contextlib import contextmanager

from ..core.frames import HOP_ACK, HOP_INPUT, FrameError, decode_input
from .link import BATCH, WORKER_AT, counts, data_sender, worker_link

#: How long a thread may keep the interpreter to itself while others wait, where there is a global lock. Python's own 5 ms
#: would let a packet wait for several of them.
SWITCH_INTERVAL_S = 0.0005

#: events of a function that wait for the loop; beyond it they are dropped, counted
EVENTS_MAX = 256


class EventRelay:
    """``relay(name, detail)`` from any thread; *deliver* is called with it on the loop's."""

    def __init__(self, loop, deliver):
        self._loop, self._function = loop, deliver
        self._waiting = deque()
        self.dropped = 0

    def __call__(self, name, detail):
        if len(self._waiting) >= EVENTS_MAX:
            self.dropped += 1
            return
        self._waiting.append((name, detail))
        self._loop.post(self._deliver)

    def _deliver(self):
        self._function(*self._waiting.popleft())


class _WorkerThread:
    """One worker's thread: ``number`` of *core*."""

    def __init__(self, pool, core, number, interface, sender):
        self._pool, self._core, self._number = pool, core, number
        self.gate = threading.Lock()
        self.links = []
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self.stopping = False
        self.turns = self.bad_frames = 0
        self._inputs = self._open(interface, HOP_INPUT)
        self._acknowledgements = self._open(interface, HOP_ACK)
        self._outgoing = data_sender(interface)
        self.links.append(self._outgoing)
        self._send_all = sender(self._outgoing)
        self._thread = threading.Thread(target=self._run, name=f"worker {number}", daemon=True)

    def _open(self, interface, hop):
        link = worker_link(interface, self._core.group_id, hop, self._number)
        self.links.append(link)
        return link

    def start(self, early):
        """Handle the *early* frames, then what comes."""
        self._early = early
        self._thread.start()

    def wake(self):
        """Let the thread look again at what it may do."""
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass                        # the pipe is full of wake-ups already

    def stop(self):
        """Ask the thread to end after the packet at hand."""
        self.stopping = True
        self.wake()

    def close(self):
        """Wait for its end, and close what it had."""
        if self._thread.ident is not None:
            self._thread.join()
        for link in self.links:
            link.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self):
        try:
            with self.gate:
                for first in range(0, len(self._early), BATCH):
                    self._process(self._early[first:first + BATCH])
            self._serve()
        except BaseException as error:      # whatever it is, it must reach the loop: a thread would end in silence
            self._pool.failed(error)

    def _serve(self):
        poll, reading = select.epoll(), True
        inputs = self._inputs.fileno()
        for fd in (self._wake_read, inputs, self._acknowledgements.fileno()):
            poll.register(fd, select.EPOLLIN)
        with poll:
            while not self.stopping:
                if self._core.worker_ready(self._number) != reading:
                    reading = not reading
                    # at a bound inputs stay in the socket's queue until acknowledgements or a durable checkpoint come
                    poll.modify(inputs, select.EPOLLIN if reading else 0)
                ready = {fd for fd, _ in poll.poll()}
                self.turns += 1
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                with self.gate:
                    if self._acknowledgements.fileno() in ready:
                        self._acknowledge(self._acknowledgements.receive())
                    if inputs in ready:
                        self._process(self._inputs.receive())

    def _process(self, frames):
        """A batch of INPUT frames; the gate is held."""
        core, outputs, process, number, pool = self._core, [], self._core.process, self._number, self._pool
        for frame in frames:
            if pool.pausing:
                self._step_aside()
            if self.stopping:
                break
            try:
                epoch, worker, item = decode_input(frame)
            except FrameError:
                self.bad_frames += 1
                continue
            if epoch < core.inputs_from:
                core.refuse(number)
            elif worker == number:
                outputs += process(number, item)
        outputs += core.flush_worker(number)
        if outputs:
            self._send_all(outputs)

    def _acknowledge(self, frames):
        for frame in frames:
            try:
                outputs = self._core.acknowledged(frame)
                if outputs:
                    self._send_all(outputs)
            except FrameError:
                self.bad_frames += 1
        self._pool.acknowledged()

    def _step_aside(self):
        """Between two packets: let whoever pauses the workers have the gate."""
        self.gate.release()
        self._pool.resumed.wait()
        self.gate.acquire()


class WorkerThreads:
    """The threads of *core*'s workers. From the beginning their sockets queue what comes; ``start`` handles it.

    *sender* makes of a Link the function that sends frames by it from another thread (Node.sender).
    *progress* is called on the loop's thread after ``tell_acknowledgements``, *fail* with the exception that ended a thread.
    """

    def __init__(self, core, interface, loop, sender, progress, fail):
        self._core, self._loop, self._progress, self._fail = core, loop, progress, fail
        self.pausing = False                # written by the loop's thread only; an old value costs one packet's time
        self.resumed = threading.Event()    # not set while the loop's thread wants the gates
        self.resumed.set()
        self._waiting_lock = threading.Lock()
        self._waiting = False
        self._threads = [_WorkerThread(self, core, number, interface, sender) for number in range(len(core.workers))]

    @property
    def bad_frames(self):
        """Frames that could not be decoded."""
        return sum(thread.bad_frames for thread in self._threads)

    @property
    def turns(self):
        """How often a thread has found something to do (see Loop.turns)."""
        return sum(thread.turns for thread in self._threads)

    def counts(self):
        """Counts (``Link.counts``) of the sockets for inputs, and of the others."""
        return tuple(counts([link for thread in self._threads for link in thread.links[part]]) for part in (slice(1), slice(1, None)))

    def wake(self):
        """A checkpoint is durable: a worker at its bound may go on."""
        for thread in self._threads:
            thread.wake()

    def start(self, early):
        """Begin with the *early* INPUT frames of all workers, in order; frames that also came by socket are dropped as late."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        by_worker = [[] for _ in self._threads]
        for frame in early:
            if len(frame) > WORKER_AT and frame[WORKER_AT] < len(by_worker):
                by_worker[frame[WORKER_AT]].append(frame)
        for thread, frames in zip(self._threads, by_worker):
            thread.start(frames)

    @contextmanager
    def paused(self):
        """All workers stand between two packets, for as long as the block lasts."""
        self.resumed.clear()
        self.pausing = True
        for thread in self._threads:
            thread.gate.acquire()
        try:
            yield
        finally:
            self.pausing = False
            for thread in self._threads:
                thread.gate.release()
            self.resumed.set()

    def tell_acknowledgements(self):
        """Call *progress* once after the next acknowledgements. Look for what is awaited after this, not before."""
        with self._waiting_lock:
            self._waiting = True

    def acknowledged(self):
        """A worker took acknowledgements (on its thread)."""
        with self._waiting_lock:
            waiting, self._waiting = self._waiting, False
        if waiting:
            self._loop.post(self._progress)

    def failed(self, error):
        """A worker's thread ended with *error* (on its thread)."""
        self._loop.post(lambda: self._fail(error))

    def close(self):
        """End the threads, each after its packet at hand."""
        for thread in self._threads:
            thread.stop()
        for thread in self._threads:
            thread.close()
