"""An IPv6 hop: Neighbor Discovery, whom it believes and which frames wait; next hops, ICMPv6 errors, what never leaves a link."""

import pytest

from middleboxes.functions import load, router
from middleboxes.sdk import ConfigurationError, Packet6, Port
from middleboxes.sdk.build import NO_MAC
from middleboxes.sdk.build6 import icmp6, ipv6, neighbor_advertisement, neighbor_solicitation
from middleboxes.sdk.packet6 import ALL_NODES, ICMPV6, UNSPECIFIED, multicast_mac, solicited_node

from .hop6_scenario import INSIDE6, OUTSIDE6, Bench6, ip6, mac6, packet6, told6
from .nat_scenario import INSIDE, NS_PER_S, OUTSIDE

HOST, HOST_2, FAR, UNKNOWN = "2001:db8:1::1", "2001:db8:1::2", "2001:db8:9::5", "2001:db8:2::50"
OWN, OWN_OUTSIDE = "2001:db8:1::fe", "2001:db8:2::fe"
CLIENT, SERVER = f"[{HOST}]:5000", "[2001:db8:2::7]:53"
SLLA = bytes((1, 1)) + mac6(HOST)


def hop(**fields):
    return Bench6("monitor", **fields)


def asked(own, target, mac=None):
    """The solicitation that *own* sends for *target*."""
    return own.name, neighbor_solicitation(own.mac, own.addresses6[0][0], ip6(target), mac)


def neighbours(net):
    return {key[1]: mac for key, mac in net.box.neighbours6.items()}


# --- Neighbor Discovery

def test_answers_for_own_addresses_on_their_side_only():
    net = hop(know=())
    for target in (OWN, "fe80::5eff:fe00:101"):
        (port, frame), = net.solicit(HOST, target)
        assert (port, frame) == ("inside", neighbor_advertisement(mac6(HOST), ip6(HOST), INSIDE6.mac, ip6(target), 0xE0000000))
    for target in (OWN_OUTSIDE, "fe80::5eff:fe00:102", HOST_2):
        assert net.solicit(HOST, target) == []
    assert neighbours(net) == {ip6(HOST): mac6(HOST)} and not net.drops


def test_a_link_local_host_is_a_neighbour_of_its_port_alone():
    net = hop(know=())
    for own in (INSIDE6, OUTSIDE6):
        source = ip6("fe80::9")
        (port, frame), = net.frame_in(own, neighbor_solicitation(own.mac[:5] + b"\x77", source, own.link_local))
        assert port == own.name and Packet6(frame).ipv6().destination == source
    assert [(key[0], mac[4:]) for key, mac in net.box.neighbours6.items()] == [("inside", b"\x01\x77"), ("outside", b"\x01\x77")]


def test_a_probe_for_duplicates_is_answered_to_all_and_teaches_nothing():
    net = hop(know=())
    out = net.frame_in(INSIDE6, neighbor_solicitation(mac6(HOST), UNSPECIFIED, ip6(OWN)))
    assert out == [("inside", neighbor_advertisement(multicast_mac(ALL_NODES), ALL_NODES, INSIDE6.mac, ip6(OWN), 0xA0000000))]
    assert net.frame_in(INSIDE6, neighbor_solicitation(mac6(HOST), UNSPECIFIED, ip6(HOST))) == [] and not net.box.neighbours6


def solicitation(source=HOST, target=OWN, destination=None, options=SLLA, hop_limit=255, code=0, kind=135):
    pair = ip6(source), destination or solicited_node(ip6(target))
    return ipv6(multicast_mac(pair[1]), mac6(HOST), ICMPV6, *pair, icmp6(*pair, kind, code, 0, ip6(target) + options), hop_limit)


@pytest.mark.parametrize("frame", [
    solicitation(hop_limit=254), solicitation(code=1), solicitation(target="ff02::1:ff00:1"), solicitation(options=b"\1\0" + mac6(HOST)),
    solicitation(options=b"\1\2" + mac6(HOST)), solicitation(options=b"\1"), solicitation(options=b"\1\1" + b"\xff" * 6),
    solicitation(options=b"\1\1" + NO_MAC), solicitation(options=b"\1\2" + mac6(HOST) + bytes(8)), solicitation()[:-1] + b"\x99",
    solicitation("::"), solicitation("::", destination=ip6(OWN), options=b""), solicitation("::", destination=ALL_NODES, options=b""),
    ipv6(multicast_mac(solicited_node(ip6(OWN))), mac6(HOST), ICMPV6, ip6(HOST), solicited_node(ip6(OWN)),
         icmp6(ip6(HOST), solicited_node(ip6(OWN)), 135, 0, 0, ip6(OWN)[:12]), 255),
    solicitation(kind=136, destination=ALL_NODES)[:58] + b"\x40" + bytes(3) + solicitation(kind=136, destination=ALL_NODES)[62:]])
def test_unsound_messages_teach_nothing(frame):
    """RFC 4861, 7.1.1 and 7.1.2."""
    net = hop(know=())
    assert net.frame_in(INSIDE6, frame) == [] and net.drops == {"nd_malformed": 1} and not net.box.neighbours6


@pytest.mark.parametrize("length", [1, 2, 7, 23])
def test_messages_that_are_cut_off_are_no_messages(length):
    net, whole = hop(know=()), solicitation()
    frame = whole[:18] + length.to_bytes(2, "big") + whole[20:54 + length]
    assert net.frame_in(INSIDE6, frame) == [] and net.drops == {"nd_malformed": 1}


def test_the_sound_one_does():
    net = hop(know=())
    assert net.frame_in(INSIDE6, solicitation()) and neighbours(net) == {ip6(HOST): mac6(HOST)}


def test_options_that_are_not_known_are_passed_over():
    net = hop(know=())
    assert net.frame_in(INSIDE6, solicitation(options=b"\x0e\1" + bytes(6) + SLLA)) and neighbours(net) == {ip6(HOST): mac6(HOST)}


def test_router_messages_and_redirects_are_ignored():
    net = hop()
    for kind in (133, 134, 137):
        assert net.frame_in(INSIDE6, solicitation(kind=kind, destination=ALL_NODES)) == []
    assert net.drops == {"nd_ignored": 3}


def test_frames_wait_for_resolution_and_leave_in_order():
    net = hop()
    out = net.send("udp", CLIENT, f"[{UNKNOWN}]:1", data=b"first")
    assert out == [asked(OUTSIDE6, UNKNOWN)]
    assert out[0][1][:6] == bytes.fromhex("3333ff000050")
    assert net.send("udp", CLIENT, f"[{UNKNOWN}]:2", data=b"second") == []
    out = net.advertise(UNKNOWN)
    assert [frame[62:] for _, frame in out] == [b"first", b"second"]
    for port, frame in out:
        seen = Packet6(frame)
        assert (port, seen.destination_mac, seen.source_mac, seen.ipv6().ttl) == ("outside", mac6(UNKNOWN), OUTSIDE6.mac, 63)
        assert seen.transport_checksum_ok()
    assert len(net.send("udp", CLIENT, f"[{UNKNOWN}]:2")) == 1 and not net.box.unresolved6


def test_solicitations_are_repeated_then_the_senders_are_told():
    net = hop()
    net.send("udp", CLIENT, f"[{UNKNOWN}]:1"), net.send("udp", f"[{HOST_2}]:1", f"[{UNKNOWN}]:1")
    assert net.wait(0.9) == []
    assert net.wait(0.1) == [asked(OUTSIDE6, UNKNOWN)]
    assert net.wait(1) == [asked(OUTSIDE6, UNKNOWN)]
    out = net.wait(1)
    assert net.drops == {"nd_unanswered": 2} and not net.box.unresolved6
    assert [(port, Packet6(frame).ipv6().destination, frame[54:56]) for port, frame in out] == [
        ("inside", ip6(HOST), b"\x01\x03"), ("inside", ip6(HOST_2), b"\x01\x03")]


def test_the_queue_is_bounded():
    net = hop()
    for _ in range(router.FRAMES_PER_HOP_MAX + 3):
        net.send("udp", CLIENT, f"[{UNKNOWN}]:1")
    assert net.drops == {"nd_queue_full": 3} and len(net.advertise(UNKNOWN)) == router.FRAMES_PER_HOP_MAX


def test_the_number_of_hops_that_wait_is_bounded(monkeypatch):
    monkeypatch.setattr("middleboxes.functions.neighbor_discovery.UNRESOLVED_MAX", 5)
    net = hop()
    for number in range(0x10, 0x20):
        net.send("udp", CLIENT, f"[2001:db8:2::{number:x}]:1")
    assert len(net.box.unresolved6) == 5 and net.drops == {"nd_queue_full": 11}


def test_a_full_table_forgets_the_entry_that_was_confirmed_longest_ago(monkeypatch):
    monkeypatch.setattr("middleboxes.functions.neighbor_discovery.NEIGHBOURS_MAX", 2)
    net = hop(know=(HOST, HOST_2))
    net.ctx.now_ns += 2 * NS_PER_S
    net.solicit(HOST), net.solicit("2001:db8:1::3")
    assert list(neighbours(net)) == [ip6(HOST), ip6("2001:db8:1::3")]


def test_old_entries_are_asked_at_their_address_while_in_use():
    net = hop(know=(HOST, "2001:db8:2::7"))
    net.wait(router.ARP_REFRESH_S - 1)
    net.solicit(HOST)
    assert net.wait(1) == [asked(OUTSIDE6, "2001:db8:2::7", mac6("2001:db8:2::7"))]
    assert len(net.send("udp", CLIENT, SERVER)) == 1
    assert net.advertise("2001:db8:2::7", flags=0) == [] and net.box.unresolved6, "nobody asked for that one (RFC 4861, 7.3.1)"
    assert net.advertise("2001:db8:2::7") == [] and not net.box.unresolved6
    net.solicit(HOST)
    net.wait(router.ARP_REFRESH_S + 5, ticks=65)
    assert not net.box.neighbours6 and not net.box.confirmed6 and not net.box.unresolved6


def test_one_asked_at_its_own_address_need_not_repeat_it():
    net = hop(know=(HOST,))
    net.wait(router.ARP_REFRESH_S)
    pair = ip6(HOST), ip6(OWN)
    net.frame_in(INSIDE6, ipv6(INSIDE6.mac, mac6(HOST), ICMPV6, *pair, icmp6(*pair, 136, 0, 0x40000000, pair[0]), 255))
    assert not net.box.unresolved6 and neighbours(net) == {pair[0]: mac6(HOST)} and net.drops == {}


def test_unsolicited_and_off_link_messages_teach_nothing_but_a_known_host_may_move():
    net = hop(know=(HOST,))
    other = mac6("2001:db8:1::99")
    net.advertise("2001:db8:1::9")
    net.frame_in(INSIDE6, neighbor_solicitation(other, ip6("2001:db8:2::9"), ip6(OWN)))
    net.frame_in(INSIDE6, neighbor_advertisement(INSIDE6.mac, ip6(OWN), other, ip6(OWN), 0x60000000))
    net.advertise(HOST, other, flags=0x40000000)        # it may not override
    assert neighbours(net) == {ip6(HOST): mac6(HOST)} and net.drops == {"nd_sender": 1, "nd_address_conflict": 1}
    net.advertise(HOST, other)
    assert neighbours(net) == {ip6(HOST): other}
    net.solicit(HOST)
    assert neighbours(net) == {ip6(HOST): mac6(HOST)}


# --- what is passed on, and what is answered

def test_packets_are_passed_on_by_the_longest_prefix():
    net = hop()
    assert told6(net.send("udp", CLIENT, SERVER)) == [f"outside 17 {CLIENT} > {SERVER}"]
    (port, frame), = net.send("udp", f"[{FAR}]:7", CLIENT)
    assert port == "inside" and Packet6(frame).destination_mac == mac6(HOST)
    (_, frame), = net.send("udp", CLIENT, f"[{FAR}]:7")
    assert Packet6(frame).destination_mac == mac6("2001:db8:2::1") and Packet6(frame).ipv6().ttl == 63
    assert net.drops == {}


@pytest.mark.parametrize("source, destination, reason, error", [
    (HOST, "2001:db8:77::1", "no_route", b"\x01\x00"), (HOST, HOST_2, "no_route", None), ("2001:db8:2::7", FAR, "no_route", None),
    ("2001:db8:77::1", HOST, "no_route", None), (HOST, "2001:db8:2::", "no_route", b"\x01\x00"), (HOST, "::1", "no_route", b"\x01\x00"),
    (HOST, "fe80::7", "no_route", None), (HOST, "ff0e::1", "not_for_us", None), ("::", SERVER[1:-4], "no_route", None),
    ("ff02::1", SERVER[1:-4], "no_route", None)])
def test_what_has_no_way_is_dropped_and_told(source, destination, reason, error):
    net = hop()
    own = net.side(source) if source.startswith("2001") else INSIDE6
    out = net.frame_in(own, packet6("udp", f"[{source}]:1", f"[{destination}]:1", own.mac))
    assert net.drops == {reason: 1} and net.box.total == {}
    assert [frame[54:56] for _, frame in out] == ([error] if error else [])


def test_link_local_packets_stay_on_their_link():
    """RFC 4291, 2.5.6; RFC 4443, 3.1."""
    net = hop(know=("2001:db8:2::7",))
    net.frame_in(INSIDE6, neighbor_solicitation(mac6("fe80::9"), ip6("fe80::9"), INSIDE6.link_local))
    (port, frame), = net.frame_in(INSIDE6, packet6("udp", "[fe80::9]:1", SERVER, INSIDE6.mac))
    header = Packet6(frame).ipv6()
    assert (port, header.source, header.destination, frame[54:56]) == ("inside", INSIDE6.link_local, ip6("fe80::9"), b"\x01\x02")
    assert net.drops == {"scope": 1}
    net.frame_in(INSIDE6, ipv6(INSIDE6.mac, mac6(HOST), ICMPV6, ip6(HOST), ip6(SERVER[1:-4]), icmp6(ip6(HOST), ip6(SERVER[1:-4]), 135, 0, 0, bytes(16)), 255))
    assert net.drops == {"scope": 1, "nd_not_local": 1}


def test_traceroute_sees_the_hop_whose_errors_quote_the_packet():
    net = hop()
    (port, frame), = net.send("udp", CLIENT, SERVER, hop_limit=1)
    packet = Packet6(frame)
    header = packet.ipv6()
    assert (port, header.source, header.destination) == ("inside", ip6(OWN), ip6(HOST)) and packet.transport_checksum_ok()
    assert frame[54:56] == b"\x03\x00" and frame[62:] == packet6("udp", CLIENT, SERVER, INSIDE6.mac, hop_limit=1)[14:]
    assert net.drops == {"ttl": 1}


def test_what_is_too_big_is_told_the_size():
    net = hop(ipv6_mtu_bytes=1300)
    assert len(net.send("udp", CLIENT, SERVER, data=b"x" * (1300 - 48))) == 1
    (port, frame), = net.send("udp", CLIENT, SERVER, data=b"x" * (1301 - 48))
    assert (port, frame[54:56], frame[58:62]) == ("inside", b"\x02\x00", (1300).to_bytes(4, "big")) and net.drops == {"too_big": 1}
    assert Packet6(frame).ipv6().payload_end == 14 + 1280


def test_errors_are_limited_in_rate_and_never_about_errors():
    net = hop()
    frame = packet6("udp", CLIENT, SERVER, INSIDE6.mac, hop_limit=1)
    assert sum(len(net.frame_in(INSIDE6, frame)) for _ in range(150)) == router.ICMP_ERRORS_PER_S_MAX
    net.ctx.now_ns += NS_PER_S
    assert len(net.frame_in(INSIDE6, frame)) == 1
    for kind in (1, 3, 127):
        assert net.send("icmp", f"[{HOST}]:0", "[2001:db8:2::7]:0", kind=kind, hop_limit=1) == []


@pytest.mark.parametrize("target", [OWN, OWN_OUTSIDE])
def test_ping_of_own_addresses_is_answered(target):
    net = hop()
    (port, frame), = net.send("icmp", f"[{HOST}]:9", f"[{target}]:9", data=b"x" * 1000)
    assert told6([(port, frame)]) == [f"inside 58 [{target}]:9 > [{HOST}]:9"]
    assert Packet6(frame).transport_checksum_ok() and frame[54] == 129 and frame.endswith(b"x" * 1000)
    wrong = packet6("icmp", f"[{HOST}]:9", f"[{target}]:9", INSIDE6.mac)
    assert net.frame_in(INSIDE6, wrong[:-1] + b"!") == [] and net.send("udp", CLIENT, f"[{target}]:9") == []
    assert net.drops == {"icmp_checksum": 1, "to_own": 1}


def test_the_link_local_address_answers_its_link():
    net = hop(know=())
    net.frame_in(INSIDE6, neighbor_solicitation(mac6("fe80::9"), ip6("fe80::9"), INSIDE6.link_local))
    (port, frame), = net.frame_in(INSIDE6, packet6("icmp", "[fe80::9]:9", "[fe80::5eff:fe00:101]:9", INSIDE6.mac))
    assert told6([(port, frame)]) == ["inside 58 [fe80::5eff:fe00:101]:9 > [fe80::9]:9"] and frame[:6] == mac6("fe80::9")


def test_a_packet_to_us_that_would_go_on_by_a_routing_header_is_dropped():
    """Nobody is reached by way of us (RFC 5095)."""
    net = hop()
    segments = [(43, bytes((2, 0, 1)) + bytes(4) + ip6("2001:db8:2::7"))]
    assert net.send("icmp", f"[{HOST}]:9", f"[{OWN}]:9", extensions=segments) == [] and net.drops == {"routing_header": 1}


def test_what_is_not_ours_and_a_port_without_ipv6():
    net = hop()
    assert net.frame_in(INSIDE6, packet6("udp", CLIENT, SERVER, mac6(HOST_2))) == []
    assert net.frame_in(INSIDE6, packet6("udp", CLIENT, SERVER, INSIDE6.mac)[:-1]) == []
    assert net.drops == {"not_for_us": 1, "malformed": 1}
    net = Bench6("monitor", know=(), ports=(INSIDE, OUTSIDE), routes=[])
    assert net.frame_in(INSIDE, packet6("udp", CLIENT, SERVER, INSIDE.mac)) == [] and net.drops == {"ether_type": 1}


@pytest.mark.parametrize("routes, message", [
    ([["2001:db8:9::/48", "192.0.2.1"]], "both must be of IPv4, or both of IPv6"), ([["2001:db8:9::/48", "2001:db8:7::1"]], "another host in the prefix"),
    ([["2001:db8:9::/48", "fe80::1"]], "another host in the prefix"), ([["2001:db8:2::/64", "2001:db8:2::1"]], "this prefix has a route already"),
    ([["2001:db8:9::/48", "2001:db8:2::1"]] * 2, "is there twice"), ([["2001:db8:9::1/48", "2001:db8:2::1"]], "has host bits set")])
def test_wrong_routes_are_named(routes, message):
    with pytest.raises(ConfigurationError, match=message):
        load("monitor")({"routes": routes}, [INSIDE6, OUTSIDE6])


def test_a_default_route_of_each_kind_and_prefixes_that_overlap():
    both = load("monitor")({"routes": [["::/0", "2001:db8:2::1"], ["0.0.0.0/0", "192.0.2.1"]]}, [INSIDE6, OUTSIDE6])
    assert both.route(ip6("2001:db8:77::1")) == ("outside", ip6("2001:db8:2::1")) and both.route(0x08080808) == ("outside", 0xC0000201)
    clash = Port.parse("outside", "02:00:5e:00:01:02", "192.0.2.254/24", ["2001:db8:1:0:1::1/80"])
    with pytest.raises(ConfigurationError, match="the prefixes of inside and outside overlap"):
        load("monitor")({}, [INSIDE6, clash])
    several = Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24", ["2001:db8:1::fe/64", "2001:db8:3::fe/64"])
    box = load("monitor")({}, [several, OUTSIDE6])
    assert box.route(ip6("2001:db8:3::5")) == ("inside", ip6("2001:db8:3::5"))
    assert box.source_for("inside", ip6("2001:db8:3::5")) == ip6("2001:db8:3::fe")
