"""A routed function with IPv6 at both ports, its neighbours known: packets in, packets out.

The network: inside 2001:db8:1::/64 behind 2001:db8:1::fe, outside 2001:db8:2::/64 behind 2001:db8:2::fe, with a router 2001:db8:2::1 to
2001:db8:9::/48. Each host's MAC address is made of the last bytes of its address. IPv4 is as in nat_scenario.
"""

import ipaddress

from middleboxes.functions import load
from middleboxes.sdk import Packet6, Port
from middleboxes.sdk.build import tcp, udp
from middleboxes.sdk.build6 import icmp6, ipv6, neighbor_advertisement, neighbor_solicitation
from middleboxes.sdk.packet import TCP, UDP
from middleboxes.sdk.packet6 import ICMPV6

from .hop_scenario import Bench
from .nat_scenario import SYN, StepContext

INSIDE6 = Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24", ["2001:db8:1::fe/64"])
OUTSIDE6 = Port.parse("outside", "02:00:5e:00:01:02", "192.0.2.254/24", ["2001:db8:2::fe/64"])
ROUTES6 = [["2001:db8:9::/48", "2001:db8:2::1"], ["198.51.100.0/24", "192.0.2.1"]]
KNOWN6 = ("2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1", "2001:db8:2::7")


def ip6(text):
    return ipaddress.IPv6Address(text).packed


def mac6(text):
    return b"\x02\x66" + ip6(text)[2:3] + ip6(text)[5:6] + ip6(text)[14:]


def ends(text):
    """(address, port) of "[address]:port"."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def packet6(protocol, source, destination, to_mac, flags=SYN, data=b"data", kind=128, **header):
    """A frame of *protocol* ("udp", "tcp", "icmp") from "[address]:port" to "[address]:port"; for ICMPv6 the number is the identifier."""
    (source, sport), (destination, dport) = ends(source), ends(destination)
    pair = ip6(source), ip6(destination)
    if protocol == "udp":
        number, payload = UDP, udp(pair[0], sport, pair[1], dport, data)
    elif protocol == "tcp":
        number, payload = TCP, tcp(pair[0], sport, pair[1], dport, flags, data)
    else:
        number, payload = ICMPV6, icmp6(*pair, kind, 0, sport << 16 | 1, data)
    return ipv6(to_mac, mac6(source), number, *pair, payload, **header)


def told6(emitted):
    """Emitted packets as text: ["outside 17 [2001:db8:1::1]:5000 > [2001:db8:2::7]:53"]; of others port, protocol and ICMPv6 type."""
    lines = []
    for port, frame in emitted:
        packet = Packet6(frame)
        header, flow = packet.ipv6(), packet.five_tuple()
        if flow is None:
            lines.append(f"{port} {header.protocol} {frame[header.payload_start]}")
            continue
        protocol, source, sport, destination, dport = flow
        lines.append(f"{port} {protocol} [{ipaddress.IPv6Address(source)}]:{sport} > [{ipaddress.IPv6Address(destination)}]:{dport}")
    return lines


class Bench6(Bench):
    """One function and the wires around it, with IPv6. Methods that put a packet in return what came out, as (port, frame)."""

    def __init__(self, name, know=KNOWN6, ports=(INSIDE6, OUTSIDE6), **parameters):
        parameters.setdefault("routes", ROUTES6)
        self.box = load(name)(parameters, list(ports))
        self.ctx = StepContext()
        for host in know:
            self.solicit(host)

    def side(self, host):
        return INSIDE6 if host.startswith(("10.", "2001:db8:1:")) else OUTSIDE6

    def solicit(self, host, target=None, **changes):
        """*host* asks for the address of its side, so the function learns its MAC address."""
        own = self.side(host)
        return self.frame_in(own, neighbor_solicitation(mac6(host), ip6(host), ip6(target) if target else own.addresses6[0][0], **changes))

    def advertise(self, host, mac=None, flags=0x60000000):
        own = self.side(host)
        frame = neighbor_advertisement(own.mac, own.addresses6[0][0], mac or mac6(host), ip6(host), flags)
        return self.frame_in(own, frame)

    def send(self, protocol, source, destination, **fields):
        own = self.side(ends(source)[0])
        return self.frame_in(own, packet6(protocol, source, destination, own.mac, **fields))

    def segment(self, source, destination, flags, sequence, acknowledgment=0, data=b"", window=1000, options=b"", extensions=()):
        (host, port), (other, other_port) = ends(source), ends(destination)
        own, pair = self.side(host), (ip6(host), ip6(other))
        payload = tcp(pair[0], port, pair[1], other_port, flags, data, sequence % 2**32, acknowledgment % 2**32, window, options)
        return self.frame_in(own, ipv6(own.mac, mac6(host), TCP, *pair, payload, extensions=extensions))
