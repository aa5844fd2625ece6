"""A routed function with the ports of nat_scenario, its neighbours known: packets in, packets out."""

from middleboxes.functions import load
from middleboxes.sdk import Packet
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, ipv4, tcp
from middleboxes.sdk.packet import TCP

from .nat_scenario import ACK, INSIDE, NS_PER_S, OUTSIDE, SYN, StepContext, ip, mac, packet

KNOWN = ("10.0.0.1", "10.0.0.2", "192.0.2.1", "192.0.2.7")


class Bench:
    """One function and the wires around it. Methods that put a packet in return what came out, as (port, frame)."""

    def __init__(self, name, know=KNOWN, **parameters):
        parameters.setdefault("routes", [["198.51.100.0/24", "192.0.2.1"]])
        self.box = load(name)(parameters, [INSIDE, OUTSIDE])
        self.ctx = StepContext()
        for host in know:
            own = self.side(host)
            self.frame_in(own, arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, own.address))

    def side(self, host):
        return INSIDE if host.startswith("10.") else OUTSIDE

    def frame_in(self, port, frame):
        self.ctx.port = port.name
        self.box.handle(frame, self.ctx)
        return self.ctx.take()

    def send(self, protocol, source, destination, **fields):
        """A packet from "address:port" to "address:port"; for ICMP the number is the identifier."""
        own = self.side(source)
        return self.frame_in(own, packet(protocol, source, destination, own.mac, **fields))

    def segment(self, source, destination, flags, sequence, acknowledgment=0, data=b"", window=1000, options=b""):
        """A TCP segment with these numbers."""
        (host, port), (other, other_port) = source.split(":"), destination.split(":")
        own = self.side(host)
        payload = tcp(ip(host), int(port), ip(other), int(other_port), flags, data, sequence % 2**32, acknowledgment % 2**32,
                      window, options)
        return self.frame_in(own, ipv4(own.mac, mac(host), TCP, ip(host), ip(other), payload))

    def wait(self, seconds, ticks=1):
        """Let time pass, with ticks spread over it; return what the ticks emitted."""
        for _ in range(ticks):
            self.ctx.now_ns += int(seconds * NS_PER_S) // ticks
            self.box.tick(self.ctx)
        return self.ctx.take()

    @property
    def drops(self):
        return dict(self.box.drops)

    def state(self):
        """All state but the drops and counters by reason, in its order."""
        return {name: list(variable.items()) for name, variable in self.box.variables.items() if name not in ("drops", "rule_counts")}


def handshake(bench, client, server, first=100, server_first=900):
    """Open a TCP connection; the next numbers of both sides."""
    assert bench.segment(client, server, SYN, first)
    assert bench.segment(server, client, SYN | ACK, server_first, first + 1)
    assert bench.segment(client, server, ACK, first + 1, server_first + 1)
    return first + 1, server_first + 1


def ip_octets(emitted):
    """The total length of the one emitted packet."""
    (_, frame), = emitted
    header = Packet(frame).ipv4()
    return header.payload_end - 14
