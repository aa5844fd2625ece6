"""Where contents are sampled, how matches are measured, and what stays in a store."""

import random

import pytest

from middleboxes.core.state import Counter, IdleTimers, Map
from middleboxes.functions.content_store import ContentStore
from middleboxes.functions.fingerprints import SKIP_BYTES, WINDOW_BYTES, anchors, common_prefix, common_suffix, content_id

NS_PER_S = 1_000_000_000


@pytest.mark.parametrize("kind", ["noise", "text", "hex"])
def test_anchors_stay_with_the_content_wherever_it_begins(kind):
    rng = random.Random(1)
    words = [bytes(rng.choices(b"etaoinshrdlu", k=rng.randrange(2, 9))) for _ in range(1000)]
    document = {"noise": rng.randbytes(100_000), "text": b" ".join(rng.choices(words, k=20_000)), "hex": rng.randbytes(50_000).hex().encode()}[kind]
    shared = total = 0
    for start in range(0, 80_000, 1000):
        moved = rng.randrange(1, 700)
        one = {(at - moved, fingerprint) for at, fingerprint in anchors(document[start:start + 1400]) if at >= moved}
        other = set(anchors(document[start + moved:start + 1400]))
        shared, total = shared + len(one & other), total + len(other)
    assert shared > 0.9 * total and 80 * 3 < total < 80 * 15


def test_windows_are_whole_and_not_too_near():
    for content in (b"", b"x", bytes(WINDOW_BYTES), bytes(1000), random.Random(2).randbytes(1400)):
        places = [at for at, _ in anchors(content)]
        assert all(at + WINDOW_BYTES <= len(content) for at in places)
        assert all(second - first >= SKIP_BYTES for first, second in zip(places, places[1:]))
    assert len(anchors(bytes(WINDOW_BYTES))) == 1 and len(anchors(bytes(1000))) > 10, "a run of zeros has anchors"


@pytest.mark.parametrize("one, other, prefix, suffix", [
    (b"", b"", 0, 0), (b"a", b"", 0, 0), (b"abc", b"abc", 3, 3), (b"abcd", b"abxd", 2, 1), (b"\0\0", b"\0\0\0", 2, 2), (b"xab", b"ab", 0, 2), (b"abx", b"ab", 2, 0),
    (b"\x01\0", b"\0\0", 0, 1)])
def test_what_two_pieces_have_in_common(one, other, prefix, suffix):
    assert (common_prefix(one, other), common_suffix(one, other)) == (prefix, suffix)
    assert (common_prefix(other, one), common_suffix(other, one)) == (prefix, suffix)


def test_names_depend_on_the_content_alone():
    assert content_id(b"x") == content_id(b"x") != content_id(b"y") and 0 <= content_id(b"x") < 1 << 48


class TestStore:
    def setup_method(self):
        self.contents, self.used, self.size = Map().fresh("contents"), IdleTimers().fresh("used"), Counter().fresh("size")
        self.victims = []
        self.store = ContentStore(self.contents, self.used, self.size, 100, 3, self.victims.append)

    def test_the_one_used_longest_ago_makes_room_by_number(self):
        for name in (1, 2, 3):
            self.store.add(name, b"x", name * NS_PER_S)
        self.store.touch(1, 9 * NS_PER_S)
        self.store.add(4, b"x", 9 * NS_PER_S)
        assert self.victims == [2] and sorted(self.contents) == [1, 3, 4] == sorted(self.used) and self.size.value == 3

    def test_and_by_bytes(self):
        self.store.add(1, b"x" * 60, 0)
        self.store.add(2, b"x" * 40, 0)
        self.store.add(3, b"x" * 50, 0)
        assert self.victims == [1] and self.size.value == 90
        self.store.add(4, b"x" * 100, 0)
        assert self.victims == [1, 2, 3] and list(self.contents) == [4]

    def test_a_use_is_noted_once_a_second(self):
        self.store.add(1, b"x", 0)
        self.used.cut()
        self.store.touch(1, NS_PER_S - 1)
        self.store.add(1, b"x", NS_PER_S - 1)
        assert self.used.cut() == ({}, {}) and self.size.value == 1
        self.store.touch(1, NS_PER_S)
        assert self.used.cut() == ({1: None}, {1: NS_PER_S})

    def test_what_is_removed_is_gone(self):
        self.store.add(1, b"xy", 0)
        self.store.remove(1)
        self.store.remove(1)
        assert self.store.get(1) is None and self.size.value == 0 and not self.used and not self.victims

    def test_what_was_not_used_since_another_was(self):
        for name in (1, 2, 3):
            self.store.add(name, b"x", name * NS_PER_S)
        self.store.touch(1, 9 * NS_PER_S)
        assert self.store.older(1, 9) == [2, 3] and self.store.older(3, 9) == [2] and self.store.older(1, 1) == [2]
        assert self.store.older(2, 9) == self.store.older(7, 9) == []
