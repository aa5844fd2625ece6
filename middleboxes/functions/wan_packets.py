"""The packets of a WAN optimiser: where their content is, datagrams around messages, packets made again, and which worker gets which.

A datagram's source port has the flow of the packet in it, so that all packets of a flow take one way and go to one worker at both boxes, plain or encoded.
"""

from struct import Struct

from ..core.partition import flow_worker
from ..sdk import Packet, Packet6
from ..sdk.build import NO_MAC, ipv4, udp
from ..sdk.build6 import ipv6
from ..sdk.packet import TCP, UDP
from .wan_messages import WAN_PORT

#: where the IP header is in a frame
IP_START = 14
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_SOURCE_PORT_MIN, _FLOWS = 0xC000, 1 << 14
_DO_NOT_FRAGMENT = 0x4000
_UDP_HEADER = Struct("!HHHH")
_unpack_ports = Struct("!HH").unpack_from


def partition_by_inner_flow(frame, port, workers):
    """The worker of a packet's flow; for a datagram between the boxes that of the flow in it."""
    if frame[12:15] == _IPV4 + b"\x45" and len(frame) >= 38 and frame[23] == UDP:
        ports = _unpack_ports(frame, 34)
    elif frame[12:14] == _IPV6 and len(frame) >= 58 and frame[20] == UDP:
        ports = _unpack_ports(frame, 54)
    else:
        ports = 0, 0
    if ports[0] >= _SOURCE_PORT_MIN and ports[1] == WAN_PORT:
        return ports[0] % _FLOWS % workers
    return flow_worker(frame, port, _FLOWS) % workers


def flow_of(frame):
    """The number of the flow of *frame*, for ``datagram``."""
    return flow_worker(frame, None, _FLOWS)


def traffic_class(frame):
    """The TOS or traffic class of *frame* (IPv4 or IPv6) without ECN, which a datagram does not have (RFC 6040, compatibility mode)."""
    octet = frame[IP_START + 1] if frame[12:14] == _IPV4 else (frame[IP_START] & 15) << 4 | frame[IP_START + 1] >> 4
    return octet & 0xFC


def datagram(source, destination, message, flow=0, differentiated=0):
    """A frame with *message* from *source* to *destination* (both ints or both 16 bytes), of that *flow* and traffic class; without Ethernet addresses."""
    source_port = _SOURCE_PORT_MIN | flow
    if isinstance(destination, bytes):
        return ipv6(NO_MAC, NO_MAC, UDP, source, destination, udp(source, source_port, destination, WAN_PORT, message), traffic_class=differentiated)
    header = _UDP_HEADER.pack(source_port, WAN_PORT, 8 + len(message), 0)   # no checksum (RFC 768): the message has its own
    return ipv4(NO_MAC, NO_MAC, UDP, source, destination, header + message, fragment=_DO_NOT_FRAGMENT, tos=differentiated)


class Rebuilt(Packet):
    """An IPv4 packet that came as a datagram; what is new in it is kept already."""

    __slots__ = ()


class Rebuilt6(Packet6):
    """An IPv6 packet that came so."""

    __slots__ = ()


def rebuilt(frame, original):
    """The Rebuilt or Rebuilt6 with *original* (bytes from the IP header on), which came in the datagram in *frame*."""
    if original[:1] and original[0] >> 4 == 6:
        return Rebuilt6(frame[:12] + _IPV6 + original)
    return Rebuilt(frame[:12] + _IPV4 + original)


def header_of(packet):
    """The header of *packet* as Ipv4 or Ipv6; None if it is unsound."""
    return packet.ipv6() if isinstance(packet, Packet6) else packet.ipv4()


def content_start(packet, header, flow):
    """Where in its frame the content of *packet* begins: behind its TCP, UDP or ICMP echo header, else behind its IP headers."""
    if flow is None:
        return header.payload_start
    return header.payload_end - packet.tcp().data_bytes if flow[0] == TCP else header.payload_start + 8
