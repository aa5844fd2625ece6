"""The rate limiter: how much a host gets over any time, that hosts and directions are apart, and that tables are bounded."""

import random

import pytest

from middleboxes.functions import load
from middleboxes.sdk import ConfigurationError

from .hop_scenario import Bench
from .nat_scenario import INSIDE, NS_PER_S, OUTSIDE

CLIENT, OTHER, SERVER = "10.0.0.1:5000", "10.0.0.2:5000", "192.0.2.7:80"


def limiter(**parameters):
    return Bench("rate-limiter", **{"bytes_per_s": 1000, "burst_bytes": 2000, **parameters})


def test_a_burst_passes_then_the_rate():
    net = limiter()
    sent = [bool(net.send("udp", CLIENT, SERVER, data=bytes(472))) for _ in range(6)]
    assert sent == [True] * 4 + [False] * 2 and net.drops == {"rate": 2}
    net.ctx.now_ns += NS_PER_S // 2 - 1
    assert not net.send("udp", CLIENT, SERVER, data=bytes(472))
    net.ctx.now_ns += 1
    assert net.send("udp", CLIENT, SERVER, data=bytes(472)) and not net.send("udp", CLIENT, SERVER)


def test_hosts_and_directions_do_not_share_a_bucket():
    net = limiter()
    for source, destination in ((CLIENT, SERVER), (OTHER, SERVER), (SERVER, CLIENT), (SERVER, OTHER)):
        assert sum(bool(net.send("udp", source, destination, data=bytes(472))) for _ in range(6)) == 4
    assert list(net.box.limited.values()) == [2, 2, 2, 2]


def test_exempt_hosts_have_no_limit():
    net = limiter(exempt=["10.0.0.1"])
    assert all(net.send("udp", CLIENT, SERVER, data=bytes(1400)) for _ in range(20)) and not net.box.buckets


@pytest.mark.parametrize("seed", range(3))
def test_over_any_time_a_host_gets_at_most_the_burst_and_the_rate(seed):
    net, rng, passed = limiter(bytes_per_s=7777, burst_bytes=3333), random.Random(seed), []
    for _ in range(1500):
        net.ctx.now_ns += rng.choice([0, 1, 12_345_678, rng.randrange(NS_PER_S // 2)])
        if rng.random() < 0.05:
            net.box.tick(net.ctx)
        size = rng.randrange(400)
        if net.send("udp", CLIENT, SERVER, data=bytes(size)):
            passed.append((net.ctx.now_ns, size + 28))
        net.ctx.take()
    assert len(passed) > 300
    for first in range(0, len(passed), 7):
        total = 0
        for now_ns, octets in passed[first:]:
            total += octets
            assert total * NS_PER_S <= 3333 * NS_PER_S + (now_ns - passed[first][0]) * 7777


def test_full_buckets_are_forgotten_and_the_table_is_bounded():
    net = limiter(hosts_max=3)
    for number in range(1, 9):
        net.send("udp", f"10.0.0.{number}:1", SERVER)
    assert len(net.box.buckets) == len(net.box.buckets_used) == 3
    net.wait(3)
    assert not net.box.buckets and not net.box.buckets_used and not net.box.limited


@pytest.mark.parametrize("parameters, message", [
    ({"bytes_per_s": 0}, "rate-limiter: bytes_per_s must be an integer from 1"), ({"burst_bytes": 100}, "burst_bytes must be an integer from 1500"),
    ({"exempt": ["10.0.0.1/24"]}, "exempt: 10.0.0.1/24 has host bits set"), ({"rate": 5}, "unknown parameters rate; allowed: burst_bytes")])
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        load("rate-limiter")(parameters, [INSIDE, OUTSIDE])
