"""Virtual time, hosts that crash, a data network that loses, doubles, delays and reorders, and ordered connections."""

from heapq import heappop, heappush

US, MS = 1_000, 1_000_000

#: what a network can be freed of
FAULTS = ("loss", "duplication", "slow", "staleness")


class Events:
    """The virtual clock and what happens when; ties go in the order of scheduling."""

    def __init__(self):
        self.now_ns = 0
        self.count = 0
        self._queue = []
        self._number = 0

    def at(self, time_ns, action, *args):
        self._number += 1
        heappush(self._queue, (max(time_ns, self.now_ns), self._number, action, args))

    def after(self, delay_ns, action, *args):
        self.at(self.now_ns + delay_ns, action, *args)

    def run(self, until_ns, after_each=lambda: None):
        """All events up to *until_ns*, *after_each* called after each."""
        queue = self._queue
        while queue and queue[0][0] <= until_ns:
            self.now_ns, _, action, args = heappop(queue)
            self.count += 1
            action(*args)
            after_each()
        self.now_ns = until_ns


class Host:
    """A host with at most one role. What a crash leaves behind is nothing; ``boot`` tells its lives apart."""

    def __init__(self, name, number, network):
        self.name, self.network = name, network
        self.mac = bytes((2, 0x46, 0x54, 1, 0, number))
        self.alive = True
        self.clock_ns = 0               # how much its clock is ahead
        self.boot = 0
        self.role = None
        self.sends_left = None          # crash in the middle of a batch: after so many more frames
        self.on_crash = lambda host: None

    def send(self, frame):
        """Put a data frame on the network; ignored once the host is dead."""
        if not self.alive:
            return
        if self.sends_left is not None:
            if self.sends_left == 0:
                self.crash()
                return
            self.sends_left -= 1
        self.network.carry(frame)

    def crash(self):
        if self.alive:
            self.alive, self.role, self.sends_left = False, None, None
            self.boot += 1
            self.on_crash(self)

    def later(self, delay_ns, action, *args):
        """A timer of this host, gone with a crash or with the role that set it; a role that died as it sent sets none."""
        if self.alive:
            self.network.events.after(delay_ns, self._fire, self.boot, self.role, action, args)

    def _fire(self, boot, role, action, args):
        if self.alive and self.boot == boot and self.role is role:
            action(*args)

    def call(self, other, action, *args):
        """A message to *other* over an ordered, reliable connection that a crash of either end breaks."""
        self.network.message(self, other, action, args)


class Network:
    """Carries data frames to where the destination's virtual MAC points at the time of sending.

    As a real switch, it confirms a redirect before it is in force for everybody: for a while that is drawn for each sender, up to
    *stale_ns_max*, frames still go to where they went before; all of them, or (*mixed*) each by chance.
    """

    def __init__(self, rng, events, ordered, loss, duplication, slow, delay_us_max, stale_ns_max, mixed):
        self.events = events
        self.ordered = ordered          # data frames, too, arrive in the order of sending
        self.loss, self.duplication, self.slow = loss, duplication, slow
        self.stale_ns_max = stale_ns_max
        self._mixed = mixed
        self._virtual = {}              # virtual MAC -> host
        self._before = {}               # virtual MAC -> (host before the last redirect, when that was)
        self._stale_until_ns = {}       # (virtual MAC, sender's MAC) -> until when it goes to that host
        self.blocked = set()            # MACs of fenced hosts: their ports drop what they send
        self.counters = {"lost": 0, "doubled": 0, "carried": 0, "stale": 0}
        self._rng = rng
        self._delay_us_max = delay_us_max
        self._busy_until_ns = {}        # (host, boot, host, boot) -> when the connection's last message arrives
        self._broken = set()            # connections that lost something: nothing arrives any more

    def calm(self):
        """No more faults."""
        for fault in FAULTS:
            self.without(fault)

    def without(self, fault):
        """No more of one of FAULTS."""
        setattr(self, "stale_ns_max" if fault == "staleness" else fault, 0)

    def redirect(self, virtual, host):
        """Frames to *virtual* (a MAC) go to *host* from now on, or soon."""
        before, self._virtual[virtual] = self._virtual.get(virtual), host
        self._stale_until_ns = {ends: until for ends, until in self._stale_until_ns.items() if ends[0] != virtual}
        if before is None or before is host or not self.stale_ns_max:
            self._before.pop(virtual, None)
        else:
            self._before[virtual] = before, self.events.now_ns

    def _target(self, virtual, sender):
        if virtual not in self._before or not self.stale_ns_max:
            return self._virtual[virtual]
        before, redirected_ns = self._before[virtual]
        until_ns = self._stale_until_ns.get((virtual, sender))
        if until_ns is None:
            until_ns = self._stale_until_ns[virtual, sender] = redirected_ns + int(self._rng.random() * self.stale_ns_max)
        if self.events.now_ns >= until_ns or self._mixed and self._rng.random() < 0.5:
            return self._virtual[virtual]
        self.counters["stale"] += 1
        return before

    def carry(self, frame):
        rng = self._rng
        if frame[6:12] in self.blocked:
            return
        if self.loss and rng.random() < self.loss:
            self.counters["lost"] += 1
            return
        copies = 1
        if self.duplication and rng.random() < self.duplication:
            self.counters["doubled"] += 1
            copies = 2
        host = self._target(frame[:6], frame[6:12])
        for _ in range(copies):
            delay_us = 70 if self.ordered else 50 + rng.random() * 50
            if self.slow and rng.random() < self.slow:
                delay_us += rng.random() * self._delay_us_max
            self.events.after(int(delay_us * US), self._deliver, host, frame)
        self.counters["carried"] += 1

    def _deliver(self, host, frame):
        if host.alive and host.role is not None:
            host.role.frame(frame)

    def message(self, source, target, action, args):
        if not source.alive:
            return
        ends = source.name, source.boot, target.name, target.boot
        arrival_ns = self.events.now_ns + int((100 + self._rng.random() * 900) * US)
        if self.slow and self._rng.random() < self.slow:
            arrival_ns += int(self._rng.random() * self._delay_us_max * US)
        arrival_ns = self._busy_until_ns[ends] = max(arrival_ns, self._busy_until_ns.get(ends, 0))
        # what was on its way when the sender died may still arrive, or not
        survives = self._rng.random() < 0.5
        self.events.at(arrival_ns, self._message, ends, source, target, survives, action, args)

    def _message(self, ends, source, target, survives, action, args):
        if not target.alive or target.boot != ends[3]:
            return
        if source.boot != ends[1] and not survives:
            self._broken.add(ends)
        if ends not in self._broken:
            action(*args)
