"""A spare becomes the master: load, replay up to the recoverable prefix, catch up, go on live (FTMB section 4.3).

``Recovery`` is fed what arrives and asked for what to do; it has no I/O of its own::

    store          chunks of the missing checkpoints     -> loaded()
    output logger  determinants in (checkpoint, R]       -> determinants()
    input logger   inputs after the checkpoint           -> inputs()
    network        live input frames, from the redirect on -> live()
    step(budget)   replays or processes up to *budget* inputs, returns frames for the output logger

Inputs of the log beyond R were never explained to the outside: they are processed as new ones, in order, and after them the
live ones. Since the input logger is asked after the redirect is in force, what its answer does not hold comes live.
That is watched: a switch may confirm a redirect and still send the next frames where its caches say. So the log and the live
stream must be seen to join: if the live stream goes on beyond a gap, or the bounded live buffer overflowed in the
meantime, the input logger is asked again.

How steps are repeated is in middleboxes.core.replaying. A hot spare has repeated most of them already: then ``resume`` takes
the place of ``loaded``, and what its streams still bring that of the loggers' answers (middleboxes.core.following).

Outputs of replayed steps are sent again, but for those of which the output logger says that they left; the duplicate
check there has the last word.
"""

from collections import deque

from .frames import FrameError, decode_input
from .kept import KeptOutputs
from .outputlog import unpack_keys
from .replaying import Replay
from .step import ReplayError


#: What piled up during a failover goes out in step with the acknowledgements, so that it does not overrun the queues of the
#: switch: what is lost there is lost for good. A worker may at first be this many steps ahead of them, and one more with each
#: step acknowledged (TCP's slow start), so that acknowledgements that take long do not keep it behind the live stream; the most is less than
#: the some hundreds of short frames that the queue of a user-space switch's port holds.
CATCH_UP_STEPS, CATCH_UP_STEPS_MAX = 64, 192
#: Kept outputs that are forgotten with each slice once it is known which did not leave; giving back thousands would be a pause.
FORGOTTEN_STEPS = 128
#: A gap between log and live stream is asked for so often; on a network that goes on losing inputs there is always another one.
GAP_REQUESTS_MAX = 8
#: After an overflow of the live buffer the input logger is asked again. If its answers grow this many times in a row, inputs come
#: faster than this node takes them, as they would to any master: it goes on live with what is in the buffer, and what was lost
#: there is a network loss. Likewise it catches up with so many live inputs in step with the acknowledgements, at most.
GROWING_ANSWERS_MAX, LIVE_STEPS_MAX = 4, 4096


class LiveBuffer:
    """Live input frames of a group that this node does not process yet; at the bound the oldest are dropped, counted."""

    def __init__(self, frames_max=16384, bytes_max=32 << 20):
        self._frames = deque()
        self._frames_max, self._bytes_max = frames_max, bytes_max
        self._bytes = 0
        self.dropped = 0

    def add(self, frame):
        """Keep an INPUT frame."""
        self._frames.append(frame)
        self._bytes += len(frame)
        while len(self._frames) > self._frames_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._frames.popleft())
            self.dropped += 1

    def take(self):
        """The oldest frame kept, None if there is none."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        return frame

    def clear(self):
        """Forget what is kept."""
        self._frames.clear()
        self._bytes = 0


class Recovery:
    """One group's recovery at one spare, for *master* (its state as far as it was prefetched) up to *stored* (R)."""

    def __init__(self, master, stored, buffer):
        self.master = master
        self.buffer = buffer
        self.replayed = 0
        self.processed = 0
        self.bad_frames = 0
        self.finished = False
        # a durable checkpoint may lie beyond R only if the output logger lost determinants that it covers
        self._stored = stored
        self._loaded = False
        self._requested = None              # positions after which the loggers were asked
        self._determinants_missing = self._inputs_missing = 0
        self._replay = Replay(master)
        self._released = [set() for _ in master.workers]    # keys of the outputs that left before
        self._kept = KeptOutputs(len(master.workers))       # of steps that were repeated while the old master lived
        self._not_left = None               # (worker, k, outputs) of these that did not leave, as far as they are not sent again
        self._dropped_at_request = 0
        self._joins = [False] * len(master.workers)
        self._gap = False
        self._gap_requests = 0
        self._answered = self._last_answered = self._grown = 0      # inputs in the answer now and before, growths in a row
        self._live_steps = 0

    @property
    def joined(self):
        """Whether a live input was seen to follow the logged ones without a gap, for each worker."""
        return all(self._joins)

    @property
    def has_replayed(self):
        """Whether all is repeated: what it waits for now are acknowledgements and live inputs, by the data network."""
        return self._loaded and not self._determinants_missing and not self._inputs_missing and not self._replay.left

    # -- what to ask for

    def request(self, positions):
        """What to ask the two loggers for, if the last durable checkpoint has *positions* [(n, k)]: it need not be loaded yet.

        (after n, after k, to k), per worker. Raises ReplayError.
        """
        self._requested = positions
        begin_k = [k for _, k in positions]
        self._begin(Replay(self.master, begin_k), begin_k)
        return [n for n, _ in positions], begin_k, self._stored

    def loaded(self):
        """All checkpoints are loaded: what ``request`` gives if it was not called before, else None. Raises ReplayError."""
        workers, wanted = self.master.workers, None
        if self._requested is None:
            wanted = self.request([(worker.n, worker.k) for worker in workers])
        elif any(worker.n < n or worker.k < k for worker, (n, k) in zip(workers, self._requested)):
            raise ReplayError("the checkpoint ends before the one after which the loggers were asked")
        self._loaded = True
        self._replay.begin()
        self._stored = [max(k, worker.k) for k, worker in zip(self._stored, workers)]
        return wanted

    def resume(self, replay, kept, released):
        """Go on from where a hot spare stands, with what it has in *replay*, and the KeptOutputs *kept*.

        *released*: keys of outputs that left, per worker. What is still to come, by its streams, is added to *replay* and *released*; their
        ends are to be told as those of answers to what ``loaded`` asks for. Raises ReplayError.
        """
        self._begin(replay, [worker.k for worker in self.master.workers])
        self._loaded = True
        self._kept, self._released = kept, released

    def _begin(self, replay, begin_k):
        if not len(self._stored) == len(begin_k) == len(self.master.workers):
            raise ReplayError(f"the recoverable prefix has {len(self._stored)} workers, the group {len(self.master.workers)}")
        self._stored = list(map(max, self._stored, begin_k))
        self._replay = replay
        self._determinants_missing = len(begin_k)
        self.begin_request()

    def begin_request(self):
        """The input logger is being asked for what it has logged beyond what is known here."""
        # what is in the buffer by now will be in the answer, too; a buffer that stays full would overflow
        # again with the next frame, and so for ever
        self.buffer.clear()
        self._dropped_at_request = self.buffer.dropped
        self._inputs_missing = len(self.master.workers)

    # -- what arrives

    def determinants(self, worker, data, end):
        """A batch of encoded determinants of *worker* (may be empty); *end*: the last one. Raises ReplayError."""
        self._replay.store(worker, data)
        if end:
            plan = self._replay.plans[worker]
            if plan.last < self._stored[worker]:
                raise ReplayError(f"determinants of worker {worker} end at step {plan.last}, {self._stored[worker]} were promised")
            plan.cut_off(self._stored[worker])      # a hot spare may have got some that are not recoverable
            self._determinants_missing -= 1

    def released(self, worker, data):
        """Outputs of *worker* that left before (packed keys): not worth sending again. Raises FrameError."""
        self._released[worker].update(unpack_keys(data))

    def inputs(self, worker, frames, end):
        """A batch of logged INPUT frames of *worker*; *end*: the last one. Raises FrameError."""
        for frame in frames:
            self._replay.add(worker, decode_input(frame)[2])
        self._answered += len(frames)
        if end:
            self._inputs_missing -= 1

    # -- what to do

    def step(self, budget):
        """Up to *budget* steps; returns frames for the output logger. Raises ReplayError, FrameError.

        ``finished`` is set once nothing is left but live traffic; what comes then tells whether it ``joined``.
        """
        frames = []
        self.finished = False
        if not self._loaded or self._determinants_missing:
            return frames
        if self._not_left is None:
            self._not_left = deque(self._kept.not_among(self._released))
        elif self._kept:
            self._kept.forget_some(FORGOTTEN_STEPS)
        while self._not_left and len(frames) < budget:
            number, k, outputs = self._not_left.popleft()
            frames += self.master.resend(number, k, outputs, self._released[number])
        budget -= len(frames)

        def repeat(number, item, extra):
            frames.extend(self.master.replay(number, item, extra, self._released[number]))
        done = self._replay.run(budget, repeat, not self._inputs_missing)
        self.replayed += done
        if budget > done and not self._replay.left:
            self._catch_up(budget - done, frames)
        return frames

    def _catch_up(self, budget, frames):
        master, replay = self.master, self._replay
        for number, inputs in enumerate(replay.inputs):
            while inputs and budget > 0 and self._room(number):
                frames += master.process(number, replay.take(number))
                self.processed += 1
                budget -= 1
        if self._inputs_missing or any(replay.inputs):
            frames += master.flush()
            return                          # logged inputs are new steps as soon as they come, live ones after all of them
        if self._gap or self._overflowed():
            return                          # `again` says so: ask the input logger for the rest
        while budget > 0 and all(map(self._room, range(len(master.workers)))):
            frame = self.buffer.take()
            if frame is None:
                self.finished = True
                break
            try:
                epoch, number, item = decode_input(frame)
            except FrameError:
                self.bad_frames += 1
                continue
            if number < len(master.workers) and epoch < master.inputs_from:
                master.refuse(number)
            elif number < len(master.workers):
                if item.n > master.workers[number].n + 1 and self._may_ask_for_gap():
                    self._gap = True        # this input is in the log as well as those before it
                    break
                frames += master.process(number, item)
                self._joins[number] = True
                self._live_steps += 1
                if self._live_steps >= LIVE_STEPS_MAX and self.joined:
                    self.finished = True
                    break
            self.processed += 1             # late ones, too: whoever drives this sees that it goes on
            budget -= 1
        frames += master.flush()

    def _room(self, number):
        acknowledged = self.master.workers[number].log.trimmed - self._stored[number]
        window = min(CATCH_UP_STEPS + acknowledged, CATCH_UP_STEPS_MAX, self.master.unacknowledged_max)
        return self.master.ahead(number) < window

    def _may_ask_for_gap(self):
        # one that the buffer made by overflowing was asked for as such, as often as that is allowed
        return self._gap_requests < GAP_REQUESTS_MAX and self.buffer.dropped == self._dropped_at_request

    def _overflowed(self):
        return self.buffer.dropped > self._dropped_at_request and self._grown < GROWING_ANSWERS_MAX

    def rest(self):
        """The live frames that are still in the buffer: the master's first."""
        frames = []
        while (frame := self.buffer.take()) is not None:
            frames.append(frame)
        return frames

    def again(self):
        """After an overflow of the live buffer or a gap: (after n) per worker to ask the input logger for, else None."""
        if self._inputs_missing or not self._loaded or any(self._replay.inputs) or self._replay.left:
            return None
        if not self._gap and not self._overflowed():
            return None
        self._grown = self._grown + 1 if self._answered > self._last_answered else 0
        self._last_answered, self._answered = self._answered, 0
        self._gap_requests += self._gap
        self._gap = False
        self.begin_request()
        return [worker.n for worker in self.master.workers]
