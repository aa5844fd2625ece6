"""When a TCP connection through a NAT is open, and when it is over (RFC 5382, state machine of RFC 6146, 3.5.2).

A state is a set of bits: who has sent SYN, who has sent FIN, and whether RST was the last that was seen. A RST alone
closes nothing at once, since anybody can forge one: the session turns transitory and the next segment revives it.
"""

FIN, SYN, RST, ACK = 1, 2, 4, 16

SYN_INSIDE, SYN_OUTSIDE, FIN_INSIDE, FIN_OUTSIDE, RESET = 1, 2, 4, 8, 16
ESTABLISHED = SYN_INSIDE | SYN_OUTSIDE
_BOTH_FINS = FIN_INSIDE | FIN_OUTSIDE


def opens(flags):
    """Whether a segment with these flags may open a session: SYN alone."""
    return flags & (SYN | ACK | RST | FIN) == SYN


def is_closed(state):
    """Whether both sides have finished, or RST was the last segment."""
    return bool(state & RESET) or state & _BOTH_FINS == _BOTH_FINS


def is_established(state):
    """Whether the idle timeout of established connections applies: both SYNs were seen and it is not closed."""
    return state & ESTABLISHED == ESTABLISHED and not is_closed(state)


def next_state(state, flags, from_inside):
    """The state after a segment with *flags* from that side; 0 is a session that has seen nothing."""
    if flags & RST:
        return state | RESET
    if opens(flags) and is_closed(state):
        state = 0       # the same ports again: a new connection
    if flags & SYN:
        return (state & ~RESET) | (SYN_INSIDE if from_inside else SYN_OUTSIDE)
    if flags & FIN:
        state |= FIN_INSIDE if from_inside else FIN_OUTSIDE
    return state & ~RESET
