"""Monitor, IPFIX, rate limiter, IDS and witnesses with IPv6, beside IPv4."""

import pytest

from middleboxes.functions import ipfix, load
from middleboxes.functions.rate_limiter import partition_by_inside_host
from middleboxes.sdk import ConfigurationError, Packet6, Port
from middleboxes.sdk.build6 import fragment, neighbor_solicitation

from .hop6_scenario import INSIDE6, OUTSIDE6, Bench6, ip6, mac6, packet6
from .hop_scenario import handshake
from .nat_scenario import ACK, ip, packet
from .test_load_balancer import LbContext

CLIENT, OTHER, SERVER, COLLECTOR = "[2001:db8:1::1]:5000", "[2001:db8:1::2]:5000", "[2001:db8:2::7]:80", "2001:db8:2::1"
HOST, SERVER_HOST = ip6("2001:db8:1::1"), ip6("2001:db8:2::7")


def known4(net):
    """*net* with the IPv4 server as a neighbour."""
    net.box.neighbours[ip("192.0.2.7")] = OUTSIDE6.mac
    return net


def test_the_monitor_counts_octets_of_ip_with_all_headers():
    net = known4(Bench6("monitor"))
    net.send("udp", CLIENT, SERVER, data=bytes(100))
    net.send("udp", CLIENT, SERVER, data=bytes(100), extensions=[(60, b"\0\1\4\0\0\0\0")])
    net.send("udp", SERVER, CLIENT, data=b"", extensions=[(44, fragment(0, True, 1))])
    net.frame_in(INSIDE6, packet("udp", "10.0.0.1:5000", "192.0.2.7:80", INSIDE6.mac, data=b""))
    assert {key: value[2:4] for key, value in net.box.flows.items()} == {
        (17, HOST, 5000, SERVER_HOST, 80): (2, 148 + 156), (17, SERVER_HOST, None, HOST, None): (1, 56), (17, ip("10.0.0.1"), 5000, ip("192.0.2.7"), 80): (1, 28)}
    assert net.box.hosts[HOST] == (2, 304, 1, 56) and net.box.total["passed"] == (4, 388)


def test_a_record_of_ipv6_byte_by_byte():
    """IANA's elements 27, 28 and 139 instead of 8, 12 and 32."""
    records = [ipfix.record((17, source, 5, ip6("2001:db8::2") if isinstance(source, bytes) else 2, 6), 0, 2, 100, 1_500_000_000, 2_000_000_000, ipfix.IDLE)
               for source in (ip6("2001:db8::1"), 1)]
    data = ipfix.message(records, 7, 3, 0, True, with_ipv6=True)
    assert data[16:24].hex() == "0002" + f"{4 + 52 * 2:04x}" + "0100" + "000c"
    assert data[72:84].hex() == "0101000c" + "001b0010" + "001c0010" and data[100:104].hex() == "008b0002"
    at = 16 + 4 + 52 * 2
    assert data[at:at + 4].hex() == "0100" + f"{4 + len(records[1]):04x}" and data[at + 4 + len(records[1]):][:4].hex() == "0101" + f"{4 + len(records[0]):04x}"
    assert records[0].hex().startswith("20010db8000000000000000000000001" "20010db8000000000000000000000002" "0005" "0006" "11" "0000" "0000")
    assert [record[0] for record in ipfix.parse(data)[3]] == [1, ip6("2001:db8::1")]
    assert ipfix.record((58, HOST, 9, SERVER_HOST, 9), 0, 1, 1, 0, 0, 1)[32:36] == bytes(4), "an identifier is no port"


@pytest.mark.parametrize("collector", [COLLECTOR, "192.0.2.7"])
def test_the_export_tells_both_kinds_to_a_collector_of_either(collector):
    net = known4(Bench6("monitor", collector=collector, flows_max=3))
    net.wait(1)
    for number in range(60):
        net.send("udp", f"[2001:db8:1::1]:{number + 1}", SERVER)
        net.frame_in(INSIDE6, packet("udp", f"10.0.0.1:{number + 1}", "192.0.2.7:80", INSIDE6.mac))
    emitted = net.wait(1)
    starts = {True: 62, False: 42}
    found = [ipfix.parse(frame[starts[":" in collector]:]) for _, frame in emitted]
    assert all(len(frame) <= 1514 for _, frame in emitted) and len(found) > 3
    if ":" in collector:
        assert all(Packet6(frame).transport_checksum_ok() for _, frame in emitted)
    records = [record for message in found for record in message[3]]
    assert [sum(isinstance(record[0], bytes) is kind for record in records) for kind in (True, False)] == [59, 58]
    assert [message[0] for message in found] == [sum(len(message[3]) for message in found[:place]) for place in range(len(found))]


def test_the_limiter_has_buckets_for_each_address():
    net = Bench6("rate-limiter", bytes_per_s=1000, burst_bytes=2000, exempt=["2001:db8:1::2", "10.0.0.0/8"])
    assert sum(bool(net.send("udp", CLIENT, SERVER, data=bytes(452))) for _ in range(6)) == 4
    assert sum(bool(net.send("udp", SERVER, CLIENT, data=bytes(452))) for _ in range(6)) == 4
    assert all(net.send("udp", OTHER, SERVER, data=bytes(452)) for _ in range(6)) and set(net.box.buckets) == {(HOST, True), (HOST, False)}
    out, back = packet6("udp", CLIENT, SERVER, INSIDE6.mac), packet6("tcp", SERVER, CLIENT, OUTSIDE6.mac)
    assert partition_by_inside_host(out, "inside", 97) == partition_by_inside_host(back, "outside", 97)


def test_a_prefix_may_share_its_buckets():
    net = Bench6("rate-limiter", bytes_per_s=1000, burst_bytes=2000, ipv6_prefix_length=64, exempt=["2001:db8:1::3"])
    assert [bool(net.send("udp", source, SERVER, data=bytes(452))) for source in (CLIENT, OTHER) * 3] == [True] * 4 + [False] * 2
    assert list(net.box.buckets) == [(ip6("2001:db8:1::"), True)] and net.send("udp", "[2001:db8:1::3]:5", SERVER, data=bytes(452))
    with pytest.raises(ConfigurationError, match="with several workers each address has buckets of its own"):
        load("rate-limiter").instances({"ipv6_prefix_length": 64}, [INSIDE6, OUTSIDE6], 2)


class Told:
    """Collects the events of a bench."""

    def __init__(self, net):
        self.lines = []
        net.ctx.event = lambda name, detail: self.lines.append(f"{name} {detail}")


def test_the_ids_looks_into_ipv6_and_writes_its_addresses():
    net = Bench6("ids", signatures=[{"name": "bad", "pattern": "attack", "action": "drop"}], scan_targets_max=3, flood_syns_max=2)
    told = Told(net)
    mine, its = handshake(net, CLIENT, SERVER)
    assert net.segment(CLIENT, SERVER, ACK, mine, its, b"an att") and net.segment(CLIENT, SERVER, ACK, mine + 6, its, b"ack!") == []
    for port in range(81, 84):
        net.send("tcp", f"[2001:db8:1::2]:{port}", f"[2001:db8:2::7]:{port}")
    for port in range(1, 4):
        net.send("tcp", f"[2001:db8:1::1]:{port}", "[2001:db8:2::7]:99")
    net.send("udp", OTHER, "[2001:db8:2::7]:7")
    assert told.lines == ["ids-signature bad: [2001:db8:1::1]:5000 > [2001:db8:2::7]:80",
                          "ids-syn-flood [2001:db8:2::7]:99: more than 2 connections are not confirmed",
                          "ids-port-scan [2001:db8:1::2]: more than 3 targets"]


def test_witnesses_stamp_what_comes_after_extension_headers():
    net = Bench6("sequencer")
    for number in (1, 2):
        (_, frame), = net.send("udp", CLIENT, "[2001:db8:2::7]:7100", data=bytes(20), extensions=[(60, b"\0\1\4\0\0\0\0")] * (number - 1))
        seen = Packet6(frame)
        assert seen.five_tuple() and seen.transport_data()[:8] == number.to_bytes(8, "big") and seen.transport_checksum_ok()


def test_the_wan_optimiser_passes_on_what_its_peer_has_no_part_in_while_its_peer_is_silent():
    ports = (Port("lan", *INSIDE6[1:]), Port("wan", *OUTSIDE6[1:]))
    net = Bench6("monitor", know=())
    net.ctx = LbContext()
    net.box = load("wan-optimiser")({"peer": "192.0.2.1"}, ports)
    for host, port in (("2001:db8:1::1", ports[0]), ("2001:db8:2::7", ports[1])):
        net.frame_in(port, neighbor_solicitation(mac6(host), ip6(host), port.addresses6[0][0]))
    for source, destination, port in ((CLIENT, SERVER, ports[0]), (SERVER, CLIENT, ports[1])):
        (_, frame), = net.frame_in(port, packet6("udp", source, destination, port.mac, data=bytes(1000)))
        seen = Packet6(frame)
        assert seen.five_tuple() and seen.transport_data() == bytes(1000)
    assert net.box.traffic["out"] == net.box.traffic["in"] == (1, 1048, 1048)


def test_nat_stays_with_ipv4():
    """Also on ports that have IPv6 addresses it is an unknown EtherType."""
    nat = load("nat")({"external_addresses": ["192.0.2.100"]}, [INSIDE6, OUTSIDE6])
    net = Bench6("monitor")
    net.box = nat
    assert net.send("udp", CLIENT, SERVER) == [] and net.solicit("2001:db8:1::1") == [] and net.drops == {"ether_type": 2}
