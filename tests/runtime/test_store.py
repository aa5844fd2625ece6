"""What a store sends: to whom, from where on, and nothing twice by one connection."""

from middleboxes.core.checkpoint import COVERED, Folded, encode_chunks
from middleboxes.core.messages import VERSION
from middleboxes.runtime.store import StoreRole


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
              "positions": [(0, 0)], "random": [1], "times_ns": [0], "keys": {}, "clocks": [], "domains": []}
    peer, head = Peer(), {"t": "checkpoint", "group": "g", "epoch": 1, "id": number, "base": number - 1}
    for data in encode_chunks(header, [("a", (), dict.fromkeys(range(keys), number))]):
        store.message(peer, {**head, "last": False, "data": data})
    store.message(peer, {**head, "last": True, "data": b""})
    assert [message["t"] for message in peer.got] == ["stored"]


def asked(store, peer, have=0, follow=False, headers=False):
    """What *peer* is sent for a subscription, as (id, base) of each checkpoint; (0, 0) is the end."""
    before = len(peer.got)
    store.message(peer, {"t": "subscribe", "group": "g", "have": have, "follow": follow, "headers": headers})
    return [(message["id"], message["base"]) for message in peer.got[before:] if message["last"]]


def test_a_spare_that_has_nothing_gets_one_base_and_a_late_one_what_it_lacks():
    store = StoreRole(Node(), "g", 1)
    last = 2 * Folded.RECENT_MAX
    for number in range(1, last + 1):
        commit(store, number, 100)
    assert asked(store, Peer()) == [(last, 0), (0, 0)]
    assert asked(store, Peer(), last - 2) == [(last - 1, last - 2), (last, last - 1), (0, 0)]
    assert asked(store, Peer(), last) == [(0, 0)]


def test_who_asks_for_the_rest_gets_nothing_that_is_on_its_way():
    store, peer = StoreRole(Node(), "g", 1), Peer()
    assert asked(store, peer, follow=True) == []
    commit(store, 1, 100)
    commit(store, 2, 100)
    assert [message["id"] for message in peer.got if message["last"]] == [1, 2]
    assert asked(store, peer) == [(0, 0)], "it says that it has nothing as long as nothing is complete"
    other = Peer()
    assert asked(store, other, follow=True) == [(1, 0), (2, 1)] and asked(store, other) == [(0, 0)]
    commit(store, 3, 100)
    assert asked(store, other) == [(0, 0)] and other.got[-2]["id"] == 3


def test_who_had_headers_only_gets_all_when_it_asks_for_it():
    store, peer = StoreRole(Node(), "g", 1), Peer()
    commit(store, 1, 100)
    assert asked(store, peer, follow=True, headers=True) == [(1, 0)]
    commit(store, 2, 100)
    assert asked(store, peer) == [(1, 0), (2, 1), (0, 0)]
    store.disconnected(peer)
    assert asked(store, peer) == [(1, 0), (2, 1), (0, 0)], "another connection knows nothing"


class Slow(Peer):
    """Takes what it is sent one message at a time."""

    def pump(self, messages):
        self.messages = messages


def test_a_base_that_is_being_sent_is_as_it_was_whatever_is_durable_meanwhile():
    store, slow, quick = StoreRole(Node(), "g", 1), Slow(), Peer()
    last = Folded.RECENT_MAX + 1            # a base is made
    for number in range(1, last + 1):
        commit(store, number, 5000)
    asked(store, slow)
    first = next(slow.messages)
    asked(store, quick)
    commit(store, last + 1, 6000)
    assert [first, *slow.messages] == quick.got and [message["id"] for message in quick.got if message["last"]] == [last, 0]
