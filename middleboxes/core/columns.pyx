"""Columns: the keys of a checkpoint's record, or its values, side by side, so that numbers take few bytes and no objects.

A column is a list, or, if all of it are ints that fit 64 bits with their sign, packed: bytes, little-endian ::

    width: u8 (1 to 8), each number less the least one: *width* bytes, the least one: i64

So a table of numbers (middleboxes.core.table) is encoded and loaded without an object for any of them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from libc.stdlib cimport free, malloc

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef extern from "<endian.h>" nogil:
    uint64_t htole64(uint64_t number)

cdef enum:
    NUMBER_BYTES = 8


cdef int open_numbers(bytes column, Numbers *numbers) except -1:
    """Let *numbers* be those of a packed *column*, which must live as long. Raises ValueError."""
    cdef const unsigned char *data = <const unsigned char *> PyBytes_AS_STRING(column)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(column) - 1 - NUMBER_BYTES
    cdef uint64_t least
    if size < 0 or not 1 <= data[0] <= NUMBER_BYTES or size % data[0]:
        raise ValueError("a packed column is malformed")
    memcpy(&least, data + 1 + size, NUMBER_BYTES)
    numbers.data, numbers.width, numbers.count = data + 1, data[0], size // data[0]
    numbers.mask, numbers.least = ~<uint64_t> 0 >> (64 - 8 * data[0]), le64toh(least)
    return 0


cdef bytes pack_numbers(const int64_t *numbers, Py_ssize_t count):
    """The packed column of *count* numbers, one or more."""
    cdef int64_t least = numbers[0], most = numbers[0]
    cdef Py_ssize_t place, width = 1
    for place in range(1, count):
        if numbers[place] < least:
            least = numbers[place]
        if numbers[place] > most:
            most = numbers[place]
    while width < NUMBER_BYTES and (<uint64_t> most - <uint64_t> least) >> (8 * width):
        width += 1
    cdef bytes column = PyBytes_FromStringAndSize(NULL, 1 + count * width + NUMBER_BYTES)
    cdef char *data = PyBytes_AS_STRING(column)
    cdef uint64_t bits
    data[0] = <char> width
    data += 1
    for place in range(count):
        # each eight bytes long: the next one takes what it did not need
        bits = htole64(<uint64_t> numbers[place] - <uint64_t> least)
        memcpy(data, &bits, NUMBER_BYTES)
        data += width
    bits = htole64(<uint64_t> least)
    memcpy(data, &bits, NUMBER_BYTES)
    return column


def pack_column(list values not None):
    """The column of *values*: packed, or *values* itself."""
    cdef Py_ssize_t place, count = len(values)
    cdef int overflow = 0
    if not count or not PyLong_CheckExact(values[0]):
        return values
    cdef int64_t *numbers = <int64_t *> malloc(count * sizeof(int64_t))
    if numbers is NULL:
        raise MemoryError("no room for a column")
    try:
        for place in range(count):
            value = values[place]
            if not PyLong_CheckExact(value):
                return values
            numbers[place] = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                return values
        return pack_numbers(numbers, count)
    finally:
        free(numbers)


def unpack_column(column):
    """The values of a *column*. Raises ValueError."""
    if type(column) is not bytes:
        return column
    cdef Numbers numbers
    cdef Py_ssize_t place
    open_numbers(column, &numbers)
    return [number_at(&numbers, place) for place in range(numbers.count)]


def column_length(column):
    """How many values a *column* has: bytes, or a tuple or list. Raises ValueError."""
    cdef Numbers numbers
    if type(column) is bytes:
        open_numbers(column, &numbers)
        return numbers.count
    if type(column) is not tuple and type(column) is not list:
        raise ValueError(f"a column is bytes or an array, not {type(column).__name__}")
    return len(column)
