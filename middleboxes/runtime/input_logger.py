"""The input logger's role: port interfaces in, logged INPUT frames out, and the log for a recovery."""

import time

from ..core.feeding import InputFeed
from ..core.frames import HOP_TRIM, FrameError, decode_input, decode_trim
from ..core.inputlog import InputLogger
from ..core.partition import flow_worker
from ..functions import load
from .followers import Followers
from .link import counts
from .paths import Inlet
from .role import Role, RoleError, check_positions, open_ports

FRAMES_PER_MESSAGE = 64


def partition_of(function, names):
    """The partition of the middlebox called *function*, by port number (*names*: their names). Raises ConfigurationError."""
    own = load(function).partition
    if own is None:
        return flow_worker
    return lambda frame, port, workers: own(frame, names[port], workers)


class InputLoggerRole(Role):
    """Takes what a port's MAC address accepts: its own unicast, and broadcast and multicast."""

    role = "input-logger"

    def __init__(self, node, group, epoch, group_id, workers, ports, function, tick_interval_ms, log_bytes_max, start, start_ns,
                 master_epoch):
        super().__init__(node, group, epoch, group_id)
        check_positions(start, workers, RoleError)
        self._workers = workers
        partition = partition_of(function, [port["name"] for port in ports]) if workers > 1 else flow_worker
        self._core = InputLogger(group_id, node.mac, workers, epoch, log_bytes_max, partition, start=start, start_ns=start_ns,
                                 master_epoch=master_epoch)
        self._bad_frames = 0
        self._followers = Followers(self, lambda feed, frames, begin: {"t": "followed_inputs", "group": group, "begin": begin,
                                                                       "frames": frames})
        #: {name of a port: its number}
        self.port_numbers = {port["name"]: number for number, port in enumerate(ports)}
        self._links = open_ports(node, group, ports)
        self._inlets = [Inlet(self._core, number, bytes.fromhex(port["mac"].replace(":", "")), link, node.send_all, self._followers.wake)
                        for number, (port, link) in enumerate(zip(ports, self._links))]
        for link, inlet in zip(self._links, self._inlets):
            self.loop.watch(link.fileno(), inlet.receive)
        self._tick_ns = tick_interval_ms * 1_000_000
        self._timer = self.loop.after(self._tick_ns, self._tick)

    def counters(self):
        return {**self._core.counters, **counts(self._links), "n": self._core.last_n, "log_bytes": self._core.log_bytes,
                "filtered": sum(inlet.filtered for inlet in self._inlets), "bad_frames": self._bad_frames, **self._followers.counters()}

    def fence(self, epoch):
        self._core.fence(epoch)
        if epoch > self.epoch:
            self._followers.hurry()
        self.epoch = self._core.epoch
        return {"begins_after": list(self._core.begins_after)}

    def take(self, number, frames):
        """*frames* came to port *number* from the output logger of the group that it faces, on this node."""
        self._inlets[number].take(frames)

    def _tick(self):
        self._send_ticks()
        # from the planned time on, so that ticks do not drift; after a stall the missed ones are not made up for
        self._timer = self.loop.at(max(self._timer[0] + self._tick_ns, self.loop.now_ns()), self._tick)

    def _send_ticks(self):
        for frame in self._core.tick(time.time_ns()):
            self.node.send(frame)
        self._followers.wake()

    def frame(self, hop, frame):
        if hop != HOP_TRIM:
            return
        try:
            epoch, positions, _ = decode_trim(frame)
            self._followers.save()
            self._core.trim(epoch, positions)
        except FrameError:
            self._bad_frames += 1

    def message(self, connection, message):
        if message["t"] == "inputs":
            check_positions(message["after"], self._workers)
            connection.pump(self._batches(message["after"]))
        elif message["t"] == "follow_inputs":
            check_positions(message["after"], self._workers)
            self._followers.add(connection, InputFeed(self._core, message["after"]))
        elif message["t"] == "unfollow_inputs":
            connection.pump(self._rest(self._followers.rest(connection)))
        else:
            super().message(connection, message)

    def _batches(self, after):
        for worker, n in enumerate(after):
            end = False
            while not end:
                frames, end = self._core.after(worker, n, FRAMES_PER_MESSAGE)
                if frames:
                    n = decode_input(frames[-1])[2].n       # more than n + their number, if what comes after n was trimmed
                yield {"t": "input_batch", "group": self.group, "worker": worker, "frames": frames, "end": end}
        # the first live inputs after this answer: the new master sees at once whether the live stream joins it
        self._send_ticks()

    def _rest(self, messages):
        """The end of a follower's stream, in the form of an answer."""
        if messages is None:
            yield {"t": "refused", "group": self.group, "error": "it does not follow"}
            return
        yield from messages
        for worker in range(self._workers):
            yield {"t": "input_batch", "group": self.group, "worker": worker, "frames": [], "end": True}
        self._send_ticks()

    def disconnected(self, connection):
        self._followers.disconnected(connection)

    def release(self):
        super().release()
        self._followers.release()

    def close(self):
        self._followers.close()
        self.loop.cancel(self._timer)
        for link in self._links:
            self.loop.watch(link.fileno())
            link.close()
