"""What is kept ready brings a spare that has nothing to the last checkpoint, as all that is folded would, whenever it is asked for."""

import random

from middleboxes.core import snapshot as module
from middleboxes.core.checkpoint import Folded, encode_chunks
from middleboxes.core.snapshot import DELTAS_MAX, DELTAS_PART, Snapshot

from .test_checkpoint import HEADER, assembled


def loaded(entries):
    """(id, {variable: [(key, value) in order]}) of a spare that had nothing."""
    state, at = {}, 0
    for number, base, chunks in entries:
        _, (header, records) = assembled(chunks)
        assert (header["id"], header["base"]) == (number, base) and base in (0, at)
        if base == 0:
            state = {}
        for name, removed, items in records:
            variable = state.setdefault(name, {})
            for key in removed:
                variable.pop(key, None)
            pairs = iter(items)
            variable.update(zip(pairs, pairs))
        at = number
    return at, {name: list(variable.items()) for name, variable in state.items() if variable}


class Store:
    """What a store does with its checkpoints; *drawn* says how much of the base is made between two of them."""

    def __init__(self):
        self.folded, self.snapshot, self.made = Folded(), Snapshot(), 0

    def take(self, changes, base=None, steps=0):
        base = self.folded.id if base is None else base
        chunks = list(encode_chunks({**HEADER, "id": self.folded.id + 1, "base": base}, changes))
        self.folded.fold(*assembled(chunks))
        self.snapshot.add(self.folded.id, base, chunks)
        if self.snapshot.wants():
            self.snapshot.begin(*self.folded.everything())
            self.made += 1
        for _ in range(steps):
            self.snapshot.step()


def test_it_gives_what_is_folded_at_any_moment(monkeypatch):
    monkeypatch.setattr(module, "KEYS_PER_BASE_CHUNK", 8)       # so that making one takes long
    for seed in range(30):
        drawn, store = random.Random(seed), Store()
        for number in range(60):
            changes = [(name, dict.fromkeys(drawn.sample(range(50), 5)), {drawn.randrange(50): number for _ in range(5)}) for name in "ab"]
            store.take(changes, 0 if number == 0 or drawn.random() < 0.03 else None, drawn.randrange(6))
            assert loaded(store.snapshot.entries()) == loaded(store.folded.since(0))
        assert store.made > 2


def test_one_that_begins_late_is_there_when_it_is_made():
    store = Store()
    store.take([("a", (), {number: b"value" for number in range(100)})])
    store.snapshot.clear()              # as while somebody follows
    assert store.snapshot.entries() is None and store.snapshot.wants()
    store.take([("a", (), {7: b"other"})])
    assert store.snapshot.entries() is None and not store.snapshot.wants()
    store.take([("a", (), {8: b"another"})])                    # while it is being made
    while store.snapshot.step():
        pass
    assert loaded(store.snapshot.entries()) == loaded(store.folded.since(0))


def test_it_is_made_anew_only_when_much_came_after_it():
    store = Store()
    store.take([("a", (), {number: bytes(1000) for number in range(100)})])
    store.take([("a", (), {number: bytes(1000) for number in range(int(100 * DELTAS_PART) - 1)})], steps=1000)
    assert store.made == 0 and len(store.snapshot.entries()) == 2
    store.take([("a", (), {number: bytes(1000) for number in range(2)})], steps=1000)
    assert store.made == 1 and len(store.snapshot.entries()) == 1


def test_it_is_made_anew_when_many_came_after_it():
    store = Store()
    store.take([("a", (), {number: bytes(1000) for number in range(100)})])
    for _ in range(3 * DELTAS_MAX):
        store.take([], steps=2)
        assert len(store.snapshot.entries()) <= DELTAS_MAX + 1
    assert store.made == 3
