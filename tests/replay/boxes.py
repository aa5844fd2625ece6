"""Middleboxes that fail in the ways a bundle is for."""

import time

from middleboxes.sdk import Counter, Map, Middlebox


class Words(Middlebox):
    """Counts words, and raises on one."""

    ports = ("inside", "outside")
    counts = Map()
    total = Counter()
    ticks = Counter(scope="worker")

    def process(self, packet, ctx):
        word = packet.data
        self.counts[word] = self.counts.get(word, 0) + 1
        if word == b"poison":
            raise ZeroDivisionError("a poisoned word")
        ctx.emit("outside", word + b"%d" % self.total.add())
        if word == b"dice":
            self.counts[b"dice"] = ctx.random() & 7
            self.counts[b"clock"] = ctx.record(lambda: 42)

    def tick(self, ctx):
        self.ticks.add()


class Mended(Words):
    """Words, without its fault."""

    def process(self, packet, ctx):
        if packet.data == b"poison":
            ctx.emit("outside", b"harmless")
            return
        super().process(packet, ctx)


class Clock(Words):
    """Keeps what a clock says, and says so."""

    def process(self, packet, ctx):
        super().process(packet, ctx)
        if packet.data == b"now":
            self.counts[b"now"] = ctx.record(time.monotonic_ns)


_calls = []


class Moody(Words):
    """Keeps what it must not: how often it ran in this process."""

    def process(self, packet, ctx):
        _calls.append(1)
        self.counts[b"calls"] = len(_calls)


class Sleeper(Words):
    """Never returns from one word."""

    def process(self, packet, ctx):
        while packet.data == b"poison":
            raise KeyboardInterrupt     # what the user of a replay does about it
        super().process(packet, ctx)
