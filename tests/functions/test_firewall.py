"""The firewall in packets in, packets out: rules, flows of each protocol, TCP windows, errors, limits."""

import pytest

from middleboxes.functions import load
from middleboxes.sdk import ConfigurationError, Packet
from middleboxes.sdk.build import icmp, ipv4
from middleboxes.sdk.packet import ICMP

from .hop_scenario import Bench, handshake, ip_octets
from .nat_scenario import ACK, FIN, INSIDE, OUTSIDE, RST, SYN, ip, mac, packet, told

CLIENT, CLIENT_2, SERVER, SERVER_2 = "10.0.0.1:5000", "10.0.0.2:5000", "192.0.2.7:80", "198.51.100.1:80"
OUTWARD = {"action": "accept", "from": "inside", "to": "outside"}


def bench(*rules, **parameters):
    return Bench("firewall", rules=list(rules) or [OUTWARD], **parameters)


# --- rules

@pytest.mark.parametrize("rule, passes", [
    ({}, True), ({"protocol": "udp"}, True), ({"protocol": ["tcp", 17]}, True), ({"protocol": "tcp"}, False),
    ({"from": "outside"}, False), ({"to": ["inside", "outside"]}, True), ({"source": "10.0.0.0/30"}, True),
    ({"source": ["10.0.0.4/30", "10.0.0.2"]}, False), ({"destination": "192.0.2.7"}, True), ({"destination_ports": 80}, True),
    ({"destination_ports": ["1-79", "81-90"]}, False), ({"source_ports": "4999-5001", "protocol": "udp"}, True)])
def test_a_rule_fits_by_each_of_its_fields(rule, passes):
    net = bench({"action": "accept", **rule})
    assert bool(net.send("udp", CLIENT, SERVER)) == passes
    assert net.drops == ({} if passes else {"denied": 1})


def test_the_first_rule_that_fits_decides_and_each_counts_its_packets():
    net = bench({"name": "not two", "action": "drop", "source": "10.0.0.2"}, OUTWARD)
    size = ip_octets(net.send("udp", CLIENT, SERVER))
    net.send("udp", SERVER, CLIENT), net.send("udp", CLIENT, SERVER)
    assert net.send("udp", CLIENT_2, SERVER) == [] and net.send("udp", SERVER, CLIENT_2) == []
    assert dict(net.box.rule_counts) == {"rule 2": (1, 3, 3 * size), "not two": (0, 1, size), "default": (0, 1, size)}


def test_the_default_can_be_to_accept():
    net = Bench("firewall", default="accept")
    assert net.send("udp", SERVER, CLIENT) and dict(net.box.rule_counts)["default"][0] == 1


def test_who_is_rejected_is_told():
    net = bench({"action": "reject"})
    (port, frame), = net.segment(CLIENT, SERVER, SYN, 100, data=b"early")
    seen = Packet(frame)
    assert port == "inside" and seen.five_tuple()[1:] == (ip("192.0.2.7"), 80, ip("10.0.0.1"), 5000)
    assert seen.tcp()[:3] == (0, 106, RST | ACK) and seen.transport_checksum_ok()
    (port, frame), = net.send("udp", CLIENT, SERVER)
    assert (port, frame[34:36]) == ("inside", b"\x03\x0d") and net.drops == {"denied": 2}
    assert net.box.connections == {}


# --- UDP, ping, others

def test_answers_pass_and_what_was_not_asked_for_does_not():
    net = bench()
    assert net.send("udp", SERVER, CLIENT) == []
    assert told(net.send("udp", CLIENT, SERVER)) == ["outside 17 10.0.0.1:5000 > 192.0.2.7:80"]
    assert told(net.send("udp", SERVER, CLIENT)) == ["inside 17 192.0.2.7:80 > 10.0.0.1:5000"]
    assert net.send("udp", "192.0.2.7:81", CLIENT) == [] and net.send("udp", SERVER_2, CLIENT) == []


def test_ping_and_its_reply():
    net = bench()
    assert net.send("icmp", "192.0.2.7:9", "10.0.0.1:9", kind=0) == []
    assert net.send("icmp", "10.0.0.1:9", "192.0.2.7:9") and net.send("icmp", "192.0.2.7:9", "10.0.0.1:9", kind=0)
    assert net.send("icmp", "192.0.2.7:9", "10.0.0.1:9", kind=8) == []
    assert net.send("icmp", "10.0.0.1:9", "192.0.2.7:9", kind=0) == [] and net.drops == {"icmp_unknown": 3}


def test_protocols_without_ports_are_tracked_by_addresses():
    net = bench()
    out = ipv4(INSIDE.mac, mac("10.0.0.1"), 47, ip("10.0.0.1"), ip("192.0.2.7"), bytes(12))
    back = ipv4(OUTSIDE.mac, mac("192.0.2.7"), 47, ip("192.0.2.7"), ip("10.0.0.1"), bytes(12))
    assert net.frame_in(OUTSIDE, back) == [] and net.frame_in(INSIDE, out) and net.frame_in(OUTSIDE, back)


@pytest.mark.parametrize("steps, timeout_s", [
    ([("udp", CLIENT, SERVER)], 30), ([("udp", CLIENT, SERVER), ("udp", SERVER, CLIENT)], 300), ([("icmp", "10.0.0.1:9", "192.0.2.7:9")], 60)])
def test_idle_flows_end(steps, timeout_s):
    net = bench()
    for protocol, source, destination in steps:
        assert net.send(protocol, source, destination)
    net.wait(timeout_s - 0.1)
    assert len(net.box.connections) == 1
    net.wait(0.1)
    assert not any(net.state()[name] for name in net.state() if name.endswith("_used") or name == "connections")


def test_wrong_checksums_and_garbage_are_dropped_and_change_nothing():
    net = bench()
    frame = packet("udp", CLIENT, SERVER, INSIDE.mac)
    before = net.state()
    assert net.frame_in(INSIDE, frame[:-1] + b"\xff") == []
    assert net.frame_in(INSIDE, ipv4(INSIDE.mac, mac("10.0.0.1"), 6, ip("10.0.0.1"), ip("192.0.2.7"), bytes(12))) == []
    assert net.frame_in(INSIDE, ipv4(INSIDE.mac, mac("10.0.0.1"), 58, ip("10.0.0.1"), ip("192.0.2.7"), bytes(12))) == []
    assert net.drops == {"checksum": 1, "malformed": 2} and net.state() == before


# --- TCP

def test_a_connection_from_handshake_to_end():
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER)
    assert [value[0] for value in net.box.connections.values()] == [5]      # established
    assert net.segment(CLIENT, SERVER, ACK, mine, its, b"question")
    assert net.segment(SERVER, CLIENT, ACK, its, mine + 8, b"answer")
    assert net.segment(CLIENT, SERVER, FIN | ACK, mine + 8, its + 6)
    assert net.segment(SERVER, CLIENT, FIN | ACK, its + 6, mine + 9)
    assert net.segment(CLIENT, SERVER, ACK, mine + 9, its + 7)
    assert net.drops == {} and [value[0] for value in net.box.connections.values()] == [3]
    net.wait(240)
    assert not net.box.connections and not net.box.closing_used


@pytest.mark.parametrize("flags", [ACK, SYN | ACK, FIN | ACK, RST, RST | ACK])
def test_only_a_syn_begins_a_connection(flags):
    net = bench()
    assert net.segment(CLIENT, SERVER, flags, 100, 900) == [] and net.drops == {"tcp_unknown": 1}


@pytest.mark.parametrize("flags", [0, FIN, SYN | FIN, SYN | RST, SYN | FIN | ACK, RST | FIN, 0x3F])
def test_flags_that_never_stand_together_are_dropped(flags):
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER)
    assert net.segment(CLIENT, SERVER, flags, mine, its) == [] and net.drops == {"tcp_flags": 1}


@pytest.mark.parametrize("sequence, acknowledgment, data, passes", [
    (0, 0, b"x" * 1000, True),      # a full window
    (1000, 0, b"", True),           # at its right edge
    (1001, 0, b"x", False),         # beyond
    (-1, 0, b"", True),             # keep-alive
    (-1001, 0, b"", False),         # older than a window
    (0, 1, b"", False),             # acknowledges what was never sent
    (0, -66000, b"", True), (0, -66001, b"", False)])
def test_segments_must_fit_the_windows(sequence, acknowledgment, data, passes):
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER)
    before = net.state()
    assert bool(net.segment(CLIENT, SERVER, ACK, mine + sequence, its + acknowledgment, data)) == passes
    if not passes:
        assert net.drops == {"tcp_window": 1} and net.state() == before


def test_numbers_wrap():
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER, 2**32 - 2, 2**32 - 1)
    for _ in range(5):
        assert net.segment(CLIENT, SERVER, ACK, mine, its, b"x" * 700)
        mine += 700
        assert net.segment(SERVER, CLIENT, ACK, its, mine, b"y" * 500)
        its += 500
    assert net.segment(CLIENT, SERVER, ACK, mine + 2000, its) == []


@pytest.mark.parametrize("server_option, largest", [(b"\x03\x03\x04\x00", 16000), (b"", 1000)])
def test_window_scales_count_if_both_sides_have_them(server_option, largest):
    net = bench()
    net.segment(CLIENT, SERVER, SYN, 100, options=b"\x01\x03\x03\x04")
    net.segment(SERVER, CLIENT, SYN | ACK, 900, 101, options=server_option)
    net.segment(CLIENT, SERVER, ACK, 101, 901)
    net.segment(SERVER, CLIENT, ACK, 901, 101)
    assert net.segment(CLIENT, SERVER, ACK, 101 + largest, 901)
    assert net.segment(CLIENT, SERVER, ACK, 101 + largest + 1, 901) == []


def test_forged_syns_and_their_answers_never_get_the_long_timeout():
    net = bench({"action": "accept"})
    net.segment(CLIENT, SERVER, SYN, 100)
    net.segment(SERVER, CLIENT, SYN | ACK, 900, 101)
    net.wait(240)
    assert not net.box.connections


@pytest.mark.parametrize("sequence, closes", [(0, True), (5, False)])
def test_a_reset_ends_a_connection_only_if_it_is_exact(sequence, closes):
    """RFC 5961, 3.2: the one that is only in the window passes, its receiver answers with a challenge."""
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER)
    assert net.segment(SERVER, CLIENT, RST, its + sequence)
    assert [value[0] for value in net.box.connections.values()] == [3 if closes else 5]
    assert net.segment(SERVER, CLIENT, RST, its + 70000) == []


def test_a_refused_connection_closes_and_its_ports_can_be_used_again():
    net = bench()
    net.segment(CLIENT, SERVER, SYN, 100)
    assert net.segment(SERVER, CLIENT, RST | ACK, 0, 100) == []     # acknowledges something else
    assert net.segment(SERVER, CLIENT, RST | ACK, 0, 101)
    assert [value[0] for value in net.box.connections.values()] == [3]
    handshake(net, CLIENT, SERVER, 50_000, 7)
    assert [value[0] for value in net.box.connections.values()] == [5] and net.box.rule_counts["rule 1"][0] == 2


def test_a_syn_for_an_open_connection_reaches_the_host_that_lost_it():
    """RFC 5961, 4: it is answered with a challenge, and the reset that follows is exact."""
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER)
    before = net.state()
    assert net.segment(CLIENT, SERVER, SYN, 77_000_000) and net.state() == before
    assert net.segment(SERVER, CLIENT, ACK, its, mine)
    assert net.segment(CLIENT, SERVER, RST, mine)
    assert [value[0] for value in net.box.connections.values()] == [3]


def test_both_may_open_at_once():
    net = bench()
    assert net.segment(CLIENT, SERVER, SYN, 100) and net.segment(SERVER, CLIENT, SYN, 900)
    assert net.segment(CLIENT, SERVER, SYN | ACK, 100, 901) and net.segment(SERVER, CLIENT, SYN | ACK, 900, 101)
    assert net.segment(CLIENT, SERVER, ACK, 101, 901) and net.segment(SERVER, CLIENT, ACK, 901, 101, b"hello")
    assert [value[0] for value in net.box.connections.values()] == [5]


# --- ICMP errors

def error(about, source, destination, kind=3, code=1):
    return ipv4(OUTSIDE.mac, mac("192.0.2.1"), ICMP, ip(source), ip(destination), icmp(kind, code, 0, about[14:][:28]))


def test_errors_about_known_flows_pass():
    net = bench()
    for protocol in ("udp", "tcp", "icmp"):
        (_, sent), = net.send(protocol, CLIENT, SERVER)
        (port, frame), = net.frame_in(OUTSIDE, error(sent, "192.0.2.1", "10.0.0.1", 11, 0))
        assert port == "inside" and frame[34] == 11
    assert net.drops == {}


def test_other_errors_do_not():
    net = bench()
    mine, its = handshake(net, CLIENT, SERVER, 2**30)
    (_, sent), = net.segment(CLIENT, SERVER, ACK, mine, its, b"data")
    before = net.state()
    for frame in (error(packet("udp", CLIENT, SERVER, INSIDE.mac), "192.0.2.1", "10.0.0.1"),     # no such flow
                  error(sent, "192.0.2.1", "10.0.0.2"),                                         # not to who sent it
                  error(sent[:38] + bytes(4) + sent[42:], "192.0.2.1", "10.0.0.1"),             # a number not in flight (RFC 5927)
                  error(sent, "192.0.2.1", "10.0.0.1", kind=5), error(sent, "192.0.2.1", "10.0.0.1")[:-1] + b"\xee",
                  error(b"", "192.0.2.1", "10.0.0.1")):
        assert net.frame_in(OUTSIDE, frame) == []
    assert net.drops == {"icmp_unknown": 4, "icmp_type": 1, "checksum": 1} and net.state() == before


# --- limits

def test_a_flood_displaces_itself_and_established_tcp_stays():
    net = bench(connections_max=4)
    mine, its = handshake(net, CLIENT, SERVER)
    net.send("udp", CLIENT, SERVER)
    for number in range(20):
        assert net.send("tcp", f"10.0.0.2:{6000 + number}", SERVER)
    assert len(net.box.connections) == 4 and net.drops == {"evicted_opening": 18}
    assert net.send("udp", SERVER, CLIENT) and net.segment(SERVER, CLIENT, ACK, its, mine)


def test_a_table_full_of_established_connections_refuses_new_flows():
    net = bench(connections_max=2)
    for client in (CLIENT, CLIENT_2):
        handshake(net, client, SERVER)
    assert net.send("tcp", "10.0.0.1:1", SERVER) == [] and net.send("udp", CLIENT, SERVER) == []
    assert net.drops == {"connections_full": 2}


def test_the_victim_is_the_one_idle_longest_of_the_least_committed():
    net = bench(connections_max=3)
    net.send("udp", "10.0.0.1:1", SERVER), net.send("udp", "10.0.0.1:2", SERVER), net.send("icmp", "10.0.0.1:9", "192.0.2.7:9")
    net.ctx.now_ns += 2_000_000_000
    net.send("udp", "10.0.0.1:1", SERVER)
    net.send("tcp", CLIENT, SERVER)
    assert [key[2] for key in net.box.connections] == [1, 9, 5000] and net.drops == {"evicted_unanswered": 1}


@pytest.mark.parametrize("parameters, message", [
    ({"rules": "all"}, "firewall: rules must be a list of at most 1024 items"),
    ({"rules": [7]}, "firewall: rule 1: a map of parameters is needed, not 7"),
    ({"rules": [{}]}, "firewall: rule 1: action must be one of accept, drop, reject, not None"),
    ({"rules": [OUTWARD, {"action": "drop", "form": "inside"}]}, "firewall: rule 2: unknown parameters form; allowed: action, destination"),
    ({"rules": [{"action": "drop", "from": "dmz"}]}, "rule 1: from: there is no port 'dmz'; the ports are inside, outside"),
    ({"rules": [{"action": "drop", "protocol": "gre"}]}, "protocol must be tcp, udp, icmp, icmp6 or a number from 0 to 255, not 'gre'"),
    ({"rules": [{"action": "drop", "source": "10.0.0.1/8"}]}, "source: 10.0.0.1/8 has host bits set"),
    ({"rules": [{"action": "drop", "source_ports": "9-8"}]}, "source_ports must be a port from 0 to 65535 or a range like"),
    ({"rules": [{"action": "drop", "name": "default"}]}, "two have the name 'default'"),
    ({"default": "deny"}, "default must be one of accept, drop, reject, not 'deny'"),
    ({"connections_max": 0}, "connections_max must be an integer from 1"),
    ({"routes": [["198.51.100.0/24", "10.9.9.9"]]}, "the next hop must be another host in the prefix of a port"),
    ({"conections_max": 5}, "firewall: unknown parameters conections_max; allowed: connections_max, default, icmp_timeout_s")])
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        load("firewall")(parameters, [INSIDE, OUTSIDE])
