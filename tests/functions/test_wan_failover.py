"""A pair of WAN optimisers whose boxes die: exactly recovered nobody notices; with less than that nothing wrong is delivered, and the pair finds together again."""

import random

import pytest

from middleboxes.functions import wan_messages
from middleboxes.sdk.build import ipv4, udp
from middleboxes.sdk.packet import UDP

from .wan_pair import CLIENT, FAR, NEAR, PEERS6, SERVER, Pair, Source, arrived_right, comes_with_repetition, datagram, exchange

BAD = {"lose": 0.05, "repeat": 0.05, "reorder": 0.3}


def control_datagram(message):
    """The frame in which the far one says *message* to the near one."""
    here, there = NEAR[1], FAR[1]
    return ipv4(here.mac, there.mac, UDP, there.address, here.address, udp(there.address, 0xC000, here.address, wan_messages.WAN_PORT, message))


def kill_in_turn(pair):
    """After each packet one of the two dies and is recovered; now and then it has made a checkpoint before."""
    count = [0]

    def after_each():
        end = (pair.near, pair.far)[count[0] % 2]
        if count[0] % 7 == 0:
            end.machine.checkpoint()
        end.machine.take_over()
        count[0] += 1
    return after_each


@pytest.mark.parametrize("workers", [1, 4])
def test_if_a_box_dies_after_every_packet_all_goes_as_if_none_had_died(workers):
    mortal, lucky = (Pair(3, workers, **BAD, cache_entries=40) for _ in range(2))
    mortal.after_each = kill_in_turn(mortal)
    for pair in (mortal, lucky):
        exchange(pair, Source(3), 150)
    assert mortal.near.received == lucky.near.received and mortal.far.received == lucky.far.received
    assert mortal.near.traffic == lucky.near.traffic and mortal.far.traffic == lucky.far.traffic
    _, octets, on_wan = mortal.near.traffic["out"]
    assert on_wan < 0.8 * octets, "they did refer to what was sent before"


@pytest.mark.parametrize("dies", ["near", "far"])
def test_packets_under_way_that_die_with_a_box_are_lost_and_nothing_else(dies):
    """At each of many packets: what the dead one had sent last, and what was on its way to it, never arrives."""
    pair, source = Pair(5, reorder=0.3), Source(5)
    for _ in range(60):
        exchange(pair, source, 4)
        end = getattr(pair, dies)
        for _ in range(3):
            pair.send(end, source.packet(end.host, pair.other(end).host), run=False)
        end.machine.checkpoint()
        pair.channel.clear()
        end.machine.take_over()
    assert 0 < arrived_right(pair) <= 60 * 3
    assert set(pair.near.drops) | set(pair.far.drops) <= {"missing"} and not pair.near.events + pair.far.events
    comes_with_repetition(pair, source)


@pytest.mark.parametrize("dies", ["near", "far"])
def test_a_box_that_goes_on_from_its_last_checkpoint_lacks_what_it_told_and_says_so(dies):
    pair, source, forgotten = Pair(6), Source(6), 0
    end = getattr(pair, dies)
    for _ in range(20):
        exchange(pair, source, 5)
        end.machine.checkpoint()
        exchange(pair, source, 30)
        before = end.drops.get("missing", 0)
        end.machine.master = end.machine.follower()
        forgotten += before - end.drops.get("missing", 0)
        exchange(pair, source, 30)
        end.machine.checkpoint(full=True)
    missing = pair.near.drops.get("missing", 0) + pair.far.drops.get("missing", 0) + forgotten
    assert arrived_right(pair) == missing > 10, "what is missing is dropped, and nothing else"
    assert set(pair.near.drops) | set(pair.far.drops) == {"missing"} and not pair.near.events + pair.far.events
    comes_with_repetition(pair, source)


@pytest.mark.parametrize("dies", ["near", "far"])
def test_a_box_that_lost_its_state_is_seen_at_the_first_reference_and_the_pair_begins_anew(dies):
    pair, source = Pair(7), Source(7)
    exchange(pair, source, 300)
    end = getattr(pair, dies)
    other = pair.other(end)
    generation = end.state("session")["generation"]
    repeated = datagram(other.host, end.host, b"the same again" * 50)
    pair.send(other, repeated)
    pair.tick()
    pair.lose_state(end)
    pair.send(other, repeated)
    exchange(pair, source, 300)
    assert end.state("session")["generation"] != generation
    assert other.events == ["wan-resync"] and end.events == []
    assert end.drops == {"resync": 1} and other.drops == {}
    assert arrived_right(pair) == 1
    _, octets, on_wan = end.traffic["in"]
    assert on_wan < 0.8 * octets, "they refer to things again"


def test_a_box_that_lost_its_state_is_found_without_any_reference():
    """The peer may have nothing left that it could refer to: what each says of the other's generation is enough."""
    pair = Pair(8)
    pair.send(pair.near, datagram(CLIENT, SERVER, bytes(500)))
    pair.lose_state(pair.far)
    pair.tick(12)
    assert pair.near.events == ["wan-resync"]
    assert pair.near.state("session")["believed"] == pair.far.state("session")["generation"]
    assert pair.far.drops == {}


def test_late_words_of_a_former_generation_change_nothing():
    pair = Pair(9)
    first = pair.far.state("session")["generation"]
    pair.send(pair.near, datagram(CLIENT, SERVER, bytes(range(256)) * 2))
    pair.now_ns += 100_000_000
    late = [(pair.near, frame) for port, frame in pair.far.tick(pair.now_ns) if port == "wan"]
    assert late, "it tells what it has"
    pair.lose_state(pair.far)
    pair.tick(12)
    # one that refused an older generation yet
    to_near = control_datagram(wan_messages.control(wan_messages.secret("", 1500), wan_messages.RESYNC, first, first - 1))
    pair.channel = late * 3 + [(pair.near, to_near)]
    pair.run()
    assert pair.near.state("session")["believed"] == pair.far.state("session")["generation"]
    assert pair.near.state("acknowledged") == {} and pair.near.events == ["wan-resync"] and pair.near.drops == {}


def test_to_a_silent_peer_everything_goes_plain_until_it_speaks():
    pair, content = Pair(10), bytes(range(256)) * 3
    for number in range(3):
        pair.send(pair.near, datagram(CLIENT, SERVER, content, number))
        pair.tick()
    packets, octets, on_wan = pair.near.traffic["out"]
    assert on_wan < 0.5 * octets
    for _ in range(30):         # 3 s: the far one's words are lost
        pair.now_ns += 100_000_000
        pair.near.tick(pair.now_ns)
    kept = pair.near.state("sent_bytes")
    pair.send(pair.near, datagram(CLIENT, SERVER, content, 4))
    pair.send(pair.near, datagram(CLIENT, SERVER, content[1:], 5))
    assert tuple(map(int.__sub__, pair.near.traffic["out"], (packets, octets, on_wan))) == (2, 2 * 796 - 1, 2 * 796 - 1)
    assert pair.near.state("sent_bytes") == kept
    pair.tick()
    _, octets, on_wan = pair.near.traffic["out"]
    pair.send(pair.near, datagram(CLIENT, SERVER, content, 6))
    assert pair.near.traffic["out"][2] - on_wan < 200
    assert arrived_right(pair, exactly=True) == 0


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_in_whatever_order_nothing_wrong_is_delivered_and_the_pair_finds_together(seed):
    rng = random.Random(seed)
    pair = Pair(seed, rng.choice((1, 4)), rng.choice((0, 0.2)), 0.1, 0.5, *rng.choice(((None, None), PEERS6.values())),
                cache_entries=rng.choice((16, 1000)), content_bytes_min=rng.choice((1, 128)))
    source = Source(seed)
    for _ in range(15):
        exchange(pair, source, rng.randrange(1, 15))
        end, what = rng.choice((pair.near, pair.far)), rng.randrange(6)
        if what < 3:
            if what:
                end.machine.checkpoint()
            end.machine.take_over()
        elif what == 3:
            pair.lose_state(end)
        elif what == 4:
            pair.channel.clear()
        else:
            pair.tick(35)
    arrived_right(pair)
    comes_with_repetition(pair, source)
    pair.tick(12)
    for end in (pair.near, pair.far):
        assert end.state("session")["believed"] == pair.other(end).state("session")["generation"]
        assert set(end.state("acknowledged")) <= set(end.state("sent")) == set(end.state("sent_used"))
        assert set(end.drops) <= {"missing", "resync"}
