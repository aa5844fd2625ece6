"""A store that nobody follows has all of its state encoded before it is asked for; with a follower it does without."""

from middleboxes.core.checkpoint import COVERED, encode_chunks
from middleboxes.core.messages import VERSION
from middleboxes.runtime.store import ALONE_CHECKPOINTS, StoreRole


class Node:
    """Its loop does background work at once."""

    def __init__(self):
        self.loop = self

    @staticmethod
    def work(function):
        while function():
            pass


class Peer:
    def __init__(self):
        self.got = []

    def send(self, message):
        self.got.append(message)

    def pump(self, messages):
        self.got += messages


def commit(store, number, keys):
    """A delta (the first one a base) of *keys* keys."""
    header = {"version": VERSION, "id": number, "base": number - 1, "epoch": 1, "covers": dict.fromkeys(COVERED, 1), "function": "F",
              "positions": [(0, 0)], "random": [1], "times_ns": [0], "clocks": [], "domains": []}
    peer, head = Peer(), {"t": "checkpoint", "group": "g", "epoch": 1, "id": number, "base": number - 1}
    for data in encode_chunks(header, [("a", (), dict.fromkeys(range(keys), number))]):
        store.message(peer, {**head, "last": False, "data": data})
    store.message(peer, {**head, "last": True, "data": b""})
    assert [message["t"] for message in peer.got] == ["stored"]


def asked(store, follow):
    """What a spare that has nothing is sent, as (id, base) of each checkpoint."""
    peer = Peer()
    store.message(peer, {"t": "subscribe", "group": "g", "have": 0, "follow": follow, "headers": False})
    return peer, list(dict.fromkeys((message["id"], message["base"]) for message in peer.got if message["id"]))


def test_a_store_that_nobody_follows_has_a_base_ready():
    store = StoreRole(Node(), "g", 1)
    for number in range(1, ALONE_CHECKPOINTS + 3):
        commit(store, number, 100)
    _, entries = asked(store, False)
    # made when it had been alone for long enough, or when there was too much after the last one
    assert entries[0][1] == 0 and entries[0][0] >= ALONE_CHECKPOINTS and entries[-1][0] == ALONE_CHECKPOINTS + 2
    assert [base for _, base in entries[1:]] == [number for number, _ in entries[:-1]]


def test_a_store_with_a_follower_keeps_nothing_for_others():
    store = StoreRole(Node(), "g", 1)
    commit(store, 1, 100)
    follower, _ = asked(store, True)
    for number in range(2, 2 * ALONE_CHECKPOINTS):
        commit(store, number, 100)
    assert store._snapshot.entries() is None
    # and another one gets it all the same, as it is now
    assert asked(store, False)[1] == [(2 * ALONE_CHECKPOINTS - 1, 0)]
    store.disconnected(follower)
    for number in range(2 * ALONE_CHECKPOINTS, 4 * ALONE_CHECKPOINTS):
        commit(store, number, 100)
    assert store._snapshot.entries() is not None
