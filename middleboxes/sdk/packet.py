"""Packet: a view of an Ethernet frame that parses what is asked for and rewrites with incremental checksums.

    flow = packet.five_tuple()              # None unless it is sound, whole TCP, UDP or ICMP echo over IPv4
    packet.set_source(address, port)        # IPv4 header, transport header and both checksums
    packet.forward(destination_mac, source_mac)      # new Ethernet addresses, TTL - 1
    ctx.emit("outside", packet.data)

Addresses are ints (IPv4) or 6 bytes (MAC), ports and ICMP identifiers are ints. Nothing here raises for bad
bytes from the network: a view that the frame does not hold is None. What lies behind the IP total length (padding
of short Ethernet frames) is left as it is and enters no checksum. A frame with an 802.1Q tag is seen as not IPv4.

Checksums: modulo 65535 a number of any width is congruent to the sum of its 16-bit words, so the ones' complement
arithmetic of RFC 1624 (equation 3) is plain integer arithmetic here, old minus new. The remainder is never 0xffff,
which is right wherever the data summed up is not all zero (every IPv4 header and every pseudo header).
"""

from struct import Struct, error as StructError
from typing import NamedTuple

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ICMP, TCP, UDP = 1, 6, 17
ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST = 0, 8

# where things are in an Ethernet frame with an IPv4 header
_IPV4, _TTL, _IPV4_CHECKSUM, _SOURCE, _DESTINATION, _NO_OPTIONS = 14, 22, 24, 26, 30, 34
_FRAGMENT_MASK, _OFFSET_MASK = 0x3FFF, 0x1FFF   # more fragments and fragment offset, the offset alone

# EtherType, version and header length, total length, fragment, TTL, protocol, checksum, source, destination,
# then the first eight bytes of the transport header
_unpack_headers = Struct("!12xHBxHxxHBBHIIHHHH").unpack_from
_LONG = Struct("!I")
_unpack_long, _pack_long = _LONG.unpack_from, _LONG.pack_into
_unpack_longs = Struct("!II").unpack_from
_WORD = Struct("!H")
_unpack_word, _pack_word = _WORD.unpack_from, _WORD.pack_into
_WORDS = Struct("!HH")
_unpack_words, _pack_words = _WORDS.unpack_from, _WORDS.pack_into
_unpack_tcp = Struct("!IIBBH").unpack_from
_ARP = Struct("!HHBBH6sI6sI")


class Arp(NamedTuple):
    """An ARP packet for IPv4 over Ethernet (RFC 826). *operation*: 1 request, 2 reply."""

    operation: int
    sender_mac: bytes
    sender: int
    target_mac: bytes
    target: int


class Ipv4(NamedTuple):
    """A sound IPv4 header. *payload_start* and *payload_end* are offsets in the frame, *fragment_offset* is in bytes."""

    protocol: int
    source: int
    destination: int
    ttl: int
    payload_start: int
    payload_end: int
    fragment_offset: int
    more_fragments: bool


class Tcp(NamedTuple):
    """A TCP header: *window* as it is in the header, *data_bytes* behind it, *options* in bytes."""

    sequence: int
    acknowledgment: int
    flags: int
    window: int
    data_bytes: int
    options: bytes

    def option(self, kind):
        """The value (bytes) of the first option of that *kind* above 1; None if there is none or the options are malformed."""
        options, at = self.options, 0
        while at < len(options) and options[at]:
            if options[at] == 1:
                at += 1
                continue
            size = options[at + 1] if at + 1 < len(options) else 0
            if size < 2 or at + size > len(options):
                return None
            if options[at] == kind:
                return options[at + 2:at + size]
            at += size
        return None


def checksum(data):
    """The Internet checksum (RFC 1071) of *data* (bytes): what the checksum field must hold if it was zero in *data*."""
    number = int.from_bytes(data, "big")
    if len(data) % 2:
        number <<= 8
    # all zero is the one input whose sum is zero
    return -number % 0xFFFF if number else 0xFFFF


def pseudo_header(source, destination, protocol, length_bytes):
    """The IPv4 pseudo header (bytes) that the checksums of TCP and UDP include."""
    return Struct("!IIHH").pack(source, destination, protocol, length_bytes)


class Packet:
    """A view of one Ethernet frame (bytes)."""

    __slots__ = ("_frame", "_buffer", "_protocol", "_transport")

    def __init__(self, frame):
        self._frame = frame
        self._buffer = None     # bytearray once something was rewritten
        self._transport = 0     # offset of the transport header once five_tuple() found the packet sound

    @property
    def data(self):
        """The frame (bytes), with what was rewritten."""
        buffer = self._buffer
        return self._frame if buffer is None else bytes(buffer)

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
    def ether_type(self):
        """The EtherType; 0 if the frame is too short to have one."""
        frame = self._frame
        return _unpack_word(frame, 12)[0] if len(frame) >= 14 else 0

    @property
    def ttl(self):
        """TTL of a packet that has a five_tuple() or an ipv4()."""
        return (self._buffer or self._frame)[_TTL]

    @property
    def tcp_flags(self):
        """Flags (FIN 1, SYN 2, RST 4, PSH 8, ACK 16 ...) of a packet whose five_tuple() says TCP."""
        return self._frame[self._transport + 13]

    def tcp(self):
        """The Tcp header of a packet whose five_tuple() says TCP."""
        frame, start = self._buffer or self._frame, self._transport
        sequence, acknowledgment, offset, flags, window = _unpack_tcp(frame, start + 4)
        data = start + (offset >> 4) * 4
        return Tcp(sequence, acknowledgment, flags, window, self._end() - data, bytes(frame[start + 20:data]))

    def transport_data(self):
        """What follows the TCP, UDP or ICMP header (bytes), of a packet that has a five_tuple()."""
        frame, start = self._buffer or self._frame, self._transport
        size = (frame[start + 12] >> 4) * 4 if self._protocol == TCP else 8
        return bytes(frame[start + size:self._end()])

    def transport_checksum_ok(self):
        """Whether the TCP, UDP or ICMP checksum is right, of a packet that has a five_tuple(); UDP may have none."""
        frame, start = self._buffer or self._frame, self._transport
        end = self._end()
        if self._protocol == UDP:
            checksum_field, = _unpack_word(frame, start + 6)
            if not checksum_field:
                return True
            end = start + _unpack_word(frame, start + 4)[0]
        total = int.from_bytes(frame[start:end], "big")
        if (end - start) % 2:
            total <<= 8
        if self._protocol != ICMP:
            total += sum(_unpack_longs(frame, _SOURCE)) + self._protocol + end - start
        return not total % 0xFFFF

    def _end(self):
        return _IPV4 + _unpack_word(self._buffer or self._frame, 16)[0]

    @property
    def icmp_type(self):
        """ICMP type (8: echo request, 0: echo reply) of a packet whose five_tuple() says ICMP."""
        return self._frame[self._transport]

    def arp(self):
        """The frame as Arp, or None."""
        frame = self._buffer or self._frame
        if len(frame) < 42 or self.ether_type != ETHERTYPE_ARP:
            return None
        hardware, protocol, hardware_size, protocol_size, *fields = _ARP.unpack_from(frame, 14)
        if (hardware, protocol, hardware_size, protocol_size) != (1, ETHERTYPE_IPV4, 6, 4):
            return None
        return Arp(*fields)

    def ipv4(self):
        """The IPv4 header as Ipv4, or None if there is none or it isn't sound (version, lengths, checksum)."""
        frame = self._buffer or self._frame
        if len(frame) < _NO_OPTIONS or self.ether_type != ETHERTYPE_IPV4:
            return None
        start = _IPV4 + (frame[_IPV4] & 15) * 4
        end = _IPV4 + _unpack_word(frame, 16)[0]
        if frame[_IPV4] >> 4 != 4 or not _NO_OPTIONS <= start <= end <= len(frame):
            return None
        if int.from_bytes(frame[_IPV4:start], "big") % 0xFFFF:
            return None
        fragment = _unpack_word(frame, 20)[0]
        source, destination = _unpack_longs(frame, _SOURCE)
        return Ipv4(frame[23], source, destination, frame[_TTL], start, end,
                    (fragment & 0x1FFF) * 8, bool(fragment & 0x2000))

    def five_tuple(self, first_fragment=False):
        """(protocol, source, source port, destination, destination port), or None; *first_fragment*: also of one that has the ports.

        Both ports of an ICMP echo request or reply are its identifier. None means: not IPv4, a bad header (version,
        lengths, header checksum), a fragment, another protocol, or a transport header that does not fit its packet.
        The transport checksum is not verified: a rewrite keeps a wrong one wrong.
        """
        frame = self._frame if self._buffer is None else self._buffer
        try:
            (ether_type, version, length, fragment, _, protocol, _, source, destination,
             source_port, destination_port, third, _) = _unpack_headers(frame)
        except StructError:
            return None
        if (ether_type != ETHERTYPE_IPV4 or fragment & (_OFFSET_MASK if first_fragment else _FRAGMENT_MASK) or not 28 <= length <= len(frame) - _IPV4):
            return None
        if version == 0x45:
            if int.from_bytes(frame[_IPV4:_NO_OPTIONS], "big") % 0xFFFF:
                return None
            transport = _NO_OPTIONS
        else:
            header = self.ipv4()
            if header is None or header.payload_end - header.payload_start < 8:
                return None
            transport = header.payload_start
            source_port, destination_port = _unpack_words(frame, transport)
            third, = _unpack_word(frame, transport + 4)
        size = _IPV4 + length - transport
        if protocol == UDP:
            if third < 8 or third > size and not first_fragment:
                return None
        elif protocol == TCP:
            if size < 20 or not 20 <= (frame[transport + 12] >> 4) * 4 <= size:
                return None
        elif protocol == ICMP and source_port in (ICMP_ECHO_REPLY << 8, ICMP_ECHO_REQUEST << 8):
            source_port = destination_port = third
        else:
            return None
        self._protocol = protocol
        self._transport = transport
        return protocol, source, source_port, destination, destination_port

    def set_source(self, address, port):
        """Rewrite source address and source port (ICMP: the identifier). Only after five_tuple() gave a tuple."""
        self._set_endpoint(_SOURCE, address, self._transport, port)

    def set_destination(self, address, port):
        """Rewrite destination address and port (ICMP: the identifier). Only after five_tuple() gave a tuple."""
        self._set_endpoint(_DESTINATION, address, self._transport + 2, port)

    def _set_endpoint(self, address_at, address, port_at, port):
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray(self._frame)
        change = _unpack_long(buffer, address_at)[0] - address
        _pack_long(buffer, address_at, address)
        _pack_word(buffer, _IPV4_CHECKSUM, (_unpack_word(buffer, _IPV4_CHECKSUM)[0] + change) % 0xFFFF)
        protocol = self._protocol
        if protocol == ICMP:
            self._set_identifier(buffer, port)
            return
        change += _unpack_word(buffer, port_at)[0] - port
        _pack_word(buffer, port_at, port)
        if protocol == TCP:
            at = self._transport + 16
            _pack_word(buffer, at, (_unpack_word(buffer, at)[0] + change) % 0xFFFF)
        else:
            at = self._transport + 6
            old, = _unpack_word(buffer, at)
            if old:     # UDP: 0 is "no checksum", so a computed 0 is sent as 0xffff
                _pack_word(buffer, at, (old + change) % 0xFFFF or 0xFFFF)

    def _set_identifier(self, buffer, identifier):
        start = self._transport
        old_sum, old_identifier = _unpack_words(buffer, start + 2)
        new_sum = (old_sum + old_identifier - identifier) % 0xFFFF
        _pack_words(buffer, start + 2, new_sum, identifier)
        if not new_sum:
            # ICMP has no pseudo header: the sum of an echo reply that is all zero is 0xffff
            end = _IPV4 + _unpack_word(buffer, 16)[0]
            if not any(buffer[start:end]):
                _pack_word(buffer, start + 2, 0xFFFF)

    def forward(self, destination_mac, source_mac):
        """Set the Ethernet addresses and take 1 off the TTL, which the caller has seen to be above 1."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray(self._frame)
        buffer[0:12] = destination_mac + source_mac
        buffer[_TTL] -= 1
        # the TTL is the upper byte of its word
        _pack_word(buffer, _IPV4_CHECKSUM, (_unpack_word(buffer, _IPV4_CHECKSUM)[0] + 0x100) % 0xFFFF)
