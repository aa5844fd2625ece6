"""What a function must have emitted, computed offline from what the input logger logged; pure.

The input logger's frames carry number, time and port of each input, ticks too: with them a function is run in this process, and what it
emits is what must have left the network, bit by bit. The one thing that is not in the log are the random numbers of the live
master, and only the NAT draws any: ``following`` makes one that draws the ports that the live one drew, if they were free.
"""

from collections import Counter
from typing import NamedTuple

from middleboxes.core.frames import PACKET
from middleboxes.functions import load
from middleboxes.functions.nat import Nat
from middleboxes.sdk import Packet, Packet6
from middleboxes.sdk.build6 import NEIGHBOR_SOLICITATION
from middleboxes.sdk.conformance import Machine
from middleboxes.sdk.packet import ICMP, UDP
from middleboxes.sdk.packet6 import ICMPV6

from .conversations import DO_NOT_FRAGMENT, INSIDE, OUTSIDE

#: the UDP port of the monitor's reports; the first set in such a frame, and the kind that has templates (RFC 7011, 3.3.2)
MONITOR_PORT = 4739
_FIRST_SET_AT, _TEMPLATE_SET = 14 + 20 + 8 + 16, b"\0\2"
#: functions that number datagrams of a port, and how long the numbers are
WITNESSES, STAMPED_PORT, STAMP_BYTES = ("sequencer", "shared-counter"), 7100, 16
#: packets that must have come before a death, and after it
_SOME = 20


class Watched(NamedTuple):
    """What was seen of one group: *inputs* [(epoch, Input)] in order of n, *outputs* [(number of the port, frame)] in order of time.

    *settled*: those of them that came before, or as, the answer to the last packet at the same port; the others may be of ticks after all that was
    seen. (What leaves by one port keeps its order, but the switch may hand on what left by another port later first.)
    """

    inputs: list
    outputs: list
    settled: list


def by_ident(frames):
    """{identification: frame} of those *frames* that have one which no other has."""
    counts = Counter(map(ident_of, frames))
    return {ident_of(frame): frame for frame in frames if ident_of(frame) and counts[ident_of(frame)] == 1}


def ident_of(frame):
    """The IP identification of an IPv4 frame, the flow label of an IPv6 frame; 0 of any other."""
    if frame[12:14] == b"\x86\xdd" and len(frame) >= 18:
        return int.from_bytes(frame[15:18], "big") & 0xFFFFF
    return int.from_bytes(frame[18:20], "big") if frame[12:14] == b"\x08\x00" and len(frame) >= 20 else 0


def log_of(inputs):
    """[(epoch, Input)] sorted by n, each n once; raises AssertionError if one is missing in between."""
    unique = {item.n: (epoch, item) for epoch, item in inputs}
    numbers = sorted(unique)
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "the capture lacks logged inputs"
    return [unique[n] for n in numbers]


def died_in_the_middle(watched):
    """Whether the master was replaced while packets came: some were logged in one epoch, some in the next."""
    epochs = Counter(epoch for epoch, item in watched.inputs if ident_of(item.frame))
    return len(epochs) == 2 and min(epochs.values()) > _SOME


def drawn_ports(watched):
    """{(protocol, inside address, port): external port} as the packets that left an address translator tell."""
    came = by_ident([item.frame for _, item in watched.inputs if item.kind == PACKET and item.port == INSIDE])
    left = by_ident([frame for port, frame in watched.outputs if port == OUTSIDE])
    found = {}
    for ident in came.keys() & left.keys():
        before, after = (Packet(each[ident]).five_tuple(first_fragment=True) for each in (came, left))
        if before is not None and after is not None:
            found[before[:3]] = after[2]
    return found


def following(drawn):
    """A Nat that draws the ports in *drawn*; one that is not free is an AssertionError."""
    class Following(Nat):
        def process(self, packet, ctx):
            flow = packet.five_tuple(first_fragment=True)
            self._wanted = drawn.get(flow and flow[:3])
            super().process(packet, ctx)

        def _draw_port(self, protocol, address, source_port, ctx):
            if self._wanted is None:        # no packet of it left
                return super()._draw_port(protocol, address, source_port, ctx)
            pool, others = self.pools[self._wanted % 2], []
            while (port := pool.draw(protocol, address, 0)) != self._wanted:
                assert port is not None, f"port {self._wanted} of protocol {protocol} is not free"
                others.append(port)
            for other in others:
                pool.give_back(protocol, address, other)
            return port
    return Following


def expected(function, parameters, ports, watched):
    """[(number of the port, frame)] that *function* emits for the logged inputs up to the last packet.

    Without a monitor's bare template, see ``without_template``.
    """
    cls = following(drawn_ports(watched)) if function == "nat" else load(function)
    machine, numbers = Machine(cls, parameters, ports), {port.name: number for number, port in enumerate(ports)}
    last_n = max(item.n for _, item in watched.inputs if item.kind == PACKET)
    # what it did before there was anything to do
    machine.tick(watched.inputs[0][1].timestamp_ns)
    found = []
    for _, item in watched.inputs:
        if item.n <= last_n:
            given = machine.give(ports[item.port].name, item.frame, item.timestamp_ns) if item.kind == PACKET else machine.tick(item.timestamp_ns)
            found += [(numbers[name], frame) for name, frame in given]
    return without_template(found)


def without_template(outputs):
    """*outputs* without IPFIX messages that have no records: the first template is older than the capture, and waits for the collector's ARP."""
    return [(port, frame) for port, frame in outputs if not _is_template(frame)]


def _is_template(frame):
    flow = Packet(frame).five_tuple()
    return flow is not None and flow[0] == UDP and flow[4] == MONITOR_PORT and len(frame) == _FIRST_SET_AT + int.from_bytes(
        frame[_FIRST_SET_AT + 2:_FIRST_SET_AT + 4], "big") and frame[_FIRST_SET_AT:_FIRST_SET_AT + 2] == _TEMPLATE_SET


def differences(wanted, got, settled=None):
    """Texts: what *got* lacks of *wanted*, and what *settled* (of *got*; None: all) has besides; lists of (port, frame), as multisets."""
    missing, besides = Counter(wanted) - Counter(got), Counter(got if settled is None else settled) - Counter(wanted)
    return [f"{what} at port {port}, {count} times: {frame.hex()}" for what, which in (("missing", missing), ("too much", besides))
            for (port, frame), count in sorted(which.items())]


def comparable(function, watched):
    """The outputs in a form in which two runs can be compared: what is drawn at random or told by the clock taken out.

    The NAT's external ports become the inside ones, identifications that it gives (in the order of all flows) zero; the monitor's reports (which tell times), what asks for neighbours and the numbers of the witnesses
    (which tell the order among all flows) are left out.
    """
    inside = {(protocol, port): (address, inside_port) for (protocol, address, inside_port), port in drawn_ports(watched).items()}
    found = []
    for port, frame in watched.outputs:
        flow = (Packet6 if frame[12:14] == b"\x86\xdd" else Packet)(frame).five_tuple()
        if flow is None:
            flow = Packet(frame).five_tuple(first_fragment=True)
        is_solicitation = frame[12:14] == b"\x86\xdd" and frame[20] == ICMPV6 and frame[54] == NEIGHBOR_SOLICITATION
        if frame[12:14] == b"\x08\x06" or is_solicitation or function == "monitor" and flow and flow[4] == MONITOR_PORT:
            continue
        if function == "nat" and port == OUTSIDE and flow and (flow[0], flow[2]) in inside:
            packet = Packet(frame)
            packet.five_tuple(first_fragment=True)
            packet.set_source(*inside[flow[0], flow[2]])
            frame = packet.data
        if function == "nat" and port == OUTSIDE and flow and not frame[20] << 8 & DO_NOT_FRAGMENT:
            frame = frame[:18] + bytes(2) + frame[20:24] + bytes(2) + frame[26:]
        if function in WITNESSES and flow and flow[0] == UDP and STAMPED_PORT in (flow[2], flow[4]):
            at = 60 if type(flow[1]) is bytes else 40       # of the UDP checksum
            frame = frame[:at] + bytes(2 + STAMP_BYTES) + frame[at + 2 + STAMP_BYTES:]
        if function in WITNESSES and frame[23] == ICMP and flow is None:
            frame = frame[:34]      # the error quotes a datagram with its number
        found.append((port, frame))
    return found

