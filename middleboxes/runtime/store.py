"""The store's role: takes checkpoints whole or not at all, and hands them to spares."""

from ..core.checkpoint import Assembler, CheckpointError, Folded
from .role import Role


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
        self._fed = {}              # connection -> the checkpoint up to which it has got, or will get, all
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
            self._subscribed(connection, message["have"], message["headers"], message["follow"])
        else:
            super().message(connection, message)

    def _subscribed(self, connection, have, headers, follow):
        if follow:
            self._followers[connection] = headers
        if headers:
            self._fed.pop(connection, None)
            entries = self._folded.headers_since(have)
        else:
            # who asks for the rest may not have heard of what is on its way
            entries = self._folded.since(max(have, self._fed.get(connection, 0)))
            self._fed[connection] = self._folded.id
        connection.pump(self._feed(entries, end=not follow))

    def disconnected(self, connection):
        self._fed.pop(connection, None)
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
            if not headers:
                self._fed[follower] = self._folded.id
            follower.pump(self._chunks(self._folded.id, message["base"], chunks[:1] if headers else chunks))
        self.work(self._folded.fold_slice)

    def _chunks(self, number, base, chunks):
        for data in chunks:
            yield {"t": "chunk", "group": self.group, "id": number, "base": base, "last": False, "data": data}
        yield {"t": "chunk", "group": self.group, "id": number, "base": base, "last": True, "data": b""}

    def _feed(self, entries, end):
        for number, base, chunks in entries:
            yield from self._chunks(number, base, chunks)
        if end:
            yield {"t": "chunk", "group": self.group, "id": 0, "base": 0, "last": True, "data": b""}
