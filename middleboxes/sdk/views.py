"""What the views of Packet and Packet6 are made of: headers as named tuples."""

from typing import NamedTuple, Optional


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


class Ipv6(NamedTuple):
    """A sound IPv6 header with its chain. *ttl* is the hop limit; *payload_start* and *payload_end* are offsets in the frame of what
    *protocol* begins with; *fragment_offset* is in bytes; *identification* is the fragment header's, *routing* (type, segments left) the
    routing header's, each None without one."""

    protocol: int
    source: bytes
    destination: bytes
    ttl: int
    payload_start: int
    payload_end: int
    fragment_offset: int
    more_fragments: bool
    identification: Optional[int]
    routing: Optional[tuple]


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
