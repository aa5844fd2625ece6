"""One direction of a TCP connection as a stream of bytes, of which only what a search needs is kept.

A stream is a tuple (next sequence number, tail, waiting): ``tail`` are the last bytes that were searched, so that what spans segments is found;
``waiting`` are segments that came early: ((sequence number, data), ...) in order. What overlaps counts as it came first.
"""

_MASK, _HALF = 0xFFFFFFFF, 0x80000000
#: early segments that wait, and their bytes, of one stream
WAITING_MAX, WAITING_BYTES_MAX = 16, 16_384


def begun(sequence):
    """The stream after a SYN with this sequence number."""
    return (sequence + 1 & _MASK, b"", ())


def taken(stream, sequence, data, tail_bytes):
    """(stream, what is to be searched: the tail and what is new, length of the tail in it) after a segment; None if too much waits."""
    following, tail, waiting = stream
    skipped = following - sequence & _MASK
    if skipped >= _HALF:
        if any(early == sequence and len(held) >= len(data) for early, held in waiting):
            return stream, b"", 0
        if len(waiting) >= WAITING_MAX or sum(len(held) for _, held in waiting) + len(data) > WAITING_BYTES_MAX:
            return None
        waiting = tuple(sorted((*waiting, (sequence, data)), key=lambda item: item[0] - following & _MASK))
        return (following, tail, waiting), b"", 0
    new = data[skipped:]
    following = following + len(new) & _MASK
    while waiting and (following - waiting[0][0] & _MASK) < _HALF:
        (early, held), *rest = waiting
        more = held[following - early & _MASK:]
        new, following, waiting = new + more, following + len(more) & _MASK, tuple(rest)
    searched = tail + new
    return (following, searched[-tail_bytes:] if tail_bytes else b"", waiting), searched, len(tail)
