"""Static routes: the longest prefix first, for every function that is an IPv4 hop, the NAT included."""

import pytest

from middleboxes.functions import load
from middleboxes.functions.routes import Routes, mask_of
from middleboxes.sdk import ConfigurationError, Packet, Port

from .hop_scenario import Bench
from .nat_scenario import INSIDE, OUTSIDE, PARAMETERS, Network, ip, mac, told

ROUTES = [["198.51.100.0/24", "192.0.2.1"], ["198.51.100.128/25", "192.0.2.7"], ["0.0.0.0/0", "192.0.2.8"], ["192.0.2.64/26", "192.0.2.9"],
          ["172.16.0.0/12", "10.0.0.2"]]


def test_the_longest_prefix_decides_and_nothing_is_found_where_nothing_leads():
    routes = Routes()
    assert routes.add(ip("10.0.0.0"), mask_of(8), "a", 1) and routes.add(ip("10.1.0.0"), mask_of(16), "b")
    assert routes.add(ip("10.1.1.1"), mask_of(32), "c", 3) and not routes.add(ip("10.1.0.0"), mask_of(16), "c", 3)
    assert [routes.find(ip(address)) for address in ("10.2.0.1", "10.1.0.1", "10.1.1.1", "11.0.0.0")] == [
        ("a", 1), ("b", ip("10.1.0.1")), ("c", 3), None]


@pytest.mark.parametrize("destination, next_hop", [
    ("198.51.100.1", "192.0.2.1"), ("198.51.100.200", "192.0.2.7"), ("8.8.8.8", "192.0.2.8"), ("192.0.2.70", "192.0.2.9"),
    ("192.0.2.130", "192.0.2.130")])
def test_packets_take_the_next_hop_of_the_longest_prefix(destination, next_hop):
    net = Bench("sequencer", routes=ROUTES, know=("10.0.0.1", "192.0.2.1", "192.0.2.7", "192.0.2.8", "192.0.2.9", "192.0.2.130"))
    (port, frame), = net.send("udp", "10.0.0.1:1", destination + ":1")
    assert port == "outside" and Packet(frame).destination_mac == mac(next_hop)


def test_a_source_must_come_in_where_the_way_back_leads():
    net = Bench("sequencer", routes=ROUTES)
    assert net.send("udp", "198.51.100.9:1", "10.0.0.1:1")
    assert net.send("udp", "172.16.0.1:1", "10.0.0.1:1") == [] and net.drops == {"no_route": 1}


def test_the_nat_translates_networks_behind_inside_routers_and_routes_outside():
    net = Network(routes=ROUTES[:2] + ROUTES[4:])
    (port, frame), = net.from_inside("udp", "172.16.0.5:1000", "198.51.100.200:53")
    seen = Packet(frame)
    _, source, external, *_ = seen.five_tuple()
    assert (port, seen.destination_mac, source) == ("outside", mac("192.0.2.7"), ip("192.0.2.100"))
    (port, frame), = net.from_outside("udp", "198.51.100.200:53", f"192.0.2.100:{external}")
    assert port == "inside" and Packet(frame).destination_mac == mac("10.0.0.2")
    assert told([(port, frame)]) == ["inside 17 198.51.100.200:53 > 172.16.0.5:1000"]
    assert net.from_outside("udp", "172.16.0.9:53", f"192.0.2.100:{external}") == [] and net.drops == {"bogus_source": 1}


@pytest.mark.parametrize("routes, message", [
    ("10.0.0.0/8", "routes must be a list"), ([["10.0.0.0/8"]], "routes: each must be a list"),
    ([["10.0.0.1/8", "192.0.2.1"]], "routes: 10.0.0.1/8 has host bits set"), ([[5, "192.0.2.1"]], "routes: 5 is not an IPv4 prefix"),
    ([["198.51.100.0/24", "192.0.2.1"]] * 2, "routes: 198.51.100.0/24 is there twice"),
    ([["198.51.100.0/24", "192.0.2.254"]], "the next hop must be another host in the prefix of a port"),
    ([["198.51.100.0/24", "198.51.100.1"]], "the next hop must be another host in the prefix of a port"),
    ([["10.0.0.0/24", "192.0.2.1"]], "this prefix has a route already"), ([["0.0.0.0/0", "10.0.0.1"]], "outside_gateway: .*has a route already")])
def test_wrong_routes_are_named(routes, message):
    with pytest.raises(ConfigurationError, match=message):
        load("nat")({**PARAMETERS, "routes": routes}, [INSIDE, OUTSIDE])


def test_functions_for_any_ports_need_two_with_names_of_their_own_and_prefixes_that_do_not_overlap():
    three = [INSIDE, OUTSIDE, Port.parse("dmz", "02:00:5e:00:01:03", "172.16.0.1/24")]
    assert list(load("firewall")({}, three).port) == ["inside", "outside", "dmz"]
    for ports in ([INSIDE], [INSIDE, INSIDE], [INSIDE, OUTSIDE, Port.parse("dmz", "02:00:5e:00:01:03", "10.0.0.1/25")]):
        with pytest.raises(ConfigurationError, match="two or more ports|prefixes of inside and dmz overlap"):
            load("firewall")({}, ports)
