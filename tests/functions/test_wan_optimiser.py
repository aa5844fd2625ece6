"""A pair of WAN optimisers: what arrives is what was sent, whatever the network does; what is repeated costs little; bounds hold."""

import random
from collections import Counter

import pytest

from middleboxes.functions import load
from middleboxes.functions.wan_messages import WAN_PORT
from middleboxes.functions.wan_optimiser import partition_by_inner_flow
from middleboxes.sdk import ConfigurationError, Packet
from middleboxes.sdk.packet import UDP

from .wan_pair import CLIENT, NEAR, NEAR_PARAMETERS, SERVER, Pair, Source, datagram, exchange, passed


def arrived_right(pair, exactly=False):
    """Assert that each host received only what the other one sent; how many of the packets did not arrive."""
    lost = 0
    for end in (pair.near, pair.far):
        sent, received = Counter(map(passed, pair.other(end).sent)), Counter(end.received)
        if exactly:
            assert received == sent
        assert not set(received) - set(sent), "something arrived that nobody sent"
        lost += sum((sent - received).values())
    return lost


@pytest.mark.parametrize("workers", [1, 4])
def test_what_arrives_is_what_was_sent_if_the_network_loses_nothing(workers):
    pair = Pair(workers=workers)
    exchange(pair, Source(2), 1500)
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
    for seed in range(40):
        small, large = {"cache_entries": 16}, {"cache_entries": 40}
        pair = Pair(seed, lose=0.05, repeat=0.05, reorder=0.3, near=(small, large)[seed % 2], far=(large, small)[seed % 2])
        exchange(pair, Source(seed), 120)
        lost += arrived_right(pair)
        drops.update(pair.near.drops)
        drops.update(pair.far.drops)
        assert pair.near.events == pair.far.events == []
        comes_with_repetition(pair, Source(seed))
    assert set(drops) == {"missing"} and 20 < drops["missing"] < lost, "what was missing was dropped and nothing else; the network lost some, too"


def comes_with_repetition(pair, source):
    """Assert that a packet comes through if it is repeated, now that the network loses nothing."""
    pair.faults = 0, 0, 0
    pair.tick()
    for _ in range(20):
        packet, before = source.packet(CLIENT, SERVER), len(pair.far.received)
        for _ in range(3):
            if len(pair.far.received) == before:
                pair.send(pair.near, packet)
        assert pair.far.received[before:] == [passed(packet)]
