"""Checkpoints: chunks carry a cut exactly, the store folds whole ones in order or none, damage is refused."""

import random

import pytest

from middleboxes.core import checkpoint as module
from middleboxes.core.channel import pack, unpack
from middleboxes.core.checkpoint import CHUNK_BYTES_MAX, COVERED, KEYS_PER_CHUNK, Assembler, CheckpointError, Folded, all_of, decode_chunk, encode_chunks
from middleboxes.core.columns import pack_column, unpack_column
from middleboxes.core.messages import MESSAGE_BYTES_MAX, VERSION
from middleboxes.core.state import Map

from .boxes import assembled, checkpoint, contents, master, mutations, packet

HEADER = {"version": VERSION, "id": 1, "base": 0, "epoch": 1, "covers": dict.fromkeys(COVERED, 1), "function": "Stamp", "positions": [(3, 2)], "random": [7],
          "times_ns": [9], "keys": {}, "clocks": [], "domains": []}


def merged(records):
    """(removed, keys, values) per variable over all records."""
    found = {}
    for name, *columns in records:
        for all_, some in zip(found.setdefault(name, ([], [], [])), columns):
            all_.extend(unpack_column(some))
    return found


@pytest.mark.parametrize("removed, dirty", [(0, 0), (1, 0), (0, 1), (255, 0), (256, 0), (200, 56), (200, 300), (0, 256), (257, 513)])
def test_chunks_carry_all_changes_once(removed, dirty):
    changes = [("a", {("gone", i): None for i in range(removed)}, {i: b"v" for i in range(dirty)}),
               ("b", {}, {"x": (1, (2,))})]
    chunks = list(encode_chunks(HEADER, changes))
    assert len(chunks) == max(1, -(-(removed + dirty + 1) // KEYS_PER_CHUNK))
    header, records = assembled(chunks)[1]
    assert header == {**HEADER, "positions": ((3, 2),), "random": (7,), "times_ns": (9,), "clocks": (), "domains": ()}
    found = merged(records)
    gone, keys, values = found.get("a", ([], [], []))
    assert gone == [("gone", i) for i in range(removed)]
    assert (keys, values) == (list(range(dirty)), [b"v"] * dirty)
    assert found["b"] == ([], ["x"], [(1, (2,))])


def test_chunks_of_large_values_still_fit_a_message():
    changes = [("a", {}, {i: bytes(10_000) for i in range(600)})]
    chunks = list(encode_chunks(HEADER, changes))
    assert max(map(len, chunks)) <= CHUNK_BYTES_MAX < MESSAGE_BYTES_MAX
    assert merged(assembled(chunks)[1].records)["a"][1] == list(range(600))
    assert [decode_chunk(chunk)[0] is not None for chunk in chunks] == [True] + [False] * (len(chunks) - 1)


def test_large_values_of_all_of_the_state_fit_messages_from_master_and_store():
    variable = Map().fresh("a")
    for i in range(600):
        variable[i] = bytes(10_000)
    at_master = list(encode_chunks(HEADER, all_of({"a": variable})))
    store = Folded()
    store.fold(*assembled(at_master))
    (_, base, at_store), = store.since(0)
    assert base == 0
    for chunks in (at_master, list(at_store)):
        assert max(map(len, chunks)) <= CHUNK_BYTES_MAX
        assert merged(assembled(chunks)[1].records)["a"] == ([], list(range(600)), [bytes(10_000)] * 600)


def test_chunks_are_made_lazily():
    changes = [("a", {}, {i: i for i in range(10 * KEYS_PER_CHUNK)})]
    chunks = encode_chunks(HEADER, changes)
    next(chunks)
    for key in list(changes[0][2])[2 * KEYS_PER_CHUNK:]:
        changes[0][2][key] = "later"
    assert "later" in merged(decode_chunk(list(chunks)[-1])[1])["a"][2]


def test_a_loaded_master_equals_the_one_that_was_cut():
    source, copy = master(), master()
    for round_ in range(5):
        for n in range(1 + round_ * 100, 101 + round_ * 100):
            source.process(0, packet(n, b"send %d" % (n * 7 % 301)))
        copy.load(checkpoint(source.cut()))
        assert contents(copy) == contents(source)


# -- the store

def history(count=40):
    """(master, its checkpoints as (chunks, Checkpoint), contents at each)."""
    source, rng, made, states = master(), random.Random(3), [], []
    n = 0
    for _ in range(count):
        for _ in range(rng.randint(0, 30)):
            n += 1
            source.process(0, packet(n, b"send %d" % rng.randrange(40)))
            if rng.random() < 0.2 and source.function.seen:
                del source.function.seen[rng.choice(list(source.function.seen))]
        made.append(assembled(source.cut().chunks()))
        states.append(contents(source))
    return source, made, states


def test_a_follower_from_anywhere_gets_the_same_state():
    _, made, states = history(2 * Folded.RECENT_MAX)
    folded = Folded()
    for number, (chunks, item) in enumerate(made):
        assert folded.refusal(1, item.header["base"]) is None
        folded.fold(chunks, item)
        for have in range(0, number + 2, 3):
            follower = master()
            for _, earlier in made[:have]:
                follower.load(earlier)
            for id_, base, some in folded.since(follower.checkpoint_id):
                decoded = assembled(list(some))[1]
                assert (decoded.header["id"], decoded.header["base"]) == (id_, base)
                follower.load(decoded)
            assert contents(follower) == states[number], f"a follower that has {have} checkpoints"
    assert folded.since(folded.id) == []
    assert len(folded._recent) == Folded.RECENT_MAX


def test_too_far_behind_gets_one_base_that_later_checkpoints_do_not_disturb():
    _, made, states = history()
    folded = Folded()
    for chunks, item in made[:30]:
        folded.fold(chunks, item)
    ((id_, base, chunks),) = folded.since(made[1][1].header["id"])
    assert base == 0 and id_ == made[29][1].header["id"]
    for chunks_, item in made[30:]:
        folded.fold(chunks_, item)
    late = master()
    late.load(assembled(list(chunks))[1])
    assert contents(late) == states[29]


def test_the_store_refuses_other_bases_and_fenced_epochs():
    folded = Folded()
    assert folded.since(0) == [] and folded.id == 0
    assert "on checkpoint 5" in folded.refusal(1, 5)
    folded.fold(*assembled(encode_chunks(HEADER, [])))
    assert folded.refusal(1, 1) is None and folded.refusal(1, 0) is None
    folded.epoch = 2
    assert "fenced" in folded.refusal(1, 1)
    assert folded.refusal(2, 1) is None


def test_checkpoints_of_two_epochs_never_share_a_number():
    """A follower that has number x of an older epoch must not be told that it has all."""
    old, new = master(epoch=1), master(epoch=2)
    ids = [old.cut().id for _ in range(3)], [new.cut().id for _ in range(3)]
    assert not set(ids[0]) & set(ids[1]) and max(ids[0]) < min(ids[1]) and ids[0][1] == ids[0][0] + 1


# -- damage

def test_nothing_is_visible_of_a_checkpoint_in_the_wrong_order():
    chunks = list(encode_chunks(HEADER, [("a", {}, {i: i for i in range(1000)})]))
    for wrong in ([], chunks[1:], [chunks[1], chunks[0]], [chunks[0], chunks[0]]):
        with pytest.raises(CheckpointError):
            assembled(wrong)


def test_a_checkpoint_has_a_bound(monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_BYTES_MAX", 100)
    assembler = Assembler()
    first, second = pack([None, []]), pack([None, [["a", [], [1], [b"x" * 100]]]])
    with pytest.raises(CheckpointError, match="header"):
        assembler.add(first)
    with pytest.raises(CheckpointError, match="grew"):
        assembler.add(second)


def test_so_have_its_keys(monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_KEYS_MAX", 500)
    chunks = list(encode_chunks(HEADER, [("a", {i: None for i in range(200)}, {i: i for i in range(301)})]))
    with pytest.raises(CheckpointError, match="500 keys"):
        assembled(chunks)
    decode_chunk(pack([{**HEADER, "keys": {"a": 300, "b": 200}}, []]))
    with pytest.raises(CheckpointError, match="keys"):
        decode_chunk(pack([{**HEADER, "keys": {"a": 300, "b": 201}}, []]))


@pytest.mark.parametrize("change", [{"version": VERSION + 1}, {"covers": None}, {"covers": {}}, {"covers": dict.fromkeys(COVERED, -1)}, {"id": "1"}, {"positions": [(3, 2), (1, 1)]}, {"positions": [3]},
                                    {"positions": [(1, 2, 3)]}, {"positions": [(1, -2)]}, {"positions": [(1, "x")]}, {"random": []},
                                    {"random": ["x"]}, {"times_ns": [None]}, {"function": 5},
                                    {"keys": []}, {"keys": {"a": -1}}, {"keys": {1: 1}}, {"keys": {"a": "1"}}])
def test_bad_headers_are_refused(change):
    with pytest.raises(CheckpointError):
        decode_chunk(pack([{**HEADER, **change}, []]))


@pytest.mark.parametrize("records", [5, [5], [["a", [], [1], []]], [["a", 5, [], []]], [["a", [], "ab", [1, 2]]], [[1, [], [], []]],
                                     [["a", [], [{}], [1]]], [["a", [], [1], [{"mutable": 1}]]], [["a", [({},)], [], []]], [["a", [], []]],
                                     [["a", b"", [], []]], [["a", [], pack_column([1, 2]), pack_column([1])]], [["a", [], pack_column([1]), [1, 2]]],
                                     [["a", [], b"\0" + bytes(8), []]], [["a", [], b"\x09" + bytes(17), [1]]], [["a", [], b"\x02" + bytes(11), [1]]]])
def test_bad_records_are_refused(records):
    with pytest.raises(CheckpointError):
        decode_chunk(pack([HEADER, records]))


def test_damaged_chunks_raise_nothing_but_checkpoint_error():
    samples = list(encode_chunks({**HEADER, "keys": {"seen": 40}}, [("seen", {b"x": None, 7: None}, {b"k%d" % i: i for i in range(20)}),
                                                                    ("seen", {i: None for i in range(3)}, {i * i: (i,) for i in range(20)}),
                                                                    ("total", {}, {None: 5})]))
    for data in mutations(samples, 10_000, seed=4):
        assembler, folded = Assembler(), Folded()
        try:
            assembler.add(data)
            chunks, item = assembler.finish()
        except CheckpointError:
            continue
        folded.fold(chunks, item)
        try:
            master().load(item)
        except CheckpointError:
            continue


def test_another_function_or_number_of_workers_is_refused():
    item = checkpoint(master().cut())
    with pytest.raises(CheckpointError, match="workers"):
        master(workers=2).load(item)
    with pytest.raises(CheckpointError, match="Other"):
        master().load(item._replace(header={**item.header, "function": "Other"}))
    with pytest.raises(CheckpointError, match="'unknown'"):
        master().load(item._replace(records=[("unknown", (), (), ())]))
    with pytest.raises(CheckpointError, match="delta"):
        master().load(item._replace(header={**item.header, "base": 9}))


def test_chunks_are_plain_msgpack():
    header, records = unpack(next(encode_chunks(HEADER, [("a", {}, {1: 2})])))
    assert header["version"] == VERSION and records == [["a", [], pack_column([1]), pack_column([2])]]
