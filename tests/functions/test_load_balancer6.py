"""The load balancer with virtual addresses of IPv6: flows there and back, errors about them, health, both kinds beside each other."""

import ipaddress

import pytest

from middleboxes.functions import load
from middleboxes.functions.balanced_errors import partition_by_client
from middleboxes.sdk import ConfigurationError, Packet6, Port
from middleboxes.sdk.build6 import icmp6, ipv6
from middleboxes.sdk.packet6 import ICMPV6

from .hop6_scenario import INSIDE6, OUTSIDE6, Bench6, ip6, mac6, packet6, told6
from .nat_scenario import ACK, NS_PER_S, RST, SYN
from .test_load_balancer import LbContext

CLIENTS, BACKENDS = Port("clients", *INSIDE6[1:]), Port("backends", *OUTSIDE6[1:])
VIP = "2001:db8:1::100"
THREE = [{"address": f"2001:db8:2::{number}"} for number in (1, 2, 3)]


class Balanced6(Bench6):
    """One service at VIP port 80, one of IPv4, and the hosts around them."""

    def __init__(self, backends=THREE, protocol="tcp", **parameters):
        services = [{"address": VIP, "port": 80, "protocol": protocol, "backends": backends},
                    {"address": "10.0.0.100", "port": 80, "backends": [{"address": "192.0.2.1"}]}]
        parameters.setdefault("probe_interval_s", 0)
        self.box = load("load-balancer")({"services": services, **parameters}, [CLIENTS, BACKENDS])
        self.ctx = LbContext()
        for host in ("2001:db8:1::1", "2001:db8:1::2", *(backend["address"] for backend in THREE)):
            self.solicit(host)

    def side(self, host):
        return CLIENTS if host.startswith("2001:db8:1:") else BACKENDS

    def open(self, client, protocol="tcp"):
        """A new flow's backend, as "[address]:port"."""
        (port, frame), = self.send(protocol, client, f"[{VIP}]:80")
        _, source, source_port, destination, destination_port = Packet6(frame).five_tuple()
        assert port == "backends" and Packet6(frame).transport_checksum_ok() and client == f"[{ipaddress.IPv6Address(source)}]:{source_port}"
        return f"[{ipaddress.IPv6Address(destination)}]:{destination_port}"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_flow_stays_with_its_backend_and_comes_back_in_the_name_of_the_service(protocol):
    net, backends = Balanced6(protocol=protocol), {}
    for number in range(60):
        client = f"[2001:db8:1::{1 + number % 2}]:{4000 + number}"
        backends[client] = net.open(client, protocol)
        (_, frame), = out = net.send(protocol, backends[client], client, flags=SYN | ACK)
        assert told6(out) == [f"clients {6 if protocol == 'tcp' else 17} [{VIP}]:80 > {client}"] and Packet6(frame).transport_checksum_ok()
    assert len(set(backends.values())) == 3
    for client, backend in backends.items():
        (_, frame), = net.send(protocol, client, f"[{VIP}]:80", flags=ACK)
        assert Packet6(frame).five_tuple()[3] == ip6(backend[1:-4])
    assert net.drops == {} and sum(counts[1] for counts in net.box.backend_counts.values()) == 180


def test_the_virtual_address_is_found_by_its_neighbours_and_answers_ping():
    net = Balanced6()
    (port, frame), = net.solicit("2001:db8:1::2", VIP)
    assert port == "clients" and frame[62:78] == ip6(VIP)
    assert told6(net.send("icmp", "[2001:db8:1::1]:9", f"[{VIP}]:9")) == [f"clients 58 [{VIP}]:9 > [2001:db8:1::1]:9"]
    assert net.solicit("2001:db8:2::1", VIP) == []


def test_errors_about_flows_are_translated_with_what_they_quote():
    """Packet too big to the backend, port unreachable to the client."""
    net = Balanced6(protocol="udp")
    client = "[2001:db8:1::1]:4000"
    backend = net.open(client, "udp")
    (_, seen), = net.send("udp", backend, client, data=bytes(1400))
    pair = ip6("2001:db8:1::1"), ip6(VIP)
    big = ipv6(CLIENTS.mac, mac6("2001:db8:1::1"), ICMPV6, *pair, icmp6(*pair, 2, 0, 1280, seen[14:][:1232]))
    (port, frame), = net.frame_in(CLIENTS, big)
    packet = Packet6(frame)
    assert (port, packet.ipv6().destination, frame[54], frame[58:62]) == ("backends", ip6(backend[1:-4]), 2, (1280).to_bytes(4, "big"))
    assert packet.transport_checksum_ok() and frame[62 + 8:62 + 40] == ip6(backend[1:-4]) + ip6("2001:db8:1::1")

    (_, sent), = net.send("udp", client, f"[{VIP}]:80")
    pair = ip6(backend[1:-4]), ip6("2001:db8:1::1")
    gone = ipv6(BACKENDS.mac, mac6(backend[1:-4]), ICMPV6, *pair, icmp6(*pair, 1, 4, 0, sent[14:]))
    (port, frame), = net.frame_in(BACKENDS, gone)
    assert port == "clients" and Packet6(frame).ipv6()[1:3] == (ip6(VIP), ip6("2001:db8:1::1")) and Packet6(frame).transport_checksum_ok()
    assert Packet6(bytes(12) + b"\x86\xdd" + frame[62:]).five_tuple()[3:] == (ip6(VIP), 80)
    for workers in (2, 7, 97):
        assert len({partition_by_client(frame, side, workers) for frame, side in (
            (packet6("udp", client, f"[{VIP}]:80", CLIENTS.mac), "clients"), (packet6("udp", backend, client, BACKENDS.mac), "backends"),
            (big, "clients"), (gone, "backends"))}) == 1
    assert net.frame_in(CLIENTS, big[:-1] + b"\x77") == [] and net.drops == {"checksum": 1}


def test_probes_are_icmpv6_and_a_backend_that_is_down_gets_nothing():
    net = Balanced6(probe_interval_s=1, probes_lost_max=2)
    for _ in range(4):
        for _, frame in net.wait(1):
            header = Packet6(frame).ipv6()
            if header is not None and header.destination != ip6("2001:db8:2::3"):
                assert frame[54] == 128 and header.source == BACKENDS.addresses6[0][0] and Packet6(frame).transport_checksum_ok()
                net.frame_in(BACKENDS, ipv6(BACKENDS.mac, mac6("2001:db8:2::1"), ICMPV6, header.destination, header.source,
                                            icmp6(header.destination, header.source, 129, 0, int.from_bytes(frame[58:62], "big"))))
    assert ("backend-down", "[2001:db8:2::3]:80: 2 probes in a row were not answered") in net.ctx.events
    assert {net.open(f"[2001:db8:1::1]:{port}") for port in range(4000, 4040)} == {"[2001:db8:2::1]:80", "[2001:db8:2::2]:80"}


def test_refused_connections_hold_a_backend_down():
    net = Balanced6(backends=THREE[:2], failures_max=1)
    first = net.open("[2001:db8:1::1]:4000")
    net.send("tcp", first, "[2001:db8:1::1]:4000", flags=RST | ACK)
    assert {net.open(f"[2001:db8:1::1]:{port}") for port in range(4001, 4030)} == {"[2001:db8:2::1]:80", "[2001:db8:2::2]:80"} - {first}
    net.ctx.now_ns += 11 * NS_PER_S
    assert first in {net.open(f"[2001:db8:1::1]:{port}") for port in range(4101, 4130)}


@pytest.mark.parametrize("service", [
    {"address": VIP, "port": 80, "backends": [{"address": "192.0.2.1"}]}, {"address": "10.0.0.100", "port": 80, "backends": THREE},
    {"address": "2001:db8:2::9", "port": 80, "backends": THREE}, {"address": "ff02::1", "port": 80, "backends": THREE},
    {"address": VIP, "port": 80, "backends": [{"address": "2001:db8:1::9"}]}])
def test_addresses_that_do_not_fit_are_refused(service):
    with pytest.raises(ConfigurationError, match="load-balancer: service 1: .*address must be"):
        load("load-balancer")({"services": [service]}, [CLIENTS, BACKENDS])
