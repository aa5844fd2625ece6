"""Deterministic contents of the demo's traffic: both ends know every byte, so nothing wrong passes unseen."""

import hashlib
import struct

#: Size of a numbered message, in TCP and UDP.
MESSAGE_BYTES = 64
#: Flow numbers are below this, which bounds what a server keeps.
FLOW_MAX = 1 << 16
#: The download is made of blocks of this size.
BLOCK_BYTES = 16384

_HEAD = struct.Struct("!II")


class PayloadError(ValueError):
    """Bytes that no program of the demo has sent: changed, cut or mixed up on the way."""


def message(flow, number):
    """Message *number* of *flow*, MESSAGE_BYTES long; no two are alike."""
    head = _HEAD.pack(flow, number)
    return head + hashlib.blake2b(head, digest_size=MESSAGE_BYTES - _HEAD.size).digest()


def parse(data):
    """(flow, number) of a message. Raises PayloadError if a single bit is not as it was made."""
    if len(data) != MESSAGE_BYTES:
        raise PayloadError(f"a message has {MESSAGE_BYTES} bytes, not {len(data)}")
    flow, number = _HEAD.unpack_from(data)
    if flow >= FLOW_MAX or message(flow, number) != data:
        raise PayloadError("a message's content was changed")
    return flow, number


def block(seed, index):
    """Block *index* of the download of *seed*, BLOCK_BYTES long."""
    return hashlib.shake_128(struct.pack("!QQ", seed, index)).digest(BLOCK_BYTES)


def download_digest(seed, length_bytes):
    """SHA-256 (hex) of the first *length_bytes* of the download of *seed*."""
    digest = hashlib.sha256()
    whole, rest = divmod(length_bytes, BLOCK_BYTES)
    for index in range(whole):
        digest.update(block(seed, index))
    digest.update(block(seed, whole)[:rest])
    return digest.hexdigest()
