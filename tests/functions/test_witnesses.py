"""The witnesses: what they stamp, what they leave alone, and that a restored one goes on with the next number."""

import random

import pytest

from middleboxes.functions import load
from middleboxes.sdk import ConfigurationError, Packet
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, udp
from middleboxes.sdk.packet import checksum, pseudo_header

from ..columns import delta_of, state_of
from .nat_scenario import INSIDE, OUTSIDE, StepContext, ip, mac, packet, told

CLIENT, OTHER, SERVER, PORT = "10.0.0.1:5000", "10.0.0.2:5000", "192.0.2.7:7100", 7100
NAMES = ("sequencer", "shared-counter")


class Network:
    """A witness and the wires around it, its neighbours known."""

    def __init__(self, name, know=("10.0.0.1", "10.0.0.2", "192.0.2.7"), **parameters):
        self.box = load(name)(parameters, [INSIDE, OUTSIDE])
        self.ctx = StepContext()
        for host in know:
            own = INSIDE if host.startswith("10.") else OUTSIDE
            self.frame_in(own, arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, own.address))

    def frame_in(self, port, frame):
        self.ctx.port = port.name
        self.box.handle(frame, self.ctx)
        return self.ctx.take()

    def send(self, source, destination, protocol="udp", **fields):
        own = INSIDE if source.startswith("10.") else OUTSIDE
        fields.setdefault("data", bytes(20))
        return self.frame_in(own, packet(protocol, source, destination, own.mac, **fields))


def payload(emitted):
    """The UDP payload of the one emitted packet, whose checksums must be right."""
    (_, frame), = emitted
    seen = Packet(frame)
    header = seen.ipv4()
    datagram = frame[header.payload_start:header.payload_end]
    whole = pseudo_header(header.source, header.destination, 17, len(datagram)) + datagram
    assert checksum(whole) in (0, 0xFFFF)
    return datagram[8:]


def numbers(data, count):
    return tuple(int.from_bytes(data[8 * place:8 * place + 8], "big") for place in range(count))


def test_the_sequencer_numbers_all_flows_and_both_directions_in_one_row():
    net = Network("sequencer")
    ways = [(CLIENT, SERVER), (OTHER, SERVER), (SERVER, CLIENT), (CLIENT, SERVER)]
    assert [numbers(payload(net.send(*way)), 1) for way in ways] == [(1,), (2,), (3,), (4,)]


def test_the_shared_counter_stamps_the_total_and_the_count_of_the_source():
    net = Network("shared-counter")
    ways = [(CLIENT, SERVER), (OTHER, SERVER), (SERVER, CLIENT), (CLIENT, SERVER), ("10.0.0.1:5001", SERVER)]
    assert [numbers(payload(net.send(*way)), 2) for way in ways] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_router_for_everything(name):
    net = Network(name)
    (port, frame), = net.send(CLIENT, SERVER)
    seen = Packet(frame)
    assert (port, seen.destination_mac, seen.source_mac, seen.ttl) == ("outside", mac("192.0.2.7"), OUTSIDE.mac, 63)
    assert told(net.send(CLIENT, "192.0.2.7:80", "tcp")) == ["outside 6 10.0.0.1:5000 > 192.0.2.7:80"]
    assert told(net.send("10.0.0.1:9", "10.0.0.254:9", "icmp")) == ["inside 1 10.0.0.254:9 > 10.0.0.1:9"]
    assert net.send(CLIENT, "192.0.2.99:7100", ttl=1) and net.box.drops["ttl"] == 1


@pytest.mark.parametrize("source, destination, fields", [
    (CLIENT, "192.0.2.7:7101", {}), (CLIENT, SERVER, {"data": bytes(7)}), (CLIENT, SERVER, {"fragment": 0x2000}),
    (CLIENT, SERVER, {"protocol": "tcp"})])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_to_be_stamped_is_forwarded_as_it_came(name, source, destination, fields):
    net = Network(name)
    (_, frame), = net.send(source, destination, **fields)
    assert frame.endswith(fields.get("data", bytes(20)))
    assert numbers(payload(net.send(CLIENT, SERVER)), 1) == (1,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source, destination, reason", [
    (CLIENT, "10.0.0.2:7100", "no_route"), (CLIENT, "198.51.100.1:7100", "no_route"), ("192.0.2.7:1", "192.0.2.8:7100", "no_route"),
    (CLIENT, "10.0.0.254:7100", "to_own")])
def test_what_leads_nowhere_is_dropped_and_not_stamped(name, source, destination, reason):
    net = Network(name)
    assert net.send(source, destination) == [] and net.box.drops == {reason: 1}
    assert numbers(payload(net.send(CLIENT, SERVER)), 1) == (1,)


def test_a_forged_source_of_the_other_side_is_dropped():
    net = Network("sequencer")
    frame = packet("udp", "192.0.2.8:1", SERVER, INSIDE.mac, data=bytes(20))
    assert net.frame_in(INSIDE, frame) == [] and net.box.drops == {"no_route": 1}


@pytest.mark.parametrize("name", NAMES)
def test_the_checksum_stays_right_or_wrong_or_absent(name):
    """Also where the sum comes out as zero; an absent one (0) stays absent."""
    net, rng = Network(name), random.Random(3)
    for _ in range(300):
        payload(net.send(CLIENT, SERVER, data=rng.randbytes(rng.randrange(16, 40))))
    frame = bytearray(packet("udp", CLIENT, SERVER, INSIDE.mac, data=bytes(20)))
    frame[40:42] = b"\0\0"
    (_, out), = net.frame_in(INSIDE, bytes(frame))
    assert out[40:42] == b"\0\0"
    frame[40:42] = b"\x12\x34"
    (_, out), = net.frame_in(INSIDE, bytes(frame))
    header = Packet(out).ipv4()
    right = udp(header.source, 5000, header.destination, PORT, out[42:])
    assert out[40:42] != right[6:8]


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_restored_by_deltas_goes_on_with_the_next_numbers(name):
    """A takeover after every few packets: no gap, no repeat, and the old master would have said the same."""
    master, replica, rng = Network(name), Network(name, know=()), random.Random(5)
    ways = [(CLIENT, SERVER), (OTHER, SERVER), (SERVER, CLIENT)]
    seen = []
    for _ in range(30):
        for _ in range(rng.randrange(1, 4)):
            seen += numbers(payload(master.send(*rng.choice(ways))), 1)
        for variable, copy in zip(master.box.variables.values(), replica.box.variables.values()):
            copy.apply(*delta_of(variable))
        assert state_of(replica.box.variables) == state_of(master.box.variables)
        way = rng.choice(ways)
        emitted = master.send(*way)
        assert replica.send(*way) == emitted
        seen += numbers(payload(emitted), 1)
        for variable in [*master.box.variables.values(), *replica.box.variables.values()]:
            variable.cut()
        master, replica = replica, master
    assert seen == list(range(1, len(seen) + 1))


def test_sources_are_bounded():
    net = Network("shared-counter", sources_max=2)
    net.send(CLIENT, SERVER), net.send(OTHER, SERVER)
    assert net.send("10.0.0.1:5001", SERVER) == [] and net.box.drops == {"sources_full": 1}
    assert numbers(payload(net.send(CLIENT, SERVER)), 2) == (3, 2)


@pytest.mark.parametrize("name, parameters, message", [
    ("sequencer", {"stamped_port": 0}, "sequencer: stamped_port must be an integer from 1 to 65535, not 0"),
    ("sequencer", {"stamped_port": "7100"}, "must be an integer"),
    ("sequencer", {"port": 1}, "sequencer: unknown parameters port; allowed: ipv6_mtu_bytes, routes, stamped_port"),
    ("shared-counter", {"sources_max": 0}, "shared-counter: sources_max must be an integer from 1"),
    ("shared-counter", {"x": 1}, "allowed: ipv6_mtu_bytes, routes, sources_max, stamped_port")])
def test_wrong_parameters_are_named(name, parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        load(name)(parameters, [INSIDE, OUTSIDE])
