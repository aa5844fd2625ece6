"""The monitor's IPFIX export: messages as RFC 7011 wants them, sums equal to what passed, also across a failover."""

import random

import pytest

from middleboxes.functions import ipfix, load
from middleboxes.sdk import Packet
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp
from middleboxes.sdk.conformance import Machine

from .hop_scenario import Bench
from .nat_scenario import INSIDE, NS_PER_S, OUTSIDE, START_NS, ip, mac, packet

CLIENT, SERVER, COLLECTOR = "10.0.0.1:5000", "192.0.2.7:80", "192.0.2.1"


def messages(emitted):
    """The parsed IPFIX messages among what was emitted."""
    found = []
    for _, frame in emitted:
        seen = Packet(frame)
        flow = seen.five_tuple()
        if flow and flow[3:] == (ip(COLLECTOR), 4739):
            assert seen.transport_checksum_ok() and len(frame) <= 1514
            found.append(ipfix.parse(seen.transport_data()))
    return found


def monitor(**parameters):
    return Bench("monitor", **{"collector": COLLECTOR, "flow_idle_timeout_s": 10, "flow_active_timeout_s": 5, **parameters})


def test_a_message_byte_by_byte():
    """RFC 7011, 3.1 to 3.4."""
    record = ipfix.record((17, ip("10.0.0.1"), 5, ip("10.0.0.2"), 6), 0, 2, 100, 1_500_000_000, 2_000_000_000, ipfix.IDLE)
    data = ipfix.message([record], 7, 3, 9_000_000_000, True)
    assert data[:16].hex() == "000a" + f"{len(data):04x}" + "00000009" + "00000007" + "00000003"
    assert data[16:24].hex() == "0002" + f"{8 + 48:04x}" + "0100" + "000c" and data[24:28].hex() == "00080004"
    assert data[72:76].hex() == "0100" + f"{4 + len(record):04x}"
    assert record.hex() == ("0a000001" "0a000002" "0005" "0006" "11" "0000" "0000" "0000000000000002" "0000000000000064"
                            "00000000000005dc" "00000000000007d0" "01")
    assert ipfix.parse(data)[:3] == (7, 3, True)


def test_the_template_comes_first_and_again():
    net = monitor(template_interval_s=30)
    assert [(message[2], message[3]) for message in messages(net.wait(1))] == [(True, [])]
    assert messages(net.wait(29)) == [] and len(messages(net.wait(1))) == 1


def test_long_flows_are_told_in_parts_and_closed_ones_to_the_end():
    net = monitor()
    net.wait(1)
    told = []
    for second in range(30):
        if second < 12:
            net.send("udp", CLIENT, SERVER, data=bytes(second))
        told += [(record[7], record[8], record[11]) for *_, records in messages(net.wait(1)) for record in records]
    assert sum(packets for packets, _, _ in told) == 12 and sum(octets for _, octets, _ in told) == 12 * 28 + sum(range(12))
    assert [reason for *_, reason in told] == [ipfix.ACTIVE, ipfix.ACTIVE, ipfix.ACTIVE]
    assert not net.box.flows and not net.box.told


def test_flows_that_make_room_are_told_and_many_records_are_split():
    net = monitor(flows_max=3)
    net.wait(1)
    for port in range(1, 101):
        net.send("udp", f"10.0.0.1:{port}", SERVER)
    found = messages(net.wait(1))
    assert [len(message[3]) for message in found] == [ipfix.RECORDS_MAX] * 3 + [97 - 3 * ipfix.RECORDS_MAX]
    assert [message[0] for message in found] == [ipfix.RECORDS_MAX * number for number in range(4)]
    assert {record[11] for message in found for record in message[3]} == {ipfix.NO_ROOM}


def test_records_do_not_pile_up_between_ticks(monkeypatch):
    monkeypatch.setattr("middleboxes.functions.exporter.RECORDS_WAITING_MAX", 10)
    net = monitor(flows_max=1)
    for port in range(1, 30):
        net.send("udp", f"10.0.0.1:{port}", SERVER)
        assert len(net.box.waiting) < 10


@pytest.mark.parametrize("workers", [1, 4])
def test_the_sums_of_the_export_are_what_passed_whenever_the_master_dies(workers):
    machine = Machine(load("monitor"), {"collector": COLLECTOR, "flow_idle_timeout_s": 7, "flow_active_timeout_s": 3, "flows_max": 40}, [INSIDE, OUTSIDE],
                      workers)
    rng, found, packets, octets = random.Random(workers), [], 0, 0
    now_ns = START_NS
    for host, own in (("10.0.0.1", INSIDE), ("192.0.2.7", OUTSIDE), (COLLECTOR, OUTSIDE)):
        machine.give(own.name, arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, own.address), now_ns)
    for _ in range(600):
        now_ns += rng.choice([1000, NS_PER_S // 50])
        size = rng.randrange(100)
        machine.give("inside", packet("udp", f"10.0.0.1:{rng.randrange(1, 60)}", SERVER, INSIDE.mac, data=bytes(size)), now_ns)
        packets, octets = packets + 1, octets + 28 + size
        if rng.random() < 0.2:
            found += messages(machine.tick(now_ns))
        if rng.random() < 0.1:
            machine.take_over()
        if rng.random() < 0.05:
            machine.checkpoint()
    for _ in range(10):
        now_ns += NS_PER_S
        found += messages(machine.tick(now_ns))
    assert sum(record[7] for *_, records in found for record in records) == packets
    assert sum(record[8] for *_, records in found for record in records) == octets
    for domain in range(1, workers + 1):
        sequences = [(message[0], len(message[3])) for message in found if message[1] == domain]
        assert [start for start, _ in sequences] == [sum(size for _, size in sequences[:place]) for place in range(len(sequences))]


@pytest.mark.parametrize("data", [b"", bytes(16), b"\0\x0a" + bytes(30), ipfix.message([], 0, 0, 0, True)[:-3]])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError):
        ipfix.parse(data)
