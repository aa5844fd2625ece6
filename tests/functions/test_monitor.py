"""The monitor counts exactly: each packet once, also where its tables are full."""

import random

from middleboxes.sdk.build import ipv4

from .hop_scenario import Bench, ip_octets
from .nat_scenario import INSIDE, ip, mac

CLIENT, SERVER = "10.0.0.1:5000", "192.0.2.7:80"


def test_flows_and_hosts_are_counted_in_packets_and_octets():
    net = Bench("monitor")
    sizes = [ip_octets(net.send("udp", CLIENT, SERVER, data=bytes(size))) for size in (0, 100, 1400)]
    back = ip_octets(net.send("udp", SERVER, CLIENT, data=b"short"))
    client, server = ip("10.0.0.1"), ip("192.0.2.7")
    flows = {key: value[2:5] for key, value in net.box.flows.items()}
    assert flows == {(17, client, 5000, server, 80): (3, sum(sizes), 0), (17, server, 80, client, 5000): (1, back, 0)}
    assert dict(net.box.hosts) == {client: (3, sum(sizes), 1, back), server: (1, back, 3, sum(sizes))}
    assert dict(net.box.total) == {"passed": (4, sum(sizes) + back)}


def test_flags_of_tcp_are_gathered_and_what_has_no_ports_is_counted_too():
    net = Bench("monitor")
    net.send("tcp", CLIENT, SERVER, flags=2), net.send("tcp", CLIENT, SERVER, flags=17)
    net.send("udp", CLIENT, SERVER, fragment=0x2000)
    net.frame_in(INSIDE, ipv4(INSIDE.mac, mac("10.0.0.1"), 47, ip("10.0.0.1"), ip("192.0.2.7"), bytes(12)))
    assert [(key[0], key[2], value[2], value[4]) for key, value in net.box.flows.items()] == [
        (6, 5000, 2, 19), (17, None, 1, 0), (47, None, 1, 0)]


def test_what_is_dropped_is_not_counted():
    net = Bench("monitor")
    net.send("udp", CLIENT, SERVER, ttl=1), net.send("udp", CLIENT, "203.0.113.1:5"), net.send("udp", "192.0.2.9:1", "192.0.2.7:1")
    net.frame_in(INSIDE, ipv4(INSIDE.mac, mac("10.0.0.1"), 17, ip("10.0.0.1"), ip("192.0.2.7"), bytes(4)))
    assert not net.box.total and not net.box.flows and net.drops == {"ttl": 1, "no_route": 2, "malformed": 1}


def test_full_tables_fold_the_longest_idle_and_the_sums_stay_exact():
    net, rng = Bench("monitor", flows_max=7, hosts_max=5), random.Random(4)
    packets = octets = 0
    for _ in range(3000):
        hosts = [f"10.0.0.{rng.randrange(1, 20)}:{rng.randrange(3)}", f"198.51.100.{rng.randrange(1, 20)}:{rng.randrange(3)}"]
        size = rng.randrange(50)
        net.send("udp", *hosts, data=bytes(size))
        packets, octets = packets + 1, octets + 28 + size
        if rng.random() < 0.1:
            net.wait(rng.choice([0.3, 2, 400 if rng.random() < 0.05 else 1]))
        if rng.random() < 0.1:
            net.send("udp", "192.0.2.7:1", CLIENT, ttl=1)
        assert len(net.box.flows) <= 7 and len(net.box.hosts) <= 5
        for variable, used in (("flows", "flows_used"), ("hosts", "hosts_used")):
            assert set(net.state()[variable][i][0] for i in range(len(net.state()[variable]))) == set(getattr(net.box, used))
        total = net.box.total["passed"]
        assert total == (packets, octets)
        sums = [sum(values) for values in zip(*(value[2:4] for value in net.box.flows.values()))] or [0, 0]
        assert tuple(map(sum, zip(sums, net.box.rest.get("flows", (0, 0))))) == total
        sums = [sum(values) for values in zip(*((v[0] + v[2], v[1] + v[3]) for v in net.box.hosts.values()))]
        assert tuple(map(sum, zip(sums, net.box.rest.get("hosts", (0, 0))))) == (2 * packets, 2 * octets)


def test_the_victim_is_the_flow_that_was_idle_longest():
    net = Bench("monitor", flows_max=2)
    for port in (1, 2):
        net.send("udp", f"10.0.0.1:{port}", SERVER)
    net.ctx.now_ns += 2_000_000_000
    net.send("udp", "10.0.0.1:1", SERVER), net.send("udp", "10.0.0.1:3", SERVER)
    assert [key[2] for key in net.box.flows] == [1, 3] and net.box.rest["flows"][0] == 1


def test_idle_flows_are_closed():
    net = Bench("monitor", flow_idle_timeout_s=10)
    net.send("udp", CLIENT, SERVER)
    net.wait(9.9)
    assert len(net.box.flows) == 1
    net.wait(0.1)
    assert not net.box.flows and not net.box.flows_used and net.box.rest["flows"][0] == 1
