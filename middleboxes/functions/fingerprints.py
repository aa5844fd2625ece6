"""Fingerprints of content: where it is sampled, what names it, how far two pieces agree.

Anchors are chosen by the content itself, so that they stay with it wherever it begins in a packet: about every 128th position, where a hash of the next eight
bytes has one of two values. Spring and Wetherall (SIGCOMM 2000) take Rabin fingerprints for it; here one multiplication of the whole content, as
one number, hashes all positions at once: a byte of the product depends on the byte in its place and the eight behind it (on more by a carry, rarely, which
costs a match at worst). All loops over bytes are the library's.
"""

from hashlib import blake2b
from zlib import crc32

#: a fingerprint is of so many bytes from an anchor on
WINDOW_BYTES = 32
#: anchors that are nearer to the one before are left out: a run of one byte may have them everywhere
SKIP_BYTES = 64
CONTENT_ID_BYTES = 6

_MULTIPLIER = 0x9E3779B97F4A7C15
_MULTIPLIER_BYTES = 8
#: what the product's byte is at an anchor: a run of zeros has anchors, too
_IS_ANCHOR = bytes(byte in (0x00, 0x9B) for byte in range(256))


def content_id(content):
    """The name of *content* (bytes): an int of 48 bits."""
    return int.from_bytes(blake2b(content, digest_size=CONTENT_ID_BYTES).digest(), "big")


def anchors(content):
    """[(offset in *content*, fingerprint of the window there, an int of 32 bits)], rising."""
    product = int.from_bytes(content, "big") * _MULTIPLIER
    marks = product.to_bytes(len(content) + _MULTIPLIER_BYTES, "big")[_MULTIPLIER_BYTES:].translate(_IS_ANCHOR)
    end = max(0, len(content) - WINDOW_BYTES + 1)
    found = []
    at = marks.find(1, 0, end)
    while at >= 0:
        found.append((at, crc32(content[at:at + WINDOW_BYTES])))
        at = marks.find(1, at + SKIP_BYTES, end)
    return found


def common_prefix(one, other):
    """How many bytes *one* and *other* have in common from their beginning."""
    size = min(len(one), len(other))
    # the highest bit that differs tells the first byte that does
    difference = int.from_bytes(one[:size], "big") ^ int.from_bytes(other[:size], "big")
    return size - (difference.bit_length() + 7) // 8


def common_suffix(one, other):
    """How many bytes *one* and *other* have in common up to their end."""
    size = min(len(one), len(other))
    difference = int.from_bytes(one[len(one) - size:], "little") ^ int.from_bytes(other[len(other) - size:], "little")
    return size - (difference.bit_length() + 7) // 8
