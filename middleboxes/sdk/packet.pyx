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

Bytes are read by pointer, each function having made sure that they are there. Only ``five_tuple`` finds a transport header,
and nothing that is rewritten changes a length or a header's place, so where it found one there is one.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from .words cimport add_to_checksum, is_zero, long_word, set_long_word, set_word, sum_of, word

cimport cython

from struct import pack

from .views import Arp, Ipv4, Tcp

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ICMP, TCP, UDP = 1, 6, 17
ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST = 0, 8

cdef enum:
    IPV4_TYPE = 0x0800
    ARP_TYPE = 0x0806
    ICMP_PROTOCOL = 1
    TCP_PROTOCOL = 6
    UDP_PROTOCOL = 17
    # where things are in an Ethernet frame with an IPv4 header
    IPV4_AT = 14
    LENGTH_AT = 16
    IDENTIFICATION_AT = 18
    FRAGMENT_AT = 20
    TTL_AT = 22
    PROTOCOL_AT = 23
    IPV4_CHECKSUM_AT = 24
    SOURCE_AT = 26
    DESTINATION_AT = 30
    NO_OPTIONS_END = 34
    ARP_END = 42
    DONT_FRAGMENT = 0x4000
    MORE_FRAGMENTS = 0x2000
    FRAGMENT_OFFSET = 0x1FFF


def checksum(data):
    """The Internet checksum (RFC 1071) of *data* (bytes): what the checksum field must hold if it was zero in *data*."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        # all zero is the one input whose sum is zero
        if is_zero(<uint8_t *> buffer.buf, buffer.len):
            return 0xFFFF
        return (0xFFFF - sum_of(<uint8_t *> buffer.buf, buffer.len)) % 0xFFFF
    finally:
        PyBuffer_Release(&buffer)


def pseudo_header(source, destination, protocol, length_bytes):
    """The IPv4 pseudo header (bytes) that the checksums of TCP and UDP include."""
    return pack("!IIHH", source, destination, protocol, length_bytes)


cdef inline uint64_t joined(uint64_t protocol, uint64_t address, uint16_t port) noexcept nogil:
    return protocol << 48 | address << 16 | port


def endpoint(uint8_t protocol, uint32_t address, uint16_t port):
    """One end of a flow as one int: half the memory of a tuple as a Map's key, and faster to find among many. None is 0."""
    return joined(protocol, address, port)


def endpoint_parts(uint64_t end):
    """(protocol, address, port) of what endpoint() made."""
    return <uint8_t> (end >> 48), <uint32_t> (end >> 16), <uint16_t> end


@cython.freelist(64)
cdef class Packet:
    """A view of one Ethernet frame (bytes)."""

    cdef bytes _frame           # as it came in
    cdef bytes _copy            # with what was rewritten, None before
    cdef bint _is_given         # somebody has the copy: the next change makes another one
    cdef int _protocol
    cdef Py_ssize_t _transport  # where the transport header is, once five_tuple() found the packet sound; 0 before

    def __cinit__(self, bytes frame not None):
        self._frame = frame

    # -- bytes

    cdef const uint8_t *_bytes(self) noexcept:
        return <const uint8_t *> PyBytes_AS_STRING(self._frame if self._copy is None else self._copy)

    cdef inline Py_ssize_t _size(self) noexcept:
        return PyBytes_GET_SIZE(self._frame)

    cdef uint8_t *_writable(self) except NULL:
        """The bytes of a copy that nobody else has."""
        if self._copy is None or self._is_given:
            self._copy = PyBytes_FromStringAndSize(<const char *> self._bytes(), self._size())
            self._is_given = False
        return <uint8_t *> PyBytes_AS_STRING(self._copy)

    cdef bytes _slice(self, Py_ssize_t start, Py_ssize_t end):
        """The bytes from *start* to *end*, as far as they are there."""
        end = min(end, self._size())
        return PyBytes_FromStringAndSize(<const char *> self._bytes() + start, end - start) if start < end else b""

    @property
    def data(self):
        """The frame (bytes), with what was rewritten."""
        if self._copy is None:
            return self._frame
        self._is_given = True
        return self._copy

    # -- Ethernet

    @property
    def destination_mac(self):
        return self._slice(0, 6)

    @property
    def source_mac(self):
        return self._slice(6, 12)

    def is_to(self, bytes mac not None):
        """Whether the frame came in addressed to *mac* (6 bytes) alone."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(mac)
        return size <= self._size() and memcmp(PyBytes_AS_STRING(self._frame), PyBytes_AS_STRING(mac), size) == 0

    @property
    def ether_type(self):
        """The EtherType; 0 if the frame is too short to have one."""
        return self._ether_type()

    cdef uint16_t _ether_type(self) noexcept:
        return word(<const uint8_t *> PyBytes_AS_STRING(self._frame) + 12) if self._size() >= IPV4_AT else 0

    def arp(self):
        """The frame as Arp, or None."""
        cdef const uint8_t *frame = self._bytes()
        if self._size() < ARP_END or self._ether_type() != ARP_TYPE:
            return None
        # Ethernet and IPv4, and the sizes of their addresses
        if memcmp(frame + 14, b"\x00\x01\x08\x00\x06\x04", 6) != 0:
            return None
        return Arp(word(frame + 20), self._slice(22, 28), long_word(frame + 28), self._slice(32, 38), long_word(frame + 38))

    # -- IPv4

    cdef Py_ssize_t _payload(self) noexcept:
        """Where the payload of a sound IPv4 header begins: it ends at _end(), which is within the frame. 0: there is none."""
        cdef const uint8_t *frame = self._bytes()
        if self._size() < NO_OPTIONS_END or self._ether_type() != IPV4_TYPE:
            return 0
        cdef Py_ssize_t start = IPV4_AT + (frame[IPV4_AT] & 15) * 4
        if frame[IPV4_AT] >> 4 != 4 or not NO_OPTIONS_END <= start <= self._end() <= self._size():
            return 0
        return start if sum_of(frame + IPV4_AT, start - IPV4_AT) == 0 else 0

    cdef Py_ssize_t _end(self) noexcept:
        """Where the IPv4 packet ends, by its header: the frame has one."""
        return IPV4_AT + word(self._bytes() + LENGTH_AT)

    def ipv4(self):
        """The IPv4 header as Ipv4, or None if there is none or it isn't sound (version, lengths, checksum)."""
        cdef const uint8_t *frame = self._bytes()
        cdef Py_ssize_t start = self._payload()
        if not start:
            return None
        cdef int fragment = word(frame + FRAGMENT_AT)
        return tuple.__new__(Ipv4, (frame[PROTOCOL_AT], long_word(frame + SOURCE_AT), long_word(frame + DESTINATION_AT), frame[TTL_AT], start,
                                    self._end(), (fragment & FRAGMENT_OFFSET) * 8, (fragment & MORE_FRAGMENTS) != 0))

    @property
    def protocol(self):
        """The protocol of a packet that has a five_tuple() or an ipv4()."""
        return self._ipv4_bytes()[PROTOCOL_AT]

    @property
    def source(self):
        """The source address of a packet that has a five_tuple() or an ipv4()."""
        return long_word(self._ipv4_bytes() + SOURCE_AT)

    @property
    def destination(self):
        """The destination address of a packet that has a five_tuple() or an ipv4()."""
        return long_word(self._ipv4_bytes() + DESTINATION_AT)

    @property
    def ttl(self):
        """TTL of a packet that has a five_tuple() or an ipv4()."""
        return self._ipv4_bytes()[TTL_AT]

    cdef const uint8_t *_ipv4_bytes(self) except NULL:
        if self._size() < NO_OPTIONS_END:
            raise IndexError("the frame is too short for an IPv4 header")
        return self._bytes()

    # -- transport

    def five_tuple(self, bint first_fragment=False):
        """(protocol, source, source port, destination, destination port), or None; *first_fragment*: also of one that has the ports.

        Both ports of an ICMP echo request or reply are its identifier. None means: not IPv4, a bad header (version,
        lengths, header checksum), a fragment, another protocol, or a transport header that does not fit its packet.
        The transport checksum is not verified: a rewrite keeps a wrong one wrong.
        """
        if not self._find_transport(first_fragment):
            return None
        cdef const uint8_t *frame = self._bytes()
        return (self._protocol, long_word(frame + SOURCE_AT), self._port(0), long_word(frame + DESTINATION_AT), self._port(2))

    def endpoints(self, bint first_fragment=False):
        """(source, destination) of a packet that has a five_tuple(), else None: each as ``endpoint`` makes it, one int for a Map's key."""
        if not self._find_transport(first_fragment):
            return None
        cdef const uint8_t *frame = self._bytes()
        return (joined(self._protocol, long_word(frame + SOURCE_AT), self._port(0)),
                joined(self._protocol, long_word(frame + DESTINATION_AT), self._port(2)))

    cdef bint _find_transport(self, bint first_fragment) noexcept:
        """Whether there is what five_tuple() tells; its place is noted then."""
        cdef const uint8_t *frame = self._bytes()
        cdef Py_ssize_t start = self._payload()
        # no transport header is shorter than eight bytes
        if not start or self._end() - start < 8 or word(frame + FRAGMENT_AT) & (FRAGMENT_OFFSET if first_fragment else FRAGMENT_OFFSET | MORE_FRAGMENTS):
            return False
        cdef Py_ssize_t size = self._end() - start
        cdef int protocol = frame[PROTOCOL_AT], third = word(frame + start + 4)
        if protocol == UDP_PROTOCOL:
            if third < 8 or third > size and not first_fragment:
                return False
        elif protocol == TCP_PROTOCOL:
            if size < 20 or not 20 <= (frame[start + 12] >> 4) * 4 <= size:
                return False
        elif protocol != ICMP_PROTOCOL or word(frame + start) != 0 and word(frame + start) != 0x0800:    # type and code of echo reply and request
            return False
        self._protocol = protocol
        self._transport = start
        return True

    cdef uint16_t _port(self, Py_ssize_t at) noexcept:
        """The source (*at* 0) or destination port (2), of a packet whose transport header is known."""
        return word(self._bytes() + self._transport + (4 if self._protocol == ICMP_PROTOCOL else at))

    cdef Py_ssize_t _header(self, Py_ssize_t protocol) except 0:
        """Where the transport header is, which must be that of *protocol* unless that is 0."""
        if not self._transport or protocol and self._protocol != protocol:
            raise ValueError("ask five_tuple() first: without one a packet has no transport header, and only TCP has flags, ICMP a type")
        return self._transport

    @property
    def tcp_flags(self):
        """Flags (FIN 1, SYN 2, RST 4, PSH 8, ACK 16 ...) of a packet whose five_tuple() says TCP."""
        return self._bytes()[self._header(TCP_PROTOCOL) + 13]

    @property
    def icmp_type(self):
        """ICMP type (8: echo request, 0: echo reply) of a packet whose five_tuple() says ICMP."""
        return self._bytes()[self._header(ICMP_PROTOCOL)]

    def tcp(self):
        """The Tcp header of a packet whose five_tuple() says TCP."""
        cdef Py_ssize_t start = self._header(TCP_PROTOCOL)
        cdef const uint8_t *header = self._bytes() + start
        cdef Py_ssize_t data = start + (header[12] >> 4) * 4
        return tuple.__new__(Tcp, (long_word(header + 4), long_word(header + 8), header[13], word(header + 14), self._end() - data,
                                   self._slice(start + 20, data)))

    def transport_data(self):
        """What follows the TCP, UDP or ICMP header (bytes), of a packet that has a five_tuple()."""
        cdef Py_ssize_t start = self._header(0)
        return self._slice(start + ((self._bytes()[start + 12] >> 4) * 4 if self._protocol == TCP_PROTOCOL else 8), self._end())

    def transport_checksum_ok(self):
        """Whether the TCP, UDP or ICMP checksum is right, of a packet that has a five_tuple(); UDP may have none.

        That of a first fragment is not: it includes what is in the others.
        """
        cdef Py_ssize_t start = self._header(0)
        cdef const uint8_t *frame = self._bytes()
        cdef Py_ssize_t size = self._end() - start
        if self._protocol == UDP_PROTOCOL:
            if not word(frame + start + 6):
                return True
            if word(frame + start + 4) > size:
                return False
            size = word(frame + start + 4)
        cdef uint64_t total = sum_of(frame + start, size)
        if self._protocol != ICMP_PROTOCOL:
            total += <uint64_t> long_word(frame + SOURCE_AT) + long_word(frame + DESTINATION_AT) + self._protocol + size
        return total % 0xFFFF == 0

    # -- rewriting

    def set_source(self, uint32_t address, uint16_t port):
        """Rewrite source address and source port (ICMP: the identifier). Only after five_tuple() gave a tuple."""
        self._set_endpoint(SOURCE_AT, address, self._header(0), port)

    def set_destination(self, uint32_t address, uint16_t port):
        """Rewrite destination address and port (ICMP: the identifier). Only after five_tuple() gave a tuple."""
        self._set_endpoint(DESTINATION_AT, address, self._header(0) + 2, port)

    def set_source_to(self, uint64_t end):
        """set_source() to an endpoint."""
        self._set_endpoint(SOURCE_AT, <uint32_t> (end >> 16), self._header(0), end & 0xFFFF)

    def set_destination_to(self, uint64_t end):
        """set_destination() to an endpoint."""
        self._set_endpoint(DESTINATION_AT, <uint32_t> (end >> 16), self._header(0) + 2, end & 0xFFFF)

    cdef int _set_endpoint(self, Py_ssize_t address_at, uint32_t address, Py_ssize_t port_at, uint16_t port) except -1:
        cdef uint8_t *frame = self._writable()
        cdef int64_t change = <int64_t> long_word(frame + address_at) - address
        set_long_word(frame + address_at, address)
        add_to_checksum(frame + IPV4_CHECKSUM_AT, change)
        if self._protocol == ICMP_PROTOCOL:
            self._set_identifier(frame, port)
            return 0
        change += <int64_t> word(frame + port_at) - port
        set_word(frame + port_at, port)
        cdef uint8_t *checksum_at = frame + self._transport + (16 if self._protocol == TCP_PROTOCOL else 6)
        if self._protocol == TCP_PROTOCOL:
            add_to_checksum(checksum_at, change)
        elif word(checksum_at):     # UDP: 0 is "no checksum", so a computed 0 is sent as 0xffff
            add_to_checksum(checksum_at, change)
            if not word(checksum_at):
                set_word(checksum_at, 0xFFFF)
        return 0

    cdef void _set_identifier(self, uint8_t *frame, uint16_t identifier) noexcept:
        cdef uint8_t *header = frame + self._transport
        add_to_checksum(header + 2, <int64_t> word(header + 4) - identifier)
        set_word(header + 4, identifier)
        # ICMP has no pseudo header: the sum of an echo reply that is all zero is 0xffff
        if not word(header + 2) and is_zero(header, self._end() - self._transport):
            set_word(header + 2, 0xFFFF)

    @property
    def is_atomic(self):
        """Whether an IPv4 packet is no fragment and never becomes one (RFC 6864, section 4)."""
        return (self._size() >= NO_OPTIONS_END
                and word(self._bytes() + FRAGMENT_AT) & (DONT_FRAGMENT | MORE_FRAGMENTS | FRAGMENT_OFFSET) == DONT_FRAGMENT)

    def set_identification(self, uint16_t number):
        """Rewrite the Identification of an IPv4 packet. Raises ValueError if it is none."""
        if self._size() < NO_OPTIONS_END:
            raise ValueError("only an IPv4 packet has an Identification")
        cdef uint8_t *frame = self._writable()
        add_to_checksum(frame + IPV4_CHECKSUM_AT, <int64_t> word(frame + IDENTIFICATION_AT) - number)
        set_word(frame + IDENTIFICATION_AT, number)

    def forward(self, bytes destination_mac not None, bytes source_mac not None):
        """Set the Ethernet addresses and take 1 off the TTL, which the caller has seen to be above 1."""
        if self._size() < NO_OPTIONS_END or not self._bytes()[TTL_AT]:
            raise ValueError("only an IPv4 packet whose TTL is above 1 can be forwarded")
        if PyBytes_GET_SIZE(destination_mac) != 6 or PyBytes_GET_SIZE(source_mac) != 6:
            raise ValueError("a MAC address is 6 bytes")
        cdef uint8_t *frame = self._writable()
        memcpy(frame, PyBytes_AS_STRING(destination_mac), 6)
        memcpy(frame + 6, PyBytes_AS_STRING(source_mac), 6)
        frame[TTL_AT] -= 1
        # the TTL is the upper byte of its word
        add_to_checksum(frame + IPV4_CHECKSUM_AT, 0x100)
