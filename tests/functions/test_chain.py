"""NAT, firewall and monitor in a row, by static routes and ARP between them, each under the real core and each killed on the way."""

import pytest

from middleboxes.sdk import Packet
from middleboxes.sdk.build import icmp, tcp, udp
from middleboxes.sdk.packet import ICMP, TCP, UDP

from .lab import Lab, frame_of
from .nat_scenario import ACK, FIN, SYN, ip

CLIENT, SERVER, EXTERNAL = ip("10.0.0.1"), ip("198.51.100.9"), ip("203.0.113.100")


def chain(workers):
    """10.0.0.0/24 - nat - 203.0.113.0/24 - fw - 192.0.2.0/24 - mon - 198.51.100.0/24."""
    lab = Lab()
    lab.box("nat", "nat", {"external_addresses": ["203.0.113.100"], "routes": [["198.51.100.0/24", "203.0.113.2"]]}, workers,
            inside=("a", "10.0.0.254/24"), outside=("b", "203.0.113.1/24"))
    lab.box("fw", "firewall", {"rules": [{"action": "accept", "from": "trusted"}],
                               "routes": [["198.51.100.0/24", "192.0.2.2"]]}, workers,
            trusted=("b", "203.0.113.2/24"), world=("c", "192.0.2.1/24"))
    lab.box("mon", "monitor", {"routes": [["203.0.113.0/24", "192.0.2.1"]]}, workers,
            near=("c", "192.0.2.2/24"), far=("d", "198.51.100.1/24"))
    lab.host("client", "a", "10.0.0.1", "10.0.0.254")
    lab.host("server", "d", "198.51.100.9", "198.51.100.1")
    return lab


def kill_one_after_another(lab):
    """After each delivery the next box's master dies; now and then it has made a checkpoint before."""
    turn = [0]

    def after_each():
        boxes = list(lab.boxes.values())
        box = boxes[turn[0] % len(boxes)]
        if turn[0] % 5 == 0:
            box.machine.checkpoint()
        box.machine.take_over()
        turn[0] += 1
    return after_each


def exchange(lab, host, frame, after_each):
    """*host* sends; what the other host then has received."""
    lab.hosts[host].send(frame)
    lab.run(after_each)
    return lab.hosts["server" if host == "client" else "client"].take()


@pytest.mark.parametrize("workers", [1, 4])
def test_udp_tcp_and_ping_cross_the_chain_whoever_dies(workers):
    lab = chain(workers)
    after_each = kill_one_after_another(lab)
    octets = packets = 0
    for number in range(6):
        (got,) = exchange(lab, "client", frame_of(UDP, CLIENT, SERVER, udp(CLIENT, 5000 + number, SERVER, 53, b"q" * number)), after_each)
        seen = Packet(got)
        _, source, port, *_ = seen.five_tuple()
        assert source == EXTERNAL and seen.ttl == 61 and seen.transport_checksum_ok()
        (back,) = exchange(lab, "server", frame_of(UDP, SERVER, EXTERNAL, udp(SERVER, 53, EXTERNAL, port, b"answer")), after_each)
        assert Packet(back).five_tuple() == (UDP, SERVER, 53, CLIENT, 5000 + number)
        octets, packets = octets + 28 + number + 28 + 6, packets + 2
    (got,) = exchange(lab, "client", frame_of(ICMP, CLIENT, SERVER, icmp(8, 0, 7 << 16)), after_each)
    identifier = Packet(got).five_tuple()[2]
    (back,) = exchange(lab, "server", frame_of(ICMP, SERVER, EXTERNAL, icmp(0, 0, identifier << 16)), after_each)
    assert Packet(back).five_tuple() == (ICMP, SERVER, 7, CLIENT, 7)
    octets, packets = octets + 56, packets + 2

    client, server, port = 1000, 2**32 - 3, None        # the server's numbers wrap
    for host, flags, data in (("client", SYN, b""), ("server", SYN | ACK, b""), ("client", ACK, b""), ("client", ACK, b"GET"),
                              ("server", ACK, b"x" * 900), ("client", FIN | ACK, b""), ("server", FIN | ACK, b""), ("client", ACK, b"")):
        if host == "client":
            segment = tcp(CLIENT, 4000, SERVER, 80, flags, data, client, server if flags != SYN else 0)
            frame, size = frame_of(TCP, CLIENT, SERVER, segment), len(segment)
            client = client + len(data) + bool(flags & (SYN | FIN))
        else:
            segment = tcp(SERVER, 80, EXTERNAL, port, flags, data, server, client)
            frame, size = frame_of(TCP, SERVER, EXTERNAL, segment), len(segment)
            server = (server + len(data) + bool(flags & (SYN | FIN))) % 2**32
        (got,) = exchange(lab, host, frame, after_each)
        port = port or Packet(got).five_tuple()[2]
        octets, packets = octets + 20 + size, packets + 1

    monitor, firewall = lab.boxes["mon"].machine, lab.boxes["fw"].machine
    assert monitor.summed("total") == {"passed": (packets, octets)}
    assert sum(value[2] for value in monitor.summed("flows").values()) == packets
    assert firewall.summed("rule_counts") == {"rule 1": (8, packets, octets)}
    assert all(box.machine.function_errors == 0 for box in lab.boxes.values())


@pytest.mark.parametrize("workers", [1, 4])
def test_what_the_outside_begins_ends_at_the_firewall(workers):
    lab = chain(workers)
    lab.hosts["server"].send(frame_of(UDP, SERVER, EXTERNAL, udp(SERVER, 53, EXTERNAL, 4000, b"hello")))
    lab.run()
    assert lab.hosts["client"].take() == [] and lab.boxes["fw"].machine.summed("drops") == {"denied": 1}


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_of_the_far_end_finds_its_way_back_to_the_client(workers):
    """The NAT's port is not the client's; each box on the way knows the flow that the error quotes."""
    lab = chain(workers)
    lab.hosts["client"].send(frame_of(UDP, CLIENT, SERVER, udp(CLIENT, 5000, SERVER, 9, b"anybody?")))
    lab.run()
    (got,) = lab.hosts["server"].take()
    lab.hosts["server"].send(frame_of(ICMP, SERVER, EXTERNAL, icmp(3, 3, 0, got[14:])))
    lab.run()
    (error,) = lab.hosts["client"].take()
    quoted = Packet(bytes(12) + b"\x08\x00" + error[42:])
    assert error[34:36] == b"\x03\x03" and quoted.five_tuple() == (UDP, CLIENT, 5000, SERVER, 9)
