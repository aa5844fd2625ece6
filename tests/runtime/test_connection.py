"""Connections on socket pairs, without root: bounds, silence, and what a broken peer may not do to others."""

import errno
import gc
import socket
import weakref

import pytest

from middleboxes.core import admission
from middleboxes.core.channel import Channel
from middleboxes.runtime import connection as module
from middleboxes.runtime.connection import Connection, Listener
from middleboxes.runtime.loop import Loop
from middleboxes.runtime.store import StoreRole

KEY = b"k" * 32


class Pair:
    """A server's and a client's end, past the handshake."""

    def __init__(self, on_server_message=lambda connection, message: None):
        self.loop = Loop()
        self.messages, self.reasons = [], []
        ends = tcp_pair()
        self.server = Connection(self.loop, ends[0], Channel("server", KEY, b"s" * 32), on_server_message,
                                 on_close=lambda connection, reason: self.reasons.append(reason))
        self.client = Connection(self.loop, ends[1], Channel("client", KEY, b"c" * 32, "m1"),
                                 lambda connection, message: self.messages.append(message))
        self.client._watch(False)
        self.server.serve()
        self.until(lambda: self.server.channel.established and self.client.channel.established)

    def until(self, condition, turns=2000):
        for _ in range(turns):
            if condition():
                return
            timer = self.loop.after(1_000_000, lambda: None)
            self.loop._turn()
            self.loop.cancel(timer)
        raise AssertionError("it did not happen")


def tcp_pair():
    """Two connected TCP sockets on loopback (Connection sets options that only TCP has)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return server, client


def beat(size=0):
    return {"t": "beat", "roles": ["x" * size] if size else []}


def test_pumped_messages_arrive_in_order_and_are_made_as_the_peer_takes_them():
    pair = Pair()
    made = []

    def messages():
        for number in range(300):
            made.append(number)
            yield {"t": "stored", "group": "g", "id": number}

    pair.server.pump(messages())
    pair.until(lambda: len(pair.messages) == 300)
    assert [message["id"] for message in pair.messages] == made == list(range(300))


def test_a_peer_that_reads_nothing_is_cut_off_at_the_bound_of_pumps():
    pair = Pair()
    pair.loop.watch(pair.client._socket.fileno())       # it hangs
    endless = iter(lambda: beat(200_000), None)
    pair.server.pump(endless)
    for _ in range(module.PUMPS_MAX):
        assert not pair.server.closed
        pair.server.pump([beat(1000)])
    assert pair.server.closed and pair.reasons == ["the peer does not take what it asked for"]


def test_on_drained_is_called_once_when_nothing_waits():
    pair, calls = Pair(), []
    for _ in range(20):
        pair.server.send(beat(500_000))
    assert pair.server.waiting_bytes > 0
    pair.server.on_drained = lambda: calls.append(1)
    pair.until(lambda: calls)
    pair.until(lambda: len(pair.messages) == 20)
    assert calls == [1] and pair.server.waiting_bytes == 0


def test_a_channel_that_is_let_go_needs_no_collector():
    gc.collect()
    gc.disable()
    try:
        channel = Channel("client", KEY, b"c" * 32, "m1")
        gone = weakref.ref(channel)
        del channel
        assert gone() is None
    finally:
        gc.enable()


class Served:
    """A listener on loopback and what it tells."""

    def __init__(self):
        self.loop, self.lines, self.closed = Loop(), [], []
        self.listener = Listener(self.loop, ["127.0.0.1", 0], KEY, lambda connection, message: None, self.lines.append,
                                 lambda connection, reason: self.closed.append(reason))

    def stranger(self):
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout=5)

    def client(self):
        return Connection.connect(self.loop, ["127.0.0.1", self.listener.port], KEY, "m1", on_message=lambda *_: None)

    until = Pair.until


def test_strangers_of_a_listener_make_room_and_are_counted_and_told(monkeypatch):
    monkeypatch.setattr(admission, "HALF_OPEN_MAX", 2)
    served = Served()
    strangers = [served.stranger() for _ in range(2)]
    served.until(lambda: served.listener.connections == 2)
    client = served.client()
    served.until(lambda: client.channel.established)
    assert served.listener.counters["half_open_dropped"] == 1 and strangers[0].recv(100)[:4] == b"FTMB"
    assert strangers[0].recv(100) == b"", "the oldest was closed"
    strangers[1].sendall(b"GET /")
    served.until(lambda: served.listener.connections == 1)
    assert served.listener.counters["unauthenticated"] == 2 and served.closed == []
    assert any("does not speak this protocol (2 of this kind so far)" in line for line in served.lines)
    for stranger in strangers:
        stranger.close()


def test_a_listener_refuses_above_the_limit_of_a_host(monkeypatch):
    monkeypatch.setattr(admission, "HALF_OPEN_PER_HOST_MAX", 1)
    served = Served()
    with served.stranger(), served.stranger() as second:
        served.until(lambda: served.listener.counters["refused"])
        assert second.recv(100) == b"" and served.listener.connections == 1


def test_an_accept_that_fails_pauses_the_listener_instead_of_turning_in_a_circle(monkeypatch):
    monkeypatch.setattr(module, "ACCEPT_AGAIN_NS", 0)
    served = Served()
    real, failures = served.listener._socket, [OSError(errno.EMFILE, "no"), OSError(errno.ECONNABORTED, "no")]

    class Failing:
        fileno, getsockname = real.fileno, real.getsockname

        def accept(self):
            if failures:
                raise failures.pop()
            return real.accept()

    served.listener._socket = Failing()
    with served.stranger():
        served.until(lambda: served.listener.connections == 1)
    assert served.listener.counters["not_accepted"] == 2


def test_a_reason_that_quotes_the_peer_is_cut(monkeypatch):
    reasons, pair = [], Pair()
    pair.client.on_close = lambda connection, reason: reasons.append(reason)
    pair.server.channel.send({"t": "x" * 100_000})
    pair.server._flush()
    pair.until(lambda: reasons)
    assert len(reasons[0]) <= module.REASON_CHARS_MAX and "unknown message type" in reasons[0]


class FakeNode:
    loop = Loop()


def test_a_follower_that_breaks_during_a_commit_takes_nobody_along():
    """The store goes through its followers; one of them closes, and with that leaves the set."""
    store = StoreRole(FakeNode(), "g", 1)

    class Follower:
        def __init__(self, broken):
            self.broken, self.got = broken, []

        def pump(self, messages):
            if self.broken:
                store.disconnected(self)
            else:
                self.got += messages

        def send(self, message):
            self.got.append(message)

    followers = [Follower(number % 2 == 0) for number in range(6)]
    for follower in followers:
        store.message(follower, {"t": "subscribe", "group": "g", "have": 0, "follow": True, "headers": False})
    store._followers.update(dict.fromkeys(followers, False))
    master = Follower(False)
    commit(store, master, "g", 1)
    assert [message["t"] for message in master.got] == ["stored"]
    assert all(any(message["t"] == "chunk" for message in follower.got) for follower in followers if not follower.broken)
    assert store.counters()["checkpoint"] == 1


def commit(store, connection, group, number, header_id=None):
    """Send a small checkpoint."""
    from middleboxes.core.checkpoint import COVERED, Cut
    cut = Cut(id=number if header_id is None else header_id, base=0, epoch=1, covers=dict.fromkeys(COVERED, 1), function="F",
              positions=[(0, 0)], random=[1], times_ns=[0], keys={},
              sharing={"clocks": [], "domains": []}, changes=[])
    head = {"t": "checkpoint", "group": group, "epoch": 1, "id": number, "base": 0}
    for data in cut.chunks():
        store.message(connection, {**head, "last": False, "data": data})
    store.message(connection, {**head, "last": True, "data": b""})


def test_a_checkpoint_with_anothers_header_is_refused():
    store = StoreRole(FakeNode(), "g", 1)
    sent = []
    peer = type("Peer", (), {"send": lambda self, message: sent.append(message)})()
    commit(store, peer, "g", 2, header_id=3)
    assert sent[0]["t"] == "refused" and store.counters()["checkpoint"] == 0


@pytest.mark.parametrize("number, header_id", [(0, 1), (0, 0), (1, 0)])
def test_a_checkpoint_without_a_number_is_refused_by_a_store_that_has_none(number, header_id):
    store, sent = StoreRole(FakeNode(), "g", 1), []
    peer = type("Peer", (), {"send": lambda self, message: sent.append(message)})()
    commit(store, peer, "g", number, header_id=header_id)
    assert [message["t"] for message in sent] == ["refused"] and store.counters()["checkpoint"] == 0


@pytest.mark.parametrize("value", [[], [1, 2], [-1], ["1"], [True]])
def test_positions_that_are_none_are_refused(value):
    from middleboxes.runtime.role import ServiceError, check_positions
    with pytest.raises(ServiceError):
        check_positions(value, 1)
