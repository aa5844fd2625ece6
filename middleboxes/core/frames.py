"""Data-plane frames between input logger, master and output logger: NSH (RFC 8300) over Ethernet.

::

    Ethernet  destination (a virtual MAC), source, 0x894F
    NSH       version 0, TTL 63, MD type 2, next protocol 3 (Ethernet) or 0xFE (no packet inside);
              service path id = the group, service index = the hop (below)
    context   TLVs of metadata class 0xFFF6, one of the types below
    payload   the original Ethernet frame, or encoded determinants, or nothing

    hop 255 INPUT   input logger -> master    TLV input
    hop 254 OUTPUT  master -> output logger   TLV output [clock] [determinants], payload the frame
    hop 254 OUTPUT  master -> output logger   TLV batch, payload encoded determinants
    hop 253 ACK     output logger -> master   TLV ack
    hop 252 TRIM    master -> both loggers    TLV covers, then TLV durable, one for each worker

All numbers are big-endian. A context TLV holds at most 127 bytes and all of them at most 244 (the NSH length field);
encoded determinants above DETERMINANTS_INLINE_BYTES_MAX travel as a batch of their own.
Whatever can't be decoded raises FrameError: a frame from the network is never trusted.
"""

import struct
from typing import NamedTuple

ETHERTYPE = b"\x89\x4f"
METADATA_CLASS = 0xFFF6

HOP_INPUT, HOP_OUTPUT, HOP_ACK, HOP_TRIM = 255, 254, 253, 252
TLV_INPUT, TLV_OUTPUT, TLV_CLOCK, TLV_DETERMINANTS, TLV_BATCH, TLV_ACK, TLV_DURABLE, TLV_COVERS = 1, 2, 3, 4, 5, 6, 7, 8

#: kinds of inputs
PACKET, TICK = 0, 1

#: most workers of a group: a vector clock must fit one TLV
WORKERS_MAX = 12

DETERMINANTS_INLINE_BYTES_MAX = 96

#: greatest number of a step: with 16 bits more, for the output, it is a key of 64 bits
STEP_MAX = (1 << 48) - 1

_NEXT_ETHERNET, _NEXT_NONE = 3, 0xFE
_ROLE_CODES = {"input-logger": 1, "master": 2, "output-logger": 3}

_BASE = struct.Struct(">HBBI")          # flags+TTL+length, MD type, next protocol, path id + index
_TLV = struct.Struct(">HBB")            # class, type, length in bytes
_INPUT = struct.Struct(">IBBBxQQ")      # epoch, worker, port, kind, n, timestamp_ns
_OUTPUT = struct.Struct(">IBBHQ")       # epoch, worker, port, j, k
_CLOCK_ENTRY = struct.Struct(">BQ")     # worker, k
_ACK = struct.Struct(">IBBxxQ")         # epoch, worker, resend, k
_DURABLE = struct.Struct(">IBxxxQQ")    # epoch, worker, k, n
_COVERS = struct.Struct(">I")           # epoch of the last replacement

_HEAD = 14 + _BASE.size                 # bytes before the first TLV
_TTL_BITS = 63 << 6

# What is on the path of each packet is read and written in one go: INPUT frames, which have one layout, and OUTPUT frames
# with no determinants or one run of them. All up to the head of the first TLV is a constant (_FIRST_TLV bytes).
_FIRST_TLV = _HEAD + _TLV.size
_INPUT_FRAME = struct.Struct(f">{_FIRST_TLV}s" + _INPUT.format[1:])
_INPUT_FIELDS = struct.Struct(">14xH6xI" + _INPUT.format[1:])
_INPUT_WORDS = (_BASE.size + _TLV.size + _INPUT.size) // 4
_INPUT_TLV = int.from_bytes(_TLV.pack(METADATA_CLASS, TLV_INPUT, _INPUT.size), "big")
_OUTPUT_FRAME = struct.Struct(f">{_FIRST_TLV}s" + _OUTPUT.format[1:])
_OUTPUT_FIELDS = struct.Struct(">14xH6xI" + _OUTPUT.format[1:])
_OUTPUT_WORDS = (_BASE.size + _TLV.size + _OUTPUT.size) // 4
_OUTPUT_TLV = int.from_bytes(_TLV.pack(METADATA_CLASS, TLV_OUTPUT, _OUTPUT.size), "big")
#: one run of determinants (middleboxes.core.determinants), and where the packet begins behind it
RUN_BYTES = 21
_RUN_TLV = _TLV.pack(METADATA_CLASS, TLV_DETERMINANTS, RUN_BYTES)
_RUN_WORDS = (_TLV.size + RUN_BYTES + -RUN_BYTES % 4) // 4
_OUTPUT_RUN_FRAME = struct.Struct(_OUTPUT_FRAME.format + f"{_TLV.size}s{RUN_BYTES}s{-RUN_BYTES % 4}x")
_RUN_AT = _OUTPUT_FRAME.size + _TLV.size
_new_tuple = tuple.__new__      # a named tuple's own constructor costs twice as much


class FrameError(ValueError):
    """A frame that is not of this protocol, truncated, or with impossible lengths."""


class Input(NamedTuple):
    """One logged input: its worker's number *n*, Unix time in ns, port number, PACKET or TICK, the frame."""

    n: int
    timestamp_ns: int
    port: int
    kind: int
    frame: bytes


class Output(NamedTuple):
    """One output of a master with what its release depends on."""

    epoch: int
    worker: int
    k: int
    j: int
    port: int
    clock: tuple         # ((worker, k), ...): other workers' steps it depends on
    determinants: bytes  # encoded, of this worker; may be empty
    frame: bytes


def virtual_mac(role, group_id):
    """The virtual MAC (6 bytes) of a group's *role*."""
    return struct.pack(">IH", 0x02465400 | _ROLE_CODES[role], group_id)


def format_mac(mac):
    """b"\\x02..." as "02:..."."""
    return mac.hex(":")


def hop_of(frame):
    """(group id, hop) of an NSH frame, or None if it is not one with our kind of header."""
    if len(frame) < _HEAD or frame[12:14] != ETHERTYPE or frame[16] != 2:
        return None
    path = int.from_bytes(frame[18:22], "big")
    return path >> 8, path & 0xFF


def _first_bytes(destination, source, path, next_protocol, words, tlv, size):
    """A frame up to the head of its first TLV."""
    return b"".join((destination, source, ETHERTYPE, _BASE.pack(_TTL_BITS | words, 2, next_protocol, path),
                     _TLV.pack(METADATA_CLASS, tlv, size)))


# -- input logger -> master

class InputEncoder:
    """Makes INPUT frames for one group; *source* is the sender's MAC (6 bytes)."""

    def __init__(self, group_id, source):
        self._heads = [_first_bytes(virtual_mac("master", group_id), source, group_id << 8 | HOP_INPUT, next_protocol,
                                    _INPUT_WORDS, TLV_INPUT, _INPUT.size) for next_protocol in (_NEXT_ETHERNET, _NEXT_NONE)]

    def encode(self, epoch, worker, item):
        """The frame for *item* (an Input)."""
        n, timestamp_ns, port, kind, frame = item
        return _INPUT_FRAME.pack(self._heads[kind], epoch, worker, port, kind, n, timestamp_ns) + frame


def decode_input(frame):
    """(epoch, worker, Input) of an INPUT frame. Raises FrameError."""
    if len(frame) < _INPUT_FRAME.size:
        raise FrameError("input frame is truncated")
    lengths, tlv, epoch, worker, port, kind, n, timestamp_ns = _INPUT_FIELDS.unpack_from(frame)
    if lengths & 63 != _INPUT_WORDS or tlv != _INPUT_TLV or kind > TICK:
        raise FrameError("input frame has an unknown layout")
    return epoch, worker, _new_tuple(Input, (n, timestamp_ns, port, kind, frame[_INPUT_FRAME.size:]))


# -- the general form, for all other hops

def _nsh(destination, source, group_id, hop, next_protocol, tlvs, payload):
    context = b"".join(tlvs)
    words = (_BASE.size + len(context)) // 4
    return b"".join((destination, source, ETHERTYPE, _BASE.pack(_TTL_BITS | words, 2, next_protocol, group_id << 8 | hop),
                     context, payload))


def _tlv(kind, body):
    padding = -len(body) % 4
    return _TLV.pack(METADATA_CLASS, kind, len(body)) + body + bytes(padding)


def _tlvs(frame):
    """([(type, body), ...], payload) of an NSH frame whose head `hop_of` accepted. Raises FrameError."""
    end = 14 + (int.from_bytes(frame[14:16], "big") & 63) * 4
    if end > len(frame) or end < _HEAD:
        raise FrameError("NSH length does not fit the frame")
    found, offset = [], _HEAD
    while offset < end:
        if offset + 4 > end:
            raise FrameError("truncated metadata")
        cls, kind, size = _TLV.unpack_from(frame, offset)
        offset += 4
        if cls != METADATA_CLASS or offset + size > end:
            raise FrameError("metadata of another class or beyond the header")
        found.append((kind, frame[offset:offset + size]))
        offset += size + (-size % 4)
    return found, frame[end:]


def _body(form, kind, found):
    """The fields of the one TLV that must be there."""
    if len(found) != 1 or found[0][0] != kind or len(found[0][1]) != form.size:
        raise FrameError("unknown layout")
    return form.unpack(found[0][1])


# -- master -> output logger

class OutputEncoder:
    """Makes OUTPUT frames for one group; *source* is the sender's MAC (6 bytes)."""

    def __init__(self, group_id, source):
        self._group_id, self._source = group_id, source
        self._destination = virtual_mac("output-logger", group_id)
        self._bare_head, self._run_head = self._head(_OUTPUT_WORDS), self._head(_OUTPUT_WORDS + _RUN_WORDS)

    def _head(self, words):
        return _first_bytes(self._destination, self._source, self._group_id << 8 | HOP_OUTPUT, _NEXT_ETHERNET, words,
                            TLV_OUTPUT, _OUTPUT.size)

    def encode(self, epoch, worker, k, j, port, clock, determinants, frame):
        """One output, with the encoded *determinants* of its worker not sent yet (may be empty)."""
        if not clock:
            if len(determinants) == RUN_BYTES:
                return _OUTPUT_RUN_FRAME.pack(self._run_head, epoch, worker, port, j, k, _RUN_TLV, determinants) + frame
            if not determinants:
                return _OUTPUT_FRAME.pack(self._bare_head, epoch, worker, port, j, k) + frame
        tail = b""
        if clock:
            tail = _tlv(TLV_CLOCK, b"".join(_CLOCK_ENTRY.pack(*entry) for entry in clock))
        if determinants:
            tail += _tlv(TLV_DETERMINANTS, determinants)
        return _OUTPUT_FRAME.pack(self._head(_OUTPUT_WORDS + len(tail) // 4), epoch, worker, port, j, k) + tail + frame

    def encode_batch(self, epoch, worker, determinants):
        """Encoded *determinants* of *worker* in a frame of their own."""
        head = _OUTPUT.pack(epoch, worker, 0, 0, 0)
        return _nsh(self._destination, self._source, self._group_id, HOP_OUTPUT, _NEXT_NONE,
                    [_tlv(TLV_BATCH, head)], determinants)


def decode_output(frame):
    """An Output; a batch of determinants comes as an Output with k = 0 and no frame. Raises FrameError."""
    if len(frame) >= _OUTPUT_RUN_FRAME.size:
        lengths, tlv, epoch, worker, port, j, k = _OUTPUT_FIELDS.unpack_from(frame)
        words = lengths & 63
        if tlv == _OUTPUT_TLV and 0 < k <= STEP_MAX:
            if words == _OUTPUT_WORDS:
                return _new_tuple(Output, (epoch, worker, k, j, port, (), b"", frame[_OUTPUT_FRAME.size:]))
            if words == _OUTPUT_WORDS + _RUN_WORDS and frame[_OUTPUT_FRAME.size:_RUN_AT] == _RUN_TLV:
                return _new_tuple(Output, (epoch, worker, k, j, port, (), frame[_RUN_AT:_RUN_AT + RUN_BYTES],
                                           frame[_OUTPUT_RUN_FRAME.size:]))
    return _decode_any_output(frame)


def _decode_any_output(frame):
    """``decode_output`` of whatever layout."""
    found, payload = _tlvs(frame)
    if not found or len(found[0][1]) != _OUTPUT.size:
        raise FrameError("output frame has an unknown layout")
    epoch, worker, port, j, k = _OUTPUT.unpack(found[0][1])
    if found[0][0] == TLV_BATCH:
        return Output(epoch, worker, 0, 0, 0, (), payload, b"")
    if found[0][0] != TLV_OUTPUT or not 0 < k <= STEP_MAX:
        raise FrameError("output frame has an unknown layout")
    clock, determinants = (), b""
    for kind, body in found[1:]:
        if kind == TLV_DETERMINANTS:
            determinants = body
        elif kind == TLV_CLOCK and len(body) % _CLOCK_ENTRY.size == 0:
            clock = tuple(_CLOCK_ENTRY.iter_unpack(body))
        else:
            raise FrameError(f"output frame has an unknown metadata type {kind}")
    return Output(epoch, worker, k, j, port, clock, determinants, payload)


# -- acknowledgements and trimming

def encode_ack(group_id, source, epoch, worker, k, resend):
    """Output logger to master: determinants of *worker* up to *k* are stored; *resend* asks for what follows."""
    return _nsh(virtual_mac("master", group_id), source, group_id, HOP_ACK, _NEXT_NONE,
                [_tlv(TLV_ACK, _ACK.pack(epoch, worker, resend, k))], b"")


def decode_ack(frame):
    """(epoch, worker, k, resend). Raises FrameError."""
    epoch, worker, resend, k = _body(_ACK, TLV_ACK, _tlvs(frame)[0])
    return epoch, worker, k, bool(resend)


def encode_trim(role, group_id, source, epoch, positions, covers):
    """Master to a logger (*role*): a checkpoint at *positions* [(n, k) per worker] is durable.

    *covers*: the epoch of the last replacement of that role that the master had been told of when it cut it.
    """
    head = _tlv(TLV_COVERS, _COVERS.pack(covers))
    tlvs = [_tlv(TLV_DURABLE, _DURABLE.pack(epoch, worker, k, n)) for worker, (n, k) in enumerate(positions)]
    half = len(tlvs) // 2 if len(tlvs) > 8 else len(tlvs)
    return [_nsh(virtual_mac(role, group_id), source, group_id, HOP_TRIM, _NEXT_NONE, [head, *part], b"")
            for part in (tlvs[:half], tlvs[half:]) if part]


def decode_trim(frame):
    """(epoch, {worker: (n, k)}, covers). Raises FrameError."""
    found, _ = _tlvs(frame)
    covers, = _body(_COVERS, TLV_COVERS, found[:1])
    positions, epoch = {}, 0
    for item in found[1:]:
        epoch, worker, k, n = _body(_DURABLE, TLV_DURABLE, [item])
        if k > STEP_MAX:
            raise FrameError(f"trim of step {k}: there is no such")
        positions[worker] = (n, k)
    if not positions:
        raise FrameError("trim without positions")
    return epoch, positions, covers
