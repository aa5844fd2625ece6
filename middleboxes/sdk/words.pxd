"""Numbers in network order, and the sums of Internet checksums (RFC 1071, RFC 1624): arithmetic modulo 65535. The caller knows that the bytes are there."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t ntohs(uint16_t number)


cdef inline uint16_t word(const uint8_t *at) noexcept nogil:
    return at[0] << 8 | at[1]


cdef inline uint32_t long_word(const uint8_t *at) noexcept nogil:
    return <uint32_t> word(at) << 16 | word(at + 2)


cdef inline void set_word(uint8_t *at, uint16_t number) noexcept nogil:
    at[0], at[1] = number >> 8, number & 0xFF


cdef inline void set_long_word(uint8_t *at, uint32_t number) noexcept nogil:
    set_word(at, number >> 16)
    set_word(at + 2, number & 0xFFFF)


cdef inline void add_to_checksum(uint8_t *at, int64_t change) noexcept nogil:
    """Add *change* (old minus new of what is summed up) to the checksum there."""
    set_word(at, (word(at) + change) % 0xFFFF)


cdef inline uint64_t sum_of(const uint8_t *at, Py_ssize_t size) noexcept nogil:
    """What the 16-bit words of *size* bytes add up to, below 65535; an odd last byte is the upper one of its word."""
    cdef uint64_t total = 0
    cdef uint32_t words
    cdef uint16_t last
    # the order of bytes within words does not matter to the sum, only to what is made of it (RFC 1071, 2 B)
    while size >= 4:
        memcpy(&words, at, 4)
        total += words
        at += 4
        size -= 4
    if size >= 2:
        memcpy(&last, at, 2)
        total += last
        at += 2
        size -= 2
    total = ntohs(total % 0xFFFF)
    if size:
        total += <uint32_t> at[0] << 8
    return total % 0xFFFF


cdef inline bint is_zero(const uint8_t *at, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(size):
        if at[index]:
            return False
    return True
