"""ICMP errors about flows of a load balancer, and which worker gets a packet: always the one that has the client's flow."""

from zlib import crc32

from ..core import ipv6 as chains
from ..sdk.build import NO_MAC, icmp, ipv4
from ..sdk.build6 import icmp6, ipv6
from ..sdk.packet import ICMP, TCP, UDP, checksum
from ..sdk.packet6 import ICMPV6
from .families import V4, V6, family_of
from .quoted import Quoted


def partition_by_client(frame, port, workers):
    """The worker of the client's end of a flow: address and port of the source at ``clients``, of the destination at ``backends``.

    In an ICMP error it is the other end of the packet that is quoted.
    """
    of_source = port == "clients"
    ends = _ends(frame)
    if ends is None:
        return 0
    protocol, start, *_ = ends
    family = V6 if frame[12:14] == b"\x86\xdd" else V4
    if protocol == family.icmp and frame[start:start + 1] and frame[start] in family.errors:
        # of what is quoted the transport header may be cut off
        ends, of_source = _ends(frame[:14] + frame[start + 8:], quoted=True), not of_source
        if ends is None:
            return 0
    protocol, _, source, destination = ends
    return crc32(source if of_source else destination, protocol) % workers


def _ends(frame, quoted=False):
    """(protocol, where it begins, source, destination) of a whole IP packet, ends with their ports where it has any; None of others."""
    if frame[12:14] == b"\x08\x00":
        if len(frame) < 34 or frame[20] & 0x3F or frame[21]:
            return None
        protocol, start, source, destination = frame[23], 14 + (frame[14] & 15) * 4, frame[26:30], frame[30:34]
    else:
        end = len(frame) if quoted and len(frame) >= chains.START else chains.packet_end(frame)
        chain = chains.walk(frame, end) if end and frame[12:14] == b"\x86\xdd" else None
        if chain is None or not chain.is_whole:
            return None
        protocol, start, source, destination = chain.protocol, chain.start, frame[22:38], frame[38:54]
    if protocol in (TCP, UDP):
        source += frame[start:start + 2]
        destination += frame[start + 2:start + 4]
    return protocol, start, source, destination


def translate(balancer, packet, header, ctx):
    """Pass on the ICMP message *packet* (its *header* is sound) if it is an error about a flow of *balancer*."""
    message, family = packet.data[header.payload_start:header.payload_end], family_of(header.source)
    if len(message) < 8 or message[0] not in family.errors or header.more_fragments or header.fragment_offset:
        balancer.drop("icmp_type")
    elif not packet.transport_checksum_ok() if family is V6 else checksum(message) % 0xFFFF:
        balancer.drop("checksum")
    elif header.ttl <= 1:
        balancer.drop("ttl")
    else:
        quoted = Quoted(message[8:], family)
        ends = _to_backend(balancer, quoted, header) if ctx.port == "clients" else _to_client(balancer, quoted, header)
        if ends is None:
            balancer.drop("icmp_unknown")
            return
        kind, code, rest = message[0], message[1], int.from_bytes(message[4:8], "big")
        if family is V6:
            frame = ipv6(NO_MAC, NO_MAC, ICMPV6, *ends, icmp6(*ends, kind, code, rest, quoted.data), header.ttl - 1)
        else:
            frame = ipv4(NO_MAC, NO_MAC, ICMP, *ends, icmp(kind, code, rest, quoted.data), ttl=header.ttl - 1)
        balancer.transmit(frame, ends[1], ctx)


def _to_backend(balancer, quoted, header):
    """(source, destination) of an error about a packet that went out in the name of a service; None if there was none."""
    if quoted.flow is None or quoted.flow[1] != header.destination or not balancer.came_right(header.source, "clients"):
        return None
    protocol, source, source_port, destination, destination_port = quoted.flow
    value = balancer.connections.get((protocol, destination, destination_port, source, source_port))
    if value is None:
        return None
    quoted.packet.set_source(*value[2:])
    return header.source, value[2]


def _to_client(balancer, quoted, header):
    """(source, destination) of an error about a packet that went to a backend; None if there was none."""
    if quoted.flow is None or quoted.flow[1] != header.destination:
        return None
    key = balancer.returns.get(quoted.flow)
    if key is None:
        return None
    source = key[3] if header.source == quoted.flow[3] else header.source
    quoted.packet.set_destination(*key[3:])
    return source, header.destination
