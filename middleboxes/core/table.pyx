"""Table: what a checkpoint does with a table: all of it becomes columns, and columns are applied to it, numbers without any object.

A store's tables are of this class, those of a middlebox of one that builds on it (middleboxes.core.state).
"""

from cpython.object cimport PyObject_Hash
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from .columns cimport Numbers, number_at, open_numbers, pack_numbers
from .columns import column_length
from .ordered cimport Entry, Ordered, bucket_of, entry_at, key_of, set_number, set_value, value_of

cdef extern from *:
    void __builtin_prefetch(const void *memory) nogil

cdef enum:
    # of packed keys to set, so many are looked at together: their memory is in no cache, and that of each comes while others are looked at
    BATCH = 32

#: an int from 0 to below this is its own hash
cdef int64_t _HASH_MODULUS = (1LL << 61) - 1


cdef class Table(Ordered):
    """An Ordered that checkpoints are made of, or folded into."""

    cdef int _check_loaded(self, values) except -1:
        """Raise if one of the *values* of a checkpoint can't be kept; packed ones can."""
        return 0

    def everything(self, Py_ssize_t keys_max):
        """Yields (keys, values), columns of at most *keys_max*, in order, as it is asked for them: nothing may come or go meanwhile."""
        cdef uint32_t place = self._first
        cdef uint64_t version = self._version
        cdef list columns = []
        while place:
            if version != self._version:
                raise RuntimeError("keys came, went or moved while somebody was going through them")
            place = self._pack(place, keys_max, columns)
            yield columns.pop()

    cdef uint32_t _pack(self, uint32_t first, Py_ssize_t keys_max, list columns) except? 0:
        """Add the columns (keys, values) of at most *keys_max* entries from the place *first* on; the place after them."""
        cdef bint plain_keys = True, plain_values = True
        cdef Py_ssize_t count = 0
        cdef uint32_t place = first
        cdef Entry *entry
        cdef int64_t *numbers = <int64_t *> malloc(2 * keys_max * sizeof(int64_t))
        if numbers is NULL:
            raise MemoryError("no room for a column")
        try:
            while place and count < keys_max:
                entry = entry_at(self, place)
                plain_keys, plain_values = plain_keys and entry.key is NULL, plain_values and entry.is_number
                numbers[count], numbers[keys_max + count] = entry.hash, <int64_t> entry.value
                count, place = count + 1, entry.after
            columns.append((pack_numbers(numbers, count) if plain_keys else self._listed(first, count, True),
                            pack_numbers(numbers + keys_max, count) if plain_values else self._listed(first, count, False)))
        finally:
            free(numbers)
        return place

    cdef list _listed(self, uint32_t place, Py_ssize_t count, bint are_keys):
        """The keys or the values of *count* entries from *place* on."""
        cdef list found = []
        cdef Entry *entry
        while len(found) < count:
            entry = entry_at(self, place)
            found.append(key_of(entry) if are_keys else value_of(entry))
            place = entry.after
        return found

    cdef uint32_t _place_of_number(self, int64_t key, bint is_added) except? 0xFFFFFFFF:
        """The place of *key*; if it is not there and not *is_added*, 0."""
        cdef uint32_t place
        if not 0 <= key < _HASH_MODULUS:
            return self._place_of(key, is_added)
        place = self._find_number(key)
        return place if place or not is_added else self._add(key)

    cdef uint32_t _place_of(self, key, bint is_added) except? 0xFFFFFFFF:
        cdef Py_hash_t hash = PyObject_Hash(key)        # tuples do not keep theirs
        cdef uint32_t place = self._find(key, hash)
        return place if place or not is_added else self._insert(key, hash, None)

    def apply(self, removed, keys, values):
        """Remove the keys of a column, then set those of another one to *values*. Raises ValueError, and StateError before anything is changed."""
        if column_length(values) != column_length(keys):
            raise ValueError("keys and values are not equally many")
        if type(values) is not bytes:
            self._check_loaded(values)
        self._remove_all(removed)
        self._set_all(keys, values)

    def reserve(self, keys):
        """Have room for so many *keys*, if there is none yet: so they come faster."""
        self._reserve(keys)

    cdef int _remove_all(self, keys) except -1:
        cdef Numbers numbers
        cdef Py_ssize_t number, count = column_length(keys)
        cdef bint packed = type(keys) is bytes
        cdef uint32_t place
        if packed:
            open_numbers(keys, &numbers)
        for number in range(count):
            place = self._place_of_number(number_at(&numbers, number), False) if packed else self._place_of(keys[number], False)
            if place:
                self._remove(place)
        return 0

    cdef int _set_all(self, keys, values) except -1:
        cdef Numbers numbers, others
        cdef Py_ssize_t number, count = column_length(keys)
        cdef bint packed_keys = type(keys) is bytes, packed_values = type(values) is bytes
        cdef uint32_t place
        cdef uint32_t places[BATCH]
        if packed_keys:
            open_numbers(keys, &numbers)
        if packed_values:
            open_numbers(values, &others)
        for number in range(count):
            if not packed_keys:
                place = self._place_of(keys[number], True)
            else:
                if number % BATCH == 0:
                    self._find_places(&numbers, number, min(BATCH, count - number), places)
                place = places[number % BATCH]
            if packed_values:
                set_number(entry_at(self, place), number_at(&others, number))
            else:
                set_value(entry_at(self, place), values[number])
        return 0

    cdef int _find_places(self, const Numbers *keys, Py_ssize_t first, int count, uint32_t *places) except -1:
        """Put into *places* those of *count* of the *keys*, BATCH at most, from the *first* on; they are added if they are not there.

        No bucket is split or given back meanwhile: there is room for all of them, and keys of checkpoints compare without code of anybody else.
        """
        cdef int64_t hashes[BATCH]
        cdef uint32_t *buckets[BATCH]
        cdef uint32_t place
        cdef int number
        self._make_room(count)
        for number in range(count):
            hashes[number] = number_at(keys, first + number)
            buckets[number] = bucket_of(self, hashes[number])
            __builtin_prefetch(buckets[number])
        for number in range(count):
            if buckets[number][0]:
                __builtin_prefetch(entry_at(self, buckets[number][0]))
        for number in range(count):
            place = buckets[number][0]
            while place and entry_at(self, place).hash != hashes[number]:
                place = entry_at(self, place).next
            if not place and 0 <= hashes[number] < _HASH_MODULUS:
                place = self._add_to(buckets[number], hashes[number])
            elif not place or entry_at(self, place).key is not NULL:
                # no hash of its own, or one that something else has, which may be equal
                place = self._place_of_number(hashes[number], True)
            places[number] = place
        return 0
