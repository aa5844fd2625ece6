"""The output logger's role: OUTPUT frames in, released packets out of the port interfaces, acknowledgements back."""

from ..core.feeding import DeterminantFeed
from ..core.frames import HOP_TRIM, FrameError, decode_trim
from ..core.outputlog import OutputLogger, pack_keys
from .followers import Followers
from .link import counts
from .paths import Outlet
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
        self._timer = None
        self._followers = Followers(self, self._followed)
        self._handed_over = 0
        self._outlet = Outlet(self._core, [self._way(number, port.get("peer")) for number, port in enumerate(ports)], node.send_all,
                              self._acknowledge_later, self._followers.wake)
        # called for each batch: without a step in between
        self.outputs, self.acknowledge = self._outlet.outputs, self._outlet.acknowledge

    def counters(self):
        return {**self._core.counters, **counts(self._links), "handed_over": self._handed_over, "waiting": self._core.waiting,
                "covered_from": self._core.covered_from, "output_epoch": self._core.epoch,
                "determinants": sum(map(len, self._core.logs)), "remembered": self._core.remembered,
                # frames of the master: that it is heard says more than that it beats
                "heard": self._outlet.taken - sum(self._core.counters[name] for name in ("old_epoch", "later_epoch", "bad_frames")),
                "heard_ago_ms": (self.loop.now_ns() - self._outlet.heard_ns) // 1_000_000,
                **self._followers.counters()}

    def fence(self, epoch):
        # what the old master sent before it died and is here already counts: it must not be lost
        self.node.drain()
        stored = self._core.fence(epoch)
        if epoch > self.epoch:
            for connection, messages in self._followers.end():
                connection.pump(self._followed_end(messages))
        self._outlet.on_first = self._first_output if epoch > self.epoch else None
        self.epoch = max(self.epoch, epoch)
        return {"stored": stored, "covered_from": self._core.covered_from, "output_epoch": self._core.epoch}

    def frame(self, hop, frame):
        if hop != HOP_TRIM:
            return
        try:
            trim = decode_trim(frame)
            self._followers.save()
            self._outlet.let_out(self._core.trim(*trim))
        except FrameError:
            self._core.counters["bad_frames"] += 1

    def _first_output(self):
        self.event("first-output", at_ns=self.loop.now_ns())

    def _way(self, number, peer):
        """What sends packets out of port *number*, or to the input logger of the group that it faces (*peer*), while that is on this node."""
        send_all = self._links[number].send_all
        if peer is None:
            return send_all

        def let_out(packets):
            role = self.node.role(peer["group"], "input-logger")
            if role is None or peer["port"] not in role.port_numbers:
                send_all(packets)
                return
            self._handed_over += len(packets)
            role.guarded(role.take)(role.port_numbers[peer["port"]], packets)
        return let_out

    def _acknowledge_later(self, when_ns):
        self.loop.cancel(self._timer)
        self._timer = self.loop.at(when_ns, self._outlet.acknowledge_due)

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
        self._outlet = self.outputs = self.acknowledge = None

    def close(self):
        self._followers.close()
        self.loop.cancel(self._timer)
        for link in self._links:
            link.close()
