"""ARP and own addresses: what a NAT answers, whom it believes, and which frames wait."""

from middleboxes.functions import router
from middleboxes.sdk import Packet
from middleboxes.sdk.build import ARP_REPLY, ARP_REQUEST, BROADCAST, NO_MAC, arp, ipv4
from middleboxes.sdk.packet import UDP

from .nat_scenario import EXTERNAL, INSIDE, NS_PER_S, OUTSIDE, Network, ip, mac, packet, told

UNKNOWN = "192.0.2.50"


def request(own, target):
    return (own.name, arp(ARP_REQUEST, own.mac, own.address, NO_MAC, ip(target)))


def test_answers_for_own_addresses_on_their_side_only():
    net = Network(know=())
    host = "10.0.0.1"
    assert net.say_hello(host) == [("inside", arp(ARP_REPLY, INSIDE.mac, INSIDE.address, mac(host), ip(host)))]
    host = "192.0.2.7"
    for address in (OUTSIDE.address, ip(EXTERNAL)):
        assert net.frame_in("outside", arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, address)) == [
            ("outside", arp(ARP_REPLY, OUTSIDE.mac, address, mac(host), ip(host)))]
    for address in (INSIDE.address, ip(UNKNOWN)):
        assert net.frame_in("outside", arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, address)) == []
    assert net.frame_in("inside", arp(ARP_REQUEST, mac("10.0.0.1"), ip("10.0.0.1"), NO_MAC, ip(EXTERNAL))) == []


def test_a_probe_is_answered_and_teaches_nothing():
    net = Network(know=())
    out = net.frame_in("inside", arp(ARP_REQUEST, mac("10.0.0.1"), 0, NO_MAC, INSIDE.address))
    assert Packet(out[0][1]).arp().operation == ARP_REPLY and not net.nat.neighbours


def test_frames_wait_for_resolution_and_leave_in_order():
    net = Network()
    out = net.from_inside("udp", "10.0.0.1:1", UNKNOWN + ":1", data=b"first")
    assert out == [request(OUTSIDE, UNKNOWN)]
    assert net.from_inside("udp", "10.0.0.1:1", UNKNOWN + ":2", data=b"second") == []
    out = net.arp_reply(UNKNOWN)
    assert [frame[42:] for _, frame in out] == [b"first", b"second"]
    for port, frame in out:
        seen = Packet(frame)
        assert (port, seen.destination_mac, seen.source_mac, seen.ttl) == ("outside", mac(UNKNOWN), OUTSIDE.mac, 63)
    assert len(net.from_inside("udp", "10.0.0.1:1", UNKNOWN + ":2")) == 1


def test_requests_are_repeated_then_the_waiting_frames_are_dropped():
    net = Network()
    net.from_inside("udp", "10.0.0.1:1", UNKNOWN + ":1")
    net.from_inside("udp", "10.0.0.1:1", UNKNOWN + ":1")
    assert net.wait(0.9) == []
    assert net.wait(0.1) == [request(OUTSIDE, UNKNOWN)]
    assert net.wait(1) == [request(OUTSIDE, UNKNOWN)]
    assert net.wait(1) == [] and net.drops == {"arp_unanswered": 2} and not net.nat.unresolved


def test_the_queue_is_bounded():
    net = Network()
    for _ in range(router.FRAMES_PER_HOP_MAX + 3):
        net.from_inside("udp", "10.0.0.1:1", UNKNOWN + ":1")
    assert net.drops == {"arp_queue_full": 3}
    assert len(net.arp_reply(UNKNOWN)) == router.FRAMES_PER_HOP_MAX


def test_the_number_of_hops_that_wait_is_bounded(monkeypatch):
    monkeypatch.setattr(router, "UNRESOLVED_MAX", 5)
    net = Network()
    for number in range(10, 20):
        net.from_inside("udp", "10.0.0.1:1", f"192.0.2.{number}:1")
    assert len(net.nat.unresolved) == 5 and net.drops == {"arp_queue_full": 5}


def test_old_entries_are_asked_for_again_while_in_use():
    net = Network(know=("10.0.0.1", "192.0.2.7"))
    net.wait(router.ARP_REFRESH_S - 1)
    net.say_hello("10.0.0.1")
    assert net.wait(1) == [request(OUTSIDE, "192.0.2.7")]
    assert len(net.from_inside("udp", "10.0.0.1:1", "192.0.2.7:1")) == 1
    assert net.arp_reply("192.0.2.7") == [] and not net.nat.unresolved
    net.say_hello("10.0.0.1")
    net.wait(router.ARP_REFRESH_S + 5, ticks=65)
    assert not net.nat.neighbours and not net.nat.confirmed and not net.nat.unresolved


def test_unsolicited_and_off_link_arp_teaches_nothing_but_a_known_host_may_move():
    net = Network(know=("10.0.0.1",))
    net.arp_reply("10.0.0.9")
    net.frame_in("inside", arp(ARP_REQUEST, mac("192.0.2.9"), ip("192.0.2.9"), NO_MAC, INSIDE.address))
    net.frame_in("inside", arp(ARP_REPLY, mac("10.0.0.8"), INSIDE.address, NO_MAC, INSIDE.address))
    assert dict(net.nat.neighbours) == {ip("10.0.0.1"): mac("10.0.0.1")}
    assert net.drops == {"arp_sender": 1, "arp_address_conflict": 1}
    net.frame_in("inside", arp(ARP_REQUEST, mac("10.0.0.77"), ip("10.0.0.1"), NO_MAC, ip("10.0.0.1")))
    assert dict(net.nat.neighbours) == {ip("10.0.0.1"): mac("10.0.0.77")}


def test_senders_that_can_be_no_host_are_refused():
    net = Network(know=())
    for sender_mac in (NO_MAC, BROADCAST):
        net.frame_in("inside", arp(ARP_REQUEST, sender_mac, ip("10.0.0.1"), NO_MAC, INSIDE.address))
    net.say_hello("10.0.0.255")
    assert net.drops == {"arp_malformed": 2, "arp_sender": 1} and not net.nat.neighbours


def test_a_full_table_forgets_the_entry_that_was_confirmed_longest_ago(monkeypatch):
    monkeypatch.setattr(router, "NEIGHBOURS_MAX", 2)
    net = Network(know=("10.0.0.1", "10.0.0.2"))
    net.ctx.now_ns += 2 * NS_PER_S
    net.say_hello("10.0.0.1")
    net.say_hello("10.0.0.3")
    assert list(net.nat.neighbours) == [ip("10.0.0.1"), ip("10.0.0.3")]


def test_ping_of_own_addresses_is_answered_from_both_sides():
    net = Network()
    assert told(net.from_inside("icmp", "10.0.0.1:9", "10.0.0.254:9")) == ["inside 1 10.0.0.254:9 > 10.0.0.1:9"]
    assert told(net.from_inside("icmp", "10.0.0.1:9", EXTERNAL + ":9")) == ["inside 1 192.0.2.100:9 > 10.0.0.1:9"]
    assert told(net.from_outside("icmp", "192.0.2.7:9", EXTERNAL + ":9", kind=8)) == [
        "outside 1 192.0.2.100:9 > 192.0.2.7:9"]
    (_, frame), = net.from_outside("icmp", "198.51.100.9:9", "192.0.2.254:9", kind=8, data=b"x" * 1000)
    reply = Packet(frame)
    assert reply.destination_mac == mac("192.0.2.1") and frame.endswith(b"x" * 1000) and reply.five_tuple()


def test_icmp_errors_are_limited_in_rate():
    net = Network()
    frame = packet("udp", "10.0.0.1:1", "198.51.100.1:1", INSIDE.mac, ttl=1)
    assert sum(len(net.frame_in("inside", frame)) for _ in range(150)) == router.ICMP_ERRORS_PER_S_MAX
    net.ctx.now_ns += NS_PER_S
    assert len(net.frame_in("inside", frame)) == 1


def test_addresses_that_are_no_hosts_are_not_forwarded_to():
    net = Network()
    for destination in ("192.0.2.255", "192.0.2.0", "10.0.0.255", "10.0.0.7", "224.0.0.1", "255.255.255.255",
                        "127.0.0.1", "0.1.2.3"):
        assert net.from_inside("udp", "10.0.0.1:1", destination + ":1") == [], destination
    assert not net.nat.outbound and sum(net.drops.values()) == 8


def test_what_is_not_for_our_mac_address_is_dropped():
    net = Network()
    frame = ipv4(mac("10.0.0.2"), mac("10.0.0.1"), UDP, ip("10.0.0.1"), ip("192.0.2.7"), bytes(8))
    assert net.frame_in("inside", frame) == [] and net.drops == {"not_for_us": 1}
