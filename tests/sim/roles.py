"""Input logger, output logger and store on their hosts: core classes behind a lossy network and ordered connections.

Each may be replaced: what is asked of one that has left its host is not answered.
"""

from middleboxes.core.checkpoint import Assembler
from middleboxes.core.feeding import DeterminantFeed, InputFeed
from middleboxes.core.frames import HOP_OUTPUT, HOP_TRIM, decode_input, decode_trim, hop_of
from middleboxes.core.outputlog import pack_keys

from .following import Feeds
from .network import MS

#: small, so that crashes fall between batches
INPUTS_PER_MESSAGE = 5
DETERMINANT_BYTES_PER_MESSAGE = 60


class Covering(DeterminantFeed):
    """With what it gives it tells up to where outputs never leave again."""

    def take(self):
        covered = [log.trimmed for log in self._logs]
        return [(covered, *part) for part in super().take()]


class InputLoggerRole:
    """Numbers and logs the traffic, ticks, answers a new master."""

    def __init__(self, host, core, checker, tick_interval_ns, feed_bytes_max):
        self.host, self.core, self.checker = host, core, checker
        self._feeds, self._feed_bytes_max = Feeds(self), feed_bytes_max
        self._tick_interval_ns = tick_interval_ns
        self.ticking = True
        self.succeeded = False          # another one has begun: what this one logs is nobody's input any more
        host.role = self
        host.later(tick_interval_ns, self._tick)

    def arrive(self, port, frame):
        """A packet came in at *port*."""
        self._forward(self.core.accept(port, frame, self._unix_ns()))

    def _tick(self):
        if self.ticking:
            self._send_ticks()
            self.host.later(self._tick_interval_ns, self._tick)

    def _send_ticks(self):
        for frame in self.core.tick(self._unix_ns()):
            self._forward(frame)

    def _unix_ns(self):
        return 1_700_000_000_000_000_000 + self.host.network.events.now_ns + self.host.clock_ns

    def _forward(self, frame):
        if frame is not None:
            if not self.succeeded:
                self.checker.logged(frame)
            self.host.send(frame)
            self._feeds.wake()

    def frame(self, frame):
        if hop_of(frame)[1] == HOP_TRIM:
            epoch, positions, _ = decode_trim(frame)
            self._feeds.save()
            self.core.trim(epoch, positions)

    def fence(self, epoch, reply):
        if self.host.role is self:
            self.core.fence(epoch)
            reply()

    def inputs(self, client, worker, after, on_batch):
        """Send the inputs after number *after* to *client*, in batches."""
        if self.host.role is not self:
            return
        frames, end = self.core.after(worker, after, INPUTS_PER_MESSAGE)
        self.host.call(client, on_batch, worker, frames, end)
        if not end:
            self.host.later(MS // 20, self.inputs, client, worker, decode_input(frames[-1])[2].n, on_batch)
        elif self.ticking and worker == len(self.checker.inputs) - 1:
            self._send_ticks()          # once for all workers: whether the live stream joins this answer is seen at once

    def follow(self, client, after, on_begin, on_frames, on_refused):
        """Send all inputs after *after* to a hot spare, as they are logged."""
        if self.host.role is self:
            self._feeds.add(client, InputFeed(self.core, after, self._feed_bytes_max), on_begin, on_frames, on_refused)

    def unfollow(self, client, on_batch):
        """The rest, and an empty batch for each worker that says so."""
        if self.host.role is self and self._feeds.end(client):
            for worker in range(len(self.checker.inputs)):
                self.host.call(client, on_batch, worker, [], True)
            if self.ticking:
                self._send_ticks()


class OutputLoggerRole:
    """Stores determinants, releases outputs to the checker, acknowledges, answers a new master."""

    def __init__(self, host, core, checker, feed_bytes_max, began):
        self.host, self.core, self.checker = host, core, checker
        self._feeds, self._feed_bytes_max = Feeds(self), feed_bytes_max
        self._ends = {}                 # client -> whom to tell of the end of its stream
        self._timer_ns = None
        self._began = began             # the epoch in which it replaced another, or 0
        self.is_former = False          # another one is there
        host.role = self
        host.later(0, self._acknowledge)

    def frame(self, frame):
        hop = hop_of(frame)[1]
        if hop == HOP_OUTPUT:
            self.checker.at_output_logger(self.core, frame, self.is_former)
            self._let_out(self.core.receive(frame))
            self._feeds.wake()
        elif hop == HOP_TRIM:
            self._feeds.save()
            self._let_out(self.core.trim(*decode_trim(frame)))
        self._acknowledge()

    def _let_out(self, packets):
        self.checker.received(self.core, packets, self.is_former, self._began)

    def _acknowledge(self):
        frames, again_ns = self.core.acknowledge(self.host.network.events.now_ns)
        for frame in frames:
            self.host.send(frame)
        if again_ns is not None and again_ns != self._timer_ns:
            self._timer_ns = again_ns
            self.host.later(max(0, again_ns - self.host.network.events.now_ns), self._timer, again_ns)

    def _timer(self, time_ns):
        if time_ns == self._timer_ns:
            self._timer_ns = None
            self._acknowledge()

    def fence(self, epoch, reply):
        if self.host.role is self:
            prefix = self.core.fence(epoch)
            self.checker.fenced(epoch, prefix)
            for client in self._feeds.clients():
                self.unfollow(client)
            reply(prefix)

    def determinants(self, client, worker, after, to, on_batch):
        """Send the determinants of *worker* in (*after*, *to*] to *client*, in batches."""
        if self.host.role is not self:
            return
        log = self.core.logs[worker]
        data, last = log.encode(max(after, log.trimmed), DETERMINANT_BYTES_PER_MESSAGE)
        end = last >= to or not data
        # telling what left already only saves traffic: half of the runs go without
        released = pack_keys(self.core.released(worker, after, to)) if after % 2 else b""
        self.host.call(client, on_batch, worker, data, released, end)
        if not end:
            self.host.later(MS // 20, self.determinants, client, worker, last, to, on_batch)

    def follow(self, client, after, on_begin, on_determinants, on_refused, on_end):
        """Send all determinants after *after* to a hot spare, as they are stored; at a fence, what left."""
        if self.host.role is self:
            self._ends[client] = on_end
            self._feeds.add(client, Covering(self.core.logs, after, self._feed_bytes_max), on_begin,
                            on_determinants, on_refused)

    def unfollow(self, client):
        """The rest, and what left."""
        if self.host.role is self and self._feeds.end(client):
            released = [pack_keys(self.core.released(worker, log.trimmed, log.last)) if log.last % 2 else b""
                        for worker, log in enumerate(self.core.logs)]
            self.host.call(client, self._ends.pop(client), self.core.epoch, [log.last for log in self.core.logs],
                           released)


class StoreRole:
    """Takes checkpoints whole or not at all; feeds followers."""

    def __init__(self, host, folded, checker):
        self.host, self.folded, self.checker = host, folded, checker
        self._under_way = {}            # (host, boot, number of the connection) -> Assembler
        self._followers = []
        host.role = self

    def frame(self, frame):
        """What is late for a role that this host had before."""

    def fence(self, epoch, reply):
        if self.host.role is self:
            self.folded.epoch = max(self.folded.epoch, epoch)
            header = self.folded.header or {"covers": {}, "positions": []}
            reply(self.folded.id, header["covers"], header["positions"])

    def chunk(self, client, boot, epoch, data):
        if self.host.role is self:
            self._under_way.setdefault((client.name, boot, epoch), Assembler()).add(data)

    def commit(self, client, boot, epoch, number, base, on_stored, on_refused):
        if self.host.role is not self:
            return
        assembler = self._under_way.pop((client.name, boot, epoch))
        refusal = self.folded.refusal(epoch, base)
        if refusal:
            self.host.call(client, on_refused, refusal)
            return
        chunks, checkpoint = assembler.finish()
        former_id = self.folded.id
        self.folded.fold(chunks, checkpoint)
        self.checker.durable(self, former_id, checkpoint)
        self.host.call(client, on_stored, self, number)
        self._followers = [entry for entry in self._followers if entry[0].alive and entry[0].boot == entry[1]]
        for follower, _, on_checkpoint in self._followers:
            self._send(follower, base, chunks, on_checkpoint)

    def _send(self, client, base, chunks, on_checkpoint):
        for data in chunks:
            self.host.call(client, on_checkpoint, data, False)
        self.host.call(client, on_checkpoint, b"", True)

    def subscribe(self, client, have, follow, on_checkpoint, on_end):
        """Everything after checkpoint *have*, then what comes (*follow*) or *on_end*."""
        if self.host.role is not self:
            return
        for _, base, chunks in self.folded.since(have):
            self._send(client, base, chunks, on_checkpoint)
        if follow:
            self._followers.append((client, client.boot, on_checkpoint))
        else:
            self.host.call(client, on_end)
