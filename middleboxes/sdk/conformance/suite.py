"""The checks, and what they are made on.

::

    import pytest
    from middleboxes.sdk.conformance import CHECKS, Subject

    @pytest.mark.parametrize("check", CHECKS)
    def test_it_survives(check):
        check(Subject(MyFunction, {"limit": 5}))

A check raises ConformanceError, whose message says what is wrong and, where that can be known, the file and line. ``CHECKS`` has them in the order
in which they explain most: faults of the code first, then what follows from them.
"""

import random

from ..middlebox import Port
from . import traffic
from .code import code_faults
from .debug import debugged
from .hash_seed import digest_elsewhere
from .hostile import hostile
from .machine import ConformanceError, Machine

#: the ports of a function that takes any
DEFAULT_PORTS = (("inside", "02:00:5e:00:01:01", "10.0.0.254/24"), ("outside", "02:00:5e:00:01:02", "192.0.2.254/24"))
_WORKERS = (1, 4)
#: a variable that has more keys in a flood must say who makes room
_FEW_KEYS = 64
_FLOOD_FLOWS = 3000


class Subject:
    """What is checked: a Middlebox class, its *parameters* and *ports*.

    - *ports*: Ports; by default one for each name that the class declares, with prefixes of documentation
    - *trace*: [(now_ns, port name or "" for a tick, frame)]; by default recorded from seeded traffic of that many *steps*
    - *addresses*: further addresses (ints, or 16 bytes of IPv6) that hosts send to, e.g. external ones
    - *bounds*: parameters that make its tables small for the flood (at most *keys_max* keys in any variable)
    - *counters*: variables that a frame with an unsound IP header may change; None: it may change anything
    - *fuzzed*: how many hostile frames
    """

    def __init__(self, cls, parameters=None, ports=None, trace=None, seed=1, steps=400, addresses=(), bounds=None, keys_max=1024,
                 counters=("drops",), fuzzed=2000):
        self.cls, self.parameters = cls, dict(parameters or {})
        self.ports = tuple(ports) if ports else default_ports(cls)
        self.seed, self.steps, self.addresses = seed, steps, tuple(addresses)
        self.bounds, self.keys_max, self.counters, self.fuzzed = dict(bounds or {}), keys_max, counters, fuzzed
        self._trace = trace and [traffic.Step(*step) for step in trace]

    @property
    def trace(self):
        """The recorded trace."""
        if self._trace is None:
            self._trace = traffic.record(self.machine(1), self.seed, self.steps, self.addresses)
        return self._trace

    def run_debugged(self):
        """Run the trace, or record it, in debug mode."""
        machine = self.machine(1, debugged(self.cls))
        if self._trace is None:
            self._trace = traffic.record(machine, self.seed, self.steps, self.addresses)
            return
        for step in self._trace:
            traffic.apply(machine, step)

    def machine(self, workers, cls=None, **changes):
        """A Machine; *changes*: of the parameters; *cls*: instead of the class. A step that raises is a ConformanceError."""
        return Machine(cls or self.cls, {**self.parameters, **changes}, self.ports, workers, self.seed, on_event=_refuse_errors)


def _refuse_errors(name, detail):
    if name == "function-error":
        raise ConformanceError(detail)


def default_ports(cls):
    """Ports for the names that *cls* declares: the first two with the usual prefixes, then 172.16.N.0/24."""
    names = cls.ports or ("inside", "outside")
    usual = [(mac, address) for _, mac, address in DEFAULT_PORTS]
    rest = [(f"02:00:5e:00:01:{place:02x}", f"172.16.{place}.254/24") for place in range(3, len(names) + 1)]
    return tuple(Port.parse(name, *where) for name, where in zip(names, usual + rest))


def code_is_deterministic(subject):
    """No clock, entropy or I/O, no order of sets, no state but in declared variables."""
    faults = code_faults(subject.cls)
    if faults:
        raise ConformanceError("; ".join(faults))
    subject.run_debugged()


def replay_is_equal(subject):
    """A replay of the whole trace emits the same, leaves the same state; so does another run; with 1 and 4 workers."""
    for workers in _WORKERS:
        one, other = subject.machine(workers), subject.machine(workers)
        for place, step in enumerate(subject.trace):
            _same_output(place, traffic.apply(one, step), traffic.apply(other, step), "another run")
        one.compare(one.master, other.master)
        one.replayed()


def other_hash_seeds_change_nothing(subject):
    """The same trace in processes with other hash seeds emits the same and leaves the same state."""
    digests = {digest_elsewhere(subject, hash_seed) for hash_seed in (0, 4242)}
    if len(digests) > 1:
        raise ConformanceError(f"{subject.cls.__name__} does something else in another process: it depends on the order of a set or on hash()")


def survives_a_crash_at_every_packet(subject):
    """After each packet the master dies; what follows is what a master that lives on would have done; with 1 and 4 workers."""
    for workers in _WORKERS:
        rng = random.Random(subject.seed)
        mortal, lucky = subject.machine(workers), subject.machine(workers)
        for place, step in enumerate(subject.trace):
            _same_output(place, traffic.apply(lucky, step), traffic.apply(mortal, step), "a master that took over")
            mortal.take_over()
            if rng.random() < 0.1:
                mortal.checkpoint()
        mortal.compare(lucky.master, mortal.master)


def checkpoints_anywhere(subject):
    """A checkpoint after every packet: a master that loads the base and one that follows the deltas are the same; with 1 and 4 workers."""
    for workers in _WORKERS:
        machine = subject.machine(workers)
        follower = machine.follower()
        for step in subject.trace:
            traffic.apply(machine, step)
            machine.checkpoint()
            machine.replayed()
            machine.follow(follower)
            machine.compare(machine.master, follower)


def stands_hostile_packets(subject):
    """Damaged packets never make it fail; those without a sound IP header change no state; what it emits as IP is sound."""
    for workers in _WORKERS:
        rng = random.Random(subject.seed)
        machine = subject.machine(workers)
        frames = [step for step in subject.trace if step.frame]
        for step in subject.trace[:len(subject.trace) // 2]:
            traffic.apply(machine, step)
        now_ns = subject.trace[-1].now_ns
        for _ in range(subject.fuzzed // len(_WORKERS)):
            step = rng.choice(frames)
            frame, unsound = hostile(step.frame, rng)
            now_ns += 1_000_000
            before = _state(machine, subject.counters) if unsound and subject.counters is not None else None
            emitted = machine.give(step.port, frame, now_ns)
            _check_hostile(machine, subject, frame, before, emitted)
        machine.replayed()


def _check_hostile(machine, subject, frame, before, emitted):
    if machine.partition_errors:
        raise ConformanceError(f"the partition of {subject.cls.__name__} fails on the frame {frame.hex()}")
    if before is not None and _state(machine, subject.counters) != before:
        changed = [name for name, contents in _state(machine, subject.counters).items() if contents != before[name]]
        raise ConformanceError(f"a frame with an unsound IP header changes {', '.join(changed)}: {frame.hex()}")
    if subject.counters is None:
        return
    for _, out in emitted:
        if (out[12:14] == b"\x08\x00" and traffic.Packet(out).ipv4() is None
                or out[12:14] == b"\x86\xdd" and traffic.Packet6(out).ipv6() is None):
            raise ConformanceError(f"after the frame {frame.hex()} it emits an unsound IP packet: {out.hex()}")


def is_bounded(subject):
    """A flood of new flows leaves no variable with more than ``keys_max`` keys, and those that fill up say who makes room (``victims``)."""
    for workers in _WORKERS:
        machine = subject.machine(workers, **subject.bounds)
        most = {}
        for place, step in enumerate(traffic.flood(subject.ports, subject.seed, _FLOOD_FLOWS, subject.addresses)):
            traffic.apply(machine, step)
            if place % 100 == 99:
                machine.checkpoint()
                for name, size in _sizes(machine).items():
                    most[name] = max(most.get(name, 0), size)
        _check_sizes(subject, most)


def _check_sizes(subject, most):
    for name, size in most.items():
        if size > subject.keys_max:
            raise ConformanceError(f"state variable {name!r} has {size} keys after a flood of {_FLOOD_FLOWS} flows; it may have"
                                   f" {subject.keys_max}: bound it, or let the subject's bounds make it small")
        if size > _FEW_KEYS and not subject.cls.victims.get(name):
            raise ConformanceError(f"state variable {name!r} fills up in a flood of new flows, and {subject.cls.__name__}.victims does not say"
                                   " what makes room when it is full")


CHECKS = (code_is_deterministic, replay_is_equal, other_hash_seeds_change_nothing, survives_a_crash_at_every_packet, checkpoints_anywhere,
          stands_hostile_packets, is_bounded)


def _same_output(place, expected, emitted, who):
    if expected != emitted:
        raise ConformanceError(f"step {place} of the trace: {who} emits {_told(emitted)}, it should be {_told(expected)}")


def _told(emitted):
    return ", ".join(f"{frame.hex()} at {port}" for port, frame in emitted) or "nothing"


def _state(machine, counters):
    return {name: list(variable.items()) if hasattr(variable, "items") else variable.value
            for name, variable in machine.function.variables.items() if name.partition("[")[0] not in (counters or ())}


def _sizes(machine):
    """Keys of each variable that has keys, summed over the workers."""
    sizes = {}
    for stored, variable in machine.function.variables.items():
        if hasattr(variable, "items"):
            name = stored.partition("[")[0]
            sizes[name] = sizes.get(name, 0) + len(variable)
    return sizes
