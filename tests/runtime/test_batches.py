"""Frames in batches: whole, in order, with one system call for a batch; what does not fit is told, and nothing else is lost."""

import errno
import socket

import pytest

from middleboxes.runtime import batches
from middleboxes.runtime.batches import Batches

COUNT, BYTES_MAX = 64, 256


class CountingLibrary:
    """The C library, and how often each function was called."""

    def __init__(self, library):
        self._library, self.calls = library, []

    def __getattr__(self, name):
        def call(*args):
            self.calls.append(name)
            return getattr(self._library, name)(*args)
        return call


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


def test_a_batch_costs_one_system_call_each_way(ends, monkeypatch):
    library = CountingLibrary(batches._libc)
    monkeypatch.setattr(batches, "_libc", library)
    giving, taking = ends[2:]
    giving.send([b"frame"] * 8)
    taking.receive()
    assert library.calls == ["sendmmsg", "recvmmsg"]


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


def test_more_than_the_buffer_holds_goes_in_parts_and_a_giant_is_refused(ends):
    giving, taking = ends[2:]
    giants = [b"g" * (COUNT * BYTES_MAX // 3)] * 4
    assert giving.send(giants) == 2
    assert taking.receive() == [b"g" * BYTES_MAX] * 2
    with pytest.raises(OSError) as caught:
        giving.send([b"g" * (COUNT * BYTES_MAX + 1)])
    assert caught.value.errno == errno.EMSGSIZE
