"""Building whole frames: what a middlebox sends on its own account, and what tests feed it.

Addresses are ints (IPv4), 16 bytes (IPv6: ``udp`` and ``tcp``; the rest of it is in ``build6``) or 6 bytes (MAC). All checksums are computed
in full.
"""

from struct import pack

from .packet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ICMP, TCP, UDP, checksum, pseudo_header
from .packet6 import pseudo_header6

ARP_REQUEST, ARP_REPLY = 1, 2
BROADCAST = b"\xff" * 6
NO_MAC = bytes(6)
DONT_FRAGMENT = 0x4000


def arp(operation, sender_mac, sender, target_mac, target, destination_mac=None):
    """An ARP frame (RFC 826) to *destination_mac*: by default *target_mac*, or everybody if that is all zero."""
    if destination_mac is None:
        destination_mac = BROADCAST if target_mac == NO_MAC else target_mac
    return destination_mac + sender_mac + pack("!HHHBBH6sI6sI", ETHERTYPE_ARP, 1, ETHERTYPE_IPV4, 6, 4, operation,
                                               sender_mac, sender, target_mac, target)


def ipv4(destination_mac, source_mac, protocol, source, destination, payload, ttl=64, identification=0, fragment=DONT_FRAGMENT,
         tos=0, options=b""):
    """An IPv4 frame around *payload*. *fragment*: flags and offset as in the header, by default
    "don't fragment", so that the Identification need not be unique (RFC 6864); *options*: a multiple of 4 bytes."""
    header_words = 5 + len(options) // 4
    def header(header_checksum):
        return pack("!BBHHHBBHII", 0x40 | header_words, tos, header_words * 4 + len(payload), identification,
                    fragment, ttl, protocol, header_checksum, source, destination) + options
    return (destination_mac + source_mac + pack("!H", ETHERTYPE_IPV4) + header(checksum(header(0))) + payload)


def _pseudo(source, destination, protocol, length_bytes):
    return (pseudo_header6 if isinstance(source, bytes) else pseudo_header)(source, destination, protocol, length_bytes)


def udp(source, source_port, destination, destination_port, data):
    """A UDP datagram, to be the payload of ipv4() or ipv6()."""
    length_bytes = 8 + len(data)
    ports = pack("!HHH", source_port, destination_port, length_bytes)
    computed = checksum(_pseudo(source, destination, UDP, length_bytes) + ports + b"\0\0" + data)
    return ports + pack("!H", computed or 0xFFFF) + data


def tcp(source, source_port, destination, destination_port, flags, data=b"", sequence=0, acknowledgment=0, window=0xFFFF,
        options=b""):
    """A TCP segment, to be the payload of ipv4() or ipv6(). *options*: a multiple of 4 bytes."""
    start = pack("!HHIIBBH", source_port, destination_port, sequence, acknowledgment, 0x50 + (len(options) << 2), flags, window)
    length_bytes = 20 + len(options) + len(data)
    computed = checksum(_pseudo(source, destination, TCP, length_bytes) + start + bytes(4) + options + data)
    return start + pack("!HH", computed, 0) + options + data


def icmp(kind, code, rest, data=b""):
    """An ICMP message, to be the payload of ipv4(). *rest*: the second word of its header, an int."""
    body = pack("!I", rest) + data
    return pack("!BBH", kind, code, checksum(pack("!BBH", kind, code, 0) + body)) + body


def icmp_error(kind, code, source, frame, source_mac, rest=0):
    """The ICMP error of *source* about the IPv4 packet in *frame*, addressed to where that came from.

    Quotes as much of it as fits into 576 bytes (RFC 1812, 4.3.2.3).
    """
    total_bytes = int.from_bytes(frame[16:18], "big")
    quoted = frame[14:14 + min(total_bytes, 576 - 20 - 8)]
    return ipv4(frame[6:12], source_mac, ICMP, source, int.from_bytes(frame[26:30], "big"),
                icmp(kind, code, rest, quoted), tos=0xC0)
