"""The output logger's role: OUTPUT frames in, released packets out of the port interfaces, acknowledgements back."""

from ..core.feeding import DeterminantFeed
from ..core.frames import HOP_OUTPUT, HOP_TRIM, FrameError, decode_trim
from ..core.outputlog import OutputLogger, by_port, pack_keys
from .followers import Followers
from .link import counts
from .role import Role, check_positions, open_ports

BYTES_PER_MESSAGE = 64 << 10
KEYS_PER_MESSAGE = BYTES_PER_MESSAGE // 8


class OutputLoggerRole(Role):
    """Releases outputs by the rules of middleboxes.core.outputlog."""

    role = "output-logger"

    def __init__(self, node, group, epoch, group_id, workers, ports, covered_from):
        super().__init__(node, group, epoch, group_id)
        self._core = OutputLogger(group_id, node.mac, workers, len(ports), epoch, covered_from=covered_from)
        self._links = open_ports(node, group, ports, receive=False)
        self._peers = [port.get("peer") for port in ports]
        self._timer = None
        self._first_output_due = False
        self._followers = Followers(self, self._followed)
        self._handed_over = self._taken = 0

    def counters(self):
        return {**self._core.counters, **counts(self._links), "handed_over": self._handed_over, "waiting": self._core.waiting,
                "covered_from": self._core.covered_from, "output_epoch": self._core.epoch,
                "determinants": sum(map(len, self._core.logs)), "remembered": self._core.remembered,
                # frames of the master: that it is heard says more than that it beats
                "heard": self._taken - sum(self._core.counters[name] for name in ("old_epoch", "later_epoch", "bad_frames")),
                **self._followers.counters()}

    def fence(self, epoch):
        # what the old master sent before it died and is here already counts: it must not be lost
        self.node.drain()
        stored = self._core.fence(epoch)
        if epoch > self.epoch:
            for connection, messages in self._followers.end():
                connection.pump(self._followed_end(messages))
        self._first_output_due = epoch > self.epoch
        self.epoch = max(self.epoch, epoch)
        return {"stored": stored, "covered_from": self._core.covered_from, "output_epoch": self._core.epoch}

    def frames(self, hop, frames):
        if hop == HOP_OUTPUT:
            self._taken += len(frames)
            self._send(self._core.receive_all(frames))
            self._followers.wake()
        else:
            super().frames(hop, frames)

    def frame(self, hop, frame):
        if hop != HOP_TRIM:
            return
        try:
            trim = decode_trim(frame)
            self._followers.save()
            self._send(self._core.trim(*trim))
        except FrameError:
            self._core.counters["bad_frames"] += 1

    def _send(self, released):
        """What may leave: to its ports, and in its order."""
        if not released:
            return
        for number, packets in enumerate(by_port(released, len(self._links))):
            if packets:
                self._let_out(number, packets)
        if self._first_output_due:
            self._first_output_due = False
            self.event("first-output", at_ns=self.loop.now_ns())

    def _let_out(self, port, packets):
        """To the input logger that *port* faces, if it is on this node; else out of the interface."""
        peer = self._peers[port]
        if peer is not None:
            role = self.node.role(peer["group"], "input-logger")
            if role is not None and peer["port"] in role.port_numbers:
                self._handed_over += len(packets)
                role.guarded(role.take)(role.port_numbers[peer["port"]], packets)
                return
        self._links[port].send_all(packets)

    def acknowledge(self):
        """Send the acknowledgements that are due; the node calls it after each batch."""
        frames, again_ns = self._core.acknowledge(self.loop.now_ns())
        for frame in frames:
            self.node.send(frame)
        if self._timer is None or again_ns < self._timer[0]:
            self.loop.cancel(self._timer)
            self._timer = self.loop.at(again_ns, self._acknowledge_later)

    def _acknowledge_later(self):
        # an earlier timer is left where it is when there is more time: most acknowledgements go out with a batch
        self._timer = None
        self.acknowledge()

    def message(self, connection, message):
        if message["t"] == "determinants":
            check_positions(message["after"], len(self._core.logs))
            check_positions(message["to"], len(self._core.logs))
            connection.pump(self._batches(message["after"], message["to"]))
        elif message["t"] == "follow_determinants":
            check_positions(message["after"], len(self._core.logs))
            self._followers.add(connection, DeterminantFeed(self._core.logs, message["after"]))
        elif message["t"] == "unfollow_determinants":
            messages = self._followers.rest(connection)
            if messages is not None:        # else a fence has ended it already
                connection.pump(self._followed_end(messages))
        else:
            super().message(connection, message)

    def _followed(self, feed, batches, begin):
        return {"t": "followed_determinants", "group": self.group, "begin": begin, "batches": batches,
                "covered": [log.trimmed for log in self._core.logs]}

    def _followed_end(self, messages):
        """The end of a follower's stream: the rest, and which outputs left, so that a hot spare need not ask."""
        yield from messages
        head = {"t": "followed_end", "group": self.group, "epoch": self._core.epoch,
                "stored": [log.last for log in self._core.logs]}
        for worker, log in enumerate(self._core.logs):
            keys = self._core.released(worker, log.trimmed, log.last)
            for first in range(0, len(keys), KEYS_PER_MESSAGE):
                yield {**head, "worker": worker, "released": pack_keys(keys[first:first + KEYS_PER_MESSAGE]), "last": False}
        yield {**head, "worker": 0, "released": b"", "last": True}

    def _batches(self, after, to):
        """Per worker: what left already, then the determinants, so that a replay knows the former when it starts."""
        for worker, log in enumerate(self._core.logs):
            head = {"t": "determinant_batch", "group": self.group, "worker": worker}
            k, goal = after[worker], to[worker]
            keys = self._core.released(worker, k, goal)
            for first in range(0, len(keys), KEYS_PER_MESSAGE):
                yield {**head, "data": b"", "released": pack_keys(keys[first:first + KEYS_PER_MESSAGE]), "end": False}
            end = False
            while not end:
                data, k = log.encode(max(k, log.trimmed), BYTES_PER_MESSAGE)
                end = k >= goal or not data
                yield {**head, "data": data, "released": b"", "end": end}

    def disconnected(self, connection):
        self._followers.disconnected(connection)

    def release(self):
        super().release()
        self._followers.release()

    def close(self):
        self._followers.close()
        self.loop.cancel(self._timer)
        for link in self._links:
            link.close()
