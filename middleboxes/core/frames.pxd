"""Reading and writing the frames of each packet's path, for the compiled modules of the roles."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


#: all that precedes the first fields of an INPUT or OUTPUT frame, as it is on the wire (big-endian)
cdef packed struct Head:
    uint8_t destination[6]
    uint8_t source[6]
    uint16_t ethertype
    uint16_t lengths
    uint8_t md_type
    uint8_t next_protocol
    uint32_t path
    uint16_t tlv_class
    uint8_t tlv_type
    uint8_t tlv_bytes

cdef packed struct InputHead:
    Head head
    uint32_t epoch
    uint8_t worker
    uint8_t port
    uint8_t kind
    uint8_t reserved
    uint64_t n
    uint64_t timestamp_ns

cdef packed struct OutputHead:
    Head head
    uint32_t epoch
    uint8_t worker
    uint8_t port
    uint16_t j
    uint64_t k

#: bytes of one run of determinants (middleboxes.core.determinants)
cdef enum:
    RUN_BYTES = 21

#: what follows an OutputHead that carries one run of determinants
cdef packed struct RunTlv:
    uint16_t tlv_class
    uint8_t tlv_type
    uint8_t tlv_bytes
    uint8_t run[RUN_BYTES]
    uint8_t padding[3]

#: the fields of an INPUT frame, in this machine's order
cdef struct InputFields:
    uint32_t epoch
    uint8_t worker
    uint8_t port
    uint8_t kind
    uint64_t n
    uint64_t timestamp_ns

#: the fields of an OUTPUT frame of a common layout; where its run and its packet begin (run_at 0: there is none)
cdef struct OutputFields:
    uint32_t epoch
    uint8_t worker
    uint8_t port
    uint16_t j
    uint64_t k
    Py_ssize_t run_at
    Py_ssize_t packet_at


cdef int read_input(bytes frame, InputFields *fields) except -1
cdef bytes packet_of_input(bytes frame)
cdef bytes at_epoch(bytes frame, uint32_t epoch)
cdef bint read_common_output(bytes frame, OutputFields *fields) noexcept


cdef class InputEncoder:
    cdef bytes _packet_head, _tick_head

    cdef bytes encode_fields(self, InputFields *fields, bytes frame)


cdef class OutputEncoder:
    cdef object _group_id
    cdef bytes _source, _destination, _bare_head, _run_head

    cpdef bytes encode(self, uint32_t epoch, uint8_t worker, uint64_t k, uint16_t j, uint8_t port, clock, bytes determinants, bytes frame)
