"""The data plane: whatever comes in a frame is decoded or refused by name, and what was refused has changed nothing."""

import copy

from middleboxes.core.aggregates import FRAMES_MAX, aggregated, taken_apart
from middleboxes.core.determinants import _FIRST, _RUN, _STEP, DeterminantError, DeterminantLog, decode
from middleboxes.core.frames import (HOP_ACK, HOP_INPUT, HOP_OUTPUT, HOP_TRIM, FrameError, Input, InputEncoder, OutputEncoder, decode_ack,
                                     decode_input, decode_output, decode_trim, encode_ack, encode_trim, hop_of)
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.outputlog import OutputLogger, pack_keys
from tests.core.boxes import GROUP, MAC, Stamp, master, packet

from . import generate

EPOCH = 3
DECODERS = {HOP_INPUT: decode_input, HOP_OUTPUT: decode_output, HOP_ACK: decode_ack, HOP_TRIM: decode_trim}


def determinants(rng):
    """Encoded determinants: those of a log, or runs and steps with any numbers."""
    if rng.randrange(2):
        log = DeterminantLog()
        for n in range(1, rng.randint(2, 6)):
            log.append(n * rng.choice((1, 1, 2)))
        return log.encode(0, 1000)[0]
    parts = [_FIRST.pack(number(rng))]
    for _ in range(rng.randint(1, 3)):
        parts.append(_RUN.pack(0, number(rng) % 2**32, number(rng)) if rng.randrange(4) else _STEP.pack(1, number(rng), 0))
    return b"".join(parts)


def number(rng):
    """Of a step or an input: ordinary, or near a limit."""
    return max(0, rng.choice((1, 2, 3, *generate.NUMBERS, 2**48)) + rng.choice((-2, -1, 0, 0, 0, 1, 2))) % 2**64


def good(rng, hop):
    """A good frame for *hop* with numbers that are ordinary or extreme."""
    epoch, worker = rng.choice((EPOCH,) * 6 + (1, 2**32 - 1)), rng.choice((0, 0, 0, 1, 1, 255))
    payload = rng.randbytes(rng.choice((0, 14, 60, 1500)))
    if hop == HOP_INPUT:
        return InputEncoder(GROUP, MAC).encode(epoch, worker, Input(number(rng), rng.getrandbits(60), rng.choice((0, 1, 255)), rng.choice((0, 1)), payload))
    if hop == HOP_OUTPUT:
        if rng.randrange(3) == 0:
            return OutputEncoder(GROUP, MAC).encode_batch(epoch, worker, determinants(rng))
        clock = tuple((rng.choice((0, 1, 200)), number(rng)) for _ in range(rng.choice((0, 0, 1, 3))))
        return OutputEncoder(GROUP, MAC).encode(epoch, worker, number(rng), rng.choice((0, 65535)), rng.choice((0, 1, 1, 9)), clock,
                                                determinants(rng), payload)
    if hop == HOP_ACK:
        return encode_ack(GROUP, MAC, epoch, worker, number(rng), rng.choice((True, False)))
    return encode_trim("output-logger", GROUP, MAC, epoch, [(number(rng), rng.getrandbits(3)), (1, number(rng))][:rng.randint(1, 2)],
                       number(rng) & 0xFFFFFFFF)[0]


def frame(rng, *hops):
    """(hop that it claims, bytes): good, damaged, cut, too long, or noise."""
    hop = rng.choice(hops or sorted(DECODERS))
    kind = rng.randrange(9)
    if kind == 0:
        return hop, generate.noise(rng, 9300)
    data = good(rng, hop)
    if kind == 1:
        return hop, data[:rng.randrange(len(data))]
    if kind == 2:
        return hop, data + rng.randbytes(rng.choice((1, 9000, 70_000)))
    if kind <= 6:
        return hop, data
    return hop, generate.damaged(rng, data)


def test_a_decoder_gives_numbers_in_their_range_or_a_frame_error(campaign):
    for rng in campaign:
        hop, data = frame(rng)
        hop_of(data)
        try:
            decoded = DECODERS[hop](data)
        except FrameError:
            continue
        if hop == HOP_OUTPUT:
            assert len(decoded.frame) + len(decoded.determinants) <= len(data) and 0 <= decoded.worker < 256
        elif hop == HOP_INPUT:
            assert len(decoded[2].frame) < len(data)


def test_a_decoder_is_not_misled_by_another_hops_frame(campaign):
    for rng in campaign:
        _, data = frame(rng)
        for decoder in DECODERS.values():
            try:
                decoder(data)
            except FrameError:
                continue


def test_an_aggregate_gives_whole_frames_of_its_own_path_or_is_refused(campaign):
    for rng in campaign:
        frames = [frame(rng)[1] for _ in range(rng.choice((1, 2, 5, 40)))]
        if rng.randrange(2):
            frames = [good(rng, HOP_INPUT)] * len(frames)
        messages = aggregated(frames, rng.choice((100, 1514, 9014)))
        assert [one for message in messages for one in taken_apart(message)] == frames
        damaged = generate.damaged(rng, messages[0])
        try:
            taken = taken_apart(damaged)
        except FrameError:
            continue
        assert taken == [damaged] or len(taken) <= FRAMES_MAX and all(hop_of(one) in (None, hop_of(damaged)) for one in taken)


def test_determinants_are_decoded_or_refused(campaign):
    for rng in campaign:
        data = generate.damaged(rng, determinants(rng)) if rng.randrange(3) else generate.noise(rng, 3000)
        log = DeterminantLog()
        try:
            decode(data)
            log.store(data)
        except DeterminantError:
            assert len(log) == 0 and log.last == 0
            continue
        log.encode(0, 1 << 16)      # what was taken can be told again


def facts(logger):
    """All that a logger keeps, but for counters."""
    kept = {name: getattr(logger, name) for name in dir(logger) if not name.startswith("__") and name not in ("counters", "_encoder")}
    return copy.deepcopy({name: [(log.last, log.trimmed, list(log._items)) for log in value] if name == "logs" else value
                          for name, value in kept.items() if not callable(value)})


def test_an_output_logger_refuses_without_a_trace_and_stays_within_its_bounds(campaign):
    """One logger takes frame after frame, with the time going on; what it has taken can be acknowledged and fenced."""
    logger, now_ns = None, 0
    for rng in campaign:
        if logger is None or rng.randrange(200) == 0:
            logger = OutputLogger(GROUP, MAC, 2, 2, EPOCH, pending_max=8, items_max=8)
        hop, data = frame(rng, HOP_OUTPUT, HOP_OUTPUT, HOP_TRIM)
        before = facts(logger) if rng.randrange(8) == 0 else None
        try:
            if hop == HOP_TRIM:
                logger.trim(*decode_trim(data))
            else:
                logger.receive(data)
        except (FrameError, DeterminantError):
            assert before is None or facts(logger) == before
        now_ns += 1_000_000
        logger.acknowledge(now_ns)
        assert sum(map(len, logger._waiting)) == logger._pending <= 8
        assert all(len(log) <= 8 + 8192 for log in logger.logs)
        if rng.randrange(20) == 0:
            recoverable(logger)


def recoverable(logger):
    """What *logger* holds can be told to a new master."""
    fenced = copy.deepcopy(logger)
    for worker, k in enumerate(fenced.fence(EPOCH + 1)):
        pack_keys(fenced.released(worker, 0, k))
        after = fenced.logs[worker].trimmed
        for _ in range(10):
            encoded, after = fenced.logs[worker].encode(after, 1000)
            if encoded:
                assert DeterminantLog(k=decode(encoded)[0] - 1).store(encoded)


def test_an_input_logger_refuses_without_a_trace(campaign):
    for rng in campaign:
        logger = InputLogger(GROUP, MAC, 2, EPOCH, 10_000)
        for number in range(4):
            logger.accept(0, rng.randbytes(60), number)
        _, data = frame(rng, HOP_TRIM)
        before = facts(logger)
        try:
            epoch, positions, _ = decode_trim(data)
            logger.trim(epoch, positions)
        except FrameError:
            assert facts(logger) == before
        assert 0 <= logger.log_bytes <= logger.log_bytes_max
        assert logger.after(0, rng.choice(generate.NUMBERS), 10)


def test_a_master_takes_no_harm_from_inputs_and_acknowledgements(campaign):
    """What the role hands to its core: inputs of workers that are there, and whatever claims to acknowledge."""
    core = None
    for rng in campaign:
        if core is None or rng.randrange(20) == 0:
            core = master(Stamp, epoch=EPOCH)
            core.process(0, packet(1))
        _, data = frame(rng, HOP_INPUT, HOP_ACK)
        k, frames = core.workers[0].k, []
        try:
            _, worker, item = decode_input(data)
            frames = [*core.process(0, item), *core.flush()] if worker == 0 else []
            assert core.workers[0].k - k in (0, 1)
        except FrameError:
            assert core.workers[0].k == k
        for output in frames:
            decode_output(output)       # what it makes of it is well-formed
        trimmed = core.workers[0].log.trimmed
        try:
            core.acknowledged(data)
        except FrameError:
            assert core.workers[0].log.trimmed == trimmed
        assert trimmed <= core.workers[0].log.trimmed <= core.workers[0].k
