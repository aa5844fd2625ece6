"""Seeded traffic for any function: hosts around its ports, their ARP, and conversations that fit what the function emits.

Ports that have IPv6 addresses get hosts and conversations of it, too, with extension headers now and then.

A trace is a list of steps (time in ns, port name, frame); the port "" is a tick. ``record`` makes one by running the function: hosts
answer ARP, TCP with numbers that fit, UDP and echo requests, so that deep states are reached. The same trace is then given to
other instances. ``flood`` begins new flows.
"""

import random
from typing import NamedTuple

from ..build import ARP_REPLY, ARP_REQUEST, NO_MAC, arp, icmp, icmp_error, ipv4, tcp, udp
from ..build6 import fragment, icmp6, icmp6_error, ipv6, neighbor_advertisement, neighbor_solicitation
from ..packet import ICMP, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, TCP, UDP, Packet
from ..packet6 import ECHO_REPLY, ECHO_REQUEST, ICMPV6, Packet6

NS_PER_S = 1_000_000_000
START_NS = 1_700_000_000 * NS_PER_S
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_WAITS_NS = (0, 1_000, 1_000_000, 1_000_000, 50_000_000, 400_000_000, 3 * NS_PER_S)
_REMEMBERED = 40
#: extension headers of IPv6 packets: options, a routing header of type 0 and one that is done, parts of a packet
_PADDING = b"\0\x01\x04\0\0\0\0"
_EXTENSIONS = ((),) * 16 + ([(60, _PADDING)], [(0, _PADDING), (60, _PADDING)], [(43, b"\0\0\1" + bytes(4))], [(43, b"\0\4\0" + bytes(4))],
                            [(44, fragment(0, True, 7))], [(44, fragment(64, False, 7))], [(44, fragment(0, False, 8))])


class Step(NamedTuple):
    """One input: its time (Unix, ns), the name of its port, the frame; the port "" is a tick."""

    now_ns: int
    port: str
    frame: bytes = b""


def apply(machine, step):
    """Give *step* to *machine*; what it emitted."""
    return machine.give(step.port, step.frame, step.now_ns) if step.port else machine.tick(step.now_ns)


class Host(NamedTuple):
    """A host at the port of that name; *address*: an int, or 16 bytes of IPv6."""

    port: str
    address: object
    mac: bytes

    @property
    def speaks_ipv6(self):
        return isinstance(self.address, bytes)


class Traffic:
    """Makes steps around *ports*. *addresses*: further ones (ints or 16 bytes) that packets are sent to, e.g. external ones of a NAT."""

    def __init__(self, ports, seed, addresses=()):
        self._rng = random.Random(seed)
        self._ports = {port.name: port for port in ports}
        self.hosts = [host for port in ports for host in _hosts_of(port, 3)]
        self._addresses = [port.address for port in ports] + [address for port in ports for address, _ in port.addresses6] + list(addresses)
        self._by_address = {(host.port, host.address): host for host in self.hosts}
        self._emitted = []
        self.now_ns = START_NS

    def saw(self, emitted):
        """Take note of what the function emitted, to answer it."""
        self._emitted = (self._emitted + emitted)[-_REMEMBERED:]

    def step(self):
        """The next step."""
        rng = self._rng
        self.now_ns += rng.choice(_WAITS_NS)
        kind = rng.random()
        if kind < 0.1:
            return Step(self.now_ns, "")
        if kind < 0.6 and self._emitted:
            # mostly the newest, so that conversations get on; now and then one again
            port, frame = self._emitted.pop() if kind < 0.55 else rng.choice(self._emitted)
            answer = self.answer(port, frame)
            if answer is not None:
                return Step(self.now_ns, port, answer)
        if kind < 0.68:
            host = rng.choice(self.hosts)
            return Step(self.now_ns, host.port, self.hello(host))
        return Step(self.now_ns, *self.request())

    def hello(self, host):
        """*host* asks for the address of the port where it is."""
        own = self._ports[host.port]
        if host.speaks_ipv6:
            return neighbor_solicitation(host.mac, host.address, own.addresses6[0][0])
        return arp(ARP_REQUEST, host.mac, host.address, NO_MAC, own.address)

    def request(self, number=None):
        """(port, frame) of the first packet of a flow between two hosts; *number*: of which flow."""
        rng = self._rng
        source = rng.choice(self.hosts)
        target = rng.choice([address for address in [host.address for host in self.hosts if host.port != source.port] + self._addresses
                             if isinstance(address, bytes) == source.speaks_ipv6])
        source_port = rng.randrange(3000, 3006) if number is None else 1024 + number % 60_000
        return source.port, self._packet(source, target, source_port, rng.choice((53, 80, 7100)))

    def _packet(self, host, target, source_port, port):
        rng = self._rng
        data = rng.randbytes(rng.randrange(40))
        kind = rng.choice((TCP, TCP, UDP, ICMP))
        if kind == TCP:
            flags = rng.choice((_SYN,) * 8 + (_SYN | _ACK, _ACK, _FIN | _ACK, _RST))
            payload = tcp(host.address, source_port, target, port, flags, b"" if flags == _SYN else data, rng.getrandbits(32),
                          rng.getrandbits(32) if flags & _ACK else 0, 8000, b"\x02\x04\x05\xb4" if flags & _SYN else b"")
        elif kind == UDP:
            payload = udp(host.address, source_port, target, port, data)
        elif host.speaks_ipv6:
            kind = ICMPV6
            payload = icmp6(host.address, target, rng.choice((ECHO_REQUEST, ECHO_REQUEST, ECHO_REPLY)), 0, source_port << 16 | 1, data)
        else:
            payload = icmp(rng.choice((ICMP_ECHO_REQUEST, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY)), 0, source_port << 16 | 1, data)
        if host.speaks_ipv6:
            return ipv6(self._ports[host.port].mac, host.mac, kind, host.address, target, payload, hop_limit=rng.choice((64, 64, 64, 5, 1)),
                        extensions=rng.choice(_EXTENSIONS))
        return ipv4(self._ports[host.port].mac, host.mac, kind, host.address, target, payload, ttl=rng.choice((64, 64, 64, 5, 1)),
                    fragment=rng.choice((0,) * 12 + (0x2000, 0x0003)))

    def answer(self, port, frame):
        """What the receiver of an emitted *frame* answers; None if nothing fits."""
        if frame[12:14] == b"\x86\xdd":
            return self._answer6(port, Packet6(frame))
        seen = Packet(frame)
        message = seen.arp()
        if message is not None:
            host = self._by_address.get((port, message.target))
            if message.operation != ARP_REQUEST or host is None:
                return None
            return arp(ARP_REPLY, host.mac, host.address, message.sender_mac, message.sender)
        flow = seen.five_tuple()
        if flow is None:
            return None
        if self._rng.random() < 0.08:
            return icmp_error(self._rng.choice((3, 11)), 1, flow[3], frame, seen.destination_mac)
        return self._conversation(seen, flow)

    def _answer6(self, port, seen):
        """The same for IPv6."""
        header, flow = seen.ipv6(), seen.five_tuple()
        target = seen.data[header.payload_start + 8:header.payload_start + 24]
        if header.ttl == 255 and header.protocol == ICMPV6:
            host = self._by_address.get((port, target))
            return host and neighbor_advertisement(seen.source_mac, header.source, host.mac, target, 0x60000000)
        if flow is None:
            return None
        if self._rng.random() < 0.08:
            return icmp6_error(*self._rng.choice(((1, 4), (2, 0), (3, 0))), flow[3], seen.data, seen.destination_mac, 1280)
        return self._conversation(seen, flow)

    def _conversation(self, seen, flow):
        rng, (protocol, source, source_port, destination, destination_port) = self._rng, flow
        data = rng.randbytes(rng.randrange(60))
        if protocol == TCP:
            payload = self._tcp_answer(seen.tcp(), source, source_port, destination, destination_port, data)
        elif protocol == UDP:
            payload = udp(destination, destination_port, source, source_port, data)
        elif protocol == ICMPV6:
            payload = icmp6(destination, source, ECHO_REPLY, 0, source_port << 16 | 1, seen.transport_data())
        else:
            payload = icmp(ICMP_ECHO_REPLY, 0, source_port << 16 | 1, seen.transport_data())
        make = ipv6 if isinstance(source, bytes) else ipv4
        return make(seen.source_mac, seen.destination_mac, protocol, destination, source, payload)

    def _tcp_answer(self, segment, source, source_port, destination, destination_port, data):
        rng = self._rng
        sequence = segment.acknowledgment
        acknowledgment = segment.sequence + segment.data_bytes + bool(segment.flags & (_SYN | _FIN)) & 0xFFFFFFFF
        flags = rng.choice((_ACK,) * 12 + (_FIN | _ACK,) * 3 + (_RST,))
        if segment.flags & (_SYN | _ACK) == _SYN:
            flags, data, sequence = rng.choice((_SYN | _ACK,) * 5 + (_RST | _ACK,)), b"", rng.getrandbits(32)
        elif segment.flags & _FIN and rng.random() < 0.8:
            flags = _FIN | _ACK
        return tcp(destination, destination_port, source, source_port, flags, data, sequence, acknowledgment, 8000)


def _hosts_of(port, count):
    """Up to *count* hosts in the prefix of *port*, and as many in that of its first IPv6 address."""
    size = 1 << (32 - port.prefix_length)
    network = port.address & ~(size - 1)
    places = [place for place in range(1, min(size - 1, count + 2)) if network + place != port.address][:count]
    hosts = [Host(port.name, network + place, b"\x02\x42" + (network + place).to_bytes(4, "big")) for place in places]
    for address, length in port.addresses6[:1]:
        network = int.from_bytes(address, "big") >> 128 - length << 128 - length
        found = [(network + place).to_bytes(16, "big") for place in range(1, min(1 << 128 - length, count + 2))]
        hosts += [Host(port.name, each, b"\x02\x46" + each[6:8] + each[14:]) for each in found if each != address][:count]
    return hosts


def record(machine, seed, steps, addresses=()):
    """A trace of that many *steps*, made with *machine* (used up by it); most hosts say hello first, the others must be asked for."""
    traffic = Traffic(machine.ports, seed, addresses)
    trace = [Step(traffic.now_ns, host.port, traffic.hello(host)) for number, host in enumerate(traffic.hosts) if number % 3]
    for step in trace:
        traffic.saw(apply(machine, step))
    for _ in range(steps):
        trace.append(traffic.step())
        traffic.saw(apply(machine, trace[-1]))
    return trace


def flood(ports, seed, flows, addresses=()):
    """A trace of first packets of so many different *flows*, a millisecond apart."""
    traffic = Traffic(ports, seed, addresses)
    yield from (Step(START_NS, host.port, traffic.hello(host)) for host in traffic.hosts)
    for number in range(flows):
        yield Step(START_NS + number * 1_000_000, *traffic.request(number))
