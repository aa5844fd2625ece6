"""The IDS: signatures however they are cut, order and repeats of segments, scans, floods, alerts given once."""

import random

import pytest

from middleboxes.functions import load
from middleboxes.functions.streams import WAITING_MAX, begun, taken
from middleboxes.sdk import ConfigurationError
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, ipv4, tcp
from middleboxes.sdk.conformance import Machine
from middleboxes.sdk.packet import TCP

from .hop_scenario import KNOWN, Bench, handshake
from .nat_scenario import ACK, INSIDE, NS_PER_S, OUTSIDE, START_NS, SYN, ip, mac

CLIENT, SERVER = "10.0.0.1:5000", "192.0.2.7:80"
EVIL = {"name": "evil", "pattern": "GET /evil"}


class Watched(Bench):
    """An IDS whose events are kept."""

    def __init__(self, *signatures, **parameters):
        super().__init__("ids", signatures=list(signatures), **parameters)
        self.events = []
        self.ctx.event = lambda name, detail: self.events.append((name, detail))


def alerts(name="evil"):
    return [("ids-signature", f"{name}: 10.0.0.1:5000 > 192.0.2.7:80")]


@pytest.mark.parametrize("seed", range(30))
def test_a_signature_is_found_however_the_stream_is_cut_and_shuffled(seed):
    """Segments of any size, early ones, repeats, overlaps; the stream's numbers wrap; told once."""
    rng, net = random.Random(seed), Watched(EVIL)
    mine, its = handshake(net, CLIENT, SERVER, 2**32 - rng.randrange(1, 60))
    stream = rng.randbytes(rng.randrange(50)).replace(b"G", b"g") + b"GET /evil HTTP" + rng.randbytes(30)
    pieces, at = [], 0
    while at < len(stream):
        size = rng.randrange(1, 12)
        pieces.append((max(0, at - rng.choice([0, 0, 3])), at + size))
        at += size
    for place in range(len(pieces) - 1):
        if rng.random() < 0.4:
            pieces[place], pieces[place + 1] = pieces[place + 1], pieces[place]
    pieces += rng.sample(pieces, min(3, len(pieces)))
    for start, end in pieces:
        net.segment(CLIENT, SERVER, ACK, mine + start, its, stream[start:end])
    assert net.events == alerts() and dict(net.box.alert_counts) == {"ids-signature": 1}
    assert [stream[2] for stream in net.box.streams.values()] == [(), ()]


def test_without_the_signature_nothing_is_told():
    net = Watched(EVIL)
    mine, its = handshake(net, CLIENT, SERVER)
    for data in (b"GET /", b"good GET ", b"/evi", b"GET /evi"):
        assert net.segment(CLIENT, SERVER, ACK, mine, its, data)
        mine += len(data)
    assert net.segment(CLIENT, SERVER, ACK, mine - 8, its, b"GET /evil"[:8]) and net.events == []
    # across connections nothing spans, either
    other = handshake(net, "10.0.0.1:5001", SERVER)
    assert net.segment("10.0.0.1:5001", SERVER, ACK, *other, b"l") and net.events == []


def test_what_is_to_be_dropped_never_arrives_whole():
    net = Watched({**EVIL, "action": "drop"})
    mine, its = handshake(net, CLIENT, SERVER)
    assert net.segment(CLIENT, SERVER, ACK, mine, its, b"GET /")
    for _ in range(3):
        assert net.segment(CLIENT, SERVER, ACK, mine + 5, its, b"evil") == []
    assert net.events == alerts() and net.drops == {"signature": 3}
    assert net.segment(CLIENT, SERVER, ACK, mine + 5, its, b"good")


def test_early_segments_are_bounded_and_come_again():
    net = Watched(EVIL)
    mine, its = handshake(net, CLIENT, SERVER)
    passed = [bool(net.segment(CLIENT, SERVER, ACK, mine + 10 * number, its, b"x" * 10)) for number in range(1, WAITING_MAX + 4)]
    assert passed == [True] * WAITING_MAX + [False] * 3 and net.drops == {"out_of_order": 3}
    assert net.segment(CLIENT, SERVER, ACK, mine, its, b"GET /evil.")
    assert net.events == alerts() and net.segment(CLIENT, SERVER, ACK, mine + 10 * (WAITING_MAX + 1), its, b"x" * 10)


def test_signatures_are_for_a_protocol_and_port():
    net = Watched({**EVIL, "destination_port": 81}, {"name": "udp", "pattern": "hex:00ff", "protocol": "udp"})
    mine, its = handshake(net, CLIENT, SERVER)
    assert net.segment(CLIENT, SERVER, ACK, mine, its, b"GET /evil\x00\xff") and net.events == []
    for _ in range(2):
        assert net.send("udp", CLIENT, SERVER, data=b"a\x00\xffb")
    assert net.events == alerts("udp")


def test_what_a_flow_had_is_forgotten_with_it():
    net = Watched(EVIL)
    mine, its = handshake(net, CLIENT, SERVER)
    net.segment(CLIENT, SERVER, ACK, mine, its, b"GET /evil")
    assert net.box.streams and net.box.alerted
    net.wait(7440)
    assert not net.box.connections and not net.box.streams and not net.box.alerted


def test_a_port_scan_is_told_once_per_window():
    net = Watched(scan_targets_max=5, window_s=60)
    for number in range(1, 40):
        net.send("tcp", f"10.0.0.1:{4000 + number}", f"192.0.2.7:{number}")
    assert net.events == [("ids-port-scan", "10.0.0.1: more than 5 targets")]
    for number in range(50):
        net.send("tcp", f"10.0.0.2:{4000 + number}", SERVER)    # many flows to one target are no scan
    assert len(net.events) == 1
    net.ctx.now_ns += 60 * NS_PER_S
    for number in range(1, 40):
        net.send("udp", f"10.0.0.1:{4000 + number}", f"192.0.2.7:{number}")
    assert len(net.events) == 2
    net.wait(60)
    assert not net.box.scans and not net.box.scans_used


def test_connections_that_nobody_confirms_are_a_flood_and_those_that_are_not():
    net = Watched(flood_syns_max=10, scan_targets_max=1000)
    for number in range(30):
        handshake(net, f"10.0.0.1:{4000 + number}", SERVER)
    assert net.events == []
    for number in range(30):
        net.send("tcp", f"10.0.0.2:{4000 + number}", SERVER)
    assert net.events == [("ids-syn-flood", "192.0.2.7:80: more than 10 connections are not confirmed")]


def test_alerts_are_given_once_whenever_the_master_dies():
    events = []
    machine = Machine(load("ids"), {"signatures": [EVIL]}, [INSIDE, OUTSIDE], on_event=lambda *event: events.append(event))
    now_ns = START_NS
    for host in KNOWN:
        own = INSIDE if host.startswith("10.") else OUTSIDE
        machine.give(own.name, arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, own.address), now_ns)
    client, server = ip("10.0.0.1"), ip("192.0.2.7")

    def segment(port, flags, sequence, acknowledgment, data=b""):
        ends = (client, 5000, server, 80) if port is INSIDE else (server, 80, client, 5000)
        frame = ipv4(port.mac, mac("10.0.0.1"), TCP, ends[0], ends[2], tcp(*ends, flags, data, sequence, acknowledgment))
        assert machine.give(port.name, frame, now_ns)
        machine.take_over()
    segment(INSIDE, SYN, 100, 0), segment(OUTSIDE, SYN | ACK, 900, 101), segment(INSIDE, ACK, 101, 901)
    for place, letter in enumerate(b"..GET /evil GET /evil.."):
        segment(INSIDE, ACK, 101 + place, 901, bytes([letter]))
    assert events == alerts()


def test_a_stream_takes_what_is_new():
    stream = begun(2**32 - 3)
    stream, searched, tail = taken(stream, 2**32 - 2, b"abc", 2)
    assert (stream, searched, tail) == ((1, b"bc", ()), b"abc", 0)
    stream, searched, _ = taken(stream, 3, b"fg", 2)
    assert (stream[2], searched) == (((3, b"fg"),), b"")
    stream, searched, tail = taken(stream, 0, b"cdef", 2)
    assert (stream, searched, tail) == ((5, b"fg", ()), b"bcdefg", 2)


@pytest.mark.parametrize("signature, message", [
    ({"name": ""}, "ids: signature 1: name must be a printable text"), ({"pattern": "hex:zz"}, "pattern must be text or hex:"),
    ({"pattern": ""}, "pattern must have 1 to 256 bytes"), ({"pattern": 5}, "pattern must be text"), ({"destination_port": 0}, "destination_port must"),
    ({"action": "kill"}, "action must be one of alert, drop"), ({"nme": 1}, "unknown parameters nme; allowed: action, destination_port")])
def test_wrong_signatures_are_named(signature, message):
    with pytest.raises(ConfigurationError, match=message):
        load("ids")({"signatures": [{**EVIL, **signature}]}, [INSIDE, OUTSIDE])
