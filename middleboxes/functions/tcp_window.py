"""Whether a TCP segment fits the connection that it claims to be of (G. van Rooij, "Real Stateful TCP Packet Filtering", 2001).

Each side of a connection is a tuple (end, max_end, window, scale, acked):

- ``end``      sequence number after the last that this side sent
- ``max_end``  the highest that it may send up to: what the other side acknowledged plus the window that it offered
- ``window``   the largest window that it offered (bytes, scaled)
- ``scale``    its window scale (RFC 7323); NO_SCALE: its SYN had none
- ``acked``    the highest number that it acknowledged; the first of the other side if it has not yet, its own first if there is none

A segment fits if its data are not beyond what the other side can take, not older than a window, and its acknowledgment is of
something that was sent, not long ago. Sequence numbers wrap: comparisons are modulo 2**32 (RFC 9293, 3.4).
"""

from .tcp_sessions import ACK, FIN, RST, SYN

NO_SCALE = -1
_WINDOW_SCALE_OPTION, _SCALE_MAX = 3, 14
#: how far behind an acknowledgment may always be: the largest window without scaling, rounded up
_LATE_ACKNOWLEDGMENT = 66000
_MASK, _HALF = 0xFFFFFFFF, 0x80000000

END, MAX_END, WINDOW, SCALE, ACKED = range(5)

_FLAGS_KNOWN = SYN | ACK | RST | FIN


def after(number, other):
    """Whether sequence *number* comes after *other*."""
    return 0 < (number - other) & _MASK < _HALF


def sound_flags(flags):
    """Whether these TCP flags may stand together: SYN, SYN ACK, RST with or without ACK, or anything with ACK."""
    return flags & _FLAGS_KNOWN in (SYN, SYN | ACK, RST, RST | ACK, ACK, FIN | ACK)


def _end_of(segment):
    return (segment.sequence + segment.data_bytes + bool(segment.flags & SYN) + bool(segment.flags & FIN)) & _MASK


def _first(segment):
    """A side after its first SYN."""
    scale = segment.option(_WINDOW_SCALE_OPTION)
    end = _end_of(segment)
    return (end, end, max(segment.window, 1), min(scale[0], _SCALE_MAX) if scale and len(scale) == 1 else NO_SCALE, segment.sequence)


def opened(segment):
    """The opener's side after its SYN (*segment*: Tcp)."""
    return _first(segment)


def follow(sender, receiver, segment):
    """(sender, receiver) after *segment* (Tcp); None if it does not fit. *sender* is () as long as it has sent nothing."""
    flags = segment.flags
    if not sender:
        return _answer(receiver, segment)
    if flags & SYN:
        return _repeated_syn(sender, receiver, segment)
    if not receiver:
        # only a SYN was sent so far: data and acknowledgments have nothing to be measured by, a reset has
        return (sender, receiver) if flags & RST and segment.sequence == sender[END] else None
    end, acknowledgment = _end_of(segment), segment.acknowledgment if flags & ACK else receiver[END]
    window = segment.window << max(sender[SCALE], 0)
    if (after(segment.sequence, sender[MAX_END]) or after(sender[END] - receiver[WINDOW], end)
            or after(acknowledgment, receiver[END])
            or after(receiver[END] - max(_LATE_ACKNOWLEDGMENT, sender[WINDOW]), acknowledgment)):
        return None
    if flags & RST:
        return sender, receiver
    right_edge = acknowledgment + max(window, 1) & _MASK
    return ((_later(sender[END], end), sender[MAX_END], max(sender[WINDOW], window), sender[SCALE],
             _later(sender[ACKED], acknowledgment)),
            (receiver[END], _later(receiver[MAX_END], right_edge), *receiver[WINDOW:]))


def _later(number, other):
    return other if after(other, number) else number


def _answer(opener, segment):
    """The first segment of the side that did not open: SYN ACK, SYN (both open at once) or a reset."""
    flags = segment.flags
    if flags & ACK and not (after(segment.acknowledgment, opener[ACKED]) and not after(segment.acknowledgment, opener[END])):
        return None
    if flags & RST:
        return ((), opener) if flags & ACK else None
    if not flags & SYN:
        return None
    end, _, window, scale, first = _first(segment)
    acknowledged = segment.acknowledgment if flags & ACK else opener[ACKED]
    opener_scale = opener[SCALE]
    if NO_SCALE in (scale, opener_scale):       # only if both have the option do they use it
        scale = opener_scale = NO_SCALE
    right_edge = _later(opener[MAX_END], (opener[END] if not flags & ACK else acknowledged) + window & _MASK)
    return ((end, end + opener[WINDOW] & _MASK, window, scale, acknowledged),
            (opener[END], right_edge, opener[WINDOW], opener_scale, first))


def _repeated_syn(sender, receiver, segment):
    """A SYN or SYN ACK of a side that has sent one: the same again, or the SYN ACK after a SYN."""
    end = _end_of(segment)
    if after(end, sender[END]) or after(sender[END] - receiver[WINDOW] if receiver else sender[END], end):
        return None
    return sender, receiver


def resets(sender, receiver, segment):
    """Whether a RST that fits ends the connection: it is exactly where the receiver waits for the next one (RFC 5961, 3.2).

    Another one may be forged: the receiver answers it with a challenge, and the sender's answer to that ends it.
    """
    return not sender or not receiver or receiver[ACKED] == segment.sequence
