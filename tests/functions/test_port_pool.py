"""The port pool gives each port once, evenly, in constant time."""

import random

from middleboxes.functions.port_pool import PortPool
from middleboxes.sdk import Map


def pool(first, last):
    return PortPool(Map().fresh("places"), Map().fresh("used"), first, last)


def test_no_port_is_given_twice_and_all_are_given():
    rng, ports, taken = random.Random(1), pool(100, 163), set()
    for _ in range(20_000):
        if taken and rng.random() < 0.45:
            port = rng.choice(sorted(taken))
            taken.remove(port)
            ports.give_back(17, 1, port)
            continue
        port = ports.draw(17, 1, rng.getrandbits(64))
        if port is None:
            assert taken == set(range(100, 164))
        else:
            assert 100 <= port <= 163 and port not in taken
            taken.add(port)


def test_pools_of_protocols_and_addresses_are_apart():
    ports = pool(7, 7)
    assert [ports.draw(protocol, address, 5) for protocol in (6, 17) for address in (1, 2)] == [7] * 4
    assert ports.draw(6, 1, 5) is None


def test_every_order_of_draws_is_about_equally_frequent():
    rng, counts = random.Random(2), {}
    for _ in range(6000):
        ports = pool(1, 3)
        order = tuple(ports.draw(6, 1, rng.getrandbits(64)) for _ in range(3))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6 and all(850 < count < 1150 for count in counts.values())


def test_an_emptied_pool_keeps_no_more_than_one_entry_per_port():
    places, rng = Map().fresh("places"), random.Random(3)
    ports = PortPool(places, Map().fresh("used"), 1024, 2047)
    for _ in range(5):
        drawn = [ports.draw(6, 1, rng.getrandbits(64)) for _ in range(1024)]
        assert sorted(drawn) == list(range(1024, 2048)) and ports.draw(6, 1, 1) is None
        for port in drawn:
            ports.give_back(6, 1, port)
        assert len(places) <= 1024
