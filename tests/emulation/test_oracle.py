"""An oracle for each function: the same trace replayed with and without a failure in the middle, and the function run offline.

Three things are compared. *Live and offline*: the input logger's log tells what came in, in which order and when, also ticks; the function run
offline over that log must emit exactly what was captured at the hosts. So nothing depends on how exactly tcpreplay keeps its times, not even with the
rate limiter. *With and without a failure*: the outputs are the same multisets, conversation by conversation. This needs that both runs got the same
inputs in the same order within each conversation; where a busy machine let packets of two interfaces overtake each other, that conversation is left to
the first comparison. Time differs between two runs by some seconds, so the rate limiter's rate here gives less in half a minute than the sizes of
packets differ by. *What was sent and what was logged*: the same. A run in which the network's own queues lost frames, a starved
logger was taken for dead, or the kill came after the traffic, is repeated: it says nothing.
"""

import ipaddress
from collections import Counter, defaultdict

import pytest

from middleboxes.core.frames import PACKET, Input
from middleboxes.functions import FUNCTIONS, load
from middleboxes.sdk import Packet, Port
from middleboxes.sdk.conformance import Machine
from middleboxes.sdk.packet import ICMP, TCP, UDP

from . import oracle
from .conversations import HOSTS, Side, Trace
from .many import addresses, addresses6, macs
from .replays import SaysNothingError, Replay

pytestmark = pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")
SEED, TRIES = 11, 3
WAYS = ("process", "host")
SERVICES = {TCP: 80, UDP: 7100, ICMP: 0}


def _address(prefix, host):
    return int(ipaddress.IPv4Address(f"{prefix}.{host}"))


def _address6(prefix, host):
    return ipaddress.IPv6Address(f"{prefix}{host:x}").packed


class Subject:
    """A function between two sides with HOSTS hosts each, and its trace."""

    ports, has_6 = ("inside", "outside"), True

    def __init__(self, number):
        (self.near, self.far), self.prefixes6 = addresses(number), addresses6(number)
        self.parameters = self.configure()
        self.listed = [Port.parse(name, mac, f"{prefix}.254/24", [f"{prefix6}fe/64"] if self.has_6 else [])
                       for name, mac, prefix, prefix6 in zip(self.ports, macs(number), (self.near, self.far), self.prefixes6)]
        self.sides = [self._side(number, side) for side in (0, 1)]
        self.trace = None
        self.parts = []

    function = ""
    #: how long a run may take so that time has no influence on what leaves, s
    steady_s = float("inf")

    def configure(self):
        """Its parameters."""
        return {}

    def targets(self, side, protocol, is_6):
        """[(address, port)] that hosts of *side* begin conversations with."""
        prefix = (self.far, self.near)[side]
        if is_6:
            return [(_address6(self.prefixes6[1 - side], host), SERVICES[protocol]) for host in range(1, HOSTS + 1)]
        return [(_address(prefix, host), SERVICES[protocol]) for host in range(1, HOSTS + 1)]

    def _side(self, number, side):
        prefix, port = (self.near, self.far)[side], self.listed[side]
        # as the emulator numbers its hosts
        mac = bytes((0x02, 0x46, 0x54, 0x10)) + (2 * number + side + 1).to_bytes(2, "big")
        numbers = range(1, HOSTS + 1)
        return Side(mac, port.mac, port.address, [_address(prefix, host) for host in numbers],
                    _address6(self.prefixes6[side], 0xFE) if self.has_6 else None,
                    [_address6(self.prefixes6[side], host) for host in numbers] if self.has_6 else [],
                    {(protocol, is_6): self.targets(side, protocol, is_6) for protocol in SERVICES for is_6 in (False, True)})

    def begin(self):
        """Begin the trace anew."""
        self.trace = Trace(SEED, self.sides)
        self.parts = [self.trace.openers()]

    def prepare_rest(self, seen):
        """Make its second part; *seen*: {identification: frame} behind the middlebox."""
        self.parts.append(self.trace.rest(seen))


class Nat(Subject):
    function, has_6 = "nat", False

    def configure(self):
        self.own = _address(self.far, 254)
        return {"external_addresses": [f"{self.far}.254"], "first_port": 40_000, "last_port": 40_999, "filtering": "address-dependent",
                "forwards": [{"protocol": "tcp", "external_port": 80, "inside_address": f"{self.near}.1", "inside_port": 8080}]}

    def targets(self, side, protocol, is_6):
        return super().targets(side, protocol, is_6) if side == 0 else [(self.own, SERVICES[protocol]), (self.own, 81)]


class Firewall(Subject):
    function = "firewall"

    def configure(self):
        return {"rules": [{"action": "accept", "from": "inside"}, {"action": "accept", "protocol": "tcp", "destination": f"{self.near}.1"},
                          {"action": "reject", "destination": f"{self.near}.2"},
                          {"action": "accept", "protocol": "tcp", "destination": f"{self.prefixes6[0]}1"},
                          {"action": "reject", "destination": f"{self.prefixes6[0]}2"}]}


class Monitor(Subject):
    function = "monitor"

    def configure(self):
        return {"collector": f"{self.far}.1", "flow_idle_timeout_s": 1, "flow_active_timeout_s": 2, "template_interval_s": 3600}


class LoadBalancer(Subject):
    function, ports = "load-balancer", ("clients", "backends")

    def configure(self):
        backends = [{"address": f"{self.far}.{host}", "weight": host} for host in range(1, HOSTS + 1)]
        backends6 = [{"address": f"{self.prefixes6[1]}{host}"} for host in range(1, HOSTS + 1)]
        # probes would need backends that answer
        return {"probe_interval_s": 0, "failures_max": 1000,
                "services": [{"address": f"{self.near}.100", "port": 80, "protocol": "tcp", "backends": backends},
                             {"address": f"{self.near}.100", "port": 7100, "protocol": "udp", "sticky_s": 60, "backends": backends},
                             {"address": f"{self.prefixes6[0]}100", "port": 80, "protocol": "tcp", "sticky_s": 60, "backends": backends6},
                             {"address": f"{self.prefixes6[0]}100", "port": 7100, "protocol": "udp", "backends": backends6}]}

    def targets(self, side, protocol, is_6):
        if side:
            return super().targets(side, protocol, is_6)
        return [(_address6(self.prefixes6[0], 0x100) if is_6 else _address(self.near, 100), SERVICES[protocol])]


class RateLimiter(Subject):
    function = "rate-limiter"
    steady_s = 30

    def configure(self):
        # packets of hosts 1 to 3 have multiples of 64 bytes, a bucket half of that more: it takes half a minute until one more fits
        return {"bytes_per_s": 1, "burst_bytes": 64 * 60 + 32, "exempt": [f"{self.near}.4/32", f"{self.prefixes6[0]}4/128"]}


class Ids(Subject):
    function = "ids"

    def configure(self):
        return {"signatures": [{"name": "once", "pattern": "hex:3120", "protocol": "udp", "action": "drop"}, {"name": "two", "pattern": "hex:3220"}],
                "scan_targets_max": 3, "flood_syns_max": 2}


class Sequencer(Subject):
    function = "sequencer"


class SharedCounter(Subject):
    function = "shared-counter"


#: functions that can't be judged so, and where they are
ELSEWHERE = {"wan-optimiser": "its peer has to answer it, and names what it draws at random: test_wan.py compares what a pair of them delivers"}
KINDS = (Nat, RateLimiter, Firewall, LoadBalancer, Monitor, Ids, Sequencer, SharedCounter)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{whether masters died: (subjects, what was watched of each)}, all functions at once in one network."""
    return {dies: _play(tmp_path_factory, WAYS if dies else None) for dies in (False, True)}


def _play(tmp_path_factory, ways):
    for _ in range(TRIES):
        subjects = [kind(number) for number, kind in enumerate(KINDS)]
        for subject in subjects:
            subject.begin()
        try:
            return subjects, Replay(tmp_path_factory.mktemp("replay"), subjects, ways).run()
        except SaysNothingError as error:
            print(f"once more: {error}")
    pytest.fail(f"{TRIES} runs say nothing: the machine is too busy")
    return None


def _each(run, number):
    subjects, watched = run
    return subjects[number], watched[number]


numbered = pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.function for kind in KINDS])


@pytest.mark.parametrize("dies", (False, True), ids=("undisturbed", "master dies"))
@numbered
@pytest.mark.emulation
def test_what_leaves_is_what_the_function_makes_of_what_was_logged(runs, number, dies):
    subject, watched = _each(runs[dies], number)
    assert oracle.died_in_the_middle(watched) == dies
    wanted = oracle.expected(subject.function, subject.parameters, subject.listed, watched)
    assert len(wanted) > 100, "it does pass traffic"
    assert oracle.differences(wanted, oracle.without_template(watched.outputs), oracle.without_template(watched.settled)) == []
    sent = Counter(frame for part in subject.parts for _, frame in part)
    assert Counter(item.frame for _, item in watched.inputs if item.kind == PACKET) == sent, "all that was sent was logged, and nothing else"


@numbered
@pytest.mark.emulation
def test_with_and_without_a_failure_the_same_leaves(runs, number):
    (subject, undisturbed), (other, disturbed) = _each(runs[False], number), _each(runs[True], number)
    assert subject.trace.owners.keys() == other.trace.owners.keys(), "both replayed the same"
    if max(map(_span_s, (undisturbed, disturbed))) > subject.steady_s:
        pytest.skip("the machine was so slow that the clock decides, too; only the function itself can tell how")
    overtaken = _overtaken(subject, undisturbed, other, disturbed)
    conversations = {owner for ident, owner in subject.trace.owners.items() if ident in overtaken}
    assert len(conversations) <= len(subject.trace.conversations) // 2, "enough is left to be compared"
    outputs = [[(port, frame) for port, frame in oracle.comparable(subject.function, watched) if oracle.ident_of(frame) not in overtaken]
               for watched in (undisturbed, disturbed)]
    if overtaken:       # what is not known by its identification may belong to these
        outputs = [[each for each in some if oracle.ident_of(each[1])] for some in outputs]
    assert oracle.differences(*outputs) == []


def _span_s(watched):
    times = [item.timestamp_ns for _, item in watched.inputs if item.kind == PACKET]
    return (times[-1] - times[0]) / 1e9


def _overtaken(subject, undisturbed, other, disturbed):
    """Identifications of conversations whose packets were not logged in the same order."""
    orders = [defaultdict(list), defaultdict(list)]
    for order, owners, watched in zip(orders, (subject.trace.owners, other.trace.owners), (undisturbed, disturbed)):
        for _, item in watched.inputs:
            ident = oracle.ident_of(item.frame)
            if ident in owners:
                order[owners[ident].ident].append(ident)
    return {ident for first, idents in orders[0].items() if orders[1][first] != idents for ident in idents}


def test_every_function_has_its_oracle():
    assert {kind.function for kind in KINDS} | set(ELSEWHERE) == set(FUNCTIONS)


@pytest.fixture(scope="module")
def played():
    """(subject, what was watched of it) of a NAT that runs in this process, with random numbers of its own."""
    subject = Nat(0)
    subject.begin()
    machine, inputs, outputs = Machine(load("nat"), subject.parameters, subject.listed, seed=2), [], []

    def play(part):
        for side, frame in part:
            now_ns = 10**18 + 10**7 * len(inputs)
            inputs.append((1, Input(len(inputs) + 1, now_ns, side, PACKET, frame)))
            outputs.extend((subject.ports.index(name), out) for name, out in machine.give(subject.ports[side], frame, now_ns))
    play(subject.parts[0])
    subject.prepare_rest(oracle.by_ident([frame for port, frame in outputs if frame[:6] == subject.sides[port].mac]))
    play(subject.parts[1])
    return subject, oracle.Watched(inputs, outputs, outputs)


def test_the_oracle_agrees_with_a_nat_whatever_it_draws(played):
    subject, watched = played
    wanted = oracle.expected(subject.function, subject.parameters, subject.listed, watched)
    assert len(oracle.drawn_ports(watched)) > 15 and len(wanted) > 200
    assert oracle.differences(wanted, watched.outputs) == []


@pytest.mark.parametrize("place", (0, 50, 150))
def test_the_oracle_sees_what_is_lost_doubled_changed_or_drawn_anew(played, place):
    subject, watched = played
    wanted = oracle.expected(subject.function, subject.parameters, subject.listed, watched)
    (port, frame), outputs = watched.outputs[place], watched.outputs
    changed = (port, frame[:-1] + bytes((frame[-1] ^ 1,)))
    found = [oracle.differences(wanted, some) for some in (outputs[:place] + outputs[place + 1:], outputs + [outputs[place]],
                                                          outputs[:place] + [changed] + outputs[place + 1:])]
    assert [[text.split()[0] for text in texts] for texts in found] == [["missing"], ["too"], ["missing", "too"]]
    # a master that has forgotten a mapping would draw another port
    flow = next(Packet(frame).five_tuple() for port, frame in outputs if port == 1 and Packet(frame).five_tuple())
    moved = [(port, _moved(frame) if port == 1 and Packet(frame).five_tuple() == flow else frame) for port, frame in outputs]
    assert oracle.differences(wanted, moved)


def _moved(frame):
    packet = Packet(frame)
    flow = packet.five_tuple()
    packet.set_source(flow[1], flow[2] ^ 2)
    return packet.data
