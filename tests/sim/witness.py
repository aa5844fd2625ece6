"""The witness: a middlebox that numbers all it does, so that a lost, doubled or altered step shows in its outputs."""

import struct

from middleboxes.core.channel import pack
from middleboxes.sdk import Counter, IdleTimers, Map, Middlebox, Port

IDLE_NS = 8_000_000
PORTS = (Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24"),
         Port.parse("outside", "02:00:5e:00:01:02", "192.0.2.254/24"))

INPUT = struct.Struct(">HI")            # flow, serial
OUTPUT = struct.Struct(">IHHIIIQI")     # number, copy, flow, born, count, serial, random, outside value


class Witness(Middlebox):
    """Stamps a global number, the flow's birth number and count, a random number and an outside value."""

    ports = ("inside", "outside")
    number = Counter()
    flows = Map()                    # flow -> (born, count)
    timers = IdleTimers()

    def __init__(self, outside_value):
        """*outside_value*: a function that gives another value each time, in each instance."""
        super().__init__({}, PORTS)
        self._outside_value = outside_value
        self.trace = []                 # not state: (timestamp, serial or None) of each step this instance made

    def handle(self, frame, ctx):
        flow, serial = INPUT.unpack(frame)
        self.trace.append((ctx.now_ns, serial))
        number = self.number.add()
        born, count = self.flows.get(flow, (number, 0))
        random = ctx.random()
        if random % 13 == 0:
            self.flows.pop(flow, None)
            self.timers.pop(flow, None)
        else:
            self.flows[flow] = (born, count + 1)
            self.timers.touch(flow, ctx.now_ns)
        outside = ctx.record(self._outside_value) if random % 5 == 0 else 0
        for copy in range(2 if random % 7 == 0 else random % 11 != 0):
            ctx.emit("outside", OUTPUT.pack(number, copy, flow, born, count + 1, serial, random, outside))
            if random % 29 == 0:
                raise ValueError("the function's own fault, after half of the step")

    def tick(self, ctx):
        self.trace.append((ctx.now_ns, None))
        for flow in self.timers.expired(ctx.now_ns, IDLE_NS, 3):
            del self.timers[flow]
            del self.flows[flow]
        number, random = self.number.add(), ctx.random()
        if random % 3 == 0:
            ctx.emit("inside", OUTPUT.pack(number, 0, 0xFFFF, 0, 0, 0, random, 0))


def canonical(core):
    """All of a master's state as bytes: variables in their order of iteration, positions, PRNGs, times."""
    variables = [[name, list(map(list, variable.items())) if isinstance(variable, Map) else variable.value]
                 for name, variable in core.function.variables.items()]
    workers = [[w.n, w.k, w.last_ns, w.context.random_state] for w in core.workers]
    return pack([variables, workers])
