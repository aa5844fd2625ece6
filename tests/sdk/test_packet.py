"""Packet: parsing of known and of broken frames; rewriting against a full recomputation of every checksum."""

import random
import struct

import pytest

from middleboxes.sdk import Packet
from middleboxes.sdk.build import arp, icmp, icmp_error, ipv4, tcp, udp
from middleboxes.sdk.packet import ICMP, TCP, UDP, checksum, endpoint, endpoint_parts

MAC_A, MAC_B = bytes.fromhex("02005e000101"), bytes.fromhex("024654000001")
A, B, C = 0x0A000001, 0xC6336401, 0xC0000264

# a DNS query, and an ARP request padded to 60 bytes
DNS = bytes.fromhex("02005e000101024654000001 0800 4500002d1c4640004011bbae0a0000010a00000a"
                    "a1b2003500195e01 12340100000100000000000001610000010001".replace(" ", ""))
ARP = bytes.fromhex("ffffffffffff024654000001 0806 0001080006040001024654000001 0a000001 000000000000 0a0000fe"
                    .replace(" ", "")) + bytes(18)


def ones_complement_sum(data):
    """RFC 1071 word by word, written without the arithmetic that is under test."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for word, in struct.iter_unpack("!H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def recomputed(frame):
    """*frame* with its IPv4 and transport checksums computed anew; UDP without a checksum stays so."""
    frame = bytearray(frame)
    start = 14 + (frame[14] & 15) * 4
    end = 14 + int.from_bytes(frame[16:18], "big")
    frame[24:26] = b"\0\0"
    frame[24:26] = (0xFFFF - ones_complement_sum(bytes(frame[14:start]))).to_bytes(2, "big")
    protocol = frame[23]
    at = start + {TCP: 16, UDP: 6, ICMP: 2}[protocol]
    if protocol == UDP and frame[at:at + 2] == b"\0\0":
        return bytes(frame)
    frame[at:at + 2] = b"\0\0"
    pseudo = b"" if protocol == ICMP else bytes(frame[26:34]) + struct.pack("!HH", protocol, end - start)
    result = 0xFFFF - ones_complement_sum(pseudo + bytes(frame[start:end]))
    if protocol == UDP:
        result = result or 0xFFFF
    frame[at:at + 2] = result.to_bytes(2, "big")
    return bytes(frame)


def frame_of(protocol, data=b"data", **header):
    payload = {UDP: lambda: udp(A, 1000, B, 53, data), TCP: lambda: tcp(A, 1000, B, 80, 16, data),
               ICMP: lambda: icmp(8, 0, 7 << 16 | 1, data)}[protocol]()
    return ipv4(MAC_A, MAC_B, protocol, A, B, payload, **header)


def test_checksum_of_the_header_known_from_textbooks():
    header = bytes.fromhex("45000073000040004011 0000 c0a80001c0a800c7".replace(" ", ""))
    assert checksum(header) == 0xB861


def test_known_packets_are_seen():
    packet = Packet(recomputed(DNS))
    assert packet.five_tuple() == (UDP, 0x0A000001, 0xA1B2, 0x0A00000A, 53)
    assert (packet.destination_mac, packet.source_mac, packet.ether_type, packet.ttl) == (MAC_A, MAC_B, 0x0800, 64)
    assert packet.ipv4().payload_end == 14 + 0x2D
    assert packet.arp() is None
    request = Packet(ARP)
    assert request.arp() == (1, MAC_B, 0x0A000001, bytes(6), 0x0A0000FE)
    assert request.five_tuple() is None and request.ipv4() is None


def test_builders_compute_checksums_that_a_full_recomputation_agrees_with():
    for protocol in (UDP, TCP, ICMP):
        for size in range(5):
            frame = frame_of(protocol, bytes(range(size)))
            assert frame == recomputed(frame)
            assert Packet(frame).five_tuple() is not None
    error = icmp_error(11, 0, C, frame_of(UDP, bytes(2000)), MAC_A)
    assert error == recomputed(error) and len(error) == 14 + 576
    assert Packet(error).ipv4()[:3] == (ICMP, C, A)


def random_packet(rng):
    """A frame of random addresses, ports, TTL, options, padding and size; some UDP without checksum."""
    source, destination = rng.getrandbits(32), rng.getrandbits(32)
    ports = rng.choice([0, 0xFFFF, rng.getrandbits(16)]), rng.getrandbits(16)
    data = rng.choice([bytes, rng.randbytes])(rng.randrange(40))
    protocol = rng.choice([TCP, UDP, ICMP])
    if protocol == UDP:
        payload = udp(source, ports[0], destination, ports[1], data)
        if rng.random() < 0.2:
            payload = payload[:6] + b"\0\0" + payload[8:]
    elif protocol == TCP:
        payload = tcp(source, ports[0], destination, ports[1], 16, data, rng.getrandbits(32))
    else:
        payload = icmp(rng.choice([0, 8]), 0, ports[0] << 16 | rng.choice([0, 1, 0xFFFF]), data)
    options = rng.choice([b"", b"", rng.randbytes(4 * rng.randrange(11))])
    frame = ipv4(MAC_A, MAC_B, protocol, source, destination, payload, ttl=rng.randrange(2, 256), options=options,
                 identification=rng.getrandbits(16), fragment=rng.choice([0, 0x4000]), tos=rng.getrandbits(8))
    return frame + rng.randbytes(max(0, 60 - len(frame)))


def test_incremental_checksums_equal_a_full_recomputation():
    rng = random.Random(20)
    for _ in range(6000):
        frame = random_packet(rng)
        packet = Packet(frame)
        protocol, source, source_port, destination, destination_port = packet.five_tuple()
        address, port = rng.choice([0, 0xFFFFFFFF, rng.getrandbits(32)]), rng.choice([0, 0xFFFF, rng.getrandbits(16)])
        expected = [protocol, source, source_port, destination, destination_port]
        if rng.random() < 0.6:
            packet.set_source(address, port)
            expected[1:3] = address, port
            if protocol == ICMP:
                expected[4] = port
        if rng.random() < 0.6:
            packet.set_destination(address ^ 1, port ^ 1)
            expected[3:5] = address ^ 1, port ^ 1
            if protocol == ICMP:
                expected[2] = port ^ 1
        if rng.random() < 0.6:
            packet.forward(MAC_B, MAC_A)
            assert packet.ttl == frame[22] - 1
        assert packet.data == recomputed(packet.data), frame.hex()
        end = 14 + int.from_bytes(frame[16:18], "big")
        assert packet.data[end:] == frame[end:]
        assert packet.five_tuple() == Packet(packet.data).five_tuple() == tuple(expected)


def test_an_endpoint_is_an_end_of_a_flow_and_rewrites_as_its_parts_do():
    rng = random.Random(22)
    for _ in range(1000):
        frame, address, port = random_packet(rng), rng.getrandbits(32), rng.getrandbits(16)
        one, other = Packet(frame), Packet(frame)
        flow = one.five_tuple()
        assert (one.protocol, one.source, one.destination) == (flow[0], flow[1], flow[3])
        assert [endpoint_parts(end) for end in other.endpoints()] == [flow[:3], (flow[0], *flow[3:])]
        one.set_source(address, port)
        one.set_destination(port, address & 0xFFFF)
        other.set_source_to(endpoint(flow[0], address, port))
        other.set_destination_to(endpoint(flow[0], port, address & 0xFFFF))
        assert one.data == other.data


@pytest.mark.parametrize("parts", [(256, A, 1), (UDP, 1 << 32, 1), (UDP, A, 1 << 16), (UDP, -1, 1)])
def test_what_does_not_fit_is_no_endpoint(parts):
    with pytest.raises(OverflowError):
        endpoint(*parts)


@pytest.mark.parametrize("name", ["protocol", "source", "destination", "ttl"])
def test_what_is_too_short_for_an_ipv4_header_has_no_field_of_it(name):
    for size in (0, 14, 33):
        with pytest.raises(IndexError):
            getattr(Packet(frame_of(UDP)[:size]), name)


def test_udp_checksum_that_becomes_zero_is_sent_as_all_ones():
    packet = Packet(frame_of(UDP))
    packet.five_tuple()
    old = int.from_bytes(packet.data[40:42], "big")
    packet.set_source(A, (old + 1000) % 0xFFFF)
    assert packet.data[40:42] == b"\xff\xff" and packet.data == recomputed(packet.data)


def test_echo_reply_that_becomes_all_zero_has_the_checksum_all_ones():
    packet = Packet(ipv4(MAC_A, MAC_B, ICMP, A, B, icmp(0, 0, 5 << 16)))
    packet.five_tuple()
    packet.set_destination(C, 0)
    assert packet.data[34:42] == b"\0\0\xff\xff\0\0\0\0" == recomputed(packet.data)[34:42]


def test_wrong_transport_checksum_stays_wrong_by_the_same_amount():
    frame = bytearray(frame_of(TCP))
    frame[51] ^= 0x15
    packet = Packet(bytes(frame))
    packet.five_tuple()
    packet.set_source(C, 4000)
    right = recomputed(packet.data)
    difference = int.from_bytes(packet.data[50:52], "big") - int.from_bytes(right[50:52], "big")
    original = int.from_bytes(frame[50:52], "big") - int.from_bytes(recomputed(bytes(frame))[50:52], "big")
    assert (difference - original) % 0xFFFF == 0


def test_the_given_frame_is_never_changed():
    frame = frame_of(TCP)
    kept = bytes(frame)
    packet = Packet(frame)
    packet.five_tuple()
    packet.set_source(C, 4000)
    packet.forward(MAC_A, MAC_B)
    assert frame == kept and packet.data != kept


def test_bytes_that_were_given_out_stay_as_they_are():
    packet = Packet(frame_of(TCP))
    packet.five_tuple()
    given = []
    for number in range(3):
        packet.set_source(C + number, 4000)
        packet.forward(MAC_A, MAC_B)
        given.append((packet.data, bytes(bytearray(packet.data))))
    packet.set_destination(C, 1)
    assert [data for data, _ in given] == [copy for _, copy in given] and len({data for data, _ in given}) == 3


@pytest.mark.parametrize("use", [lambda packet: packet.set_source(A, 1), lambda packet: packet.set_destination(A, 1), lambda packet: packet.tcp(),
                                 lambda packet: packet.tcp_flags, lambda packet: packet.icmp_type, lambda packet: packet.transport_data(),
                                 lambda packet: packet.transport_checksum_ok()])
@pytest.mark.parametrize("frame", [b"", frame_of(UDP)[:40], frame_of(TCP)])
def test_without_a_five_tuple_there_is_no_transport_header(use, frame):
    with pytest.raises(ValueError, match="five_tuple"):
        use(Packet(frame))


def test_only_tcp_has_flags_and_only_icmp_a_type():
    for protocol, use in ((UDP, lambda packet: packet.tcp_flags), (ICMP, lambda packet: packet.tcp()), (TCP, lambda packet: packet.icmp_type)):
        packet = Packet(frame_of(protocol))
        packet.five_tuple()
        with pytest.raises(ValueError):
            use(packet)


@pytest.mark.parametrize("frame, macs", [(b"", (MAC_A, MAC_B)), (b"x", (MAC_A, MAC_B)), (frame_of(UDP)[:33], (MAC_A, MAC_B)),
                                         (frame_of(UDP), (MAC_A[:5], MAC_B)), (frame_of(UDP), (MAC_A, MAC_B + b"x")),
                                         (frame_of(UDP, ttl=0), (MAC_A, MAC_B))])
def test_what_can_not_be_forwarded_is_refused_and_stays_as_it_is(frame, macs):
    packet = Packet(frame)
    with pytest.raises(ValueError):
        packet.forward(*macs)
    assert packet.data == frame


@pytest.mark.parametrize("endpoint", [(1 << 32, 1), (-1, 1), (A, 1 << 16), (A, -1)])
def test_numbers_that_do_not_fit_are_refused_and_change_nothing(endpoint):
    packet = Packet(frame_of(UDP))
    packet.five_tuple()
    for change in (packet.set_source, packet.set_destination):
        with pytest.raises(OverflowError):
            change(*endpoint)
    assert packet.data == frame_of(UDP)


def test_the_checksum_of_a_first_fragment_is_not_taken_for_right():
    """Its UDP length counts data of other fragments, which must not be looked for behind the frame."""
    packet = Packet(with_header(frame_of(UDP, bytes(30))[:60], 16, (46).to_bytes(2, "big")))
    packet = Packet(with_header(packet.data, 20, b"\x20\x00"))
    assert packet.five_tuple(first_fragment=True) and not packet.transport_checksum_ok()


def with_header(frame, at, value):
    """*frame* with bytes replaced in its IPv4 header, whose checksum is then right."""
    frame = bytearray(frame)
    frame[at:at + len(value)] = value
    frame[24:26] = b"\0\0"
    frame[24:26] = checksum(bytes(frame[14:34])).to_bytes(2, "big")
    return bytes(frame)


UDP_FRAME, TCP_FRAME = frame_of(UDP, bytes(30)), frame_of(TCP, bytes(30))


@pytest.mark.parametrize("what, frame", [
    ("empty", b""),
    ("Ethernet header cut", UDP_FRAME[:13]),
    ("IPv4 header cut", UDP_FRAME[:33]),
    ("transport header cut", UDP_FRAME[:41]),
    ("payload cut", UDP_FRAME[:-1]),
    ("not IPv4", UDP_FRAME[:12] + b"\x86\xdd" + UDP_FRAME[14:]),
    ("802.1Q", UDP_FRAME[:12] + b"\x81\x00\x00\x05" + UDP_FRAME[12:]),
    ("version 6", with_header(UDP_FRAME, 14, b"\x65")),
    ("header length 16", with_header(UDP_FRAME, 14, b"\x44")),
    ("header length beyond the frame", with_header(frame_of(UDP, b""), 14, b"\x4f")),
    ("total length below the header", with_header(UDP_FRAME, 16, b"\x00\x13")),
    ("total length without room for UDP", with_header(UDP_FRAME, 16, b"\x00\x1b")),
    ("total length beyond the frame", with_header(UDP_FRAME, 16, b"\xff\xff")),
    ("header checksum", UDP_FRAME[:24] + b"\x12\x34" + UDP_FRAME[26:]),
    ("first fragment", with_header(UDP_FRAME, 20, b"\x20\x00")),
    ("later fragment", with_header(UDP_FRAME, 20, b"\x00\x05")),
    ("UDP length 7", UDP_FRAME[:38] + b"\x00\x07" + UDP_FRAME[40:]),
    ("UDP length beyond the packet", UDP_FRAME[:38] + b"\x00\x27" + UDP_FRAME[40:]),
    ("TCP data offset 4", TCP_FRAME[:46] + b"\x40" + TCP_FRAME[47:]),
    ("TCP data offset beyond the packet", TCP_FRAME[:46] + b"\xf0" + TCP_FRAME[47:]),
    ("TCP without room for its header", with_header(TCP_FRAME, 16, b"\x00\x27")),
    ("protocol", with_header(UDP_FRAME, 23, b"\x32")),
    ("ICMP error", ipv4(MAC_A, MAC_B, ICMP, A, B, icmp(3, 1, 0, bytes(28)))),
    ("ICMP echo with a code", ipv4(MAC_A, MAC_B, ICMP, A, B, icmp(8, 1, 0))),
])
def test_what_is_not_sound_has_no_five_tuple(what, frame):
    assert Packet(frame).five_tuple() is None, what


@pytest.mark.parametrize("frame", [ARP[:41], ARP[:14] + b"\x00\x02" + ARP[16:], ARP[:18] + b"\x07" + ARP[19:],
                                   ARP[:12] + b"\x08\x00" + ARP[14:]])
def test_what_is_not_arp_for_ipv4_over_ethernet_is_none(frame):
    assert Packet(frame).arp() is None


@pytest.mark.parametrize("fragment, atomic", [(0x4000, True), (0, False), (0x2000, False), (0x6000, False), (0x4001, False), (0xC000, True)])
def test_an_atomic_packet_is_no_fragment_and_never_becomes_one(fragment, atomic):
    assert Packet(ipv4(MAC_B, MAC_A, 17, A, B, b"data", fragment=fragment)).is_atomic == atomic
    assert not Packet(b"short").is_atomic


def test_an_identification_is_rewritten_with_its_checksum():
    rng = random.Random(6)
    for _ in range(1000):
        number = rng.getrandbits(16)
        packet = Packet(ipv4(MAC_B, MAC_A, 17, A, B, b"data", identification=rng.getrandbits(16), fragment=rng.getrandbits(16)))
        packet.set_identification(number)
        assert packet.data[18:20] == number.to_bytes(2, "big") and not checksum(packet.data[14:34]) % 0xFFFF
    with pytest.raises(ValueError):
        Packet(b"short").set_identification(1)


def test_no_bytes_make_a_view_raise_and_what_is_sound_can_be_rewritten():
    rng = random.Random(21)
    sound = 0
    for _ in range(10_000):
        frame = bytearray(random_packet(rng))
        for _ in range(rng.randrange(4)):
            frame[rng.randrange(12, len(frame))] = rng.getrandbits(8)
        if rng.random() < 0.5:
            del frame[rng.randrange(len(frame)):]
        if rng.random() < 0.5 and len(frame) >= 34:     # so that not all end at the header checksum
            start = min(14 + (frame[14] & 15) * 4, len(frame))
            frame[24:26] = b"\0\0"
            frame[24:26] = checksum(bytes(frame[14:start])).to_bytes(2, "big")
        packet = Packet(bytes(frame))
        packet.arp(), packet.ipv4(), packet.ether_type, packet.source_mac, packet.is_to(MAC_A)
        first_fragment = rng.random() < 0.3
        flow, ends = packet.five_tuple(first_fragment), packet.endpoints(first_fragment)
        assert ends == (flow and (endpoint(*flow[:3]), endpoint(flow[0], *flow[3:])))
        if packet.five_tuple() is not None:
            sound += 1
            packet.set_source(rng.getrandbits(32), rng.getrandbits(16))
            packet.set_destination(rng.getrandbits(32), rng.getrandbits(16))
            assert len(packet.data) == len(frame) and packet.five_tuple() is not None
    assert 1000 < sound < 9000


def test_arp_built_is_arp_seen():
    assert Packet(arp(2, MAC_A, A, MAC_B, B)).arp() == (2, MAC_A, A, MAC_B, B)
