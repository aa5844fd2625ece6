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

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

cdef extern from "<endian.h>" nogil:
    uint16_t be16toh(uint16_t value)
    uint32_t be32toh(uint32_t value)
    uint64_t be64toh(uint64_t value)
    uint16_t htobe16(uint16_t value)
    uint32_t htobe32(uint32_t value)
    uint64_t htobe64(uint64_t value)

ETHERTYPE = b"\x89\x4f"
METADATA_CLASS = 0xFFF6

HOP_INPUT, HOP_OUTPUT, HOP_ACK, HOP_TRIM = 255, 254, 253, 252
TLV_INPUT, TLV_OUTPUT, TLV_CLOCK, TLV_DETERMINANTS, TLV_BATCH, TLV_ACK, TLV_DURABLE, TLV_COVERS, TLV_AGGREGATE = 1, 2, 3, 4, 5, 6, 7, 8, 9

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

# What is on the path of each packet is read and written as the structures of frames.pxd: INPUT frames, which have one layout,
# and OUTPUT frames with no determinants or one run of them.
cdef enum:
    _INPUT_WORDS = (sizeof(InputHead) - 14) // 4
    _OUTPUT_WORDS = (sizeof(OutputHead) - 14) // 4
    _RUN_WORDS = sizeof(RunTlv) // 4
cdef uint16_t _CLASS = METADATA_CLASS
cdef uint16_t _NSH = 0x894F
cdef uint64_t _STEP_MAX = STEP_MAX
_new_tuple = tuple.__new__      # a named tuple's own constructor costs twice as much
cdef bytes _RUN_TLV = _TLV.pack(METADATA_CLASS, TLV_DETERMINANTS, RUN_BYTES)


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


def hop_of(bytes frame not None):
    """(group id, hop) of an NSH frame, or None if it is not one with our kind of header."""
    cdef const Head *head = <const Head *> PyBytes_AS_STRING(frame)
    if PyBytes_GET_SIZE(frame) < _HEAD or head.ethertype != htobe16(_NSH) or head.md_type != 2:
        return None
    cdef uint32_t path = be32toh(head.path)
    return path >> 8, path & 0xFF


def by_hop(list frames not None):
    """[((group id, hop), frames), ...] of NSH *frames*, in runs: nearly always one, since there is one group. Too short ones are left out."""
    cdef list found = [], run = None
    cdef uint32_t path, last = 0
    cdef bytes frame
    for frame in frames:
        if PyBytes_GET_SIZE(frame) < _HEAD:
            continue
        path = (<const Head *> PyBytes_AS_STRING(frame)).path
        if run is None or path != last:
            run, last = [], path
            path = be32toh(path)
            found.append(((path >> 8, path & 0xFF), run))
        run.append(frame)
    return found


def addressed_to(list frames not None, bytes mac not None):
    """Those of *frames* that a port with address *mac* accepts: its own unicast, and broadcast and multicast."""
    cdef list accepted = []
    cdef bytes frame
    cdef const char *start
    for frame in frames:
        start = PyBytes_AS_STRING(frame)
        if PyBytes_GET_SIZE(frame) and (start[0] & 1 or PyBytes_GET_SIZE(frame) >= 6 and not memcmp(start, <const char *> mac, 6)):
            accepted.append(frame)
    return accepted


def _first_bytes(destination, source, path, next_protocol, words, tlv, size):
    """A frame up to the head of its first TLV."""
    return b"".join((destination, source, ETHERTYPE, _BASE.pack(_TTL_BITS | words, 2, next_protocol, path),
                     _TLV.pack(METADATA_CLASS, tlv, size)))


cdef inline bint _begins_with(const Head *head, uint8_t tlv, uint8_t tlv_bytes) noexcept:
    return head.tlv_class == htobe16(_CLASS) and head.tlv_type == tlv and head.tlv_bytes == tlv_bytes


cdef inline int _words(const Head *head) noexcept:
    return be16toh(head.lengths) & 63


# -- input logger -> master

cdef class InputEncoder:
    """Makes INPUT frames for one group; *source* is the sender's MAC (6 bytes)."""

    def __init__(self, group_id, source):
        self._packet_head, self._tick_head = [
            _first_bytes(virtual_mac("master", group_id), source, group_id << 8 | HOP_INPUT, next_protocol, _INPUT_WORDS, TLV_INPUT,
                         _INPUT.size) for next_protocol in (_NEXT_ETHERNET, _NEXT_NONE)]

    def encode(self, epoch, worker, item):
        """The frame for *item* (an Input)."""
        n, timestamp_ns, port, kind, frame = item
        cdef InputFields fields
        fields.epoch, fields.worker, fields.port, fields.kind = epoch, worker, port, kind
        fields.n, fields.timestamp_ns = n, timestamp_ns
        return self.encode_fields(&fields, frame)

    cdef bytes encode_fields(self, InputFields *fields, bytes frame):
        """The frame for an input with these *fields* and the packet *frame*."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        cdef bytes made = PyBytes_FromStringAndSize(NULL, sizeof(InputHead) + size)
        cdef InputHead *head = <InputHead *> PyBytes_AS_STRING(made)
        memcpy(head, <const char *> (self._tick_head if fields.kind == TICK else self._packet_head), sizeof(Head))
        head.epoch, head.worker, head.port, head.kind, head.reserved = htobe32(fields.epoch), fields.worker, fields.port, fields.kind, 0
        head.n, head.timestamp_ns = htobe64(fields.n), htobe64(fields.timestamp_ns)
        memcpy(head + 1, PyBytes_AS_STRING(frame), size)
        return made


cdef int read_input(bytes frame, InputFields *fields) except -1:
    """The *fields* of an INPUT frame. Raises FrameError."""
    cdef const InputHead *head = <const InputHead *> PyBytes_AS_STRING(frame)
    if PyBytes_GET_SIZE(frame) < <Py_ssize_t> sizeof(InputHead):
        raise FrameError("input frame is truncated")
    if _words(&head.head) != _INPUT_WORDS or not _begins_with(&head.head, TLV_INPUT, sizeof(InputHead) - sizeof(Head)) or head.kind > TICK:
        raise FrameError("input frame has an unknown layout")
    fields.epoch, fields.worker, fields.port, fields.kind = be32toh(head.epoch), head.worker, head.port, head.kind
    fields.n, fields.timestamp_ns = be64toh(head.n), be64toh(head.timestamp_ns)
    return 0


cdef bytes packet_of_input(bytes frame):
    """The packet in an INPUT frame that ``read_input`` accepted."""
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(frame) + sizeof(InputHead), PyBytes_GET_SIZE(frame) - sizeof(InputHead))


cdef bytes at_epoch(bytes frame, uint32_t epoch):
    """An INPUT frame of our own making, as one of *epoch*."""
    if (<const InputHead *> PyBytes_AS_STRING(frame)).epoch == htobe32(epoch):
        return frame
    cdef bytes made = PyBytes_FromStringAndSize(PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
    (<InputHead *> PyBytes_AS_STRING(made)).epoch = htobe32(epoch)
    return made


def decode_input(bytes frame not None):
    """(epoch, worker, Input) of an INPUT frame. Raises FrameError."""
    cdef InputFields fields
    read_input(frame, &fields)
    return fields.epoch, fields.worker, _new_tuple(Input, (fields.n, fields.timestamp_ns, fields.port, fields.kind, packet_of_input(frame)))


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

cdef class OutputEncoder:
    """Makes OUTPUT frames for one group; *source* is the sender's MAC (6 bytes)."""

    def __init__(self, group_id, source):
        self._group_id, self._source = group_id, source
        self._destination = virtual_mac("output-logger", group_id)
        self._bare_head, self._run_head = self._head(_OUTPUT_WORDS), self._head(_OUTPUT_WORDS + _RUN_WORDS)

    def _head(self, words):
        return _first_bytes(self._destination, self._source, self._group_id << 8 | HOP_OUTPUT, _NEXT_ETHERNET, words,
                            TLV_OUTPUT, _OUTPUT.size)

    cpdef bytes encode(self, uint32_t epoch, uint8_t worker, uint64_t k, uint16_t j, uint8_t port, clock, bytes determinants, bytes frame):
        """One output, with the encoded *determinants* of its worker not sent yet (may be empty)."""
        cdef bytes start = self._bare_head, tail = b""
        if clock or determinants:
            if clock:
                tail = _tlv(TLV_CLOCK, b"".join([_CLOCK_ENTRY.pack(*entry) for entry in clock]))
            if determinants:
                tail += _tlv(TLV_DETERMINANTS, determinants)
            start = self._run_head if len(tail) == sizeof(RunTlv) else self._head(_OUTPUT_WORDS + len(tail) // 4)
        cdef Py_ssize_t tail_size = PyBytes_GET_SIZE(tail), size = PyBytes_GET_SIZE(frame)
        cdef bytes made = PyBytes_FromStringAndSize(NULL, sizeof(OutputHead) + tail_size + size)
        cdef OutputHead *head = <OutputHead *> PyBytes_AS_STRING(made)
        memcpy(head, PyBytes_AS_STRING(start), sizeof(Head))
        head.epoch, head.worker, head.port, head.j, head.k = htobe32(epoch), worker, port, htobe16(j), htobe64(k)
        memcpy(head + 1, PyBytes_AS_STRING(tail), tail_size)
        memcpy(<char *> (head + 1) + tail_size, PyBytes_AS_STRING(frame), size)
        return made

    def encode_batch(self, epoch, worker, determinants):
        """Encoded *determinants* of *worker* in a frame of their own."""
        head = _OUTPUT.pack(epoch, worker, 0, 0, 0)
        return _nsh(self._destination, self._source, self._group_id, HOP_OUTPUT, _NEXT_NONE,
                    [_tlv(TLV_BATCH, head)], determinants)


cdef bint read_common_output(bytes frame, OutputFields *fields) noexcept:
    """The *fields* of an OUTPUT frame with a packet, no clock and at most one run of determinants; False if it is none."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
    cdef const OutputHead *head = <const OutputHead *> PyBytes_AS_STRING(frame)
    if size < <Py_ssize_t> sizeof(OutputHead) or not _begins_with(&head.head, TLV_OUTPUT, sizeof(OutputHead) - sizeof(Head)):
        return False
    fields.run_at, fields.packet_at = 0, sizeof(OutputHead)
    if _words(&head.head) == _OUTPUT_WORDS + _RUN_WORDS:
        if size < <Py_ssize_t> (sizeof(OutputHead) + sizeof(RunTlv)) or memcmp(head + 1, PyBytes_AS_STRING(_RUN_TLV), 4):
            return False
        fields.run_at, fields.packet_at = sizeof(OutputHead) + 4, sizeof(OutputHead) + sizeof(RunTlv)
    elif _words(&head.head) != _OUTPUT_WORDS:
        return False
    fields.epoch, fields.worker, fields.port, fields.j = be32toh(head.epoch), head.worker, head.port, be16toh(head.j)
    fields.k = be64toh(head.k)
    return 0 < fields.k <= _STEP_MAX


def decode_output(bytes frame not None):
    """An Output; a batch of determinants comes as an Output with k = 0 and no frame. Raises FrameError."""
    cdef OutputFields fields
    if not read_common_output(frame, &fields):
        return _decode_any_output(frame)
    determinants = frame[fields.run_at:fields.run_at + RUN_BYTES] if fields.run_at else b""
    return Output(fields.epoch, fields.worker, fields.k, fields.j, fields.port, (), determinants, frame[fields.packet_at:])


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
