"""Seeded traffic for any function: hosts around its ports, their ARP, and conversations that fit what the function emits.

A trace is a list of steps (time in ns, port name, frame); the port "" is a tick. ``record`` makes one by running the function: hosts
answer ARP, TCP with numbers that fit, UDP and echo requests, so that deep states are reached. The same trace is then given to
other instances. ``hostile`` damages frames, ``flood`` begins new flows.
"""

import random
from typing import NamedTuple

from ..build import ARP_REPLY, ARP_REQUEST, NO_MAC, arp, icmp, icmp_error, ipv4, tcp, udp
from ..packet import ICMP, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, TCP, UDP, Packet, checksum

NS_PER_S = 1_000_000_000
START_NS = 1_700_000_000 * NS_PER_S
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_WAITS_NS = (0, 1_000, 1_000_000, 1_000_000, 50_000_000, 400_000_000, 3 * NS_PER_S)
_REMEMBERED = 40


class Step(NamedTuple):
    """One input: its time (Unix, ns), the name of its port, the frame; the port "" is a tick."""

    now_ns: int
    port: str
    frame: bytes = b""


def apply(machine, step):
    """Give *step* to *machine*; what it emitted."""
    return machine.give(step.port, step.frame, step.now_ns) if step.port else machine.tick(step.now_ns)


class Host(NamedTuple):
    """A host at the port of that name."""

    port: str
    address: int
    mac: bytes


class Traffic:
    """Makes steps around *ports*. *addresses*: further ones (ints) that packets are sent to, e.g. external ones of a NAT."""

    def __init__(self, ports, seed, addresses=()):
        self._rng = random.Random(seed)
        self._ports = {port.name: port for port in ports}
        self.hosts = [host for port in ports for host in _hosts_of(port, 3)]
        self._addresses = [port.address for port in ports] + list(addresses)
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
        return arp(ARP_REQUEST, host.mac, host.address, NO_MAC, own.address)

    def request(self, number=None):
        """(port, frame) of the first packet of a flow between two hosts; *number*: of which flow."""
        rng = self._rng
        source = rng.choice(self.hosts)
        target = rng.choice([host.address for host in self.hosts if host.port != source.port] + self._addresses)
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
        else:
            payload = icmp(rng.choice((ICMP_ECHO_REQUEST, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY)), 0, source_port << 16 | 1, data)
        return ipv4(self._ports[host.port].mac, host.mac, kind, host.address, target, payload, ttl=rng.choice((64, 64, 64, 5, 1)),
                    fragment=rng.choice((0,) * 12 + (0x2000, 0x0003)))

    def answer(self, port, frame):
        """What the receiver of an emitted *frame* answers; None if nothing fits."""
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

    def _conversation(self, seen, flow):
        rng, (protocol, source, source_port, destination, destination_port) = self._rng, flow
        data = rng.randbytes(rng.randrange(60))
        if protocol == TCP:
            payload = self._tcp_answer(seen.tcp(), source, source_port, destination, destination_port, data)
        elif protocol == UDP:
            payload = udp(destination, destination_port, source, source_port, data)
        else:
            payload = icmp(ICMP_ECHO_REPLY, 0, source_port << 16 | 1, seen.transport_data())
        return ipv4(seen.source_mac, seen.destination_mac, protocol, destination, source, payload)

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
    """Up to *count* hosts in the prefix of *port*."""
    size = 1 << (32 - port.prefix_length)
    network = port.address & ~(size - 1)
    places = [place for place in range(1, min(size - 1, count + 2)) if network + place != port.address][:count]
    return [Host(port.name, network + place, b"\x02\x42" + (network + place).to_bytes(4, "big")) for place in places]


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


def hostile(frame, rng):
    """(*frame* damaged, whether its IPv4 header is unsound now beyond doubt): cut off, wrong lengths or checksums, options, fragments, noise."""
    data = bytearray(frame)
    kind = rng.randrange(9)
    if kind == 0:
        del data[rng.randrange(len(data) + 1):]
    elif kind == 1 and len(data) >= 34:
        data[16:18] = rng.getrandbits(16).to_bytes(2, "big")
    elif kind == 2 and len(data) >= 34:
        data[24] ^= 1 + rng.randrange(255)
    elif kind == 3 and len(data) >= 34:
        data[14] = rng.choice((0x40, 0x44, 0x46, 0x4F, 0x65, 0x00, 0xFF))
    elif kind == 4 and len(data) >= 34:
        data[20:22] = rng.choice((0x2000, 0x2001, 0x1FFF, 0x0001, 0x8000)).to_bytes(2, "big")
        _mend(data)
    elif kind == 5 and len(data) >= 38:
        data[34 + rng.randrange(min(len(data) - 34, 20))] = rng.getrandbits(8)
    elif kind == 6 and len(data) >= 34:
        data[34:34] = rng.choice((b"\x01\x01\x01\x00", b"\x07\x04\x05\x00", b"\x83\xff\x01\x00", b"\x44\x00\x05\x00"))
        data[14], data[16:18] = 0x46, (len(data) - 14).to_bytes(2, "big")
        _mend(data)
    elif kind == 7:
        data += rng.randbytes(rng.randrange(64))
    else:
        for _ in range(rng.randrange(1, 6)):
            if len(data) > 12:
                data[rng.randrange(12, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.getrandbits(8)))
        if rng.random() < 0.7:
            _mend(data)
    damaged = bytes(data)
    return damaged, damaged[12:14] == b"\x08\x00" and Packet(damaged).ipv4() is None


def _mend(data):
    """Make the IPv4 header checksum right, so that deeper checks are reached."""
    if len(data) >= 34:
        data[24:26] = b"\0\0"
        data[24:26] = checksum(bytes(data[14:14 + (data[14] & 15) * 4])).to_bytes(2, "big")
