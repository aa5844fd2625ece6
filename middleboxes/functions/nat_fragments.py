"""Fragments through a NAT (RFC 4787, REQ-14): the first one, which has the ports, is translated as a packet and shows the way to the others.

Fragments that come before their first one are dropped (``fragment_unknown``): the sender's transport sends them again. What the first one showed is kept for
FRAGMENT_TIMEOUT_S, for FRAGMENTED_MAX packets at a time; beyond it the one that began longest ago makes room.
"""

from ..sdk.build import NO_MAC
from ..sdk.packet import checksum

NS_PER_S = 1_000_000_000
FRAGMENT_TIMEOUT_S = 15
FRAGMENTED_MAX = 1024
_SOURCE, _DESTINATION = 26, 30


def key_of(packet, header, port):
    """What the fragments of one packet have in common (RFC 791, 3.2)."""
    return port, header.protocol, header.source, header.destination, packet.data[18:20]


def learn(nat, key, sent, now_ns):
    """The first fragment of *key* was sent with these (source, destination, Identification as 2 bytes)."""
    if key not in nat.fragmented and len(nat.fragmented) >= FRAGMENTED_MAX:
        oldest = next(iter(nat.fragmented_used))
        del nat.fragmented[oldest], nat.fragmented_used[oldest]
    nat.fragmented[key] = sent
    nat.fragmented_used.touch(key, now_ns)


def follow(nat, packet, header, ctx):
    """Translate a fragment that is not the first one, as the first one was."""
    sent = nat.fragmented.get(key_of(packet, header, ctx.port))
    if sent is None:
        nat.drop("fragment_unknown")
    elif header.ttl <= 1:
        nat.drop("ttl")
    else:
        packet.forward(NO_MAC, NO_MAC)
        nat.transmit(_readdressed(packet.data, header.payload_start, *sent), sent[1], ctx)


def _readdressed(frame, payload_start, source, destination, identification):
    """*frame* with other addresses and another Identification in its IPv4 header."""
    head = bytearray(frame[:payload_start])
    head[18:20] = identification
    head[_SOURCE:_DESTINATION + 4] = source.to_bytes(4, "big") + destination.to_bytes(4, "big")
    head[24:26] = b"\0\0"
    head[24:26] = checksum(bytes(head[14:])).to_bytes(2, "big")
    return bytes(head) + frame[payload_start:]


def expire(nat, now_ns):
    """Forget packets whose fragments had their time."""
    for key in nat.fragmented_used.expired(now_ns, FRAGMENT_TIMEOUT_S * NS_PER_S, FRAGMENTED_MAX):
        del nat.fragmented[key], nat.fragmented_used[key]
