"""Packet6: a view of an Ethernet frame with an IPv6 packet (RFC 8200), used as Packet is used for IPv4.

    packet = Packet6(frame)
    header = packet.ipv6()                  # None unless the header and its chain of extension headers are sound
    flow = packet.five_tuple()              # None unless it is sound, whole TCP, UDP or ICMPv6 echo
    packet.set_source(address, port)        # address, port and transport checksum
    packet.forward(destination_mac, source_mac)      # new Ethernet addresses, hop limit - 1

Addresses are 16 bytes, so they never meet those of IPv4 (ints) in a key of the state. A header has the fields of an Ipv4: ``protocol``
and ``payload_start`` are those behind the extension headers (middleboxes.core.ipv6 says which are walked, and the bounds).
Nothing here raises for bad bytes from the network. Checksums: as in ``packet``; the pseudo header has the addresses of the fixed
header, so those of packets that still have segments of a routing header before them are not right here (``transport_checksum_ok``).
"""

import ipaddress
from struct import Struct

from ..core import ipv6 as chains
from .packet import TCP, UDP
from .views import Ipv6, Tcp

ETHERTYPE_IPV6 = 0x86DD
ICMPV6 = 58
ECHO_REQUEST, ECHO_REPLY = 128, 129

_HOP_LIMIT, _SOURCE, _DESTINATION = 21, 22, 38
_ECHO = (ECHO_REQUEST << 8, ECHO_REPLY << 8)
#: protocol -> where its checksum is in its header
_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMPV6: 2}

_WORD = Struct("!H")
_unpack_word, _pack_word = _WORD.unpack_from, _WORD.pack_into
_unpack_words = Struct("!HH").unpack_from
_unpack_start = Struct("!HHH").unpack_from
_unpack_tcp = Struct("!IIBBH").unpack_from
_pack_pseudo = Struct("!16s16sII").pack
UNSPECIFIED = bytes(16)
ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"


def is_multicast(address):
    """Whether *address* (16 bytes) is multicast (RFC 4291, 2.7)."""
    return address[0] == 0xFF


def is_link_local(address):
    """Whether *address* (16 bytes) is a link-local unicast one (RFC 4291, 2.5.6)."""
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_routable(address):
    """Whether *address* (16 bytes) may be a host's beyond its link: not multicast, link-local, ::/96 (unspecified, loopback) or IPv4-mapped."""
    if address[0] & 0xE0 == 0x20:       # 2000::/3: nearly all are here
        return True
    return not (is_multicast(address) or is_link_local(address) or not any(address[:10]) and address[10:12] in (b"\0\0", b"\xff\xff"))


def link_local(mac):
    """The link-local address (16 bytes) of an interface with *mac* (6 bytes): its modified EUI-64 (RFC 4291, appendix A)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def solicited_node(address):
    """The solicited-node multicast address of *address* (RFC 4291, 2.7.1)."""
    return b"\xff\x02" + bytes(9) + b"\x01\xff" + address[13:]


def multicast_mac(address):
    """The Ethernet address for the multicast *address* (RFC 2464, 7)."""
    return b"\x33\x33" + address[12:]


def address_text(address):
    """*address* (an int, or 16 bytes) as people write it: IPv4 dotted, IPv6 in brackets and with its longest run of zeros left out (RFC 5952)."""
    if not isinstance(address, bytes):
        return ".".join(map(str, address.to_bytes(4, "big")))
    return f"[{ipaddress.IPv6Address(address)}]"


def pseudo_header6(source, destination, protocol, length_bytes):
    """The IPv6 pseudo header (bytes) that the checksums of TCP, UDP and ICMPv6 include (RFC 8200, 8.1)."""
    return _pack_pseudo(source, destination, length_bytes, protocol)


class Packet6:
    """A view of one Ethernet frame (bytes) that may hold an IPv6 packet."""

    __slots__ = ("_frame", "_buffer", "_chain", "_end")

    def __init__(self, frame):
        self._frame = frame
        self._buffer = None     # bytearray once something was rewritten
        self._chain = None      # core.ipv6.Chain; False if the packet is unsound; rewriting does not change it
        self._end = None

    @property
    def data(self):
        """The frame (bytes), with what was rewritten."""
        return self._frame if self._buffer is None else bytes(self._buffer)

    @property
    def destination_mac(self):
        return bytes((self._buffer or self._frame)[:6])

    @property
    def source_mac(self):
        return bytes((self._buffer or self._frame)[6:12])

    def is_to(self, mac):
        """Whether the frame is addressed to *mac* (6 bytes) alone."""
        return self._frame.startswith(mac)

    @property
    def ttl(self):
        """Hop limit of a packet that has an ipv6()."""
        return (self._buffer or self._frame)[_HOP_LIMIT]

    @property
    def tcp_flags(self):
        """Flags of a packet whose five_tuple() says TCP."""
        return self._frame[self._chain.start + 13]

    @property
    def icmp_type(self):
        """ICMPv6 type of a packet whose five_tuple() says ICMPv6."""
        return self._frame[self._chain.start]

    def _sound(self):
        """The Chain, or False."""
        if self._chain is None:
            frame = self._frame
            if frame[12:14] == b"\x86\xdd":
                self._end = chains.packet_end(frame)
            self._chain = self._end is not None and chains.walk(frame, self._end) or False
        return self._chain

    def ipv6(self):
        """The header as Ipv6, or None if there is none or it isn't sound (version, length, chain of extension headers)."""
        chain = self._sound()
        if not chain:
            return None
        frame = self._buffer or self._frame
        identification, offset, more = chain.fragment or (None, 0, False)
        return Ipv6(chain.protocol, bytes(frame[_SOURCE:_DESTINATION]), bytes(frame[_DESTINATION:chains.START]), frame[_HOP_LIMIT], chain.start,
                    self._end, offset, more, identification, chain.routing)

    def five_tuple(self, first_fragment=False):
        """(protocol, source, source port, destination, destination port), or None; *first_fragment*: also of one that has the ports.

        Both ports of an ICMPv6 echo request or reply are its identifier. None means what it means for Packet.five_tuple().
        """
        chain = self._sound()
        if not chain or not (chain.is_whole or first_fragment and not chain.fragment[1]):
            return None
        frame, start, protocol = self._buffer or self._frame, chain.start, chain.protocol
        size = self._end - start
        if size < 8:
            return None
        source_port, destination_port, third = _unpack_start(frame, start)
        if protocol == UDP:
            if third < 8 or third > size and not first_fragment:
                return None
        elif protocol == TCP:
            if size < 20 or not 20 <= (frame[start + 12] >> 4) * 4 <= size:
                return None
        elif protocol == ICMPV6 and source_port in _ECHO:
            source_port = destination_port = third
        else:
            return None
        return protocol, bytes(frame[_SOURCE:_DESTINATION]), source_port, bytes(frame[_DESTINATION:chains.START]), destination_port

    def tcp(self):
        """The Tcp header of a packet whose five_tuple() says TCP."""
        frame, start = self._buffer or self._frame, self._chain.start
        sequence, acknowledgment, offset, flags, window = _unpack_tcp(frame, start + 4)
        data = start + (offset >> 4) * 4
        return Tcp(sequence, acknowledgment, flags, window, self._end - data, bytes(frame[start + 20:data]))

    def transport_data(self):
        """What follows the TCP, UDP or ICMPv6 header (bytes), of a packet that has a five_tuple()."""
        frame, start = self._buffer or self._frame, self._chain.start
        size = (frame[start + 12] >> 4) * 4 if self._chain.protocol == TCP else 8
        return bytes(frame[start + size:self._end])

    def transport_checksum_ok(self):
        """Whether it is TCP, UDP or ICMPv6 with a right checksum; none at all is wrong (RFC 8200, 8.1)."""
        chain = self._sound()
        if not chain or chain.protocol not in _CHECKSUM_AT or self._end - chain.start < 8:
            return False
        frame, start, end, protocol = self._buffer or self._frame, chain.start, self._end, chain.protocol
        if protocol == UDP:
            length, checksum_field = _unpack_words(frame, start + 4)
            if not checksum_field or not 8 <= length <= end - start:
                return False
            end = start + length
        total = int.from_bytes(frame[start:end], "big")
        if (end - start) % 2:
            total <<= 8
        total += int.from_bytes(frame[_SOURCE:chains.START], "big") + protocol + end - start
        return not total % 0xFFFF

    def set_source(self, address, port):
        """Rewrite source address and source port (ICMPv6: the identifier). Only after five_tuple() gave a tuple."""
        self._set_endpoint(_SOURCE, address, self._chain.start, port)

    def set_destination(self, address, port):
        """Rewrite destination address and port (ICMPv6: the identifier). Only after five_tuple() gave a tuple."""
        self._set_endpoint(_DESTINATION, address, self._chain.start + 2, port)

    def _set_endpoint(self, address_at, address, port_at, port):
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray(self._frame)
        protocol, start = self._chain.protocol, self._chain.start
        if protocol == ICMPV6:
            port_at = start + 4     # the identifier
        change = int.from_bytes(buffer[address_at:address_at + 16], "big") - int.from_bytes(address, "big")
        change += _unpack_word(buffer, port_at)[0] - port
        buffer[address_at:address_at + 16] = address
        _pack_word(buffer, port_at, port)
        at = start + _CHECKSUM_AT[protocol]
        computed = (_unpack_word(buffer, at)[0] + change) % 0xFFFF
        _pack_word(buffer, at, computed or 0xFFFF if protocol == UDP else computed)

    def forward(self, destination_mac, source_mac):
        """Set the Ethernet addresses and take 1 off the hop limit, which the caller has seen to be above 1."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray(self._frame)
        buffer[0:12] = destination_mac + source_mac
        buffer[_HOP_LIMIT] -= 1
