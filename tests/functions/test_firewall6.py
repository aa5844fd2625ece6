"""The firewall with IPv6: rules, flows of each protocol, TCP windows, ICMPv6 errors, extension headers; both kinds in one table."""

import pytest

from middleboxes.sdk import Packet6
from middleboxes.sdk.build6 import icmp6, ipv6
from middleboxes.sdk.packet import TCP
from middleboxes.sdk.packet6 import ICMPV6

from .hop6_scenario import INSIDE6, OUTSIDE6, Bench6, ip6, mac6, packet6, told6
from .hop_scenario import handshake
from .nat_scenario import ACK, FIN, RST, SYN, packet

CLIENT, CLIENT_2, SERVER = "[2001:db8:1::1]:5000", "[2001:db8:1::2]:5000", "[2001:db8:2::7]:80"
OUTWARD = {"action": "accept", "from": "inside", "to": "outside"}


def bench(*rules, **parameters):
    return Bench6("firewall", rules=list(rules) or [OUTWARD], **parameters)


@pytest.mark.parametrize("rule, passes", [
    ({}, True), ({"protocol": "udp"}, True), ({"protocol": "icmp6"}, False), ({"from": "outside"}, False), ({"source": "2001:db8:1::/126"}, True),
    ({"source": ["2001:db8:1::4/126", "10.0.0.0/8"]}, False), ({"source": "::/0"}, True), ({"source": "0.0.0.0/0"}, False),
    ({"destination": ["192.0.2.7", "2001:db8:2::7"]}, True), ({"destination_ports": "79-80"}, True)])
def test_a_rule_fits_by_each_of_its_fields(rule, passes):
    net = bench({"action": "accept", **rule})
    assert bool(net.send("udp", CLIENT, SERVER)) == passes and net.drops == ({} if passes else {"denied": 1})


def test_a_prefix_of_everything_is_of_one_kind():
    net = bench({"action": "accept", "source": "::/0"})
    assert net.frame_in(INSIDE6, packet("udp", "10.0.0.1:5000", "192.0.2.7:80", INSIDE6.mac)) == [] and net.drops == {"denied": 1}


def test_who_is_rejected_is_told():
    net = bench({"action": "reject"})
    (port, frame), = net.segment(CLIENT, SERVER, SYN, 100, data=b"early")
    seen = Packet6(frame)
    assert told6([(port, frame)]) == [f"inside 6 {SERVER} > {CLIENT}"] and seen.transport_checksum_ok()
    assert seen.tcp()[:3] == (0, 106, RST | ACK)
    (port, frame), = net.send("udp", CLIENT, SERVER)
    assert (port, frame[54:56]) == ("inside", b"\x01\x01") and not net.box.connections


def test_answers_pass_and_what_was_not_asked_for_does_not():
    net = bench()
    assert net.send("udp", SERVER, CLIENT) == []
    assert told6(net.send("udp", CLIENT, SERVER)) == [f"outside 17 {CLIENT} > {SERVER}"]
    assert told6(net.send("udp", SERVER, CLIENT)) == [f"inside 17 {SERVER} > {CLIENT}"]
    assert net.send("udp", SERVER, CLIENT_2) == [] and net.drops == {"denied": 2}


def test_ping_and_its_reply():
    net = bench({**OUTWARD, "protocol": "icmp6"})
    here, there = "[2001:db8:1::1]:9", "[2001:db8:2::7]:9"
    assert net.send("icmp", there, here, kind=129) == []
    assert net.send("icmp", here, there) and net.send("icmp", there, here, kind=129)
    assert net.send("icmp", there, here, kind=128) == [] and net.send("icmp", here, there, kind=129) == []
    assert net.drops == {"icmp_unknown": 3} and [value[0] for value in net.box.connections.values()] == [1]


def test_a_connection_from_handshake_to_end_with_windows():
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER)
    assert net.segment(CLIENT, SERVER, ACK, mine + 1001, its, b"x") == [] and net.drops == {"tcp_window": 1}
    assert net.segment(CLIENT, SERVER, ACK, mine, its, b"question", extensions=[(60, b"\0\1\4\0\0\0\0")]), "the same flow behind options"
    assert net.segment(SERVER, CLIENT, FIN | ACK, its, mine + 8) and net.segment(CLIENT, SERVER, FIN | ACK, mine + 8, its + 1)
    assert [value[0] for value in net.box.connections.values()] == [3]


def test_both_kinds_have_their_own_flows_in_one_table():
    net = bench(connections_max=2)
    net.box.neighbours[0xC0000207] = mac6("2001:db8:2::7")
    assert net.send("udp", CLIENT, SERVER) and net.frame_in(INSIDE6, packet("udp", "10.0.0.1:5000", "192.0.2.7:80", INSIDE6.mac))
    assert net.send("udp", CLIENT_2, SERVER) and net.drops == {"evicted_unanswered": 1} and len(net.box.connections) == 2


# --- ICMPv6

def error(about, source, destination, kind=1, code=4, rest=0, quoted=1232):
    pair = ip6(source), ip6(destination)
    return ipv6(OUTSIDE6.mac, mac6("2001:db8:2::1"), ICMPV6, *pair, icmp6(*pair, kind, code, rest, about[14:][:quoted]))


def test_errors_about_known_flows_pass():
    """RFC 4890, 4.3.1."""
    net = bench()
    for protocol in ("udp", "tcp", "icmp"):
        (_, sent), = net.send(protocol, CLIENT, SERVER)
        for kind, code in ((1, 0), (1, 4), (2, 0), (3, 0), (3, 1), (4, 1)):
            (port, frame), = net.frame_in(OUTSIDE6, error(sent, "2001:db8:2::1", "2001:db8:1::1", kind, code, quoted=48))
            assert port == "inside" and frame[54:56] == bytes((kind, code))
    assert net.drops == {}


def test_errors_about_packets_with_extension_headers_pass():
    net = bench()
    (_, sent), = net.send("udp", CLIENT, SERVER, extensions=[(60, b"\0\1\4\0\0\0\0")])
    assert net.frame_in(OUTSIDE6, error(sent, "2001:db8:2::1", "2001:db8:1::1"))
    assert net.frame_in(OUTSIDE6, error(sent, "2001:db8:2::1", "2001:db8:1::1", quoted=55)) == [], "the ports are not in it"


def test_other_errors_do_not():
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER, 2**30)
    (_, sent), = net.segment(CLIENT, SERVER, ACK, mine, its, b"data")
    before, router, client = net.state(), "2001:db8:2::1", "2001:db8:1::1"
    for frame in (error(packet6("udp", CLIENT, SERVER, INSIDE6.mac), router, client), error(sent, router, "2001:db8:1::2"),
                  error(sent[:58] + bytes(4) + sent[62:], router, client),      # a number not in flight (RFC 5927)
                  error(sent, router, client, kind=100), error(sent, router, client)[:-1] + b"\xee", error(b"", router, client)):
        assert net.frame_in(OUTSIDE6, frame) == []
    assert net.drops == {"icmp_unknown": 4, "icmp_type": 1, "checksum": 1} and net.state() == before


@pytest.mark.parametrize("kind", [130, 131, 132, 138, 139, 140, 143, 144, 148, 200])
def test_other_messages_do_not_pass(kind):
    """RFC 4890, 4.3.2 to 4.3.5: listener reports, renumbering, node information, mobility, experiments."""
    net = bench({"action": "accept"})
    pair = ip6("2001:db8:1::1"), ip6("2001:db8:2::7")
    frame = ipv6(INSIDE6.mac, mac6("2001:db8:1::1"), ICMPV6, *pair, icmp6(*pair, kind, 0, 0, bytes(16)))
    assert net.frame_in(INSIDE6, frame) == [] and net.drops == {"icmp_type": 1}


# --- extension headers

def routing(kind, left):
    return [(43, bytes((2, kind, left)) + bytes(4) + ip6("2001:db8:2::7"))]


@pytest.mark.parametrize("extensions, reason", [
    (routing(0, 1), "routing_header_0"), (routing(0, 0), "routing_header_0"), (routing(4, 0), None), ([(0, b"\0\1\4\0\0\0\0")], None)])
def test_routing_headers_of_type_0_are_dropped_and_other_headers_pass(extensions, reason):
    """RFC 5095, 4.2."""
    net = bench()
    assert bool(net.send("udp", CLIENT, SERVER, extensions=extensions)) == (reason is None)
    assert net.drops == ({reason: 1} if reason else {})


def test_wrong_checksums_and_garbage_are_dropped_and_change_nothing():
    net = bench()
    before, pair = net.state(), (ip6("2001:db8:1::1"), ip6("2001:db8:2::7"))
    assert net.frame_in(INSIDE6, packet6("udp", CLIENT, SERVER, INSIDE6.mac)[:-1] + b"\xff") == []
    for protocol, payload in ((TCP, bytes(12)), (TCP, bytes(19)), (1, bytes(8)), (17, bytes(4))):
        assert net.frame_in(INSIDE6, ipv6(INSIDE6.mac, mac6("2001:db8:1::1"), protocol, *pair, payload)) == []
    assert net.drops == {"checksum": 1, "malformed": 4} and net.state() == before


def test_protocols_without_ports_are_tracked_by_addresses():
    net = bench()
    pair = ip6("2001:db8:1::1"), ip6("2001:db8:2::7")
    out = ipv6(INSIDE6.mac, mac6("2001:db8:1::1"), 50, *pair, bytes(12))
    back = ipv6(OUTSIDE6.mac, mac6("2001:db8:2::7"), 50, *reversed(pair), bytes(12))
    assert net.frame_in(OUTSIDE6, back) == [] and net.frame_in(INSIDE6, out) and net.frame_in(OUTSIDE6, back)


def test_neighbours_are_no_matter_of_the_rules():
    net = Bench6("firewall", rules=[], default="drop")
    assert net.solicit("2001:db8:1::3")
