"""Functions that a replay could not repeat, each in one way; the line at fault ends with "# here"."""

import random
import time
from datetime import datetime

from middleboxes.sdk import Counter, Map, Middlebox

CACHE = {}


class Forwarding(Middlebox):
    """Sends everything out of the other port."""

    ports = ("inside", "outside")
    seen = Map()

    def process(self, packet, ctx):
        self.note(packet, ctx)
        ctx.emit("outside" if ctx.port == "inside" else "inside", packet.data)

    def note(self, packet, ctx):
        """What is done wrong."""


class WallClock(Forwarding):
    def note(self, packet, ctx):
        self.seen["last"] = time.time_ns()  # here


class Today(Forwarding):
    def note(self, packet, ctx):
        self.seen["last"] = str(datetime.now())  # here


class Dice(Forwarding):
    def note(self, packet, ctx):
        self.seen["last"] = random.randrange(6)  # here


class HashOfText(Forwarding):
    def note(self, packet, ctx):
        self.seen["last"] = hash(packet.data) % 1000  # here


class Mutating(Forwarding):
    def note(self, packet, ctx):
        sizes = list(self.seen.get("sizes", ()))
        sizes.append(len(packet.data))
        self.seen["sizes"] = sizes  # here


class SetOrder(Forwarding):
    def note(self, packet, ctx):
        kinds = {"a", "b", str(len(packet.data))}
        for place, kind in enumerate(kinds):  # here
            self.seen[place] = kind


class SetAttribute(Forwarding):
    def configure(self, parameters):
        self.kinds = frozenset(parameters.get("kinds", ("a", "b", "c")))

    def note(self, packet, ctx):
        self.seen["first"] = next(iter(self.kinds))  # here


class Undeclared(Forwarding):
    def configure(self, parameters):
        self.count = 0

    def note(self, packet, ctx):
        self.count += 1  # here


class UndeclaredMap(Forwarding):
    def configure(self, parameters):
        self.table = {}

    def note(self, packet, ctx):
        self.table[len(packet.data)] = 1  # here


class ClassMap(Forwarding):
    table = {}

    def note(self, packet, ctx):
        self.table.setdefault(len(packet.data), 1)  # here


class ModuleMap(Forwarding):
    def note(self, packet, ctx):
        CACHE[len(packet.data)] = 1  # here


class Helper:
    def __init__(self):
        self.last = 0

    def see(self, size):
        self.last = size  # here


class HelperObject(Forwarding):
    def configure(self, parameters):
        self.helper = Helper()

    def note(self, packet, ctx):
        self.helper.see(len(packet.data))


class Fragile(Forwarding):
    def note(self, packet, ctx):
        packet.data[60]  # here


LINES = (WallClock, Today, Dice, HashOfText, Mutating, SetOrder, SetAttribute, Undeclared, UndeclaredMap, ClassMap, ModuleMap, HelperObject, Fragile)


class Forgetful(Forwarding):
    """Its state is not declared, so a take-over loses it: seen without the debug mode."""

    def configure(self, parameters):
        self.count = [0]

    def process(self, packet, ctx):
        self.count[0] += 1
        ctx.emit("inside", b"%d" % self.count[0])


class Unbounded(Forwarding):
    def note(self, packet, ctx):
        self.seen[packet.data] = ctx.now_ns


class Unnamed(Forwarding):
    """Bounded, but it does not say who makes room."""

    def note(self, packet, ctx):
        if len(self.seen) < 100:
            self.seen[packet.data] = ctx.now_ns


class Believing(Forwarding):
    """Takes what claims to be IPv4 at its word."""

    def note(self, packet, ctx):
        self.seen[packet.data[16:40]] = 1


class TwoWorkers(Forwarding):
    """Its partition gives one flow to two workers."""

    partition = staticmethod(lambda frame, port, workers: frame[-1] % workers)
    flows = Map(scope="flow")

    def note(self, packet, ctx):
        self.flows[packet.five_tuple()] = 1


class Wrong(Forwarding):
    """Its partition fails on short frames."""

    partition = staticmethod(lambda frame, port, workers: frame[33] % workers)


class Good(Forwarding):
    """Counts, and lets the outside in through ctx.record only."""

    total = Counter()
    outside_value = staticmethod(time.time_ns)

    def note(self, packet, ctx):
        kinds = {"a", "b", "c"}
        self.seen["kinds"] = tuple(sorted(kinds))
        self.seen["random"] = ctx.random()
        if self.total.add() % 3 == 0 and len(packet.data) > 20:
            self.seen["told"] = ctx.record(lambda: len(str(time.time_ns())))
