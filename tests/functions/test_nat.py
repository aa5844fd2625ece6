"""The NAT in packets in, packets out; the RFC that asks for it is named where one does."""

import pytest

from middleboxes.sdk import Packet
from middleboxes.sdk.build import NO_MAC, icmp, ipv4
from middleboxes.sdk.packet import ICMP, TCP, checksum, endpoint

from .nat_scenario import (ACK, EXTERNAL, FIN, INSIDE, OUTSIDE, RST, SYN, Network, endpoint_out, ip, mac, packet, told)

CLIENT, CLIENT_2, SERVER, SERVER_2 = "10.0.0.1:5000", "10.0.0.2:5000", "198.51.100.1:80", "192.0.2.7:80"


def open_tcp(net, client=CLIENT, server=SERVER):
    """A handshake; returns the external endpoint."""
    external = endpoint_out(net.from_inside("tcp", client, server, flags=SYN))
    net.from_outside("tcp", server, external, flags=SYN | ACK)
    net.from_inside("tcp", client, server, flags=ACK)
    return external


def numbers(endpoint):
    address, port = endpoint.split(":")
    return ip(address), int(port)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_there_and_back(protocol):
    net = Network()
    out = net.from_inside(protocol, CLIENT, SERVER)
    external = endpoint_out(out)
    assert external.startswith(EXTERNAL + ":") and 1024 <= numbers(external)[1] <= 65535
    assert Packet(out[0][1]).destination_mac == mac("192.0.2.1") and Packet(out[0][1]).ttl == 63
    back = net.from_outside(protocol, SERVER, external, flags=SYN | ACK)
    assert told(back)[0].endswith("198.51.100.1:80 > 10.0.0.1:5000")
    assert (Packet(back[0][1]).destination_mac, Packet(back[0][1]).source_mac) == (mac("10.0.0.1"), INSIDE.mac)
    assert net.drops == {}


def test_ping_there_and_back():
    net = Network()
    external = endpoint_out(net.from_inside("icmp", "10.0.0.1:77", "198.51.100.1:77"))
    identifier = external.split(":")[1]
    back = net.from_outside("icmp", f"198.51.100.1:{identifier}", external)
    assert told(back) == ["inside 1 198.51.100.1:77 > 10.0.0.1:77"]
    assert checksum(back[0][1][34:]) == 0
    # an unsolicited reply, and a reply from inside, are not translated
    assert net.from_outside("icmp", "198.51.100.1:1", EXTERNAL + ":1") == []
    for number in (77, 78):
        assert net.from_inside("icmp", f"10.0.0.1:{number}", f"198.51.100.1:{number}", kind=0) == []


def test_mapping_does_not_depend_on_the_destination():
    """RFC 4787, REQ-1."""
    net = Network()
    for protocol in ("udp", "tcp"):
        assert endpoint_out(net.from_inside(protocol, CLIENT, SERVER)) == endpoint_out(
            net.from_inside(protocol, CLIENT, SERVER_2))


def test_anybody_may_send_to_a_udp_mapping():
    """RFC 4787, REQ-8: endpoint-independent filtering."""
    net = Network()
    external = endpoint_out(net.from_inside("udp", CLIENT, SERVER))
    assert told(net.from_outside("udp", "203.0.113.5:9", external)) == ["inside 17 203.0.113.5:9 > 10.0.0.1:5000"]


def test_a_host_keeps_its_external_address_and_hosts_spread_over_the_pool():
    """RFC 4787, REQ-2: paired pooling."""
    net = Network(external_addresses=["192.0.2.100", "192.0.2.101"])
    used = {}
    for number in range(40):
        for host in ("10.0.0.1", "10.0.0.2"):
            for protocol in ("udp", "tcp"):
                out = net.from_inside(protocol, f"{host}:{6000 + number}", SERVER)
                used.setdefault(host, set()).add(endpoint_out(out).split(":")[0])
    assert sorted(len(addresses) for addresses in used.values()) == [1, 1] and len(set.union(*used.values())) == 2


def test_ports_run_out_without_one_being_given_twice_and_come_back():
    net = Network(first_port=4000, last_port=4009)
    externals = [endpoint_out(net.from_inside("udp", f"10.0.0.1:{7000 + n}", SERVER)) for n in range(10)]
    assert sorted(externals) == [f"{EXTERNAL}:{4000 + n}" for n in range(10)]
    assert net.from_inside("udp", "10.0.0.1:8000", SERVER) == [] and net.drops == {"ports_exhausted": 1}
    assert endpoint_out(net.from_inside("udp", "10.0.0.1:7003", SERVER)) == externals[3]
    assert len(net.from_inside("tcp", "10.0.0.1:8000", SERVER)) == 1    # another protocol, other ports
    net.wait(301)
    assert len(net.from_inside("udp", "10.0.0.1:8000", SERVER)) == 1


def test_mappings_are_limited():
    net = Network(mappings_max=2)
    for n in range(3):
        net.from_inside("udp", f"10.0.0.1:{7000 + n}", SERVER)
    assert net.drops == {"mappings_full": 1} and len(net.nat.outbound) == len(net.nat.inbound) == 2


def test_tcp_sessions_are_limited_and_a_refused_one_leaves_nothing_behind():
    net = Network(tcp_sessions_max=2)
    for server in (SERVER, SERVER_2, "198.51.100.2:80"):
        net.from_inside("tcp", CLIENT, server)
    net.from_inside("tcp", CLIENT_2, SERVER)
    assert net.drops == {"tcp_sessions_full": 2} and len(net.nat.sessions) == 2 and len(net.nat.outbound) == 1


@pytest.mark.parametrize("protocol, timeout_s", [("udp", 300), ("icmp", 60)])
def test_idle_mappings_end_and_outbound_packets_keep_them(protocol, timeout_s):
    net = Network(know=())
    net.from_inside(protocol, CLIENT, SERVER_2)
    net.wait(timeout_s - 1)
    net.from_inside(protocol, CLIENT, SERVER_2)
    net.wait(timeout_s - 1)
    assert len(net.nat.outbound) == 1
    net.wait(1)
    assert not net.nat.outbound and not net.nat.inbound and not net.nat.used[17] and not net.nat.used[1]


def test_inbound_packets_do_not_keep_a_udp_mapping():
    """RFC 4787, REQ-6: otherwise an outsider could hold it open."""
    net = Network()
    external = endpoint_out(net.from_inside("udp", CLIENT, SERVER))
    net.wait(200)
    net.from_outside("udp", SERVER, external)
    net.wait(100)
    assert not net.nat.outbound


def test_tcp_without_state_is_dropped_in_silence():
    net = Network()
    for flags in (ACK, SYN | ACK, FIN | ACK, RST, 0):
        assert net.from_inside("tcp", CLIENT, SERVER, flags=flags) == []
        assert net.from_outside("tcp", SERVER, EXTERNAL + ":5000", flags=flags) == []
    assert net.drops == {"tcp_unknown": 5, "no_mapping": 5}
    external = open_tcp(net)
    assert net.from_outside("tcp", SERVER_2, external, flags=ACK) == []
    assert net.from_inside("tcp", CLIENT, SERVER_2, flags=ACK) == []
    assert net.drops["tcp_unknown"] == 7
    assert net.from_outside("tcp", SERVER, EXTERNAL + ":1", flags=SYN) == []


def test_established_tcp_outlives_the_transitory_timeout():
    """RFC 5382, REQ-5."""
    net = Network()
    open_tcp(net)
    net.wait(7439)
    assert len(net.nat.sessions) == 1
    net.wait(1)
    assert not net.nat.sessions and not net.nat.outbound and not net.nat.mapping_sessions


@pytest.mark.parametrize("end", [
    [],     # never answered
    [("in", RST)],
    [("out", SYN | ACK), ("in", ACK), ("in", FIN | ACK), ("out", FIN | ACK), ("in", ACK)],
    [("out", SYN | ACK), ("in", ACK), ("out", RST)],
])
def test_connections_that_open_or_end_have_the_transitory_timeout(end):
    net = Network()
    external = endpoint_out(net.from_inside("tcp", CLIENT, SERVER))
    for side, flags in end:
        out = (net.from_inside("tcp", CLIENT, SERVER, flags=flags) if side == "in"
               else net.from_outside("tcp", SERVER, external, flags=flags))
        assert len(out) == 1
    net.wait(239)
    assert len(net.nat.sessions) == 1
    net.wait(1)
    assert not net.nat.sessions and not net.nat.outbound and not net.nat.opening_used and not net.nat.closing_used


@pytest.mark.parametrize("closes, seconds", [(False, 30), (True, 60)])
def test_opening_and_closing_have_timeouts_of_their_own(closes, seconds):
    """RFC 7857, 2.1."""
    net = Network(tcp_opening_timeout_s=30, tcp_closing_timeout_s=60)
    external = endpoint_out(net.from_inside("tcp", CLIENT, SERVER))
    if closes:
        net.from_outside("tcp", SERVER, external, flags=RST)
    net.wait(seconds - 1)
    assert len(net.nat.sessions) == 1
    net.wait(1)
    assert not net.nat.sessions and not net.nat.outbound


def test_a_forged_reset_does_not_end_a_live_connection():
    net = Network()
    external = open_tcp(net)
    net.from_outside("tcp", SERVER, external, flags=RST)
    net.wait(100)
    assert len(net.from_inside("tcp", CLIENT, SERVER, flags=ACK)) == 1
    net.wait(1000)
    assert len(net.nat.sessions) == 1


def test_a_mapping_lives_while_one_of_its_connections_does():
    net = Network()
    external = open_tcp(net)
    net.from_inside("tcp", CLIENT, SERVER_2, flags=SYN)
    net.wait(240)
    assert len(net.nat.sessions) == 1 and net.nat.mapping_sessions == {endpoint(TCP, *numbers(CLIENT)): 1}
    assert endpoint_out(net.from_inside("tcp", CLIENT, SERVER_2, flags=SYN) or net.arp_reply("192.0.2.7")) == external


def test_a_busy_flow_changes_state_once_a_second():
    net = Network()
    external = open_tcp(net)
    net.from_inside("udp", CLIENT, SERVER)
    for variable in net.nat.variables.values():
        variable.cut()
    for _ in range(9):
        net.ctx.now_ns += 100_000_000
        net.from_inside("udp", CLIENT, SERVER)
        net.from_inside("tcp", CLIENT, SERVER, flags=ACK)
        net.from_outside("tcp", SERVER, external, flags=ACK)
    assert all(variable.cut() == ({}, {}) for variable in net.nat.variables.values())
    net.ctx.now_ns += 100_000_000
    net.from_inside("udp", CLIENT, SERVER)
    net.from_outside("tcp", SERVER, external, flags=ACK)
    assert [name for name, variable in net.nat.variables.items() if variable.cut() != ({}, {})] == [
        "established_used", "udp_used"]


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_hairpinning(protocol):
    """RFC 4787, REQ-9: two inside hosts speak through their external endpoints."""
    net = Network()
    external = endpoint_out(net.from_inside(protocol, CLIENT, SERVER))
    out = net.from_inside(protocol, CLIENT_2, external)
    external_2 = endpoint_out(out)
    assert external_2.startswith(EXTERNAL) and external_2 != external and told(out)[0].startswith("inside ")
    assert told(out)[0].endswith("> " + CLIENT) and Packet(out[0][1]).ttl == 63
    back = net.from_inside(protocol, CLIENT, external_2, flags=SYN | ACK)
    assert told(back)[0].endswith(f"{external} > {CLIENT_2}") and net.drops == {}


def test_ttl_that_ends_here_is_reported_to_the_sender():
    net = Network()
    external = endpoint_out(net.from_inside("udp", CLIENT, SERVER))
    frame = packet("udp", CLIENT_2, SERVER, INSIDE.mac, ttl=1)
    (port, error), = net.frame_in("inside", frame)
    header = Packet(error).ipv4()
    assert (port, header.source, header.destination) == ("inside", INSIDE.address, ip("10.0.0.2"))
    assert error[34:36] == b"\x0b\x00" and error[42:] == frame[14:] and checksum(error[34:]) == 0
    (port, error), = net.from_outside("udp", SERVER, external, ttl=1)
    assert port == "outside" and Packet(error).ipv4().source == OUTSIDE.address
    (port, error), = net.from_inside("udp", CLIENT_2, external, ttl=1)
    assert port == "inside" and Packet(error).ipv4().source == INSIDE.address
    assert len(net.nat.outbound) == 1 and net.drops == {"ttl": 3}


def error_about(frame, source, destination, to_mac, kind=3, code=1, quoted_bytes=None):
    quoted = frame[14:][:quoted_bytes]
    return ipv4(to_mac, mac(source), ICMP, ip(source), ip(destination), icmp(kind, code, 1400, quoted))


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
@pytest.mark.parametrize("quoted_bytes", [None, 28])
def test_icmp_errors_come_back_with_the_packet_as_the_host_sent_it(protocol, quoted_bytes):
    """RFC 5508, REQ-4: by a router on the way, about a packet of ours."""
    net = Network()
    sent = packet(protocol, CLIENT, SERVER, INSIDE.mac)
    (_, translated), = net.frame_in("inside", sent)
    (port, error), = net.frame_in("outside", error_about(translated, "203.0.113.1", EXTERNAL, OUTSIDE.mac,
                                                         quoted_bytes=quoted_bytes))
    header = Packet(error).ipv4()
    assert (port, header.source, header.destination) == ("inside", ip("203.0.113.1"), ip("10.0.0.1"))
    assert checksum(error[34:]) == 0 and error[38:42] == (1400).to_bytes(4, "big")
    # but for the TTL and the header checksum that goes with it, the quoted packet is the one that was sent
    expected = bytearray(sent[14:])
    expected[8] -= 1
    expected[10:12] = b"\0\0"
    expected[10:12] = checksum(bytes(expected[:20])).to_bytes(2, "big")
    assert error[42:] == bytes(expected)[:quoted_bytes]
    assert net.drops == {}


def test_icmp_errors_go_out_in_the_name_of_the_external_address():
    """RFC 5508, REQ-5."""
    net = Network()
    external = endpoint_out(net.from_inside("udp", CLIENT, SERVER))
    (_, received), = net.from_outside("udp", SERVER, external)
    (port, error), = net.frame_in("inside", error_about(received, "10.0.0.1", "198.51.100.1", INSIDE.mac, code=3))
    header = Packet(error).ipv4()
    assert (port, header.source, header.destination) == ("outside", ip(EXTERNAL), ip("198.51.100.1"))
    quoted = Packet(bytes(12) + b"\x08\x00" + error[42:]).five_tuple()
    assert quoted[3:] == numbers(external) and checksum(error[34:]) == 0


def test_icmp_errors_about_nothing_of_ours_are_dropped_and_change_no_state():
    net = Network()
    (_, translated), = net.from_inside("tcp", CLIENT, SERVER)
    other = packet("tcp", EXTERNAL + ":1", SERVER, NO_MAC)
    for frame in (error_about(other, "203.0.113.1", EXTERNAL, OUTSIDE.mac),
                  error_about(translated, "203.0.113.1", "192.0.2.254", OUTSIDE.mac),
                  error_about(translated, "10.0.0.9", EXTERNAL, OUTSIDE.mac),
                  error_about(translated, "203.0.113.1", EXTERNAL, OUTSIDE.mac, quoted_bytes=27),
                  error_about(b"", "203.0.113.1", EXTERNAL, OUTSIDE.mac)):
        assert net.frame_in("outside", frame) == []
    good = error_about(translated, "203.0.113.1", EXTERNAL, OUTSIDE.mac)
    assert net.frame_in("outside", good[:-1] + bytes([good[-1] ^ 1])) == []
    assert net.frame_in("outside", error_about(translated, "203.0.113.1", EXTERNAL, OUTSIDE.mac, kind=5)) == []
    assert net.drops == {"no_mapping": 5, "icmp_checksum": 1, "icmp_type": 1}
    assert len(net.nat.sessions) == 1


def test_forged_sources_are_dropped():
    net = Network()
    external = endpoint_out(net.from_inside("udp", CLIENT, SERVER))
    for source in ("10.0.0.2:1", EXTERNAL + ":1", "192.0.2.254:1", "255.255.255.255:1"):
        assert net.from_outside("udp", source, external) == []
    for source in ("172.16.0.1:1", "10.0.0.254:1", "10.0.0.255:1"):
        assert net.from_inside("udp", source, SERVER) == []
    assert net.drops == {"bogus_source": 7}


def test_other_traffic_is_dropped_and_counted():
    net = Network()
    net.frame_in("inside", ipv4(INSIDE.mac, mac("10.0.0.1"), 47, ip("10.0.0.1"), ip("198.51.100.1"), bytes(20)))
    net.frame_in("inside", INSIDE.mac + mac("10.0.0.1") + b"\x86\xdd" + bytes(40))
    net.frame_in("inside", b"")
    net.frame_in("inside", packet("udp", CLIENT, SERVER, INSIDE.mac)[:-1])
    assert net.drops == {"protocol": 1, "ether_type": 2, "malformed": 1}


def test_without_a_gateway_only_the_outside_prefix_is_reached():
    net = Network(outside_gateway=None)
    assert net.from_inside("udp", CLIENT, SERVER) == [] and net.drops == {"no_route": 1}
    assert len(net.from_inside("udp", CLIENT, SERVER_2)) == 1
