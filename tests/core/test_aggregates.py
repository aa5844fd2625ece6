"""Aggregates: what goes in comes out, as it would have come alone; nothing else is taken apart, and damage is refused as a whole."""

import random

import pytest

from middleboxes.core.aggregates import FRAMES_MAX, aggregated, taken_apart
from middleboxes.core.frames import (HOP_INPUT, HOP_OUTPUT, PACKET, TICK, FrameError, Input, InputEncoder, OutputEncoder, decode_input,
                                     encode_ack, encode_trim, hop_of)

from .boxes import GROUP, MAC, mutations
from .test_frames import nsh

MTU = 9014
HEAD = 34       # Ethernet 14, NSH 8, TLV 4 + 8


def inputs(count, size=64, worker=0, group=GROUP):
    encoder = InputEncoder(group, MAC)
    return [encoder.encode(3, worker, Input(n, 5, 0, PACKET, bytes([n & 255]) * size)) for n in range(1, count + 1)]


def outputs(count, worker=0):
    encoder = OutputEncoder(GROUP, MAC)
    return [encoder.encode(3, worker, n, 0, 1, (), b"", b"%d" % n) for n in range(1, count + 1)]


def apart(messages):
    return [frame for message in messages for frame in taken_apart(message)]


def test_what_goes_in_comes_out_in_its_order_and_in_few_messages():
    for frames in (inputs(1), inputs(2), inputs(FRAMES_MAX), inputs(FRAMES_MAX + 1), inputs(32, 1500), outputs(40)):
        messages = aggregated(frames, MTU)
        assert apart(messages) == frames and all(len(message) <= MTU for message in messages)
    assert len(aggregated(inputs(FRAMES_MAX), MTU)) == 1 and len(aggregated(inputs(32), MTU)) == 2
    assert len(aggregated(inputs(32, 1500), MTU)) == 7      # five each


def test_an_aggregate_byte_by_byte():
    first, second = inputs(2, worker=7)
    (message,) = aggregated([first, second], MTU)
    fields, tlvs, payload = nsh(message)
    assert message[:14] == first[:14] and hop_of(message) == hop_of(first) == (GROUP, HOP_INPUT) and message[30] == first[30] == 7
    assert (fields["version"], fields["ttl"], fields["md_type"], fields["next"]) == (0, 63, 2, 0xFF)
    assert tlvs == [(0xFFF6, 9, bytes([0, 0, 0, 0, 7, 0, 0, 0]))]
    assert payload == b"".join((len(frame) - 14).to_bytes(2, "big") + frame[14:] for frame in (first, second))


def test_one_frame_and_what_does_not_fit_with_its_neighbour_go_as_they_are():
    for frames in (inputs(1), inputs(3, 5000), inputs(2, 8990), [b"", b"x"], [bytes(2000)] * 4, []):
        assert aggregated(frames, MTU) == frames
    assert aggregated(inputs(2), 0) == inputs(2)
    least = HEAD + sum(2 + len(frame) - 14 for frame in inputs(2))
    assert len(aggregated(inputs(2), least)) == 1 and len(aggregated(inputs(2), least - 1)) == 2


def test_frames_of_another_group_hop_worker_destination_or_kind_go_apart():
    first, = inputs(1)
    tick = InputEncoder(GROUP, MAC).encode(3, 0, Input(9, 5, 0, TICK, b""))
    others = [inputs(1, group=GROUP + 1)[0], inputs(1, worker=1)[0], outputs(1)[0], b"\2" * 6 + first[6:], first[:6] + b"\4" * 6 + first[12:],
              first[:12] + b"\x08\0" + first[14:], first[:HEAD - 1], b""]
    for other in others:
        assert aggregated([first, other, first], MTU) == [first, other, first]
    assert len(aggregated([first, tick, first], MTU)) == 1
    strange = first[:16] + b"\1" + first[17:]        # another MD type: nobody would know the aggregate for one
    assert aggregated([strange, strange], MTU) == [strange, strange]
    for small in ([encode_ack(GROUP, MAC, 3, 0, n, False) for n in range(3)], encode_trim("input-logger", GROUP, MAC, 3, [(1, 1)], 7) * 2):
        assert apart(aggregated(small, MTU)) == small and len(aggregated(small, MTU)) == 1


def test_an_aggregate_that_was_redirected_gives_frames_that_were():
    """A switch rewrites the one destination that it sees."""
    frames, interface = outputs(3), bytes.fromhex("024654110009")
    (message,) = aggregated(frames, MTU)
    assert taken_apart(interface + message[6:]) == [interface + frame[6:] for frame in frames]


def test_every_cut_and_every_length_that_cannot_be_is_refused():
    frames = inputs(3)
    (message,) = aggregated(frames, MTU)
    ends = [HEAD + sum(2 + len(frame) - 14 for frame in frames[:count]) for count in range(4)]
    for size in range(HEAD, len(message)):
        if size in ends:
            assert taken_apart(message[:size]) == frames[:ends.index(size)]
            continue
        with pytest.raises(FrameError):
            taken_apart(message[:size])
    for length in (0, 19, 0xFFFF):
        with pytest.raises(FrameError):
            taken_apart(message[:HEAD] + length.to_bytes(2, "big") + message[HEAD + 2:])
    with pytest.raises(FrameError):
        taken_apart(message + message[HEAD:] * 6)               # more than FRAMES_MAX


def test_a_frame_that_is_not_of_the_aggregates_path_or_worker_is_refused():
    (message,) = aggregated(inputs(2), MTU)
    for offset in (18, 20, 21, 30):     # group, hop, worker: what switches and filters chose by
        with pytest.raises(FrameError):
            taken_apart(message[:offset] + bytes([message[offset] ^ 1]) + message[offset + 1:])


def test_aggregates_are_not_nested():
    (message,) = aggregated(inputs(2), MTU)
    (nested,) = aggregated([message, message], MTU)
    for inner in taken_apart(nested):
        with pytest.raises(FrameError):
            decode_input(inner)


def test_damage_gives_frames_of_the_same_path_or_a_frame_error():
    messages = [aggregated(frames, MTU)[0] for frames in (inputs(5), inputs(5, 1500), outputs(16), outputs(2, worker=3))]
    taken = 0
    for message in mutations(messages, 10_000, seed=3):
        try:
            frames = taken_apart(message)
        except FrameError:
            continue
        taken += 1
        assert frames == [message] or len(frames) <= FRAMES_MAX and all(
            len(frame) >= HEAD and hop_of(frame) in (None, hop_of(message)) and frame[30] == message[30] for frame in frames)
    assert taken > 100, "the damage is too coarse to prove much"


def test_any_mixture_comes_out_as_it_went_in():
    rng = random.Random(5)
    kinds = [inputs(1, rng.choice((0, 14, 64, 1500, 4000)), worker)[0] for worker in range(3) for _ in range(4)] + outputs(3) + [b"short"]
    for _ in range(500):
        frames = rng.choices(kinds, k=rng.randrange(60))
        assert apart(aggregated(frames, rng.choice((0, 100, 1514, MTU)))) == frames


def test_only_bytes_are_frames():
    for frames in ([None], ["text"], [b"x" * 40, bytearray(40)]):
        with pytest.raises(TypeError):
            aggregated(frames, MTU)
    assert hop_of(aggregated(outputs(2), MTU)[0])[1] == HOP_OUTPUT
