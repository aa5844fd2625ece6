"""A spare's role without sockets: what it is connected to, and a master that it is the spare of."""

from middleboxes.core.feeding import DeterminantFeed, InputFeed
from middleboxes.core.frames import decode_input
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.recovery import LiveBuffer
from middleboxes.runtime.spare import SpareRole

from tests.core.boxes import GROUP, MAC, master, output_logger, released

STORE, IL, OL = ["127.0.0.1", 1], ["127.0.0.1", 2], ["127.0.0.1", 3]
ARGUMENTS = {"group_id": GROUP, "workers": 1, "function": "tests.core.boxes:Stamp", "parameters": {}, "checkpoint_interval_ms": 50,
             "ports": [{"name": "inside", "mac": "02:00:5e:00:01:01", "address": "10.0.0.254/24"},
                       {"name": "outside", "mac": "02:00:5e:00:01:02", "address": "192.0.2.254/24"}],
             "store": STORE, "input_logger": IL, "output_logger": OL}


class Loop:
    """Work and timers that the test runs."""

    def __init__(self):
        self.time_ns, self.timers, self.jobs = 1, [], []

    def now_ns(self):
        return self.time_ns

    def after(self, delay_ns, function):
        self.timers.append([delay_ns, function])
        return self.timers[-1]

    def cancel(self, timer):
        if timer in self.timers:
            self.timers.remove(timer)

    def work(self, function):
        if function not in self.jobs:
            self.jobs.append(function)

    def fire(self):
        """All timers."""
        timers, self.timers = self.timers, []
        for _, function in timers:
            function()

    def run(self):
        while self.jobs:
            job = self.jobs.pop(0)
            if job():
                self.work(job)


class Connection:
    """A connection of the spare's: what it sent, and a way to answer."""

    def __init__(self, address, on_open, on_message, on_close):
        self.address, self.sent, self.closed = address, [], False
        self._on_open, self._on_message, self.on_close = on_open, on_message, on_close
        self.channel = type("Channel", (), {"established": False})()

    def open(self):
        self.channel.established = True
        self._on_open(self)

    def send(self, message):
        self.sent.append(message)

    def answer(self, **message):
        if not self.closed:
            self._on_message(self, {"group": "g", **message})

    def close(self, reason="closed"):
        if not self.closed:
            self.closed = True
            if self.on_close:
                self.on_close(self, reason)

    def asked(self):
        return [message["t"] for message in self.sent]


class Node:
    """A node with nothing but a loop and connections."""

    name, mac = "m2", MAC
    send = send_apart = staticmethod(lambda frames: None)

    def __init__(self):
        self.loop, self.connections, self.failed, self.lines = Loop(), [], [], []
        self.log = self.lines.append
        self.live = LiveBuffer()
        self.bundles = type("Bundles", (), {"watched": staticmethod(lambda group, args, on_event: on_event),
                                            "begin": staticmethod(lambda *args: None)})()

    def connect(self, role, address, on_open, on_message, on_close):
        self.connections.append(Connection(address, role.guarded(on_open), role.guarded(on_message), role.guarded(on_close)))
        return self.connections[-1]

    def buffer(self, group_id):
        return self.live

    def fail(self, role, error):
        self.failed.append(str(error))


class Scene:
    """A living master with its loggers, and a spare of it; ``follow`` lets a hot one follow."""

    def __init__(self, hot=True):
        self.inputs, self.logger, self.old = InputLogger(GROUP, MAC, 1, 1, 1 << 20), output_logger(), master()
        self.node = Node()
        self.cut = self.old.cut()
        self.spare = SpareRole(self.node, "g", 1, {**ARGUMENTS, "hot": hot})

    def peer(self, address):
        """The newest connection to *address*."""
        return [connection for connection in self.node.connections if connection.address == address][-1]

    def load(self):
        """All connections open; the store sends what it has."""
        for address in (STORE, IL, OL):
            if not self.peer(address).channel.established:
                self.peer(address).open()
        self.chunks(self.cut)

    def chunks(self, cut):
        store = self.peer(STORE)
        for data in cut.chunks():
            store.answer(t="chunk", id=cut.id, base=cut.base, last=False, data=data)
        store.answer(t="chunk", id=cut.id, base=cut.base, last=True, data=b"")
        self.node.loop.run()

    def follow(self):
        self.load()
        after, = [message["after"] for message in self.peer(IL).sent if message["t"] == "follow_inputs"]
        self.input_feed = InputFeed(self.inputs, after)
        self.determinant_feed = DeterminantFeed(self.logger.logs, [worker.k for worker in self.spare.core.workers])
        self.peer(IL).answer(t="followed_inputs", begin=self.input_feed.begin, frames=[])
        self.tell(begin=self.determinant_feed.begin)
        self.node.loop.run()
        return self

    def tell(self, begin=(), batches=()):
        self.peer(OL).answer(t="followed_determinants", begin=list(begin), batches=list(batches),
                             covered=[log.trimmed for log in self.logger.logs])

    def packets(self, count):
        """Through the master, and by the streams to the spare."""
        for _ in range(count):
            item = decode_input(self.inputs.accept(0, b"send x", 1))[2]
            released(self.logger, self.old.process(0, item))
        self.peer(IL).answer(t="followed_inputs", begin=[], frames=self.input_feed.take())
        self.tell(batches=[list(batch) for batch in self.determinant_feed.take()])
        self.node.loop.run()

    def go_ahead(self, **changes):
        self.spare.go_ahead(2, {"input_logger": IL, "output_logger": OL, "inputs_from": 1, **changes})
        self.node.loop.run()

    def fenced(self, epoch=2):
        """The output logger is fenced, and ends the stream."""
        stored = self.logger.fence(epoch)
        self.peer(OL).answer(t="followed_end", epoch=epoch, worker=0, stored=stored, released=b"", last=True)
        self.node.loop.run()
        return stored

    def logged(self, count):
        """Inputs that the master never took, by the stream."""
        for _ in range(count):
            self.inputs.accept(0, b"send x", 1)
        self.peer(IL).answer(t="followed_inputs", begin=[], frames=self.input_feed.take())
        self.node.loop.run()

    def recover(self, **changes):
        stored = self.logger.fence(2)
        self.spare.recover(changes.pop("epoch", 2), {"stored": stored, "positions": [], "cold": False, "inputs_from": 1, "cause": "killed", "store": STORE,
                               "input_logger": IL, "output_logger": OL, **changes})
        self.node.loop.run()
