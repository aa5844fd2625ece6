"""A pair of WAN optimisers: what arrives is what was sent, whatever the network does; what is repeated costs little; bounds hold."""

import random
from collections import Counter

import pytest

from middleboxes.functions import load
from middleboxes.functions.wan_messages import WAN_PORT
from middleboxes.functions.wan_packets import partition_by_inner_flow
from middleboxes.sdk import ConfigurationError, Packet, Packet6
from middleboxes.sdk.packet import UDP

from .nat_scenario import mac
from .wan_pair import (CLIENT, CLIENT6, NEAR, NEAR_PARAMETERS, PEERS6, SERVER, SERVER6, Pair, Source, arrived_right, comes_with_repetition, datagram,
                       datagram6, exchange, passed)

ENDS = (CLIENT, SERVER), (CLIENT6, SERVER6)


@pytest.mark.parametrize("peers", [{}, PEERS6], ids=["over IPv4", "over IPv6"])
@pytest.mark.parametrize("workers", [1, 4])
def test_what_arrives_is_what_was_sent_if_the_network_loses_nothing(workers, peers):
    pair = Pair(workers=workers, **peers)
    exchange(pair, Source(2), 800)
    arrived_right(pair, exactly=True)
    assert pair.near.drops == pair.far.drops == {}
    for end in (pair.near, pair.far):
        packets, octets, on_wan = end.traffic["out"]
        assert packets == len(end.sent) and octets == sum(map(len, end.sent))
        assert end.traffic["out"] == pair.other(end).traffic["in"]
        assert on_wan < octets * 0.5, "the contents were repeated"


def test_what_arrives_is_what_was_sent_though_the_network_loses_repeats_and_reorders():
    """The receivers' stores are smaller than the senders' think, so what they have no longer is referred to, too."""
    drops, lost = Counter(), 0
    for seed in range(30):
        small, large = {"cache_entries": 16}, {"cache_entries": 40}
        pair = Pair(seed, lose=0.05, repeat=0.05, reorder=0.3, near=(small, large)[seed % 2], far=(large, small)[seed % 2])
        exchange(pair, Source(seed), 120)
        lost += arrived_right(pair)
        drops.update(pair.near.drops)
        drops.update(pair.far.drops)
        assert pair.near.events == pair.far.events == []
        comes_with_repetition(pair, Source(seed))
    assert set(drops) == {"missing"} and 10 < drops["missing"] < lost, "what was missing was dropped and nothing else; the network lost some, too"


def download(pair, content, number, segment_bytes=1400):
    """*content* from the server to the client, in datagrams; octets that went in, and out on the WAN."""
    before = pair.far.traffic["out"] if "out" in pair.far.traffic else (0, 0, 0)
    for place, at in enumerate(range(0, len(content), segment_bytes)):
        pair.send(pair.far, datagram(SERVER, CLIENT, content[at:at + segment_bytes], number + place))
        if place % 10 == 0:
            pair.tick()
    pair.tick()
    _, octets, on_wan = map(int.__sub__, pair.far.traffic["out"], before)
    return octets, on_wan


@pytest.mark.parametrize("kind", ["noise", "text"])
def test_what_was_sent_before_costs_little_wherever_it_begins_in_its_packets(kind):
    rng, pair = random.Random(1), Pair()
    words = [bytes(rng.choices(b"etaoinshrdlu", k=rng.randrange(2, 9))) for _ in range(1000)]
    content = rng.randbytes(200_000) if kind == "noise" else b" ".join(rng.choices(words, k=60_000))[:200_000]
    octets, on_wan = download(pair, content, 0)
    assert on_wan == octets, "nothing was known, and nothing gets longer"
    octets, on_wan = download(pair, content, 1000)
    assert on_wan < 0.08 * octets
    octets, on_wan = download(pair, b"a new heading, which moves all" + content, 2000)
    assert on_wan < 0.15 * octets
    changed = b"".join(content[at:at + 5000] + rng.randbytes(20) for at in range(0, len(content), 5000))
    octets, on_wan = download(pair, changed, 3000, segment_bytes=1000)
    assert on_wan < 0.25 * octets
    told, _, told_octets = pair.near.traffic["control"]
    assert told_octets < 0.02 * pair.far.traffic["out"][1], "what is told of it comes back on the same WAN"
    assert arrived_right(pair, exactly=True) == 0 and pair.near.drops == pair.far.drops == {}


def test_what_the_receiver_has_not_told_is_not_referred_to():
    """It may have been lost: the repetition must not depend on it."""
    pair, content = Pair(), random.Random(1).randbytes(1000)
    for number in range(5):
        pair.send(pair.near, datagram(CLIENT, SERVER, content[number:], number), run=False)
        pair.channel.clear()
    pair.tick(3)
    for number in range(5):
        pair.send(pair.near, datagram(CLIENT, SERVER, content[number:], number))
    assert len(pair.far.received) == 5 and pair.far.drops == {} and pair.near.traffic["out"][1] == pair.near.traffic["out"][2]
    pair.tick()
    pair.send(pair.near, datagram(CLIENT, SERVER, content))
    assert pair.near.traffic["out"][1] - pair.near.traffic["out"][2] > 900
    assert pair.far.state("session")["have"] == b"", "what was known is not told again"


@pytest.mark.parametrize("peers", [{}, PEERS6], ids=["over IPv4", "over IPv6"])
def test_no_packet_gets_longer(peers):
    pair, source = Pair(4, **peers), Source(4)
    encoded = 0
    for number in range(400):
        packet = source.packet(*ENDS[number % 2])
        pair.send(pair.near, packet, run=False)
        sent = [frame for end, frame in pair.channel if end is pair.far]
        assert len(sent) == 1 and len(sent[0]) <= 14 + len(packet)
        encoded += len(sent[0]) < 14 + len(packet)
        pair.run()
        pair.tick()
    assert encoded > 150
    before = pair.near.traffic["out"]
    for number in range(2):     # they have 50 bytes in common: a reference would cost more
        noise = random.Random(number).randbytes(600)
        pair.send(pair.near, datagram(CLIENT, SERVER, noise[:300] + bytes(50) + noise[300:]))
        pair.tick()
    assert tuple(map(int.__sub__, pair.near.traffic["out"], before)) == (2, 2 * 678, 2 * 678)


def test_a_checkpoint_has_what_is_new_whatever_the_store_holds():
    pair, sizes = Pair(), []
    rng = random.Random(3)

    def checkpoint_bytes(end):
        end.machine.checkpoint()
        base, number, chunks = end.machine._store._recent[-1]
        assert base, "a delta"
        return sum(map(len, chunks))

    for held in (10, 500):
        for number in range(held):
            pair.send(pair.near, datagram(CLIENT, SERVER, rng.randbytes(1400), number))
        pair.tick()
        content = rng.randbytes(1400)
        row = []
        for _ in range(3):
            for end in (pair.near, pair.far):
                end.machine.checkpoint()
            pair.send(pair.near, datagram(CLIENT, SERVER, content))
            pair.tick()
            row.append([checkpoint_bytes(end) for end in (pair.near, pair.far)])
        sizes.append(row)
    for (new, again, once_more), in zip(sizes):
        assert max(new) < 1400 + 600 and min(new) > 1400, "the content, its windows, and what is fixed"
        assert max(again + once_more) < 400, "uses of it"
    few, many = (sum(map(sum, row)) for row in sizes)
    assert many < 1.2 * few, "it does not depend on what the store holds"


def test_the_stores_have_bounds_and_what_is_used_stays():
    pair, rng = Pair(cache_entries=20, cache_bytes=1 << 16), random.Random(5)
    favourite = rng.randbytes(1000)
    for number in range(200):
        content = rng.randbytes(rng.choice((200, 1400))) if number % 4 else favourite
        pair.send(pair.near, datagram(CLIENT, SERVER, content, number))
        pair.tick(seconds=1)
        for end, names, most in ((pair.near, ("sent", "sent_used", "sent_bytes"), (20, 1 << 16)),
                                 (pair.far, ("received", "received_used", "received_bytes"), (22, (1 << 16) + (1 << 13)))):
            contents, used, size = map(end.state, names)
            assert set(contents) == set(used) and size == sum(map(len, contents.values())) <= most[1] and len(contents) <= most[0]
        assert set(pair.near.state("acknowledged")) <= set(pair.near.state("sent")) and len(pair.near.state("index")) <= 320
    assert favourite in pair.near.state("sent").values() and favourite in pair.far.state("received").values()
    assert pair.near.traffic["sent_made_room"][0] > 100 and pair.far.traffic["received_made_room"][0] > 100
    assert pair.far.drops == {} and arrived_right(pair, exactly=True) == 0


@pytest.mark.parametrize("near, far", [({"key": "a"}, {"key": "b"}), ({"mtu_bytes": 1500}, {"mtu_bytes": 1400})])
def test_who_has_another_key_or_mtu_is_not_believed(near, far):
    pair, content = Pair(near=near, far=far), bytes(range(256)) * 4
    for number in range(5):
        pair.send(pair.near, datagram(CLIENT, SERVER, content, number))
        pair.tick(12)
    _, octets, on_wan = pair.near.traffic["out"]
    assert octets == on_wan and "believed" not in pair.near.state("session")
    assert set(pair.near.drops) == set(pair.far.drops) == {"malformed_message"} and arrived_right(pair, exactly=True) == 0
    same = Pair(near=near, far=near)
    for number in range(5):
        same.send(same.near, datagram(CLIENT, SERVER, content, number))
        same.tick()
    assert same.near.traffic["out"][2] < 0.6 * same.near.traffic["out"][1] and arrived_right(same, exactly=True) == 0


def test_a_ttl_that_ends_behind_the_wan_ends_there_however_the_packet_crossed_it():
    pair, content = Pair(), bytes(range(256)) * 3
    for number, ttl in enumerate((2, 3, 2)):
        pair.send(pair.near, datagram(CLIENT, SERVER, content, number, ttl=ttl))
        pair.tick()
    assert pair.far.received == [passed(pair.near.sent[1])] and pair.far.drops == {"ttl": 2}
    assert pair.near.traffic["out"][2] < 0.8 * pair.near.traffic["out"][1], "the third one crossed it as a reference"
    assert [packet[20:22] for packet in pair.near.received] == [b"\x0b\0"] * 2, "time exceeded"


@pytest.mark.parametrize("peers", [{}, PEERS6], ids=["over IPv4", "over IPv6"])
@pytest.mark.parametrize("packet", [datagram(CLIENT, SERVER, bytes(500), tos=0xBB), datagram6(CLIENT6, SERVER6, bytes(500), traffic_class=0xBB)],
                         ids=["IPv4", "IPv6"])
def test_a_datagram_has_the_dscp_of_its_packet_and_no_ecn(packet, peers):
    pair = Pair(**peers)
    pair.send(pair.near, packet)
    pair.tick()
    pair.send(pair.near, packet, run=False)
    (_, sent), = pair.channel
    assert len(sent) < 200
    assert (sent[14] & 15) << 4 | sent[15] >> 4 == 0xB8 if peers else sent[15] == 0xB8
    pair.run()
    assert arrived_right(pair, exactly=True) == 0


def test_what_comes_over_the_wan_from_others_is_not_kept():
    pair = Pair()
    packet = datagram("10.9.0.77", SERVER, bytes(500))
    own = pair.far.ports["wan"]
    pair.channel.append((pair.far, own.mac + mac("10.9.0.77") + b"\x08\x00" + packet))
    pair.run()
    assert len(pair.far.received) == 1 and pair.far.state("received") == {} and pair.far.state("session")["have"] == b""


def test_packets_larger_than_the_path_go_as_they_are_and_are_not_kept():
    pair, content = Pair(mtu_bytes=600), random.Random(1).randbytes(1000)
    for number in range(3):
        pair.send(pair.near, datagram(CLIENT, SERVER, content, number))
        pair.tick()
    assert pair.near.traffic["out"][1] == pair.near.traffic["out"][2] and pair.near.state("sent") == pair.far.state("received") == {}
    assert arrived_right(pair, exactly=True) == 0


@pytest.mark.parametrize("peers, encoded", [({}, [True, False]), (PEERS6, [False, True])], ids=["over IPv4", "over IPv6"])
def test_what_is_routed_to_the_peer_is_behind_it_if_nothing_is_named(peers, encoded):
    pair, content, found = Pair(remote=[], **peers), bytes(range(256)) * 3, []
    for make, ends in ((datagram, ENDS[0]), (datagram6, ENDS[1])):
        for number in range(2):
            before = pair.near.traffic.get("out", (0, 0, 0))
            pair.send(pair.near, make(*ends, content, number))
            pair.tick()
        _, octets, on_wan = map(int.__sub__, pair.near.traffic["out"], before)
        found.append(on_wan < octets / 2)
    assert found == encoded and arrived_right(pair, exactly=True) == 0


def test_ipv4_and_ipv6_share_what_is_known():
    pair, content = Pair(), random.Random(1).randbytes(1000)
    pair.send(pair.near, datagram(CLIENT, SERVER, content))
    pair.tick()
    _, octets, on_wan = pair.near.traffic["out"]
    pair.send(pair.near, datagram6(CLIENT6, SERVER6, content))
    assert pair.near.traffic["out"][2] - on_wan < 150 and arrived_right(pair, exactly=True) == 0


def test_only_what_is_behind_the_peer_is_encoded():
    """With routers on the WAN the peer is no next hop: then the prefixes are named."""
    routes = [["192.0.2.0/24", "10.9.0.2"], ["203.0.113.0/24", "10.9.0.2"]]
    pair, content = Pair(near={"routes": routes, "remote": ["192.0.2.0/24"]}), bytes(range(256)) * 3
    for number in range(3):
        pair.send(pair.near, datagram(CLIENT, "203.0.113.5", content, number))
        pair.tick()
    assert pair.near.traffic["out"][1] == pair.near.traffic["out"][2] and pair.near.state("sent") == {}
    for number in range(3):
        pair.send(pair.near, datagram(CLIENT, SERVER, content, number))
        pair.tick()
    assert len(pair.near.state("sent")) == 1 and pair.near.traffic["out"][1] > pair.near.traffic["out"][2]


@pytest.mark.parametrize("peers", [{}, PEERS6], ids=["over IPv4", "over IPv6"])
@pytest.mark.parametrize("workers", [2, 7])
def test_both_boxes_give_a_flow_to_one_worker_plain_or_encoded(workers, peers):
    pair, source = Pair(**peers), Source(6)
    encoded = 0
    for number in range(200):
        packet = source.packet(*ENDS[number % 2])
        frame = bytes(12) + (b"\x08\x00", b"\x86\xdd")[number % 2] + packet
        expected = partition_by_inner_flow(frame, "lan", workers)
        pair.send(pair.near, packet, run=False)
        (sent,) = [frame for end, frame in pair.channel if end is pair.far]
        flow = Packet(sent).five_tuple() or Packet6(sent).five_tuple()
        encoded += flow is not None and flow[0] == UDP and flow[4] == WAN_PORT
        assert partition_by_inner_flow(sent, "wan", workers) == expected
        pair.run()
        pair.tick()
    assert encoded > 50


@pytest.mark.parametrize("changes, message", [
    ({"peer": "10.0.0.5"}, "the route to it must lead out of wan"), ({"peer": "10.9.0.1"}, "peer must be the address of another host"),
    ({"peer": "8.8.8.8"}, "peer must be the address"), ({"peer": 5}, "peer: 5 is not an IP address"),
    ({"peer": "2001:db8:9::1"}, "peer must be the address of another host"), ({"peer": "fe80::1"}, "peer must be the address"),
    ({"key": 7}, "key must be a text"), ({"mtu_bytes": 100}, "mtu_bytes must be an integer from 576"), ({"cache_bytes": 0}, "cache_bytes must be"),
    ({"remote": ["10.0.0.1/8"]}, "remote: .*host bits"), ({"cashe": 1}, "unknown parameters cashe; allowed: .*cache_bytes")])
def test_wrong_parameters_are_named(changes, message):
    with pytest.raises(ConfigurationError, match="wan-optimiser: .*" + message):
        load("wan-optimiser")({**NEAR_PARAMETERS, **changes}, NEAR)


def test_the_peer_is_needed():
    with pytest.raises(ConfigurationError, match="peer is needed"):
        load("wan-optimiser")({}, NEAR)
