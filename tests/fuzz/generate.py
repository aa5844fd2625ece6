"""Makers of hostile input; each takes the generator of random numbers of its case."""

import copy

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**64 - 1, -2**63)
TEXTS = ("", "x", "nat", "m1", "master", "é", "\x00", "../../etc/passwd", "%s%n", "x" * 300, "x" * 5000, "\u2028", "NaN", "NAME")


def deep(depth, leaf=None):
    """Lists in lists."""
    value = leaf
    for _ in range(depth):
        value = [value]
    return value


def value(rng, depth=0):
    """Any value that msgpack and (but for bytes) JSON can carry."""
    kind = rng.randrange(12 if depth < 3 else 8)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind <= 2:
        return rng.choice(NUMBERS)
    if kind == 3:
        return rng.getrandbits(rng.randint(1, 63))
    if kind == 4:
        return rng.choice((0.0, -1.5, 1e308, float("inf"), float("nan")))
    if kind <= 6:
        return rng.choice(TEXTS)
    if kind == 7:
        return rng.randbytes(rng.choice((0, 1, 6, 40, 2000)))
    if kind == 8:
        return deep(rng.choice((2, 30, 200)))
    if kind == 9:
        return {rng.choice((*TEXTS, 1, True)): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return [value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 5, 200 if depth == 0 else 3)))]


def places(item, found=None):
    """Every (container, key) in *item*."""
    found = [] if found is None else found
    for key in list(item) if isinstance(item, dict) else range(len(item)):
        found.append((item, key))
        if isinstance(item[key], (dict, list)):
            places(item[key], found)
    return found


def mutated(rng, item):
    """A copy of *item* (a map or list) with one to three of its fields replaced, removed, doubled, exchanged or added."""
    item = copy.deepcopy(item)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        there = places(item)
        if not there:
            return item
        container, key = rng.choice(there)
        kind = rng.randrange(8)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        elif kind == 1:
            container[rng.choice(TEXTS)] = value(rng)
        elif kind == 2:
            other, other_key = rng.choice(there)
            container[key] = copy.deepcopy(other[other_key])
        elif kind == 3 and type(container[key]) is int:
            container[key] = rng.choice((container[key] + 1, container[key] - 1, -container[key], *NUMBERS))
        else:
            container[key] = value(rng)
    return item


def damaged(rng, data):
    """A damaged copy of *data*: bits flipped, bytes changed, cut off, inserted, or parts repeated."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 4:
            data[at:at] = data[:rng.randint(0, 64)]
        else:
            width = rng.choice((1, 2, 4, 8))
            data[at:at + width] = (rng.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, "big")
    return bytes(data)


def noise(rng, bytes_max):
    """Random bytes; small ones are more frequent."""
    return rng.randbytes(rng.randint(0, rng.choice((4, 64, bytes_max))))


def pieces(rng, data):
    """*data* as it may come out of a stream."""
    while data:
        size = rng.choice((1, 3, 37, 300, 65536))
        yield data[:size]
        data = data[size:]
