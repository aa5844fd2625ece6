"""Fragments through the firewall, of IPv4 and IPv6: the first one is put to flows and rules, the others follow it or are dropped."""

import pytest

from middleboxes.functions.firewall_fragments import FRAGMENT_TIMEOUT_S, FRAGMENTED_MAX
from middleboxes.functions.quoted import partition_by_hosts
from middleboxes.sdk.build import icmp, ipv4, tcp, udp
from middleboxes.sdk.build6 import fragment, icmp6, ipv6
from middleboxes.sdk.packet import ICMP, TCP, UDP
from middleboxes.sdk.packet6 import ICMPV6

from .hop6_scenario import INSIDE6, OUTSIDE6, Bench6, ip6, mac6
from .hop_scenario import Bench
from .nat_scenario import INSIDE, OUTSIDE, ip, mac

OUTWARD = {"action": "accept", "from": "inside", "name": "out"}
FIRST_BYTES = 64


class Ipv4Side:
    """Packets of IPv4, in parts."""

    icmp, error = ICMP, (11, 1)
    client, server = ip("10.0.0.1"), ip("192.0.2.7")

    def bench(self, **parameters):
        return Bench("firewall", rules=[OUTWARD], **parameters)

    def frame(self, back, number, protocol, part, offset, more):
        own, source = (OUTSIDE, "192.0.2.7") if back else (INSIDE, "10.0.0.1")
        pair = (self.server, self.client) if back else (self.client, self.server)
        return own, ipv4(own.mac, mac(source), protocol, *pair, part, identification=number, fragment=more << 13 | offset // 8)

    def message(self, pair, kind, code, rest, data):
        return icmp(kind, code, rest, data)

    echo = 8


class Ipv6Side:
    """The same of IPv6."""

    icmp, error = ICMPV6, (3, 1)
    client, server = ip6("2001:db8:1::1"), ip6("2001:db8:2::7")

    def bench(self, **parameters):
        return Bench6("firewall", rules=[OUTWARD], **parameters)

    def frame(self, back, number, protocol, part, offset, more):
        own, source = (OUTSIDE6, "2001:db8:2::7") if back else (INSIDE6, "2001:db8:1::1")
        pair = (self.server, self.client) if back else (self.client, self.server)
        return own, ipv6(own.mac, mac6(source), protocol, *pair, part, extensions=[(44, fragment(offset, more, number))])

    def message(self, pair, kind, code, rest, data):
        return icmp6(*pair, kind, code, rest, data)

    echo = 128


SIDES = pytest.mark.parametrize("side", [Ipv4Side(), Ipv6Side()], ids=["ipv4", "ipv6"])


def parts(side, back=False, number=7, protocol=UDP, size=150):
    """[(port, frame)] of a packet in three parts, in order."""
    pair = (side.server, side.client) if back else (side.client, side.server)
    ends = ((pair[0], 53, pair[1], 5000) if back else (pair[0], 5000, pair[1], 53))
    payload = {UDP: lambda: udp(*ends, bytes(size)), TCP: lambda: tcp(*ends, 2, bytes(size)),
               side.icmp: lambda: side.message(pair, side.echo, 0, 9 << 16, bytes(size))}.get(protocol, lambda: bytes(size))()
    return [side.frame(back, number, protocol, payload[offset:offset + FIRST_BYTES], offset, offset + FIRST_BYTES < len(payload))
            for offset in range(0, len(payload), FIRST_BYTES)]


@SIDES
def test_fragments_follow_their_first_one_in_any_order_after_it(side):
    net = side.bench()
    for protocol in (UDP, side.icmp, 47):
        first, *rest = parts(side, protocol=protocol)
        assert all(net.frame_in(*part) for part in (first, *reversed(rest)))
        assert list(net.box.connections)[-1][0] == protocol
    assert net.drops == {} and net.box.rule_counts["out"][:2] == (3, 9)
    assert all(net.frame_in(*part) for part in parts(side, back=True)), "the answer, too"
    assert net.box.connections[UDP, side.client, 5000, side.server, 53][0] == 4


@SIDES
def test_those_without_a_first_one_and_those_that_overlap_it_are_dropped(side):
    net = side.bench()
    first, second, _ = parts(side)
    assert net.frame_in(*second) == [] and net.drops == {"fragment_unknown": 1}
    assert net.frame_in(*first)
    assert net.frame_in(*side.frame(False, 7, UDP, bytes(FIRST_BYTES), 8, True)) == []
    assert net.frame_in(*side.frame(False, 8, UDP, bytes(FIRST_BYTES), FIRST_BYTES, True)) == []
    assert net.drops == {"fragment_unknown": 2, "fragment_overlap": 1} and net.frame_in(*second)


@SIDES
def test_what_the_rules_refuse_has_no_way_in_parts_either(side):
    net = side.bench()
    assert not any(net.frame_in(*part) for part in parts(side, back=True))
    assert net.drops == {"denied": 1, "fragment_unknown": 2} and not net.box.fragmented


@SIDES
def test_tcp_and_first_fragments_without_ports_are_dropped(side):
    net = side.bench()
    assert not any(net.frame_in(*part) for part in parts(side, protocol=TCP))
    assert net.frame_in(*side.frame(False, 9, UDP, b"\x13\x88\0\x35", 0, True)) == []
    assert net.frame_in(*side.frame(False, 9, side.icmp, side.message((side.client, side.server), 3, 0, 0, b""), 0, True)) == []
    assert net.drops == {"fragment": 5} and not net.box.connections and not net.box.fragmented


@SIDES
def test_their_number_and_time_are_bounded(side):
    net = side.bench()
    for number in range(FRAGMENTED_MAX + 5):
        net.frame_in(*parts(side, number=number)[0])
    assert len(net.box.fragmented) == FRAGMENTED_MAX == len(net.box.fragmented_used)
    assert net.frame_in(*parts(side, number=4)[1]) == [] and net.frame_in(*parts(side, number=5)[1])
    net.wait(FRAGMENT_TIMEOUT_S)
    assert not net.box.fragmented and not net.box.fragmented_used


@SIDES
def test_an_error_about_a_first_fragment_passes(side):
    """The receiver did not get the others in time."""
    net = side.bench()
    own, first = parts(side)[0]
    (_, sent), = net.frame_in(own, first)
    pair = side.server, side.client
    body = side.message(pair, *side.error, 0, sent[14:])
    frame = side.frame(True, 1, side.icmp, body, 0, False)
    assert net.frame_in(*frame) and net.drops == {}


@SIDES
def test_all_between_two_addresses_goes_to_one_worker(side):
    frames = [frame for back in (False, True) for protocol in (UDP, TCP, side.icmp) for _, frame in parts(side, back, protocol=protocol)]
    sent = frames[0]
    other = ip("198.51.100.9") if side.icmp == ICMP else ip6("2001:db8:9::9")
    message = side.message((other, side.client), *side.error, 0, sent[14:])
    make = ipv4 if side.icmp == ICMP else ipv6
    frames.append(make(OUTSIDE.mac, bytes(6), side.icmp, other, side.client, message))
    for workers in (2, 7, 97):
        assert len({partition_by_hosts(frame, "inside", workers) for frame in frames}) == 1


def test_the_ids_drops_what_it_cannot_look_into():
    for side in (Ipv4Side(), Ipv6Side()):
        net = (Bench if side.icmp == ICMP else Bench6)("ids")
        assert not any(net.frame_in(*part) for part in parts(side)) and net.drops == {"fragment": 3}
