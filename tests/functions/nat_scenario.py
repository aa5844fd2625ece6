"""Packets in, packets out: a NAT with a test context, and short names for hosts and packets.

The network: inside 10.0.0.0/24 behind 10.0.0.254; outside 192.0.2.0/24 behind 192.0.2.254 with a gateway
192.0.2.1 to everything else; external address 192.0.2.100. Each host's MAC is derived from its address.
"""

import ipaddress
import random

from middleboxes.functions import load
from middleboxes.sdk import Context, Packet, Port
from middleboxes.sdk.build import ARP_REPLY, ARP_REQUEST, NO_MAC, arp, icmp, ipv4, tcp, udp
from middleboxes.sdk.packet import ICMP, TCP, UDP

NS_PER_S = 1_000_000_000
START_NS = 1_700_000_000 * NS_PER_S

INSIDE = Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24")
OUTSIDE = Port.parse("outside", "02:00:5e:00:01:02", "192.0.2.254/24")
EXTERNAL = "192.0.2.100"
PARAMETERS = {"external_addresses": [EXTERNAL], "outside_gateway": "192.0.2.1"}

SYN, ACK, FIN, RST = 2, 16, 1, 4


def ip(text):
    return int(ipaddress.IPv4Address(text))


def mac(text):
    return b"\x02\x46" + ip(text).to_bytes(4, "big")


class StepContext(Context):
    """What a step gets in tests: collects what is emitted; its random numbers come from a seed."""

    def __init__(self, seed=1, now_ns=START_NS):
        self._random = random.Random(seed)
        self.now_ns = now_ns
        self.port = ""
        self.emitted = []

    def emit(self, port, frame):
        assert type(frame) is bytes and port in ("inside", "outside")
        self.emitted.append((port, frame))

    def random(self):
        return self._random.getrandbits(64)

    def take(self):
        """What was emitted since the last take."""
        emitted, self.emitted = self.emitted, []
        return emitted


class Network:
    """A NAT and the wires around it. Methods that put a packet in return what came out, as (port, frame)."""

    def __init__(self, seed=1, know=("10.0.0.1", "10.0.0.2", "192.0.2.1", "192.0.2.7"), **parameters):
        self.nat = load("nat")({**PARAMETERS, **parameters}, [INSIDE, OUTSIDE])
        self.ctx = StepContext(seed)
        for host in know:
            self.say_hello(host)

    def frame_in(self, port, frame):
        self.ctx.port = port
        self.nat.handle(frame, self.ctx)
        return self.ctx.take()

    def wait(self, seconds, ticks=1):
        """Let time pass, with ticks spread over it; return what the ticks emitted."""
        for _ in range(ticks):
            self.ctx.now_ns += int(seconds * NS_PER_S) // ticks
            self.nat.tick(self.ctx)
        return self.ctx.take()

    def say_hello(self, host):
        """*host* asks for the NAT's address on its side, so the NAT learns its MAC address."""
        own = INSIDE if host.startswith("10.") else OUTSIDE
        return self.frame_in(own.name, arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, own.address))

    def arp_reply(self, host):
        own = INSIDE if host.startswith("10.") else OUTSIDE
        return self.frame_in(own.name, arp(ARP_REPLY, mac(host), ip(host), own.mac, own.address))

    def from_inside(self, protocol, source, destination, **fields):
        """*source*, *destination*: "10.0.0.1:5000"; for ICMP the number is the identifier (of an echo request)."""
        return self.frame_in("inside", packet(protocol, source, destination, INSIDE.mac, **fields))

    def from_outside(self, protocol, source, destination, **fields):
        fields.setdefault("kind", 0)
        return self.frame_in("outside", packet(protocol, source, destination, OUTSIDE.mac, **fields))

    @property
    def drops(self):
        return dict(self.nat.drops)


def packet(protocol, source, destination, to_mac, flags=SYN, data=b"data", kind=8, **header):
    """A frame of *protocol* ("udp", "tcp", "icmp") from "address:port" to "address:port"."""
    (source, sport), (destination, dport) = source.split(":"), destination.split(":")
    from_mac = mac(source)
    source, destination, sport, dport = ip(source), ip(destination), int(sport), int(dport)
    if protocol == "udp":
        number, payload = UDP, udp(source, sport, destination, dport, data)
    elif protocol == "tcp":
        number, payload = TCP, tcp(source, sport, destination, dport, flags, data)
    else:
        number, payload = ICMP, icmp(kind, 0, sport << 16 | 1, data)
    return ipv4(to_mac, from_mac, number, source, destination, payload, **header)


def told(emitted):
    """Emitted packets as text: ["outside 17 192.0.2.100:40000 > 198.51.100.1:53"]."""
    lines = []
    for port, frame in emitted:
        flow = Packet(frame).five_tuple()
        if flow is None:
            lines.append(f"{port} {frame[12:14].hex()}")
            continue
        protocol, source, sport, destination, dport = flow
        lines.append(f"{port} {protocol} {ipaddress.IPv4Address(source)}:{sport} > "
                     f"{ipaddress.IPv4Address(destination)}:{dport}")
    return lines


def endpoint_out(emitted):
    """The "address:port" that the one emitted packet comes from."""
    (_, frame), = emitted
    _, source, port, _, _ = Packet(frame).five_tuple()
    return f"{ipaddress.IPv4Address(source)}:{port}"
