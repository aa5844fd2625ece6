"""Two WAN optimisers back to back, and the channel between them, which may lose, repeat and reorder; one thread, no clock.

10.0.0.0/24 and 2001:db8:1::/64 - near - 10.9.0.0/24 and 2001:db8:9::/64 - far - 192.0.2.0/24 and 2001:db8:2::/64. Packets go in at one end,
and what came out at the other is kept, without its Ethernet header.
"""

import itertools
import random
from collections import Counter

from middleboxes.functions.wan_optimiser import WanOptimiser
from middleboxes.sdk import Packet, Packet6, Port
from middleboxes.sdk.build import ARP_REPLY, ARP_REQUEST, NO_MAC, arp, icmp, ipv4, tcp, udp
from middleboxes.sdk.build6 import NEIGHBOR_SOLICITATION, OVERRIDE, SOLICITED, fragment, icmp6, ipv6, neighbor_advertisement, neighbor_solicitation
from middleboxes.sdk.conformance import Machine
from middleboxes.sdk.packet import ICMP, TCP, UDP
from middleboxes.sdk.packet6 import ICMPV6

from .hop6_scenario import ip6
from .nat_scenario import NS_PER_S, START_NS, ip, mac

NEAR = (Port.parse("lan", "02:00:5e:00:01:01", "10.0.0.254/24", ["2001:db8:1::fe/64"]),
        Port.parse("wan", "02:00:5e:00:01:02", "10.9.0.1/24", ["2001:db8:9::1/64"]))
FAR = (Port.parse("lan", "02:00:5e:00:02:01", "192.0.2.254/24", ["2001:db8:2::fe/64"]),
       Port.parse("wan", "02:00:5e:00:02:02", "10.9.0.2/24", ["2001:db8:9::2/64"]))
NEAR_LAN, FAR_LAN = ("10.0.0.0/24", "2001:db8:1::/64"), ("192.0.2.0/24", "2001:db8:2::/64")
NEAR_PARAMETERS = {"peer": "10.9.0.2", "routes": [[FAR_LAN[0], "10.9.0.2"], [FAR_LAN[1], "2001:db8:9::2"]], "remote": FAR_LAN}
FAR_PARAMETERS = {"peer": "10.9.0.1", "routes": [[NEAR_LAN[0], "10.9.0.1"], [NEAR_LAN[1], "2001:db8:9::1"]], "remote": NEAR_LAN}
#: by the IPv6 addresses that they have besides
PEERS6 = {"near": {"peer": "2001:db8:9::2"}, "far": {"peer": "2001:db8:9::1"}}
CLIENT, SERVER = "10.0.0.1", "192.0.2.1"
CLIENT6, SERVER6 = "2001:db8:1::1", "2001:db8:2::1"


class End:
    """A box under the real core, its host on the LAN, what that host sent and received (IP packets)."""

    def __init__(self, ports, parameters, host, host6, workers):
        self.ports, self.host, self.host6 = {port.name: port for port in ports}, host, host6
        # each with random numbers of its own
        self._seeds = itertools.count(1)
        self.make = lambda: Machine(WanOptimiser, parameters, ports, workers, next(self._seeds), self._event)
        self.events, self.sent, self.received = [], [], []
        self.inputs = []            # (now_ns, port name or "" for a tick, frame)
        self.machine = self.make()

    def give(self, port, frame, now_ns):
        """A *frame* comes in; what is emitted."""
        self.inputs.append((now_ns, port, frame))
        return self.machine.give(port, frame, now_ns)

    def tick(self, now_ns):
        """A tick; what is emitted."""
        self.inputs.append((now_ns, "", b""))
        return self.machine.tick(now_ns)

    def _event(self, name, detail):
        assert name != "function-error", detail
        self.events.append(name)

    @property
    def drops(self):
        return self.machine.summed("drops")

    @property
    def traffic(self):
        return self.machine.summed("traffic")

    def state(self, name):
        """The variable of that name, as a dict; of a Counter the value."""
        variable = self.machine.function.variables[name]
        return dict(variable) if hasattr(variable, "items") else variable.value


class Pair:
    """``near`` and ``far``. *faults*: probabilities that the channel loses a frame, repeats it, or lets later ones overtake it."""

    def __init__(self, seed=1, workers=1, lose=0.0, repeat=0.0, reorder=0.0, near=None, far=None, **parameters):
        self.rng = random.Random(seed)
        self.faults = lose, repeat, reorder
        self.now_ns = START_NS
        self.near = End(NEAR, {**NEAR_PARAMETERS, **parameters, **(near or {})}, CLIENT, CLIENT6, workers)
        self.far = End(FAR, {**FAR_PARAMETERS, **parameters, **(far or {})}, SERVER, SERVER6, workers)
        self.channel = []           # [(the end that it goes to, frame)]
        self.after_each = lambda: None
        for end in (self.near, self.far):
            self.introduce(end)
        self.tick(2)

    def other(self, end):
        return self.far if end is self.near else self.near

    def introduce(self, end):
        """Its neighbours ask for the addresses of *end*, so that it knows theirs."""
        there = self.other(end).ports["wan"]
        for name, address, address6, source in (("lan", ip(end.host), ip6(end.host6), mac(end.host)),
                                                ("wan", there.address, there.addresses6[0][0], there.mac)):
            own = end.ports[name]
            end.give(name, arp(ARP_REQUEST, source, address, NO_MAC, own.address), self.now_ns)
            end.give(name, neighbor_solicitation(source, address6, own.addresses6[0][0], own.mac), self.now_ns)

    def lose_state(self, end):
        """*end* dies and begins from nothing."""
        end.machine = end.make()
        self.introduce(end)

    def send(self, end, packet, run=True):
        """The host of *end* sends *packet* (an IP packet to the other host); deliver all that follows."""
        end.sent.append(packet)
        own = end.ports["lan"]
        ether_type = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        self._came_out(end, end.give("lan", own.mac + mac(end.host) + ether_type + packet, self.now_ns))
        self.after_each()
        if run:
            self.run()

    def tick(self, count=1, seconds=0.1):
        """Let *seconds* pass, with a tick at both ends, *count* times."""
        for _ in range(count):
            self.now_ns += int(seconds * NS_PER_S)
            for end in (self.near, self.far):
                self._came_out(end, end.tick(self.now_ns))
            self.run()

    def _came_out(self, end, emitted):
        lose, repeat, _ = self.faults
        for port, frame in emitted:
            answer = self._answer(end, port, frame)
            if answer is not None:
                self._came_out(end, end.give(port, answer, self.now_ns))
            elif port == "lan":
                end.received.append(frame[14:])
            elif self.rng.random() >= lose:
                self.channel += [(self.other(end), frame)] * (1 + (self.rng.random() < repeat))

    def _answer(self, end, port, frame):
        """What a neighbour answers who is asked for its MAC address in *frame*; None if nobody is asked."""
        neighbour, own = mac(end.host) if port == "lan" else self.other(end).ports["wan"].mac, end.ports[port]
        if frame[12:14] == b"\x08\x06":
            message = Packet(frame).arp()
            return arp(ARP_REPLY, neighbour, message.target, message.sender_mac, message.sender)
        if frame[12:14] == b"\x86\xdd" and frame[20] == ICMPV6 and frame[54] == NEIGHBOR_SOLICITATION:
            return neighbor_advertisement(own.mac, frame[22:38], neighbour, frame[62:78], SOLICITED | OVERRIDE)
        return None

    def run(self):
        """Deliver until nothing is on the way; some of it late, if the channel reorders."""
        while self.channel:
            place = 0
            while place + 1 < len(self.channel) and self.rng.random() < self.faults[2]:
                place += 1
            end, frame = self.channel.pop(place)
            self.now_ns += 1_000_000
            self._came_out(end, end.give("wan", frame, self.now_ns))
            self.after_each()


def exchange(pair, source, packets, spacing=3):
    """Both hosts send packets of *source*, so many at random, with ticks between."""
    for _ in range(packets):
        end = pair.near if pair.rng.random() < 0.6 else pair.far
        other = pair.other(end)
        ends = (end.host, other.host) if pair.rng.random() < 0.6 else (end.host6, other.host6)
        pair.send(end, source.packet(*ends), run=pair.rng.random() < 0.7)
        if pair.rng.randrange(spacing) == 0:
            pair.tick()
    pair.run()


def passed(packet):
    """*packet* (IP, without options) as it arrives: two hops further."""
    if packet[0] >> 4 == 6:
        return packet[:7] + bytes((packet[7] - 2,)) + packet[8:]
    return ipv4(NO_MAC, NO_MAC, packet[9], *(int.from_bytes(packet[at:at + 4], "big") for at in (12, 16)), packet[20:], ttl=packet[8] - 2, tos=packet[1],
                identification=int.from_bytes(packet[4:6], "big"), fragment=int.from_bytes(packet[6:8], "big"))[14:]


def arrived_right(pair, exactly=False):
    """Assert that each host received only what the other one sent; how many of the packets did not arrive."""
    lost = 0
    for end in (pair.near, pair.far):
        sent, received = Counter(map(passed, pair.other(end).sent)), Counter(end.received)
        if exactly:
            assert received == sent
        assert not set(received) - set(sent), "something arrived that nobody sent"
        lost += sum((sent - received).values())
    return lost


def comes_with_repetition(pair, source):
    """Assert that a packet comes through if it is repeated once, now that the network loses nothing."""
    pair.faults = 0, 0, 0
    pair.tick()
    for _ in range(20):
        packet, before = source.packet(CLIENT, SERVER), len(pair.far.received)
        for _ in range(2):
            if len(pair.far.received) == before:
                pair.send(pair.near, packet)
        assert pair.far.received[before:] == [passed(packet)]


def datagram(source, destination, data, number=0, **header):
    """An IP packet with UDP *data*; *number* makes it one of its own."""
    source, destination = ip(source), ip(destination)
    return ipv4(NO_MAC, NO_MAC, UDP, source, destination, udp(source, 4000 + number % 7, destination, 53, data), identification=number & 0xFFFF, **header)[14:]


def datagram6(source, destination, data, number=0, **header):
    """An IPv6 packet with UDP *data*; *number* makes it one of its own."""
    source, destination = ip6(source), ip6(destination)
    return ipv6(NO_MAC, NO_MAC, UDP, source, destination, udp(source, 4000 + number % 7, destination, 53, data), flow_label=number, **header)[14:]


class Source:
    """Seeded packets of all kinds whose contents repeat: parts of documents, moved and changed."""

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        words = [bytes(rng.choices(b"etaoinshrdlu", k=rng.randrange(2, 9))) for _ in range(300)]
        self.documents = [b" ".join(rng.choices(words, k=1500)), rng.randbytes(9000), bytes(5000), rng.randbytes(4000).hex().encode(), rng.randbytes(700)]
        self.number = 0

    def content(self):
        """Up to 1400 bytes."""
        rng = self.rng
        document = rng.choice(self.documents)
        kind = rng.random()
        if kind < 0.1:
            return rng.randbytes(rng.choice((0, 1, 20, 127, 128, 129, 1000, 1400)))
        start = rng.choice((0, 0, 1400, rng.randrange(len(document))))
        content = bytearray(document[start:start + rng.choice((1400, 1400, 1400, 900, rng.randrange(1400)))])
        if kind < 0.3 and content:
            content[rng.randrange(len(content))] ^= 1 + rng.randrange(255)
        if kind < 0.2:
            content[rng.randrange(len(content) + 1):0] = rng.randbytes(rng.randrange(1, 50))
        return bytes(content[:1400])

    def packet(self, source, destination):
        """An IP packet, mostly TCP or UDP; its identification makes it one of its own."""
        rng, data = self.rng, self.content()
        self.number += 1
        is_ipv6 = ":" in source
        address, to = map(ip6 if is_ipv6 else ip, (source, destination))
        kind = rng.choice((TCP, TCP, TCP, TCP, UDP, UDP, ICMP, 47))
        if kind == TCP:
            payload = tcp(address, 4000 + self.number % 5, to, 80, 16, data, rng.getrandbits(32), rng.getrandbits(32),
                          options=rng.choice((b"", b"\x01\x01\x08\x0a" + rng.randbytes(8))))
        elif kind == UDP:
            payload = udp(address, 5000 + self.number % 5, to, 443, data)
        elif kind == ICMP:
            payload = icmp6(address, to, 128, 0, rng.getrandbits(32), data) if is_ipv6 else icmp(8, 0, rng.getrandbits(32), data)
        else:
            payload = data
        if is_ipv6:
            extensions = rng.choice(((),) * 20 + (((60, b"\0\1\4\0\0\0\0"),), ((44, fragment(0, True, self.number)),), ((44, fragment(160, False, 7)),)))
            return ipv6(NO_MAC, NO_MAC, ICMPV6 if kind == ICMP else kind, address, to, payload, rng.choice((64, 3)), rng.choice((0, 0xB8)), self.number,
                        extensions)[14:]
        return ipv4(NO_MAC, NO_MAC, kind, address, to, payload, ttl=rng.choice((64, 3)), tos=rng.choice((0, 0xB8)), identification=self.number & 0xFFFF,
                    fragment=rng.choice((0,) * 20 + (0x2000, 0x0010)))[14:]
