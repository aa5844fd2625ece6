"""Firewall, load balancer and monitor in a row with IPv6: they find each other by Neighbor Discovery, and each is killed on the way."""

import pytest

from middleboxes.sdk import Packet6
from middleboxes.sdk.build import NO_MAC, tcp, udp
from middleboxes.sdk.build6 import icmp6, ipv6
from middleboxes.sdk.packet import TCP, UDP
from middleboxes.sdk.packet6 import ICMPV6

from .hop6_scenario import ip6
from .lab import Lab
from .nat_scenario import ACK, FIN, SYN
from .test_chain import exchange, kill_one_after_another

CLIENT, SERVER, VIRTUAL = ip6("2001:db8:1::1"), ip6("2001:db8:4::9"), ip6("2001:db8:2::100")


def chain(workers):
    """2001:db8:1::/64 - fw - 2001:db8:2::/64 - lb - 2001:db8:3::/64 - mon - 2001:db8:4::/64."""
    lab = Lab()
    lab.box("fw", "firewall", {"rules": [{"action": "accept", "from": "trusted"}]}, workers,
            trusted=("a", "10.0.1.1/24", "2001:db8:1::fe/64"), world=("b", "10.0.2.1/24", "2001:db8:2::1/64"))
    services = [{"address": "2001:db8:2::100", "port": port, "protocol": protocol, "backends": [{"address": "2001:db8:4::9"}]}
                for port, protocol in ((53, "udp"), (80, "tcp"))]
    lab.box("lb", "load-balancer", {"services": services, "probe_interval_s": 0,
                                    "routes": [["2001:db8:1::/64", "2001:db8:2::1"], ["2001:db8:4::/64", "2001:db8:3::2"]]}, workers,
            clients=("b", "10.0.2.2/24", "2001:db8:2::2/64"), backends=("c", "10.0.3.1/24", "2001:db8:3::1/64"))
    lab.box("mon", "monitor", {"routes": [["2001:db8:1::/64", "2001:db8:3::1"]]}, workers,
            near=("c", "10.0.3.2/24", "2001:db8:3::2/64"), far=("d", "10.0.4.1/24", "2001:db8:4::1/64"))
    lab.host("client", "a", "2001:db8:1::1", "2001:db8:1::fe")
    lab.host("server", "d", "2001:db8:4::9", "2001:db8:4::1")
    return lab


def frame_of(protocol, source, destination, payload):
    return ipv6(NO_MAC, NO_MAC, protocol, source, destination, payload)


@pytest.mark.parametrize("workers", [1, 4])
def test_udp_and_tcp_cross_the_chain_whoever_dies(workers):
    lab = chain(workers)
    after_each = kill_one_after_another(lab)
    octets = packets = 0
    for number in range(6):
        (got,) = exchange(lab, "client", frame_of(UDP, CLIENT, VIRTUAL, udp(CLIENT, 5000 + number, VIRTUAL, 53, b"q" * number)), after_each)
        seen = Packet6(got)
        assert seen.five_tuple() == (UDP, CLIENT, 5000 + number, SERVER, 53) and seen.ttl == 61 and seen.transport_checksum_ok()
        (back,) = exchange(lab, "server", frame_of(UDP, SERVER, CLIENT, udp(SERVER, 53, CLIENT, 5000 + number, b"answer")), after_each)
        assert Packet6(back).five_tuple() == (UDP, VIRTUAL, 53, CLIENT, 5000 + number) and Packet6(back).transport_checksum_ok()
        octets, packets = octets + 48 + number + 48 + 6, packets + 2

    client, server = 1000, 2**32 - 3        # the server's numbers wrap
    for host, flags, data in (("client", SYN, b""), ("server", SYN | ACK, b""), ("client", ACK, b""), ("client", ACK, b"GET"),
                              ("server", ACK, b"x" * 900), ("client", FIN | ACK, b""), ("server", FIN | ACK, b""), ("client", ACK, b"")):
        if host == "client":
            segment = tcp(CLIENT, 4000, VIRTUAL, 80, flags, data, client, server if flags != SYN else 0)
            frame = frame_of(TCP, CLIENT, VIRTUAL, segment)
            client = client + len(data) + bool(flags & (SYN | FIN))
        else:
            segment = tcp(SERVER, 80, CLIENT, 4000, flags, data, server, client)
            frame = frame_of(TCP, SERVER, CLIENT, segment)
            server = (server + len(data) + bool(flags & (SYN | FIN))) % 2**32
        assert len(exchange(lab, host, frame, after_each)) == 1
        octets, packets = octets + 40 + len(segment), packets + 1

    boxes = {name: box.machine for name, box in lab.boxes.items()}
    assert boxes["mon"].summed("total") == {"passed": (packets, octets)}
    assert boxes["fw"].summed("rule_counts") == {"rule 1": (7, packets, octets)}
    assert all(machine.function_errors == 0 and not machine.summed("drops") for machine in boxes.values())


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_of_the_far_end_finds_its_way_back_to_the_client(workers):
    """The balancer's address is not the server's; each box on the way knows the flow that the error quotes."""
    lab = chain(workers)
    lab.hosts["client"].send(frame_of(UDP, CLIENT, VIRTUAL, udp(CLIENT, 5000, VIRTUAL, 53, b"anybody?")))
    lab.run()
    (got,) = lab.hosts["server"].take()
    lab.hosts["server"].send(frame_of(ICMPV6, SERVER, CLIENT, icmp6(SERVER, CLIENT, 1, 4, 0, got[14:])))
    lab.run()
    (error,) = lab.hosts["client"].take()
    quoted = Packet6(bytes(12) + b"\x86\xdd" + error[62:])
    assert error[54:56] == b"\x01\x04" and Packet6(error).transport_checksum_ok()
    assert Packet6(error).ipv6().source == VIRTUAL and quoted.five_tuple() == (UDP, CLIENT, 5000, VIRTUAL, 53)
