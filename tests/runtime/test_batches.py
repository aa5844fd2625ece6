"""Frames in batches: whole, in order, with one system call for a batch; what does not fit is told, and nothing else is lost."""

import errno
import socket

import pytest

from middleboxes.core.aggregates import FRAMES_MAX, aggregated
from middleboxes.core.frames import PACKET, Input, InputEncoder
from middleboxes.runtime.batches import Batches

COUNT, BYTES_MAX = 64, 256
#: for aggregates: frames of a batch, and bytes of a message
BATCH, MESSAGE_BYTES = 32, 2000


@pytest.fixture
def ends():
    # datagrams, as packet sockets have them, and no root needed
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with a, b:
        a.setblocking(False)
        for end in (a, b):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield a, b, Batches(a.fileno(), COUNT, BYTES_MAX), Batches(b.fileno(), COUNT, BYTES_MAX)


def received(taking, count):
    """*count* frames, however many batches they take: the queue of a Unix socket is short."""
    found = []
    while len(found) < count:
        found += taking.receive()
    return found


def test_what_is_sent_arrives_whole_and_in_order(ends):
    giving, taking = ends[2:]
    frames = [bytes([number]) * (number * 31 % BYTES_MAX) for number in range(1, 9)]
    assert giving.send(frames) == len(frames)
    assert taking.receive() == frames


def test_buffers_are_used_again_without_a_trace_of_what_was_there(ends):
    giving, taking = ends[2:]
    for frames in ([b"a" * 200] * 8, [b"b"], [b"c" * 3, b"d" * 255], [b"e" * 40] * 5):
        giving.send(frames)
        assert taking.receive() == frames


def test_a_batch_costs_one_system_call_each_way(ends):
    giving, taking = ends[2:]
    giving.send([b"frame"] * 8)
    assert taking.receive() == [b"frame"] * 8
    assert (giving.calls, taking.calls) == (1, 1)


def test_a_batch_goes_on_from_where_it_is_told(ends):
    giving, taking = ends[2:]
    assert giving.send([b"a", b"b", b"c"], 1) == 2
    assert taking.receive() == [b"b", b"c"]
    with pytest.raises(IndexError):
        giving.send([b"a"], 1)


def test_what_is_no_frame_is_refused_before_anything_leaves(ends):
    giving, taking = ends[2:]
    with pytest.raises(TypeError):
        giving.send([b"frame", "text"])
    with pytest.raises(BlockingIOError):
        taking.receive()


def test_nothing_there_is_an_error_of_its_own_kind(ends):
    with pytest.raises(BlockingIOError):
        ends[3].receive()


def test_a_frame_that_fills_its_buffer_was_cut_and_its_neighbours_are_whole(ends):
    a, _, _, taking = ends
    for frame in (b"x" * 10, b"y" * (BYTES_MAX + 50), b"z" * 20):
        a.send(frame)
    assert taking.receive() == [b"x" * 10, b"y" * BYTES_MAX, b"z" * 20]


def test_a_full_queue_takes_a_part_and_says_how_much(ends):
    a, _, giving, taking = ends
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)        # as little as the kernel allows
    frames = [b"%d" % number for number in range(COUNT)]
    taken = giving.send(frames)
    assert 0 < taken < COUNT
    with pytest.raises(BlockingIOError):
        giving.send(frames[taken:])
    assert received(taking, taken) == frames[:taken]


def test_more_than_a_batch_goes_in_parts_and_a_giant_is_refused(ends):
    a, _, giving, taking = ends
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    frames = [b"%d" % number for number in range(COUNT + 1)]
    assert 0 < giving.send(frames) <= COUNT
    with pytest.raises(OSError) as caught:
        giving.send([b"g" * (1 << 24)])
    assert caught.value.errno in (errno.EMSGSIZE, errno.ENOBUFS)


# -- as links use it

def test_what_is_cut_is_left_out_and_counted_and_nothing_there_is_no_error(ends):
    a, _, _, taking = ends
    assert taking.take() == []
    for frame in (b"x" * 10, b"y" * BYTES_MAX, b"z" * 20):
        a.send(frame)
    assert taking.take() == [b"x" * 10, b"z" * 20]
    assert (taking.received, taking.oversize) == (3, 1)


def test_a_full_queue_is_a_loss_of_what_it_does_not_take_and_the_rest_goes_out(ends):
    a, _, giving, taking = ends
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)        # as little as the kernel allows
    giving.give([b"%d" % number for number in range(COUNT)])
    assert 0 < giving.sent and giving.sent + giving.send_failed == COUNT
    assert received(taking, giving.sent)[0] == b"0"


def test_what_is_no_loss_is_raised(ends):
    with pytest.raises(TypeError):
        ends[2].give([b"frame", "text"])
    ends[0].close()
    for call in (ends[2].take, lambda: ends[2].give([b"frame"])):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()


# -- between roles, in aggregates

@pytest.fixture
def roles(ends):
    a, b = ends[:2]
    return a, *(Batches(end.fileno(), BATCH, MESSAGE_BYTES + 1, MESSAGE_BYTES) for end in (a, b))


def inputs(count, size=20):
    encoder = InputEncoder(1, bytes(6))
    return [encoder.encode(1, 0, Input(n, 0, 0, PACKET, bytes(size))) for n in range(1, count + 1)]


def test_a_batch_is_a_few_messages_and_comes_out_as_it_went_in(roles):
    _, giving, taking = roles
    giving.give(inputs(BATCH))
    assert taking.take() == inputs(BATCH)
    assert (giving.messages_sent, giving.sent, giving.calls) == (BATCH // FRAMES_MAX, BATCH, 1)
    assert (taking.messages_received, taking.received, taking.calls) == (BATCH // FRAMES_MAX, BATCH, 1)


def test_what_can_not_go_together_goes_alone_in_the_same_call(roles):
    _, giving, taking = roles
    frames = [b"x" * 60, *inputs(3), b"y", *inputs(2, 1900)]
    giving.give(frames)
    assert taking.take() == frames
    assert (giving.messages_sent, giving.calls) == (5, 1)


def test_what_is_to_go_apart_goes_alone_and_in_one_call(roles):
    _, giving, taking = roles
    giving.give(inputs(5), False)
    assert taking.take() == inputs(5)
    assert (giving.messages_sent, giving.calls) == (5, 1)


def test_no_more_is_asked_for_than_makes_a_batch(roles):
    """After the first call it is known how many frames a message has; messages that wait stay in the queue."""
    _, giving, taking = roles
    for _ in range(3):
        giving.give(inputs(BATCH))
    assert len(taking.take()) == 3 * BATCH          # nothing was known
    for _ in range(4):
        giving.give(inputs(BATCH))
    taken = []
    while some := taking.take():
        assert len(some) <= BATCH + FRAMES_MAX
        taken.append(len(some))
    assert sum(taken) == 4 * BATCH
    for _ in range(2):
        giving.give(inputs(1))
    assert [len(taking.take()) for _ in range(1)] == [2]
    for _ in range(9):
        giving.give(inputs(1))
    assert len(taking.take()) == 9                  # and known again


def test_a_broken_aggregate_is_counted_and_its_neighbours_are_whole(roles):
    a, giving, taking = roles
    (whole,) = aggregated(inputs(3), MESSAGE_BYTES)
    for message in (inputs(1)[0], whole[:-1], whole):
        a.send(message)
    assert taking.take() == inputs(1) + inputs(3)
    assert (taking.malformed, taking.messages_received, taking.received) == (1, 3, 4)


def test_an_aggregate_that_was_cut_is_left_out_and_counted(roles):
    a, _, taking = roles
    (whole,) = aggregated(inputs(3), MESSAGE_BYTES)
    a.send(whole + bytes(MESSAGE_BYTES))
    a.send(b"next")
    assert taking.take() == [b"next"]
    assert (taking.oversize, taking.malformed) == (1, 0)


def test_frames_of_a_message_that_could_not_be_sent_are_each_counted(roles):
    a, giving, taking = roles
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)        # as little as the kernel allows
    frames = inputs(8 * BATCH, 300)
    giving.give(frames)
    assert 0 < giving.sent and giving.send_failed and giving.sent + giving.send_failed == len(frames)
    assert received(taking, giving.sent) == frames[:giving.sent]


def test_a_port_takes_nothing_apart(ends):
    """A host may send what it likes, aggregates too: to a port it is a packet."""
    a, _, _, taking = ends
    (message,) = aggregated(inputs(3), MESSAGE_BYTES)
    a.send(message)
    assert len(message) < BYTES_MAX and taking.take() == [message]
