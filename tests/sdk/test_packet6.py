"""IPv6 views: what is parsed out of which chain of headers, rewriting, checksums; Neighbor Discovery and errors as they are built."""

import random

import pytest

from middleboxes.core.ipv6 import DESTINATION_OPTIONS, EXTENSION_HEADERS_MAX, FRAGMENT, HOP_BY_HOP, NO_NEXT, ROUTING
from middleboxes.core.partition import flow_worker
from middleboxes.sdk import ConfigurationError, Packet6, Parameters, Port
from middleboxes.sdk.build import tcp, udp
from middleboxes.sdk.build6 import fragment, icmp6, icmp6_error, ipv6, neighbor_advertisement, neighbor_solicitation
from middleboxes.sdk.packet import TCP, UDP
from middleboxes.sdk.packet6 import (ICMPV6, is_link_local, is_routable, link_local, multicast_mac, pseudo_header6,
                                     solicited_node)

from .test_packet import ones_complement_sum

A, B = bytes.fromhex("20010db8000000010000000000000001"), bytes.fromhex("20010db800000002000000000000abcd")
MAC_A, MAC_B = b"\x02\0\0\0\0\x0a", b"\x02\0\0\0\0\x0b"
OPTIONS = b"\0\x01\x04\0\0\0\0"        # a header of 8 bytes but for its first one: PadN
SEGMENTS = b"\x02\x00\x01" + bytes(4) + B


def payload_of(protocol, data=b"data"):
    return {UDP: lambda: udp(A, 1000, B, 53, data), TCP: lambda: tcp(A, 1000, B, 80, 16, data, options=b"\x03\x03\x07\0"),
            ICMPV6: lambda: icmp6(A, B, 128, 0, 7 << 16 | 1, data)}[protocol]()


def frame_of(protocol, data=b"data", **header):
    return ipv6(MAC_A, MAC_B, protocol, A, B, payload_of(protocol, data), **header)


def sum_is_right(frame, protocol, start):
    """Summed up word by word, all but the complement of zero (which UDP writes as 0xffff)."""
    end = 54 + int.from_bytes(frame[18:20], "big")
    pseudo = frame[22:54] + (end - start).to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    return ones_complement_sum(pseudo + frame[start:end]) == 0xFFFF


PORTS = {UDP: (1000, 53), TCP: (1000, 80), ICMPV6: (7, 7)}
CHAINS = {"none": (), "hop by hop": [(HOP_BY_HOP, OPTIONS)], "routing": [(ROUTING, SEGMENTS)],
          "atomic fragment": [(FRAGMENT, fragment(0, False, 9))],
          "all": [(HOP_BY_HOP, OPTIONS), (DESTINATION_OPTIONS, OPTIONS), (ROUTING, b"\x02\x04\x00" + bytes(20)), (DESTINATION_OPTIONS, OPTIONS)]}


@pytest.mark.parametrize("chain", sorted(CHAINS))
@pytest.mark.parametrize("protocol", [UDP, TCP, ICMPV6])
@pytest.mark.parametrize("data", [b"", b"odd", b"data"])
def test_a_flow_is_found_behind_its_extension_headers(protocol, chain, data):
    frame = frame_of(protocol, data, extensions=CHAINS[chain], traffic_class=0xB8, flow_label=0xABCDE) + b"padding"
    packet = Packet6(frame)
    start = 54 + sum(1 + len(body) for _, body in CHAINS[chain])
    header = packet.ipv6()
    assert (header.protocol, header.source, header.destination, header.ttl, header.payload_start) == (protocol, A, B, 64, start)
    assert header.payload_end == len(frame) - len(b"padding") and packet.five_tuple() == (protocol, A, PORTS[protocol][0], B, PORTS[protocol][1])
    assert packet.transport_checksum_ok() and sum_is_right(frame, protocol, start) and packet.transport_data() == data
    assert flow_worker(frame, "inside", 97) == flow_worker(frame_of(protocol, data), "inside", 97), "one worker with and without them"


@pytest.mark.parametrize("protocol", [UDP, TCP, ICMPV6])
def test_rewriting_keeps_the_checksum_right_and_a_wrong_one_wrong(protocol):
    rng = random.Random(protocol)
    for number in range(300):
        frame = frame_of(protocol, rng.randbytes(number % 40), extensions=CHAINS[("none", "all")[number % 2]])
        start = Packet6(frame).ipv6().payload_start
        wrong = frame[:-1] + bytes((frame[-1] ^ 0x10,))
        for before, right in ((frame, True), (wrong, False)):
            packet = Packet6(before)
            assert packet.five_tuple()
            source, port, destination, other = rng.randbytes(16), rng.getrandbits(16), rng.randbytes(16), rng.getrandbits(16)
            packet.set_source(source, port), packet.set_destination(destination, other)
            packet.forward(MAC_B, MAC_A)
            after = packet.data
            ports = (other, other) if protocol == ICMPV6 else (port, other)
            assert Packet6(after).five_tuple() == (protocol, source, ports[0], destination, ports[1]) == packet.five_tuple()
            assert sum_is_right(after, protocol, start) == right
            assert Packet6(after).transport_checksum_ok() == right == packet.transport_checksum_ok()
            assert (packet.ttl, after[:12], len(after)) == (63, MAC_B + MAC_A, len(before))


def test_tcp_is_read_as_with_ipv4():
    packet = Packet6(frame_of(TCP, b"12345", extensions=CHAINS["all"]))
    assert packet.five_tuple() and packet.tcp_flags == 16
    segment = packet.tcp()
    assert segment.data_bytes == 5 and segment.option(3) == b"\x07" and segment.window == 0xFFFF


def test_fragments_have_their_place_and_only_the_first_has_ports():
    whole = payload_of(UDP, b"x" * 60)
    first = Packet6(ipv6(MAC_A, MAC_B, UDP, A, B, whole[:32], extensions=[(HOP_BY_HOP, OPTIONS), (FRAGMENT, fragment(0, True, 77))]))
    later = Packet6(ipv6(MAC_A, MAC_B, UDP, A, B, whole[32:], extensions=[(FRAGMENT, fragment(32, False, 77))]))
    assert first.five_tuple() is None and first.five_tuple(first_fragment=True) == (UDP, A, 1000, B, 53)
    assert later.five_tuple() is later.five_tuple(first_fragment=True) is None
    assert first.ipv6()[6:9] == (0, True, 77) and later.ipv6()[6:9] == (32, False, 77) and later.ipv6().protocol == UDP
    assert flow_worker(first.data, 0, 97) == flow_worker(later.data, 0, 97)


BODY = payload_of(UDP)


@pytest.mark.parametrize("frame", [
    b"", frame_of(UDP)[:53], frame_of(UDP)[:-1],
    frame_of(UDP)[:12] + b"\x08\x00" + frame_of(UDP)[14:],                              # another EtherType
    frame_of(UDP)[:14] + b"\x45" + frame_of(UDP)[15:],                                  # another version
    ipv6(MAC_A, MAC_B, UDP, A, B, BODY, extensions=[(DESTINATION_OPTIONS, OPTIONS), (HOP_BY_HOP, OPTIONS)]),
    ipv6(MAC_A, MAC_B, UDP, A, B, BODY, extensions=[(ROUTING, SEGMENTS)] * 2),
    ipv6(MAC_A, MAC_B, UDP, A, B, BODY, extensions=[(FRAGMENT, fragment(0, True, 1))] * 2),
    ipv6(MAC_A, MAC_B, UDP, A, B, BODY, extensions=[(DESTINATION_OPTIONS, OPTIONS)] * (EXTENSION_HEADERS_MAX + 1)),
    ipv6(MAC_A, MAC_B, UDP, A, B, b"", extensions=[(DESTINATION_OPTIONS, b"\xff" + bytes(6))]),     # it leaves the packet
    ipv6(MAC_A, MAC_B, DESTINATION_OPTIONS, A, B, b"\x11\0\x01")], ids=range(11))
def test_what_is_not_sound_is_none(frame):
    packet = Packet6(frame)
    assert packet.ipv6() is None and packet.five_tuple() is None and packet.five_tuple(first_fragment=True) is None


def test_a_chain_of_the_greatest_length_is_walked():
    frame = frame_of(UDP, extensions=[(DESTINATION_OPTIONS, OPTIONS)] * EXTENSION_HEADERS_MAX)
    assert Packet6(frame).five_tuple() == (UDP, A, 1000, B, 53)


@pytest.mark.parametrize("protocol, payload", [
    (UDP, BODY[:7]), (UDP, BODY[:4] + b"\0\x07" + BODY[6:]), (UDP, BODY[:4] + b"\0\xff" + BODY[6:]), (TCP, payload_of(TCP)[:19]),
    (TCP, payload_of(TCP)[:12] + b"\x40" + payload_of(TCP)[13:]), (TCP, payload_of(TCP)[:12] + b"\xf0" + payload_of(TCP)[13:]),
    (ICMPV6, icmp6(A, B, 1, 0, 0)), (1, BODY), (NO_NEXT, b"")])
def test_what_has_no_ports_has_no_flow(protocol, payload):
    packet = Packet6(ipv6(MAC_A, MAC_B, protocol, A, B, payload))
    assert packet.ipv6().protocol == protocol and packet.five_tuple() is None


def test_udp_without_a_checksum_is_wrong():
    frame = frame_of(UDP)
    packet = Packet6(frame[:60] + b"\0\0" + frame[62:])
    assert packet.five_tuple() and not packet.transport_checksum_ok()


def test_any_bytes_give_an_answer():
    rng = random.Random(5)
    whole = frame_of(TCP, extensions=CHAINS["all"])
    for number in range(20_000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(14, len(data))] = rng.choice((0, 6, 17, 43, 44, 58, 60, 255, rng.getrandbits(8)))
        packet = Packet6(bytes(data[:rng.randrange(len(data) + 1)] if number % 3 else data))
        header, flow = packet.ipv6(), packet.five_tuple()
        assert 0 <= flow_worker(packet.data, 0, 5) < 5
        if header is not None:
            assert 54 <= header.payload_start <= header.payload_end <= len(packet.data)
            packet.transport_checksum_ok()
        if flow is not None:
            packet.transport_data(), flow[0] == TCP and packet.tcp()
            packet.set_source(B, 1)


def test_addresses_as_the_rfcs_have_them():
    """RFC 4291, 2.7.1 and appendix A; RFC 2464, 7."""
    assert link_local(bytes.fromhex("34569a123456")) == bytes.fromhex("fe8000000000000036569afffe123456")
    assert solicited_node(bytes.fromhex("403700000000000000000001800e8c6c")).hex() == "ff0200000000000000000001ff0e8c6c"
    assert multicast_mac(solicited_node(B)) == bytes.fromhex("3333ff00abcd")
    assert [is_routable(address) for address in (A, bytes(16), bytes(15) + b"\1", b"\xff" + A[1:], link_local(MAC_A), bytes(10) + b"\xff\xff\1\2\3\4")] == [
        True, False, False, False, False, False]
    assert is_link_local(link_local(MAC_A)) and not is_link_local(A)


def test_an_error_quotes_what_fits_into_the_least_mtu():
    about = frame_of(UDP, b"x" * 1400)
    packet = Packet6(icmp6_error(2, 0, B, about, MAC_A, 1400))
    header = packet.ipv6()
    assert header.payload_end == 14 + 1280 and packet.transport_checksum_ok() and (header.source, header.destination) == (B, A)
    message = packet.data[header.payload_start:]
    assert message[:2] == b"\2\0" and message[4:8] == (1400).to_bytes(4, "big") and about[14:].startswith(message[8:])
    assert packet.destination_mac == MAC_B


def test_neighbor_discovery_as_it_is_built():
    for frame, kind, destination in ((neighbor_solicitation(MAC_A, A, B), 135, multicast_mac(solicited_node(B))),
                                     (neighbor_advertisement(MAC_A, A, MAC_B, B, 0x60000000), 136, MAC_A)):
        packet = Packet6(frame)
        header = packet.ipv6()
        message = frame[header.payload_start:]
        assert packet.transport_checksum_ok() and (packet.destination_mac, header.ttl, message[0], message[8:24]) == (destination, 255, kind, B)
        assert message[24:] == bytes((kind - 134, 1)) + (MAC_A if kind == 135 else MAC_B)
    assert pseudo_header6(A, B, 58, 24)[32:] == bytes.fromhex("000000180000003a")


# --- configuration

def test_a_port_has_ipv6_addresses_as_text():
    port = Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24", ["2001:db8::1/64", "2001:db8:1::1/127"])
    assert port.addresses6 == ((bytes.fromhex("20010db8000000000000000000000001"), 64), (bytes.fromhex("20010db8000100000000000000000001"), 127))
    assert port.link_local == bytes.fromhex("fe8000000000000000005efffe000101")
    assert Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24").addresses6 == ()


@pytest.mark.parametrize("addresses", [7, "2001:db8::1/64", None, [None], ["2001:db8::1"], ["10.0.0.1/24"], ["fe80::1/64"], ["ff02::1/64"], ["::1/128"], ["2001:db8::1%a/64"], [7],
                                       ["2001:db8::1/64", "2001:db8::1/48"], ["::ffff:10.0.0.1/120"], [f"2001:db8::{n}/64" for n in range(1, 10)]])
def test_wrong_addresses_of_a_port_are_named(addresses):
    with pytest.raises(ConfigurationError, match="port inside: "):
        Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24", addresses)


def test_parameters_take_addresses_and_prefixes_of_both_kinds():
    taken = Parameters("f", {"a": "10.0.0.1", "b": "2001:db8::1"})
    assert taken.any_address("a") == 0x0A000001 and taken.any_address("b") == bytes.fromhex("20010db8000000000000000000000001")
    both = [taken.parse_prefix("p", text) for text in ("10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "::/0", "2001:db8:1::1")]
    assert [[prefix.has(address) for prefix in both] for address in (0x0A000001, A, B)] == [
        [True, False, True, False, False], [False, True, False, True, False], [False, True, False, True, False]]
    for wrong in ("2001:db8::1/32", "::g", 7, "10.0.0.1/8"):
        with pytest.raises(ConfigurationError):
            taken.parse_prefix("p", wrong)
    for wrong in ("fe80::1%eth0", "::g", 7, "10.0.0.1/8"):
        with pytest.raises(ConfigurationError):
            taken.parse_any_address("a", wrong)
