"""What two WAN optimisers say on the wire: round trips, and nothing of what was cut off, damaged, forged or made up is believed."""

import random

import pytest

from middleboxes.functions import wan_messages
from middleboxes.functions.wan_messages import DATA, HAVE, MISSING, RESYNC, WAN_PORT, WRONG, MessageError
from middleboxes.sdk.build import NO_MAC, icmp, ipv4, udp
from middleboxes.sdk.build6 import icmp6, ipv6
from middleboxes.sdk.packet import ICMP, UDP
from middleboxes.sdk.packet6 import ICMPV6

from .hop6_scenario import ip6
from .nat_scenario import ip
from .wan_pair import CLIENT, CLIENT6, SERVER, SERVER6, Pair, Source, datagram, datagram6, passed

KEY = b"key"
#: of a pair without key
SECRET = wan_messages.secret("", 1500)


def between(data, source="10.9.0.1", destination="10.9.0.2", source_port=0xC000):
    """An IP packet with *data* as one box sends it to the other."""
    source, destination = ip(source), ip(destination)
    return ipv4(NO_MAC, NO_MAC, UDP, source, destination, udp(source, source_port, destination, WAN_PORT, data))[14:]


def to_far(pair, packet):
    """*packet* comes to the far one over the WAN."""
    own = pair.far.ports["wan"]
    pair.channel.append((pair.far, own.mac + pair.near.ports["wan"].mac + b"\x08\x00" + packet))
    pair.run()


def warm_pair(**parameters):
    """A Pair of which both have the content of one datagram; that, and a datagram whose DATA was caught on its way to the far one."""
    pair, content = Pair(**parameters), random.Random(1).randbytes(600)
    pair.send(pair.near, datagram(CLIENT, SERVER, content))
    pair.tick()
    again = datagram(CLIENT, SERVER, content[:300] + b"something else" + content[300:], 1)
    pair.send(pair.near, again, run=False)
    (_, frame), = pair.channel
    pair.channel.clear()
    assert len(frame) < 200
    return pair, content, again, frame


def test_data_says_which_pieces_make_the_packet():
    packet = bytes(range(200))
    references = [(10, 50, 0xABCDEF012345, 7), (60, 40, 1, 0), (190, 10, 2, 65535)]
    message = wan_messages.data(KEY, 99, packet, references)
    assert message[0] == DATA
    assert wan_messages.parse_data(message, 200) == (99, [packet[:10], (0xABCDEF012345, 7, 50), b"", (1, 0, 40), packet[100:190], (2, 65535, 10)])
    assert wan_messages.is_whole(KEY, message, packet)
    assert not wan_messages.is_whole(b"other", message, packet) and not wan_messages.is_whole(KEY, message, packet[:-1] + b"x")
    with pytest.raises(MessageError, match="too large"):
        wan_messages.parse_data(message, 199)


@pytest.mark.parametrize("kind", [HAVE, MISSING, WRONG, RESYNC])
def test_control_round_trip(kind):
    names = [] if kind == RESYNC else [1, 2, (1 << 48) - 1]
    message = wan_messages.control(KEY, kind, 5, 6, b"".join(map(wan_messages.name_bytes, names)))
    assert wan_messages.parse_control(KEY, message) == (kind, 5, 6, names)
    for at in range(len(message)):
        for damaged in (message[:at], message[:at] + bytes((message[at] ^ 1,)) + message[at + 1:]):
            with pytest.raises(MessageError):
                wan_messages.parse_control(KEY, damaged)
    with pytest.raises(MessageError):
        wan_messages.parse_control(b"", message)


@pytest.mark.parametrize("message", [
    wan_messages.control(KEY, HAVE, 0, 0), wan_messages.control(KEY, RESYNC, 1, 1, bytes(6)), wan_messages.control(KEY, 0x16, 1, 1)])
def test_a_control_message_that_nobody_sends_is_refused(message):
    with pytest.raises(MessageError, match="of no known kind"):
        wan_messages.parse_control(KEY, message)


def test_noise_is_parsed_or_refused():
    rng = random.Random(1)
    parsed = 0
    for _ in range(20_000):
        message = bytes((rng.choice((DATA, HAVE)),)) + rng.randbytes(rng.randrange(60)).replace(b"\xff", b"\0") + bytes(rng.randrange(3))
        try:
            _, pieces = wan_messages.parse_data(message, 1500)
        except MessageError:
            continue
        parsed += 1
        assert sum(piece[2] if type(piece) is tuple else len(piece) for piece in pieces) <= 1500
    assert parsed > 10


def test_damaged_data_delivers_what_was_sent_or_nothing():
    """Each byte of a datagram's UDP payload in turn."""
    for at in range(42, 42 + 60):
        pair, content, again, frame = warm_pair()
        damaged = frame[:at] + bytes((frame[at] ^ 0x41,)) + frame[at + 1:]
        pair.channel.append((pair.far, damaged))
        pair.run()
        assert len(pair.far.received) == 1 and sum(pair.far.drops.values()) == 1
        assert set(pair.far.drops) <= {"malformed_message", "missing", "check_failed", "resync"}
        for _ in range(3):
            if len(pair.far.received) == 1:
                pair.send(pair.near, again)
        assert pair.far.received[1] == passed(again)


def test_two_contents_of_one_name_are_not_mixed_up():
    """As if their hashes were the same: the check of the packet shows it, and both forget."""
    pair, content, again, frame = warm_pair()
    name, = pair.far.state("received")
    pair.far.machine.function.received[name] = bytes(600)
    pair.channel.append((pair.far, frame))
    pair.run()
    assert len(pair.far.received) == 1 and pair.far.drops == {"check_failed": 1}
    assert pair.far.state("received") == {} == pair.near.state("acknowledged")
    pair.send(pair.near, again)
    assert pair.far.received[1] == passed(again)


def test_a_damaged_packet_costs_what_it_was_made_of_and_no_more():
    """The sender goes on to refer to what it used before that."""
    pair, contents = Pair(), [random.Random(number).randbytes(600) for number in range(3)]
    for content in contents:
        pair.send(pair.near, datagram(CLIENT, SERVER, content))
        pair.tick(seconds=1)
    pair.send(pair.near, datagram(CLIENT, SERVER, contents[2]), run=False)
    (_, frame), = pair.channel
    pair.channel = [(pair.far, frame[:60] + bytes((frame[60] ^ 1,)) + frame[61:])]
    pair.run()
    assert pair.far.drops == {"check_failed": 1}
    assert list(pair.near.state("sent").values()) == list(pair.far.state("received").values()) == contents[:2]


def test_a_reference_beyond_the_content_is_missing():
    pair, content, _, _ = warm_pair()
    name, = pair.far.state("received")
    packet = datagram(CLIENT, SERVER, content)
    to_far(pair, between(wan_messages.data(SECRET, pair.near.state("session")["believed"], packet, [(28, 600, name, 1)])))
    assert len(pair.far.received) == 1 and pair.far.drops == {"missing": 1}


@pytest.mark.parametrize("inner, reason", [
    (datagram("10.9.0.1", SERVER, b"x" * 200), "not_remote"), (datagram("192.0.2.9", SERVER, b"x" * 200), "not_remote"),
    (between(b"\x11" + bytes(50)), "not_remote"), (b"no packet at all", "not_remote"), (datagram(CLIENT, SERVER, b"x" * 1500), "malformed_message"),
    (datagram(CLIENT, "10.9.0.77", b"x" * 200), "no_route"), (datagram6("2001:db8:9::1", SERVER6, b"x" * 200), "not_remote"), (b"`" + bytes(60), "not_remote"),
    (datagram6(CLIENT6, "2001:db8:9::77", b"x" * 200), "no_route"),
    (ipv6(NO_MAC, NO_MAC, ICMPV6, ip6(CLIENT6), ip6("2001:db8:9::2"), icmp6(ip6(CLIENT6), ip6("2001:db8:9::2"), 136, 0, 0, bytes(16)), 255)[14:], "to_own")],
    ids=["the peer's own", "not remote", "another datagram", "noise", "too large", "no route", "the peer's own IPv6", "unsound IPv6", "no route for IPv6",
         "Neighbor Discovery"])
def test_a_rebuilt_packet_is_believed_no_more_than_any(inner, reason):
    """Right by its check, as of a peer that is not what it should be: of other sources, a datagram in a datagram, too large, Neighbor Discovery."""
    pair, _, _, _ = warm_pair()
    to_far(pair, between(wan_messages.data(SECRET, pair.near.state("session")["believed"], inner, [])))
    assert len(pair.far.received) == 1 and pair.far.drops == {reason: 1}


def test_who_is_not_the_peer_is_not_heard():
    pair, _, _, frame = warm_pair()
    for packet in (between(frame[42:], "10.9.0.3"), between(wan_messages.control(SECRET, MISSING, 1, 1), "10.9.0.3")):
        to_far(pair, packet)
    assert pair.far.drops == {"to_own": 2}
    pair.send(pair.far, between(frame[42:], SERVER))
    assert pair.far.drops == {"to_own": 3}, "nor from the LAN"


def test_the_box_answers_an_echo_that_came_encoded():
    pair, content = Pair(), bytes(range(250))
    for number in range(3):
        packet = ipv4(NO_MAC, NO_MAC, ICMP, ip(CLIENT), ip("192.0.2.254"), icmp(8, 0, number, content))[14:]
        pair.send(pair.near, packet)
        pair.tick()
    assert len(pair.near.received) == 3 and pair.near.drops == pair.far.drops == {}


def test_fuzzed_datagrams_deliver_nothing_that_was_not_sent():
    """Real traffic, and with it damaged and made-up datagrams in the peer's name."""
    rng, source = random.Random(2), Source(2)
    pair = Pair(2)
    for _ in range(300):
        pair.send(pair.near, source.packet(CLIENT, SERVER), run=False)
        caught = [frame for end, frame in pair.channel if end is pair.far]
        for frame in caught:
            if frame[36:38] == WAN_PORT.to_bytes(2, "big"):
                payload = bytearray(frame[42:])
                for _ in range(rng.randrange(1, 4)):
                    payload[rng.randrange(len(payload))] = rng.choice((0, 1, 0xFF, rng.getrandbits(8)))
                payload = bytes(payload[:rng.choice((len(payload), rng.randrange(len(payload) + 1)))])
                if payload != frame[42:]:
                    pair.channel.append((pair.far, frame[:34] + udp(ip("10.9.0.1"), 0xC000, ip("10.9.0.2"), WAN_PORT, payload).ljust(len(frame) - 34, b"\0")))
        pair.run()
        if rng.random() < 0.3:
            pair.tick()
    assert set(pair.far.received) <= set(map(passed, pair.near.sent))
    assert sum(pair.far.drops.get(reason, 0) for reason in ("malformed_message", "missing", "check_failed", "resync")) > 50
