"""Aggregates: several frames of one hop in one, as IEEE 802.11 has them (A-MSDU), so that a batch passes the network as a few.

What a frame costs the kernel, or a switch, hardly depends on its length. So frames that leave together for the same role and worker
go in one, at most FRAMES_MAX of them, and as long as the links' MTU allows::

    Ethernet  as the frames in it have it
    NSH       as the frames in it have it, but with next protocol 0xFF
    context   TLV aggregate: 4 bytes reserved, worker, 3 bytes reserved
    payload   for each frame: the length of what follows of it, 16 bits; the frame from its NSH header on

Who takes it apart gets each frame as if it had come alone, with the addresses that a redirect wrote. Path, hop and worker stand
where each frame has them: switches and socket filters choose by the same bytes. All numbers are big-endian.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint16_t
from libc.string cimport memcmp, memcpy, memset

from .frames import METADATA_CLASS, TLV_AGGREGATE, FrameError

cdef extern from "<endian.h>" nogil:
    uint16_t be16toh(uint16_t value)
    uint16_t htobe16(uint16_t value)

#: most frames in one: more would save little, and they are lost together
FRAMES_MAX = 16

cdef enum:
    _ETHERNET = 14
    _HEAD = sizeof(AggregateHead)       # also the least bytes of a frame that has a path and a worker
    _WORDS = (sizeof(AggregateHead) - 14) // 4
    _NEXT_AGGREGATE = 0xFF
cdef Py_ssize_t _FRAMES_MAX = FRAMES_MAX
cdef uint16_t _CLASS = METADATA_CLASS, _NSH = 0x894F
cdef uint8_t _TLV = TLV_AGGREGATE


cdef bint is_aggregate(const char *message, Py_ssize_t size) noexcept:
    """Whether *message* claims to be one."""
    cdef const Head *head = <const Head *> message
    return (size >= _HEAD and head.next_protocol == _NEXT_AGGREGATE and head.tlv_type == _TLV and head.ethertype == htobe16(_NSH)
            and head.md_type == 2 and head.tlv_class == htobe16(_CLASS))


cdef inline bint _is_one_of(const AggregateHead *head, const AggregateHead *frame) noexcept:
    """Whether *frame* is of the same path, hop and worker."""
    return frame.head.path == head.head.path and frame.worker == head.worker


cdef inline Py_ssize_t _length(object frame) noexcept:
    """Bytes that *frame* takes in an aggregate."""
    return sizeof(uint16_t) + PyBytes_GET_SIZE(frame) - _ETHERNET


cdef Py_ssize_t gather(list frames, Py_ssize_t start, char *into, Py_ssize_t bytes_max, Py_ssize_t *used) noexcept:
    """Put *frames* (bytes) from *start* on *into* an aggregate of at most *bytes_max* bytes; how many these are, and bytes *used*.

    1: that one has to go alone, and nothing was written.
    """
    cdef const AggregateHead *first = <const AggregateHead *> PyBytes_AS_STRING(frames[start])
    cdef const AggregateHead *other
    cdef Py_ssize_t count = 1, most = min(len(frames) - start, _FRAMES_MAX), at = _HEAD + _length(frames[start])
    bytes_max = min(bytes_max, 0xFFFF)      # so that no length has more than 16 bits
    if PyBytes_GET_SIZE(frames[start]) < _HEAD or first.head.ethertype != htobe16(_NSH) or first.head.md_type != 2:
        return 1
    while count < most:
        frame = frames[start + count]
        other = <const AggregateHead *> PyBytes_AS_STRING(frame)
        if PyBytes_GET_SIZE(frame) < _HEAD or at + _length(frame) > bytes_max or memcmp(first, other, _ETHERNET) or not _is_one_of(first, other):
            break
        at += _length(frame)
        count += 1
    if count > 1:
        used[0] = at
        _write(frames, start, count, into)
    return count


cdef void _write(list frames, Py_ssize_t start, Py_ssize_t count, char *into) noexcept:
    """Write the aggregate of *count* of *frames* from *start* on."""
    cdef AggregateHead *made = <AggregateHead *> into
    cdef const AggregateHead *first = <const AggregateHead *> PyBytes_AS_STRING(frames[start])
    cdef Py_ssize_t number, size
    cdef uint16_t length
    memcpy(made, first, sizeof(Head))
    made.head.lengths = htobe16(63 << 6 | _WORDS)
    made.head.next_protocol, made.head.tlv_class, made.head.tlv_type = _NEXT_AGGREGATE, htobe16(_CLASS), _TLV
    made.head.tlv_bytes = sizeof(AggregateHead) - sizeof(Head)
    memset(&made.reserved, 0, sizeof(AggregateHead) - sizeof(Head))
    made.worker = first.worker
    into += _HEAD
    for number in range(start, start + count):
        size = PyBytes_GET_SIZE(frames[number]) - _ETHERNET
        length = htobe16(<uint16_t> size)
        memcpy(into, &length, sizeof(length))
        memcpy(into + sizeof(length), PyBytes_AS_STRING(frames[number]) + _ETHERNET, size)
        into += sizeof(length) + size


cdef int scatter(const char *message, Py_ssize_t size, list frames) except -1:
    """Add to *frames* those in *message*, for which ``is_aggregate`` is true. Raises FrameError, and then none is added."""
    cdef const AggregateHead *head = <const AggregateHead *> message
    cdef Py_ssize_t at = _HEAD, before = len(frames), end
    cdef uint16_t length
    cdef char *start
    cdef bytes frame
    while at < size:
        end = at + <Py_ssize_t> sizeof(length)
        if end <= size:
            memcpy(&length, message + at, sizeof(length))
            length = be16toh(length)
            at, end = end, end + length
        if end > size or length < _HEAD - _ETHERNET or len(frames) - before == _FRAMES_MAX:
            del frames[before:]
            raise FrameError("aggregate with lengths that can't be")
        frame = PyBytes_FromStringAndSize(NULL, _ETHERNET + length)
        start = PyBytes_AS_STRING(frame)
        memcpy(start, message, _ETHERNET)
        memcpy(start + _ETHERNET, message + at, length)
        if not _is_one_of(head, <const AggregateHead *> start):
            del frames[before:]
            raise FrameError("aggregate with a frame of another hop or worker")
        frames.append(frame)
        at = end
    return 0


def aggregated(list frames not None, Py_ssize_t bytes_max):
    """What is sent in place of *frames* (bytes) where a link takes *bytes_max* bytes."""
    cdef bytes into = PyBytes_FromStringAndSize(NULL, max(bytes_max, 0))
    cdef list made = []
    cdef Py_ssize_t start = 0, count, used = 0
    cdef bytes frame
    for frame in frames:
        if frame is None:
            raise TypeError("a frame is bytes")
    while start < len(frames):
        count = gather(frames, start, PyBytes_AS_STRING(into), bytes_max, &used)
        made.append(into[:used] if count > 1 else frames[start])
        start += count
    return made


def taken_apart(bytes message not None):
    """The frames that *message* stands for: those in an aggregate, or itself. Raises FrameError."""
    cdef list frames = []
    if not is_aggregate(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message)):
        return [message]
    scatter(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), frames)
    return frames
