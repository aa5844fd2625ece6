"""The store's role: takes checkpoints whole or not at all, and hands them to spares."""

from ..core.checkpoint import Assembler, CheckpointError, Folded
from ..core.snapshot import Snapshot
from .role import Role

#: after so many checkpoints that nobody followed, whoever takes over will come with nothing
ALONE_CHECKPOINTS = 10


class StoreRole(Role):
    """Keeps the last durable checkpoint of one group in memory, on a host of its own, and feeds followers."""

    role = "store"

    def __init__(self, node, group, epoch, group_id=0):
        super().__init__(node, group, epoch, group_id)
        self._folded = Folded()
        self._folded.epoch = epoch
        self._assemblers = {}       # connection -> Assembler of the checkpoint under way
        self._refused = set()       # connections whose checkpoint under way was refused
        self._followers = {}        # connection -> whether it wants headers only
        self._snapshot = Snapshot()
        self._alone = 0
        self._bytes = 0

    def counters(self):
        return {"checkpoint": self._folded.id, "checkpoint_bytes": self._bytes}

    def fence(self, epoch):
        self.epoch = self._folded.epoch = max(self.epoch, epoch)
        header = self._folded.header
        if header is None:
            return {"checkpoint": 0, "positions": [], "change": 0, "covers": {}, "last_ns": 0}
        return {"checkpoint": self._folded.id, "positions": header["positions"], "covers": header["covers"],
                "change": max(header["covers"].values()), "last_ns": max(header["times_ns"])}

    def message(self, connection, message):
        if message["t"] == "checkpoint":
            self._take(connection, message)
        elif message["t"] == "subscribe":
            if message["follow"]:
                self._followers[connection] = message["headers"]
            connection.pump(self._feed(message["have"], message["headers"], end=not message["follow"]))
        else:
            super().message(connection, message)

    def disconnected(self, connection):
        self._assemblers.pop(connection, None)
        self._followers.pop(connection, None)
        self._refused.discard(connection)

    def _take(self, connection, message):
        """A chunk; the last message of a checkpoint carries none and commits it."""
        if connection in self._refused:
            if message["last"]:
                self._refused.discard(connection)
            return                      # the rest of what was refused
        assembler = self._assemblers.setdefault(connection, Assembler())
        try:
            if not message["last"]:
                assembler.add(message["data"])
                return
            chunks, checkpoint = assembler.finish()
        except CheckpointError as error:
            self._assemblers.pop(connection)
            if not message["last"]:
                self._refused.add(connection)
            connection.send({"t": "refused", "group": self.group, "error": str(error)})
            return
        durable = self._folded.header
        if durable is not None and (message["id"], message["epoch"]) == (durable["id"], durable["epoch"]):
            # sent again after a broken connection: it is durable already
            connection.send({"t": "stored", "group": self.group, "id": self._folded.id})
            return
        if (checkpoint.header["id"], checkpoint.header["base"]) != (message["id"], message["base"]):
            connection.send({"t": "refused", "group": self.group, "error": "a checkpoint whose header is another's"})
            return
        refusal = self._folded.refusal(message["epoch"], message["base"])
        if refusal and message["epoch"] >= self._folded.epoch:
            # not fenced, only lost: tell what there is, and the master sends a base
            connection.send({"t": "stored", "group": self.group, "id": self._folded.id})
            return
        if refusal:
            connection.send({"t": "refused", "group": self.group, "error": refusal})
            return
        self._bytes = sum(map(len, chunks))
        self._folded.fold(chunks, checkpoint)
        connection.send({"t": "stored", "group": self.group, "id": self._folded.id})
        for follower, headers in list(self._followers.items()):     # one that can't be reached any more leaves meanwhile
            follower.pump(self._chunks(self._folded.id, message["base"], chunks[:1] if headers else chunks))
        self.work(self._folded.fold_slice)
        self._keep_ready(chunks)

    def _keep_ready(self, chunks):
        """Have all of the last checkpoint, of *chunks*, ready for a spare that has nothing, unless one is following."""
        if self._followers:
            self._alone = 0
            self._snapshot.clear()
            return
        self._alone += 1
        self._snapshot.add(self._folded.id, self._folded.header["base"], chunks)
        if self._alone >= ALONE_CHECKPOINTS and self._snapshot.wants():
            self._snapshot.begin(*self._folded.everything())
            self.work(self._snapshot.step)

    def _chunks(self, number, base, chunks):
        for data in chunks:
            yield {"t": "chunk", "group": self.group, "id": number, "base": base, "last": False, "data": data}
        yield {"t": "chunk", "group": self.group, "id": number, "base": base, "last": True, "data": b""}

    def _feed(self, have, headers, end):
        ready = self._snapshot.entries() if have == 0 and not headers else None
        for number, base, chunks in ready or (self._folded.headers_since(have) if headers else self._folded.since(have)):
            yield from self._chunks(number, base, chunks)
        if end:
            yield {"t": "chunk", "group": self.group, "id": 0, "base": 0, "last": True, "data": b""}
