"""ICMP errors about flows of a load balancer, and which worker gets a packet: always the one that has the client's flow."""

from zlib import crc32

from ..sdk.build import NO_MAC, icmp, ipv4
from ..sdk.packet import ICMP, TCP, UDP, checksum
from .quoted import ERRORS_FOR_HOSTS, Quoted


def partition_by_client(frame, port, workers):
    """The worker of the client's end of a flow: address and port of the source at ``clients``, of the destination at ``backends``.

    In an ICMP error it is the other end of the packet that is quoted.
    """
    if frame[12:14] != b"\x08\x00" or len(frame) < 34 or frame[20] & 0x3F or frame[21]:
        return 0
    start, of_source = 14 + (frame[14] & 15) * 4, port == "clients"
    if frame[23] == ICMP and frame[start:start + 1] and frame[start] in ERRORS_FOR_HOSTS:
        frame = frame[:14] + frame[start + 8:]
        if len(frame) < 34:
            return 0
        start, of_source = 14 + (frame[14] & 15) * 4, not of_source
    end = frame[26:30] if of_source else frame[30:34]
    if frame[23] in (TCP, UDP):
        end += frame[start:start + 2] if of_source else frame[start + 2:start + 4]
    return crc32(end, frame[23]) % workers


def translate(balancer, packet, header, ctx):
    """Pass on the ICMP message *packet* (its Ipv4 *header* is sound) if it is an error about a flow of *balancer*."""
    message = packet.data[header.payload_start:header.payload_end]
    if len(message) < 8 or message[0] not in ERRORS_FOR_HOSTS or header.more_fragments or header.fragment_offset:
        balancer.drop("icmp_type")
    elif checksum(message) % 0xFFFF:
        balancer.drop("checksum")
    elif header.ttl <= 1:
        balancer.drop("ttl")
    else:
        quoted = Quoted(message[8:])
        ends = _to_backend(balancer, quoted, header) if ctx.port == "clients" else _to_client(balancer, quoted, header)
        if ends is None:
            balancer.drop("icmp_unknown")
            return
        rest = int.from_bytes(message[4:8], "big")
        balancer.transmit(ipv4(NO_MAC, NO_MAC, ICMP, *ends, icmp(message[0], message[1], rest, quoted.data), ttl=header.ttl - 1),
                          ends[1], ctx)


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
