"""Maglev tables: consistent hashing with weights (Eisenbud et al., "Maglev", NSDI 2016, section 3.4).

Each backend has a permutation of the table's places, which depends on its name alone, and takes its next free place when it is
its turn, more often if its weight is higher. So shares are even to within a few places, and a backend more or less moves little else.
"""

from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

#: a prime, so that every step size makes a permutation; more than 100 places for each of BACKENDS_MAX backends of one weight
TABLE_SIZE = 13_007
BACKENDS_MAX = 128
WEIGHT_MAX = 100


@lru_cache(maxsize=64)
def table_of(backends):
    """The table of *backends*, a tuple of (name in bytes, weight): a tuple of indices. All weights 0: empty."""
    weight_max = max((weight for _, weight in backends), default=0)
    if not weight_max:
        return ()
    walks = [_walk(name) for name, _ in backends]
    table, left, credits = [None] * TABLE_SIZE, TABLE_SIZE, [0] * len(backends)
    while left:
        for index, (_, weight) in enumerate(backends):
            credits[index] += weight
            if credits[index] < weight_max:
                continue
            credits[index] -= weight_max
            place = next(place for place in walks[index] if table[place] is None)
            table[place] = index
            left -= 1
            if not left:
                break
    return tuple(table)


def _walk(name):
    """The places of the table in the order of preference of the backend called *name*."""
    digest = blake2b(name, digest_size=16).digest()
    offset, step = (int.from_bytes(half, "big") for half in (digest[:8], digest[8:]))
    place, step = offset % TABLE_SIZE, step % (TABLE_SIZE - 1) + 1
    for _ in range(TABLE_SIZE):
        yield place
        place = (place + step) % TABLE_SIZE


def places_of(key):
    """Places of the table for *key* (bytes), without end: the first is the flow's, the others are for when its backend is down."""
    attempt = 0
    while True:
        yield crc32(key, attempt) * 0x9E3779B1 % (1 << 32) % TABLE_SIZE
        attempt += 1
