"""The witness: a middlebox that numbers all it does, so that a lost, doubled or altered step shows in its outputs."""

import struct

from middleboxes.core.channel import pack
from middleboxes.sdk import Counter, IdleTimers, Map, Middlebox, Port

IDLE_NS = 8_000_000
PORTS = (Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24"),
         Port.parse("outside", "02:00:5e:00:01:02", "192.0.2.254/24"))

INPUT = struct.Struct(">HI")            # flow, serial
#: number, copy, flow, born, count, serial, random, outside value, early, own, mine
OUTPUT = struct.Struct(">IHHIIIQIIII")


class Witness(Middlebox):
    """Stamps a global number, the flow's birth number and count, a random number and an outside value.

    With several workers the number and the flows are shared, ``early`` is shared in a domain of its own, which some steps take
    alone and some take first, ``own`` counts per worker and ``mine`` per flow.
    """

    ports = ("inside", "outside")
    number = Counter()
    flows = Map()                    # flow -> (born, count)
    timers = IdleTimers()
    early = Counter(domain="early")
    own = Counter(scope="worker")
    mine = Map(scope="flow")         # flow -> packets

    def __init__(self, outside_value, trace, view):
        """*outside_value*: a function that gives another value each time, in each instance.

        *trace*: not state; gets (worker, timestamp, serial or None) of each step that this and its fellow workers made.
        """
        super().__init__({}, PORTS, view)
        self._outside_value = outside_value
        self.trace = trace

    @staticmethod
    def partition(frame, port, workers):
        return INPUT.unpack(frame)[0] % workers

    def handle(self, frame, ctx):
        flow, serial = INPUT.unpack(frame)
        self.trace.append((self.worker_number, ctx.now_ns, serial))
        own, random = self.own.add(), ctx.random()
        mine = self.mine[flow] = self.mine.get(flow, 0) + 1
        if random % 17 == 3:
            self.early.add()
            return                  # a step that has nothing but the domain "early"
        if random % 17 == 5:
            return                  # a step that has nothing of what is shared
        early = self.early.add() if random % 3 == 0 else 0
        number = self.number.add()
        born, count = self.flows.get(flow, (number, 0))
        if random % 13 == 0:
            self.flows.pop(flow, None)
            self.timers.pop(flow, None)
        else:
            self.flows[flow] = (born, count + 1)
            self.timers.touch(flow, ctx.now_ns)
        outside = ctx.record(self._outside_value) if random % 5 == 0 else 0
        for copy in range(2 if random % 7 == 0 else random % 11 != 0):
            ctx.emit("outside", OUTPUT.pack(number, copy, flow, born, count + 1, serial, random, outside, early, own, mine))
            if random % 29 == 0:
                raise ValueError("the function's own fault, after half of the step")
            if random % 29 == 1:
                self.early.add()    # against the order of domains, where this step has not taken it yet

    def tick(self, ctx):
        self.trace.append((self.worker_number, ctx.now_ns, None))
        random = ctx.random()
        if random % 5 == 0:
            self.early.add()
            return
        for flow in self.timers.expired(ctx.now_ns, IDLE_NS, 3):
            del self.timers[flow]
            del self.flows[flow]
        number = self.number.add()
        if random % 3 == 0:
            ctx.emit("inside", OUTPUT.pack(number, 0, 0xFFFF, 0, 0, 0, random, 0, 0, 0, 0))


def canonical(core):
    """All of a master's state as bytes: variables in their order of iteration, positions, PRNGs, times, order."""
    variables = [[name, list(map(list, variable.items())) if isinstance(variable, Map) else variable.value]
                 for name, variable in core.function.variables.items()]
    workers = [[w.n, w.k, w.last_ns, w.context.random_state] for w in core.workers]
    return pack([variables, workers, core.state.header()])
