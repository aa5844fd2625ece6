"""What a NAT can be told beyond its defaults: filtering, forwards, limits per host, parity, fragments, the log of its mappings."""

import pytest

from middleboxes.functions import load
from middleboxes.sdk import ConfigurationError, Packet
from middleboxes.sdk.build import udp
from middleboxes.sdk.packet import checksum, pseudo_header

from .nat_scenario import (ACK, EXTERNAL, INSIDE, NS_PER_S, OUTSIDE, PARAMETERS, SYN, Network, endpoint_out, ip, packet, told)

CLIENT, CLIENT_2, SERVER, SERVER_2 = "10.0.0.1:5000", "10.0.0.2:5000", "198.51.100.1:80", "192.0.2.7:80"


# --- filtering (RFC 4787, REQ-8)

@pytest.mark.parametrize("filtering, other_port, other_host", [
    ("endpoint-independent", True, True), ("address-dependent", True, False), ("address-and-port-dependent", False, False)])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_who_may_send_to_a_mapping(filtering, other_port, other_host, protocol):
    net = Network(filtering=filtering)
    external = endpoint_out(net.from_inside(protocol, CLIENT, SERVER, flags=SYN))
    assert net.from_outside(protocol, SERVER, external, flags=SYN | ACK)
    assert bool(net.from_outside(protocol, "198.51.100.1:81", external, flags=SYN)) == other_port
    assert bool(net.from_outside(protocol, "203.0.113.5:80", external, flags=SYN)) == other_host
    assert net.drops.get("filtered", 0) == 2 - other_port - other_host


def test_a_remote_end_may_send_as_long_as_it_is_sent_to():
    net = Network(filtering="address-dependent")
    external = endpoint_out(net.from_inside("udp", CLIENT, SERVER))
    net.wait(200)
    net.from_inside("udp", CLIENT, SERVER_2)
    net.wait(100)
    net.say_hello("192.0.2.1"), net.say_hello("192.0.2.7"), net.say_hello("10.0.0.1")
    assert net.from_outside("udp", SERVER, external) == [] and net.from_outside("udp", SERVER_2, external)
    net.wait(200)
    assert not net.nat.contacts and not net.nat.contacts_used


def test_remembered_remote_ends_are_bounded():
    net = Network(filtering="address-dependent", contacts_max=2)
    for host in (1, 2, 3):
        external = endpoint_out(net.from_inside("udp", CLIENT, f"198.51.100.{host}:80"))
    assert [bool(net.from_outside("udp", f"198.51.100.{host}:80", external)) for host in (1, 2, 3)] == [False, True, True]


# --- forwards

FORWARDS = [{"protocol": "tcp", "external_port": 8080, "inside_address": "10.0.0.1", "inside_port": 80},
            {"protocol": "udp", "external_port": 53, "inside_address": "10.0.0.2"}]


def test_forwards_lead_inside_and_back_and_outlive_their_connections():
    net = Network(forwards=FORWARDS, filtering="address-and-port-dependent")
    for _ in range(2):
        assert told(net.from_outside("tcp", SERVER, EXTERNAL + ":8080", flags=SYN)) == ["inside 6 198.51.100.1:80 > 10.0.0.1:80"]
        assert told(net.from_inside("tcp", "10.0.0.1:80", SERVER, flags=SYN | ACK)) == ["outside 6 192.0.2.100:8080 > 198.51.100.1:80"]
        net.wait(7440)
        assert not net.nat.sessions and not net.nat.outbound
        for host in ("10.0.0.1", "192.0.2.1"):
            net.say_hello(host)
    net.say_hello("10.0.0.2")
    assert told(net.from_outside("udp", SERVER, EXTERNAL + ":53")) == ["inside 17 198.51.100.1:80 > 10.0.0.2:53"]
    assert told(net.from_inside("udp", "10.0.0.2:53", SERVER)) == ["outside 17 192.0.2.100:53 > 198.51.100.1:80"]


def test_inside_hosts_reach_forwards_by_the_external_address():
    net = Network(forwards=FORWARDS)
    out = net.from_inside("tcp", CLIENT_2, EXTERNAL + ":8080", flags=SYN)
    assert told(out)[0].startswith("inside ") and told(out)[0].endswith("> 10.0.0.1:80")


def test_the_port_of_a_forward_is_given_to_nobody_else():
    net = Network(first_port=8079, last_port=8082, forwards=FORWARDS)
    ports = [endpoint_out(net.from_inside("tcp", f"10.0.0.2:{7000 + n}", SERVER)).split(":")[1] for n in range(3)]
    assert sorted(ports) == ["8079", "8081", "8082"]
    assert net.from_inside("tcp", "10.0.0.2:9000", SERVER) == [] and net.drops == {"ports_exhausted": 1}


@pytest.mark.parametrize("forward, message", [
    ({"protocol": "icmp"}, "nat: forward 1: protocol must be one of tcp, udp"), ({"external_port": 0}, "external_port must be an integer"),
    ({"inside_address": "192.0.2.7"}, "inside_address must be a host's on the inside"), ({"external_address": "192.0.2.7"}, "one of external_addresses"),
    ({"port": 1}, "unknown parameters port; allowed: external_address, external_port")])
def test_wrong_forwards_are_named(forward, message):
    with pytest.raises(ConfigurationError, match=message):
        load("nat")({**PARAMETERS, "forwards": [{**FORWARDS[0], **forward}]}, [INSIDE, OUTSIDE])


def test_two_forwards_may_not_share_an_end():
    for other in ({"inside_port": 81}, {"external_port": 8081}):
        with pytest.raises(ConfigurationError, match="forward 2: its external or its inside end has another forward already"):
            load("nat")({**PARAMETERS, "forwards": [FORWARDS[0], {**FORWARDS[0], **other}]}, [INSIDE, OUTSIDE])


# --- ports and limits

@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_parity_is_kept_while_there_are_such_ports(protocol):
    """RFC 4787, REQ-4."""
    net = Network(first_port=4000, last_port=4009)
    ports = [int(endpoint_out(net.from_inside(protocol, f"10.0.0.1:{7000 + 2 * n}", "198.51.100.1:9")).split(":")[1]) for n in range(7)]
    assert sorted(ports[:5]) == [4000, 4002, 4004, 4006, 4008] and all(port % 2 for port in ports[5:])
    net.wait(300)
    assert not net.nat.outbound and not any(net.nat.pool_used.values()) and not any(net.nat.odd_used.values())


def test_one_host_can_not_take_all_mappings():
    """RFC 6888, REQ-4."""
    net = Network(mappings_per_host_max=3)
    assert sum(bool(net.from_inside("udp", f"10.0.0.1:{n}", SERVER)) for n in range(1, 9)) == 3
    assert net.from_inside("udp", CLIENT_2, SERVER) and net.drops == {"host_full": 5}
    net.wait(300)
    assert not net.nat.host_mappings


# --- fragments (RFC 4787, REQ-14)

def fragments(source, destination, to, size, identification=7):
    """A UDP datagram with *size* bytes of data in fragments of 64 bytes."""
    host, port = source.split(":")
    target, target_port = destination.split(":")
    whole = udp(ip(host), int(port), ip(target), int(target_port), bytes(range(256))[:size])
    frame = packet("udp", source, destination, to, identification=identification)
    for start in range(0, len(whole), 64):
        more = 0x2000 if start + 64 < len(whole) else 0
        head = bytearray(frame[:34])
        head[16:18] = (20 + len(whole[start:start + 64])).to_bytes(2, "big")
        head[20:22] = (more | start // 8).to_bytes(2, "big")
        head[24:26] = b"\0\0"
        head[24:26] = checksum(bytes(head[14:])).to_bytes(2, "big")
        yield bytes(head) + whole[start:start + 64]


def whole_of(emitted):
    """(source, destination, datagram) of emitted fragments, whose checksum must be right."""
    headers = [Packet(frame).ipv4() for _, frame in emitted]
    datagram = b"".join(frame[34:header.payload_end] for (_, frame), header in zip(emitted, headers))
    (source, destination), = {(header.source, header.destination) for header in headers}
    assert not checksum(pseudo_header(source, destination, 17, len(datagram)) + datagram) % 0xFFFF
    return source, destination, datagram


def test_fragments_follow_their_first_one_in_both_directions():
    net = Network()
    out = [item for frame in fragments(CLIENT, SERVER, INSIDE.mac, 200) for item in net.frame_in("inside", frame)]
    source, destination, datagram = whole_of(out)
    assert (source, destination, len(datagram), len(out)) == (ip(EXTERNAL), ip("198.51.100.1"), 208, 4)
    external = f"{EXTERNAL}:{int.from_bytes(datagram[:2], 'big')}"
    back = [item for frame in fragments(SERVER, external, OUTSIDE.mac, 150) for item in net.frame_in("outside", frame)]
    assert whole_of(back)[:2] == (ip("198.51.100.1"), ip("10.0.0.1")) and whole_of(back)[2][2:4] == (5000).to_bytes(2, "big")
    assert net.drops == {}
    net.ctx.now_ns += 15 * NS_PER_S
    net.wait(0)
    assert not net.nat.fragmented and not net.nat.fragmented_used


def identification(emitted):
    (_, frame), = emitted
    assert not checksum(frame[14:34]) % 0xFFFF
    return int.from_bytes(frame[18:20], "big")


def test_packets_of_different_hosts_that_may_be_fragmented_have_different_identifications():
    """RFC 7857, 9: to the outside all of them come from one host; what can't be fragmented keeps its own."""
    net = Network()
    found = [identification(net.from_inside("udp", host, SERVER, identification=7, fragment=0)) for host in (CLIENT, CLIENT_2, CLIENT, CLIENT_2)]
    assert len(set(found)) == 4
    assert identification(net.from_inside("udp", CLIENT, SERVER, identification=7)) == 7
    net.nat.identification.add(0x10000 - net.nat.identification.value % 0x10000 - 1)
    assert identification(net.from_inside("udp", CLIENT, SERVER, fragment=0)) == 0


def test_fragments_have_the_identification_that_their_first_one_got():
    net = Network()
    for source in (CLIENT, CLIENT_2):
        emitted = [net.frame_in("inside", frame) for frame in fragments(source, SERVER, INSIDE.mac, 200)]
        assert len(set(map(identification, emitted))) == 1 and identification(emitted[0]) != 7


def test_fragments_without_their_first_one_are_dropped():
    net = Network()
    first, second, *_ = fragments(CLIENT, SERVER, INSIDE.mac, 200)
    assert net.frame_in("inside", second) == [] and net.frame_in("inside", first) and net.frame_in("inside", second)
    other = list(fragments(CLIENT, SERVER, INSIDE.mac, 200, identification=8))[1]
    assert net.frame_in("inside", other) == [] and net.drops == {"fragment_unknown": 2}


def test_fragmented_packets_are_bounded(monkeypatch):
    monkeypatch.setattr("middleboxes.functions.nat_fragments.FRAGMENTED_MAX", 2)
    net = Network()
    for identification in range(4):
        net.frame_in("inside", next(fragments(CLIENT, SERVER, INSIDE.mac, 200, identification)))
    assert len(net.nat.fragmented) == len(net.nat.fragmented_used) == 2


# --- the log of mappings

def test_each_mapping_is_told_to_the_collector_when_it_begins_and_ends():
    net = Network(log_collector="192.0.2.7", log_port=5140)
    log, packet_out = net.from_inside("udp", CLIENT, SERVER)
    external = endpoint_out([packet_out])
    port, frame = log
    seen = Packet(frame)
    assert port == "outside" and seen.five_tuple() == (17, OUTSIDE.address, 5140, ip("192.0.2.7"), 5140) and seen.transport_checksum_ok()
    assert seen.transport_data().decode() == (
        f"<134>1 2023-11-14T22:13:20.000000Z 192.0.2.254 nat - mapping - n=1 begin udp 10.0.0.1:5000 {external}")
    assert len(net.from_inside("udp", CLIENT, SERVER)) == 1
    net.wait(50), net.say_hello("192.0.2.7")
    ended = [seen for _, frame in net.wait(250) if (seen := Packet(frame)).five_tuple()]
    texts = [seen.transport_data().decode() for seen in ended]
    assert texts == [f"<134>1 2023-11-14T22:18:20.000000Z 192.0.2.254 nat - mapping - n=2 end udp 10.0.0.1:5000 {external}"]


@pytest.mark.parametrize("now_ns, text", [(0, "1970-01-01T00:00:00.000000Z"), (951_782_400_123_456_789, "2000-02-29T00:00:00.123456Z"),
                                          (4_102_444_799_999_999_999, "2099-12-31T23:59:59.999999Z")])
def test_the_log_s_times_are_utc(now_ns, text):
    from middleboxes.functions.nat_log import _timestamp
    assert _timestamp(now_ns) == text
