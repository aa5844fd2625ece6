"""Translating ICMP errors through a NAT together with the packet that they quote (RFC 5508, REQ-3 to 5)."""

from ..sdk.build import NO_MAC, icmp, ipv4
from ..sdk.packet import ICMP, checksum, endpoint
from .quoted import ERRORS_FOR_HOSTS, Quoted


def translate_error(nat, packet, header, ctx):
    """Pass on the ICMP message *packet* (its Ipv4 *header* is sound) if it is an error about one of the mappings."""
    message = packet.data[header.payload_start:header.payload_end]
    if len(message) < 8 or message[0] not in ERRORS_FOR_HOSTS:
        nat.drop("icmp_type")
    elif checksum(message) % 0xFFFF:
        nat.drop("icmp_checksum")
    elif header.ttl <= 1:
        nat.drop("ttl")
    else:
        quoted = Quoted(message[8:])
        if ctx.port == "inside":
            ends = _outbound_ends(nat, quoted, header)
        else:
            ends = _inbound_ends(nat, quoted, header)
        if ends is None:
            nat.drop("no_mapping")
            return
        rest = int.from_bytes(message[4:8], "big")
        nat.transmit(ipv4(NO_MAC, NO_MAC, ICMP, *ends, icmp(message[0], message[1], rest, quoted.data),
                          ttl=header.ttl - 1), ends[1], ctx)


def _inbound_ends(nat, quoted, header):
    """(source, destination) of the error to send inside about a packet that we sent outside; None if we did not."""
    if quoted.flow is None:
        return None
    protocol, source, source_port, _, _ = quoted.flow
    inside = nat.inbound.get(endpoint(protocol, source, source_port))
    if inside is None or source != header.destination or nat.is_inside(header.source):
        return None
    quoted.packet.set_source_to(inside)
    return header.source, quoted.packet.source


def _outbound_ends(nat, quoted, header):
    """(source, destination) of the error to send outside about a packet that we sent inside; None if we did not."""
    if quoted.flow is None:
        return None
    protocol, source, _, destination, destination_port = quoted.flow
    external = nat.outbound.get(endpoint(protocol, destination, destination_port))
    if external is None or source != header.destination or destination != header.source or nat.is_inside(source):
        return None
    quoted.packet.set_destination_to(external)
    return quoted.packet.destination, source
