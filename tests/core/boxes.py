"""Small middleboxes and helpers that the core's tests share."""

import random

from middleboxes.core.checkpoint import Assembler
from middleboxes.core.frames import PACKET, TICK, Input, decode_output
from middleboxes.core.master import Master
from middleboxes.core.outputlog import OutputLogger
from middleboxes.sdk import Counter, Map, Middlebox, Port

GROUP = 7
MAC = bytes.fromhex("024654010001")
PORTS = (Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24"),
         Port.parse("outside", "02:00:5e:00:01:02", "192.0.2.254/24"))


class Stamp(Middlebox):
    """Does what the frame's first word says and stamps a running number into what it emits."""

    ports = ("inside", "outside")
    total = Counter()
    seen = Map()
    outside_value = staticmethod(lambda: 42)

    def handle(self, frame, ctx):
        word, _, rest = frame.partition(b" ")
        number = self.total.add()
        self.seen[rest] = self.seen.get(rest, 0) + 1
        if word == b"drop":
            return
        if word == b"fail":
            ctx.emit("outside", b"before the fault")
            raise KeyError("the function's own fault")
        if word == b"record":
            rest += repr(ctx.record(self.outside_value)).encode()
        for copy in range(int(rest) if word == b"many" else 1):
            ctx.emit("outside", b"%d %s %d" % (number, rest, copy))

    def tick(self, ctx):
        self.seen[b"tick"] = ctx.now_ns


def packet(n, frame=b"send x", port=0):
    """Input number *n*, one ms after the one before."""
    return Input(n, n * 1_000_000, port, PACKET, frame)


def tick(n):
    return Input(n, n * 1_000_000, 0, TICK, b"")


def master(box=Stamp, epoch=1, workers=1, **options):
    return Master(box.instances({}, PORTS, workers), GROUP, MAC, epoch, list(range(100, 100 + workers)), **options)


def output_logger(epoch=1, workers=1, **options):
    return OutputLogger(GROUP, MAC, workers, 2, epoch, **options)


def assembled(chunks):
    """(the chunks, the Checkpoint) as they come out at the other end of the wire."""
    assembler = Assembler()
    for chunk in chunks:
        assembler.add(chunk)
    return assembler.finish()


def checkpoint(cut):
    """*cut* as it comes out at the other end of the wire."""
    return assembled(cut.chunks())[1]


def contents(core):
    """All that makes up a master's state, in the order in which it would be iterated."""
    variables = {name: (list(variable.items()) if isinstance(variable, Map) else variable.value)
                 for name, variable in core.function.variables.items()}
    return variables, [(w.n, w.k, w.last_ns, w.context.random_state) for w in core.workers]


def released(logger, frames):
    """Feed *frames* to *logger*; the payloads that leave."""
    return [frame for data in frames for _, frame in logger.receive(data)]


def outputs(frames):
    return [output for output in map(decode_output, frames) if output.k]


def mutations(samples, count, seed):
    """*count* damaged copies of *samples*: bytes changed, cut off, inserted, or parts repeated."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(rng.choice(samples))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) + 1)
            kind = rng.randrange(4)
            if kind == 0 and at < len(data):
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            elif kind == 1:
                del data[at:]
            elif kind == 2:
                data[at:at] = rng.randbytes(rng.randint(1, 8))
            else:
                data[at:at] = data[:rng.randint(0, 40)]
        yield bytes(data)
