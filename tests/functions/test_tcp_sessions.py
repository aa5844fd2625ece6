"""The life of a TCP connection as a NAT sees it."""

import pytest

from middleboxes.functions.tcp_sessions import ACK, FIN, RST, SYN, is_closed, is_established, next_state, opens


def run(*segments):
    state = 0
    for side, flags in segments:
        state = next_state(state, flags, side == "in")
    return state


HANDSHAKE = [("in", SYN), ("out", SYN | ACK), ("in", ACK)]


@pytest.mark.parametrize("segments, established, closed", [
    (HANDSHAKE[:1], False, False),
    (HANDSHAKE[:1] * 3, False, False),
    (HANDSHAKE[:2], True, False),
    (HANDSHAKE, True, False),
    ([("out", SYN), ("in", SYN), ("out", ACK)], True, False),
    (HANDSHAKE + [("in", FIN | ACK)], True, False),
    (HANDSHAKE + [("in", FIN | ACK), ("in", FIN | ACK)], True, False),
    (HANDSHAKE + [("in", FIN | ACK), ("out", FIN | ACK)], False, True),
    (HANDSHAKE + [("in", FIN | ACK), ("out", FIN | ACK), ("in", ACK)], False, True),
    (HANDSHAKE + [("out", RST)], False, True),
    (HANDSHAKE + [("out", RST), ("out", ACK)], True, False),
    (HANDSHAKE[:1] + [("out", RST | ACK)], False, True),
    (HANDSHAKE[:1] + [("out", RST | ACK), ("in", SYN)], False, False),
    (HANDSHAKE + [("in", FIN), ("out", FIN), ("in", SYN)], False, False),
    (HANDSHAKE + [("in", FIN), ("out", FIN), ("in", SYN), ("out", SYN | ACK)], True, False),
    (HANDSHAKE + [("in", SYN)], True, False),
])
def test_states(segments, established, closed):
    assert (is_established(run(*segments)), is_closed(run(*segments))) == (established, closed)


def test_only_a_syn_alone_opens():
    assert [flags for flags in range(32) if opens(flags)] == [SYN, SYN | 8]
