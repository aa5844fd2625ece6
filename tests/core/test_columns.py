"""Columns: what comes out is what went in, in any width; tables take and give them; what is damaged is refused."""

import random

import pytest

from middleboxes.core.columns import column_length, pack_column, unpack_column
from middleboxes.core.table import Table

from ..columns import items_of

LEAST, MOST = -(1 << 63), (1 << 63) - 1
#: beside and beyond the ints that are their own hash
EDGES = [0, 1, -1, LEAST, MOST, (1 << 61) - 2, (1 << 61) - 1, 1 << 61, -(1 << 61), 255, 256, -256]


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("least", [0, LEAST, -5, 1 << 62])
def test_numbers_take_the_bytes_of_their_range(width, least):
    rng, span = random.Random(width), (1 << 8 * width) - 1
    values = [least, min(least + span, MOST), *(rng.randint(least, min(least + span, MOST)) for _ in range(300))]
    column = pack_column(values)
    assert len(column) == 1 + 8 + len(values) * ((max(values) - least).bit_length() + 7 >> 3)
    assert unpack_column(column) == values and column_length(column) == len(values)


@pytest.mark.parametrize("values", [[], [None], [True, 1], [1, True], [1, None], [1, 1.0], [MOST + 1], [1, MOST + 1], [LEAST - 1], ["a"], [(1,)], [b"1"]])
def test_what_is_no_number_of_64_bits_stays_a_list(values):
    assert pack_column(values) is values and unpack_column(values) is values and column_length(values) == len(values)


@pytest.mark.parametrize("column", [b"", b"\1", bytes(9), b"\0" * 20, b"\1" + bytes(7), b"\x09" + bytes(17), b"\2" + bytes(9), b"\xff" + bytes(30), "text", 5, None])
def test_what_is_malformed_is_refused(column):
    for read in (column_length, lambda column: Table().apply(column, [], []), lambda column: Table().apply([], column, column)):
        with pytest.raises(ValueError):
            read(column)


def test_any_bytes_are_numbers_or_refused():
    rng = random.Random(5)
    for _ in range(20_000):
        column, table = rng.randbytes(rng.randrange(40)), Table()
        try:
            table.apply(column, column, column)
        except ValueError:
            assert not table
            continue
        keys = unpack_column(column)
        assert len(keys) == column_length(column) and list(table.items()) == [(key, key) for key in dict.fromkeys(keys)]


def test_keys_without_as_many_values_change_nothing():
    table = Table()
    for keys, values in ((pack_column([1, 2]), pack_column([1])), ([1], []), (pack_column([1]), ["a", "b"])):
        with pytest.raises(ValueError, match="many"):
            table.apply([], keys, values)
    assert not table


@pytest.mark.parametrize("seed", range(20))
def test_a_table_is_the_same_by_packed_columns_and_by_lists(seed):
    rng, packed, listed, model = random.Random(seed), Table(), Table(), {}
    packed.reserve(rng.choice((0, 1, 5000)))
    kinds = [lambda: rng.randrange(300), lambda: rng.choice(EDGES), lambda: (rng.randrange(50), 1), lambda: rng.choice((True, 1.0, "a", None))]
    for _ in range(60):
        make = rng.choice(kinds[:2] if rng.random() < 0.7 else kinds)
        removed, keys = [make() for _ in range(rng.randrange(20))], [make() for _ in range(rng.randrange(60))]
        values = [rng.choice(EDGES) if rng.random() < 0.9 else b"v" for _ in keys]
        packed.apply(*map(pack_column, (removed, keys, values)))
        listed.apply(removed, keys, values)
        for key in removed:
            model.pop(key, None)
        model.update(zip(keys, values))
        for table in (packed, listed):
            assert list(table.items()) == list(model.items()) and list(map(type, table)) == list(map(type, model))
            assert items_of(table.everything(rng.randrange(1, 100))) == list(model.items())


@pytest.mark.parametrize("seed", range(4))
def test_a_table_that_grows_by_large_packed_columns_is_that_of_single_keys(seed):
    rng, table, model = random.Random(seed), Table(), {}
    for number in range(12):
        removed = rng.sample(sorted(model), min(len(model), 300))
        keys = [rng.randrange(-100, 1 << rng.choice((12, 40, 63))) for _ in range(rng.randrange(1, 1500))]
        values = [b"v"] * len(keys) if number % 3 == 2 else [rng.randrange(1 << 40) for _ in keys]
        table.apply(*map(pack_column, (removed, keys, values)))
        for key in removed:
            del model[key]
        model.update(zip(keys, values))
        assert list(table.items()) == list(model.items())
    assert len(model) > 2000 and all(table[key] == value for key, value in model.items())


def test_all_that_is_packed_takes_no_objects():
    table = Table()
    table.apply([], pack_column(list(range(1000))), pack_column([5] * 1000))
    assert [(type(keys), type(values), column_length(keys)) for keys, values in table.everything(600)] == [(bytes, bytes, 600), (bytes, bytes, 400)]
    table.apply([], [(1, 2)], ["text"])
    (keys, values), = table.everything(2000)
    assert type(keys) is type(values) is list


def test_who_goes_through_a_table_that_changes_is_told():
    table = Table()
    table.apply([], [1, 2, 3], [1, 2, 3])
    pieces = table.everything(1)
    next(pieces)
    table.apply([1], [], [])
    with pytest.raises(RuntimeError):
        next(pieces)
