"""Building whole IPv6 frames, as ``build`` does for IPv4; its ``udp`` and ``tcp`` take addresses of 16 bytes, too.

Addresses are 16 bytes (IPv6) or 6 bytes (MAC). All checksums are computed in full.
"""

from struct import pack

from .packet import checksum
from .packet6 import ETHERTYPE_IPV6, ICMPV6, multicast_mac, pseudo_header6, solicited_node

NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT = 135, 136
SOURCE_LINK_ADDRESS, TARGET_LINK_ADDRESS = 1, 2
#: flags of a neighbor advertisement
ROUTER, SOLICITED, OVERRIDE = 0x80000000, 0x40000000, 0x20000000
#: all messages of Neighbor Discovery have it: so they come from the link (RFC 4861, 3.1)
ND_HOP_LIMIT = 255
#: what every link takes (RFC 8200, 5); no ICMPv6 error is longer
MTU_BYTES_MIN = 1280


def ipv6(destination_mac, source_mac, protocol, source, destination, payload, hop_limit=64, traffic_class=0, flow_label=0, extensions=()):
    """An IPv6 frame around *payload*. *extensions*: [(number, body)] of extension headers in order; *body* is all of one but its first
    byte, which is what comes next."""
    chain = b""
    following = protocol
    for number, body in reversed(extensions):
        chain = bytes((following,)) + body + chain
        following = number
    return (destination_mac + source_mac + pack("!HIHBB", ETHERTYPE_IPV6, 6 << 28 | traffic_class << 20 | flow_label, len(chain) + len(payload),
                                                following, hop_limit) + source + destination + chain + payload)


def fragment(offset_bytes, more, identification):
    """The body of a fragment header (number 44), for ``ipv6``; *offset_bytes*: a multiple of 8."""
    return pack("!BHI", 0, offset_bytes | bool(more), identification)


def icmp6(source, destination, kind, code, rest, data=b""):
    """An ICMPv6 message (RFC 4443), to be the payload of ipv6(). *rest*: the second word of its header, an int."""
    body = pack("!I", rest) + data
    head = pack("!BBH", kind, code, 0)
    computed = checksum(pseudo_header6(source, destination, ICMPV6, 4 + len(body)) + head + body)
    return pack("!BBH", kind, code, computed) + body


def icmp6_error(kind, code, source, frame, source_mac, rest=0):
    """The ICMPv6 error of *source* about the IPv6 packet in *frame*, addressed to where that came from.

    Quotes as much of it as fits into the least MTU (RFC 4443, 2.4).
    """
    total_bytes = 40 + int.from_bytes(frame[18:20], "big")
    quoted, destination = frame[14:14 + min(total_bytes, MTU_BYTES_MIN - 40 - 8)], frame[22:38]
    return ipv6(frame[6:12], source_mac, ICMPV6, source, destination, icmp6(source, destination, kind, code, rest, quoted))


def neighbor_solicitation(source_mac, source, target, destination_mac=None):
    """A solicitation (RFC 4861, 4.3) for *target*: to everybody who might have it, or to *destination_mac* alone."""
    destination = target if destination_mac else solicited_node(target)
    option = bytes((SOURCE_LINK_ADDRESS, 1)) + source_mac
    message = icmp6(source, destination, NEIGHBOR_SOLICITATION, 0, 0, target + (option if any(source) else b""))
    return ipv6(destination_mac or multicast_mac(destination), source_mac, ICMPV6, source, destination, message, ND_HOP_LIMIT)


def neighbor_advertisement(destination_mac, destination, own_mac, target, flags):
    """An advertisement (RFC 4861, 4.4) by *target*, which has *own_mac*."""
    message = icmp6(target, destination, NEIGHBOR_ADVERTISEMENT, 0, flags, target + bytes((TARGET_LINK_ADDRESS, 1)) + own_mac)
    return ipv6(destination_mac, own_mac, ICMPV6, target, destination, message, ND_HOP_LIMIT)
