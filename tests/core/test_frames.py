"""Frames: what is written is what RFC 8300 says and what is read; damaged frames only ever raise FrameError."""

import struct

import pytest

from middleboxes.core import frames
from middleboxes.core.frames import (PACKET, TICK, FrameError, Input, InputEncoder, OutputEncoder, addressed_to, by_hop, decode_ack,
                                     decode_input, decode_output, decode_trim, encode_ack, encode_trim, hop_of, virtual_mac)

from .boxes import MAC, mutations

GROUP = 0xABCD
PAYLOAD = bytes(range(60))
ITEM = Input((1 << 64) - 1, 1_700_000_000_000_000_001, 3, PACKET, PAYLOAD)


def samples():
    encoder = OutputEncoder(GROUP, MAC)
    return [
        InputEncoder(GROUP, MAC).encode(9, 2, ITEM),
        InputEncoder(GROUP, MAC).encode(9, 11, Input(5, 6, 0, TICK, b"")),
        encoder.encode(9, 2, 77, 3, 1, (), b"", PAYLOAD),
        encoder.encode(9, 2, 77, 3, 1, tuple((w, 1 << 63 | w) for w in range(11)), bytes(range(96)), PAYLOAD),
        encoder.encode_batch(9, 2, b"determinants"),
        encode_ack(GROUP, MAC, 9, 2, 1 << 40, True),
        *encode_trim("input-logger", GROUP, MAC, 9, [(w, w * 2) for w in range(frames.WORKERS_MAX)], 7),
    ]


def nsh(frame):
    """An independent reading of RFC 8300: (fields, [(class, type, body)], payload)."""
    assert frame[12:14] == bytes.fromhex("894f")
    first, second, path = struct.unpack("!HHI", frame[14:22])
    fields = {"version": first >> 14, "oam": first >> 13 & 1, "ttl": first >> 6 & 63, "words": first & 63,
              "md_type": second >> 8 & 15, "next": second & 255, "spi": path >> 8, "si": path & 255}
    context, payload = frame[22:14 + 4 * fields["words"]], frame[14 + 4 * fields["words"]:]
    tlvs = []
    while context:
        cls, kind, length = struct.unpack("!HBB", context[:4])
        assert length < 128, "the first bit of the length is reserved"
        tlvs.append((cls, kind, context[4:4 + length]))
        padded = (length + 3) // 4 * 4
        assert not any(context[4 + length:4 + padded])
        context = context[4 + padded:]
    return fields, tlvs, payload


def test_every_frame_is_nsh_as_rfc_8300_says():
    for frame in samples():
        fields, tlvs, _ = nsh(frame)
        assert fields["version"] == 0 and fields["oam"] == 0 and fields["ttl"] == 63 and fields["md_type"] == 2
        assert fields["spi"] == GROUP and fields["si"] == hop_of(frame)[1] and hop_of(frame)[0] == GROUP
        assert all(0xFFF6 <= cls <= 0xFFFE for cls, _, _ in tlvs)
        assert frame[6:12] == MAC


def test_input_frame_byte_by_byte():
    frame = InputEncoder(GROUP, MAC).encode(9, 2, ITEM)
    fields, tlvs, payload = nsh(frame)
    assert fields["next"] == 3 and payload == PAYLOAD and frame[:6] == bytes.fromhex("02465402abcd")
    assert tlvs == [(0xFFF6, 1, bytes.fromhex("00000009 02 03 00 00 ffffffffffffffff") + struct.pack("!Q", ITEM.timestamp_ns))]
    fields, _, payload = nsh(InputEncoder(GROUP, MAC).encode(9, 2, Input(5, 6, 0, TICK, b"")))
    assert fields["next"] == 0xFE and payload == b""


def test_output_frame_byte_by_byte():
    frame = OutputEncoder(GROUP, MAC).encode(9, 2, 77, 3, 1, ((0, 5), (1, 6)), b"abc", PAYLOAD)
    fields, tlvs, payload = nsh(frame)
    assert fields["next"] == 3 and payload == PAYLOAD and frame[:6] == bytes.fromhex("02465403abcd")
    assert tlvs == [(0xFFF6, 2, bytes.fromhex("00000009 02 01 0003 000000000000004d")),
                    (0xFFF6, 3, bytes.fromhex("00 0000000000000005 01 0000000000000006")), (0xFFF6, 4, b"abc")]


def test_round_trips():
    first, ticked, plain, full, batch, ack, *trims = samples()
    assert decode_input(first) == (9, 2, ITEM)
    assert decode_input(ticked) == (9, 11, Input(5, 6, 0, TICK, b""))
    assert decode_output(plain) == (9, 2, 77, 3, 1, (), b"", PAYLOAD)
    assert decode_output(full) == (9, 2, 77, 3, 1, tuple((w, 1 << 63 | w) for w in range(11)), bytes(range(96)), PAYLOAD)
    assert decode_output(batch) == (9, 2, 0, 0, 0, (), b"determinants", b"")
    assert decode_ack(ack) == (9, 2, 1 << 40, True)
    positions = {}
    for trim in trims:
        epoch, some, covers = decode_trim(trim)
        assert (epoch, covers) == (9, 7)
        positions.update(some)
    assert positions == {w: (w, w * 2) for w in range(frames.WORKERS_MAX)}


def test_virtual_macs_name_role_and_group():
    assert [virtual_mac(role, 0x0102).hex(":") for role in ("input-logger", "master", "output-logger")] == [
        "02:46:54:01:01:02", "02:46:54:02:01:02", "02:46:54:03:01:02"]


DECODERS = {frames.HOP_INPUT: decode_input, frames.HOP_OUTPUT: decode_output, frames.HOP_ACK: decode_ack,
            frames.HOP_TRIM: decode_trim}


def try_all(data):
    """Decode as a receiver would, and by every decoder; returns how many accepted it."""
    accepted = 0
    hop_of(data)
    for decode in DECODERS.values():
        try:
            decode(data)
            accepted += 1
        except FrameError:
            continue
    return accepted


def test_every_truncation_of_headers_is_refused():
    for frame in samples():
        found = hop_of(frame)
        header = 14 + 4 * (frame[15] & 63)
        for length in range(header):
            with pytest.raises(FrameError):
                DECODERS[found[1]](frame[:length])
            try_all(frame[:length])


def test_damaged_frames_raise_nothing_but_frame_error():
    accepted = sum(try_all(data) for data in mutations(samples(), 10_000, seed=1))
    assert accepted > 100, "the damage is too coarse to prove much"


@pytest.mark.parametrize("frame", [b"", bytes(64), b"\xff" * 64])
def test_strangers_are_no_frames_of_ours(frame):
    assert hop_of(frame) is None
    assert try_all(frame) == 0


def test_frames_go_on_in_runs_of_one_group_and_hop():
    inputs = [InputEncoder(group, MAC).encode(9, 0, ITEM) for group in (1, 1, 2)]
    ack = encode_ack(1, MAC, 9, 0, 1, False)
    assert by_hop([*inputs, b"short", ack, inputs[0]]) == [
        ((1, frames.HOP_INPUT), inputs[:2]), ((2, frames.HOP_INPUT), inputs[2:]), ((1, frames.HOP_ACK), [ack]), ((1, frames.HOP_INPUT), inputs[:1])]
    assert by_hop([]) == []


def test_a_port_accepts_what_is_for_it_and_for_all():
    own, other = MAC + bytes(20), bytes([MAC[0], *MAC[1:5], MAC[5] ^ 1]) + bytes(20)
    everybody, some = b"\xff" * 6 + bytes(20), bytes.fromhex("01005e000001")
    assert addressed_to([own, other, everybody, some, b"", MAC[:5], MAC], MAC) == [own, everybody, some, MAC]
