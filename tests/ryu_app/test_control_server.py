"""The control channel's server against real sockets: who is let in, and what happens to who does not behave."""

import errno
import os

import eventlet
import pytest
from eventlet.green import socket

from middleboxes.core import admission
from middleboxes.core.channel import NONCE_BYTES, Channel
from ryu_app import server as server_module
from ryu_app.server import Server

KEY = b"k" * 32
HELLO = {"t": "hello", "node": "m1", "boot": 1, "service": ["127.0.0.1", 1], "roles": []}


class Client:
    """An agent's end of a connection."""

    def __init__(self, port, name="m1", key=KEY):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.channel = Channel("client", key, os.urandom(NONCE_BYTES), name)

    def authenticate(self):
        while not self.channel.established:
            data = self.sock.recv(65536)
            if not data:
                return self
            self.channel.receive(data)
            self.sock.sendall(self.channel.data_to_send())
        return self

    def send(self, message):
        self.channel.send(message)
        self.sock.sendall(self.channel.data_to_send())

    def closed(self):
        """Whether the server has closed the connection; waits for it."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture
def served(monkeypatch):
    """(server, heard): *heard* collects what the server tells."""
    monkeypatch.setattr(server_module, "HELLO_S", 0.3)
    heard = eventlet.queue.LightQueue()
    server = Server(("127.0.0.1", 0), KEY, lambda name, message: heard.put((name, message["t"])),
                    lambda name: heard.put((name, "closed")), 1000)
    thread = eventlet.spawn(server.serve)
    with eventlet.Timeout(10):
        yield server, heard
    thread.kill()


def test_messages_come_with_the_authenticated_name_and_the_end_is_told(served):
    server, heard = served
    client = Client(server.port).authenticate()
    client.send(HELLO)
    assert heard.get() == ("m1", "hello")
    client.sock.close()
    assert heard.get() == ("m1", "closed")
    eventlet.sleep(0)
    assert server.connections == 0


def test_who_says_much_leaves_their_turns_to_others(served):
    """What is there already is read without waiting; ticks and other agents must come in between."""
    server, heard = served
    turns = []
    server._on_message = lambda name, message: turns.append("message")
    client = Client(server.port).authenticate()

    def others():
        while True:
            turns.append("other")
            eventlet.sleep(0)
    thread = eventlet.spawn(others)
    for message in [HELLO] + [{"t": "beat", "roles": []}] * 500:
        client.channel.send(message)
    client.sock.sendall(client.channel.data_to_send())
    client.sock.close()
    assert heard.get() == ("m1", "closed")
    thread.kill()
    assert turns.count("message") == 501 and all(pair != ("message", "message") for pair in zip(turns, turns[1:]))


def test_requests_reach_the_agent(served):
    server, heard = served
    client = Client(server.port).authenticate()
    client.send(HELLO)
    heard.get()
    request = {"t": "request", "id": 1, "do": "store", "group": "nat", "epoch": 1, "args": {}}
    server.send("m1", request)
    assert client.channel.receive(client.sock.recv(65536)) == [request]


def test_the_server_can_close_a_connection_that_is_being_read(served):
    server, heard = served
    client = Client(server.port).authenticate()
    client.send(HELLO)
    heard.get()
    server.close("m1")
    assert client.closed()
    assert heard.get() == ("m1", "closed")
    again = Client(server.port).authenticate()
    again.send(HELLO)
    assert heard.get() == ("m1", "hello")


def test_a_wrong_key_is_refused_and_counted(served):
    server, _ = served
    assert Client(server.port, key=b"x" * 32).authenticate().closed()
    assert server.counters["unauthenticated"] == 1


@pytest.mark.parametrize("prepare", [lambda client: client, Client.authenticate])
def test_who_says_nothing_is_closed(served, prepare):
    server, _ = served
    assert prepare(Client(server.port)).closed()


def test_a_newer_connection_replaces_the_older_and_its_end_is_told_first(served):
    server, heard = served
    older = Client(server.port).authenticate()
    older.send(HELLO)
    newer = Client(server.port).authenticate()
    newer.send(HELLO)
    assert [heard.get(), heard.get(), heard.get()] == [("m1", "hello"), ("m1", "closed"), ("m1", "hello")]
    assert older.closed()


def test_no_more_connections_than_the_limit(served, monkeypatch):
    server, heard = served
    monkeypatch.setattr(admission, "CONNECTIONS_MAX", 1)
    client = Client(server.port).authenticate()
    client.send(HELLO)
    heard.get()
    assert Client(server.port, "m2").closed()
    assert server.counters["refused"] == 1


def test_strangers_who_say_nothing_make_room_and_keep_out_nobody(served, monkeypatch):
    server, heard = served
    monkeypatch.setattr(server_module, "HELLO_S", 60)
    monkeypatch.setattr(admission, "HALF_OPEN_MAX", 3)
    strangers = [Client(server.port) for _ in range(3)]
    while server.connections < 3:
        eventlet.sleep(0)
    client = Client(server.port).authenticate()
    client.send(HELLO)
    assert heard.get() == ("m1", "hello")
    assert strangers[0].closed() and server.counters["half_open_dropped"] == 1
    for stranger in strangers:
        stranger.sock.close()
    while server.connections > 1:
        eventlet.sleep(0)
    assert server.counters["unauthenticated"] == 3


def test_one_host_does_not_take_all_places(served, monkeypatch):
    server, heard = served
    monkeypatch.setattr(server_module, "HELLO_S", 60)
    monkeypatch.setattr(admission, "HALF_OPEN_PER_HOST_MAX", 2)
    strangers = [Client(server.port) for _ in range(2)]
    while server.connections < 2:
        eventlet.sleep(0)
    assert Client(server.port).closed() and server.counters["refused"] == 1
    strangers[0].authenticate().send(HELLO)
    assert heard.get() == ("m1", "hello")
    other = Client(server.port, "m2").authenticate()
    other.send({**HELLO, "node": "m2"})
    assert heard.get() == ("m2", "hello"), "who has authenticated leaves its place to the next"


def test_an_agent_that_does_not_read_is_closed_and_counted(served, monkeypatch):
    server, heard = served
    monkeypatch.setattr(server_module, "QUEUE_MESSAGES_MAX", 4)
    client = Client(server.port).authenticate()
    client.send(HELLO)
    heard.get()
    request = {"t": "request", "id": 1, "do": "store", "group": "x" * 900_000, "epoch": 1, "args": {}}
    while not server.counters["queue_full"]:
        server.send("m1", request)
        eventlet.sleep(0)
    assert heard.get() == ("m1", "closed")


def test_an_accept_that_fails_is_counted_and_the_next_one_served(served, monkeypatch):
    server, heard = served
    accept, errors = server._listener.accept, [errno.EMFILE, errno.ECONNABORTED]

    def failing():
        if errors:
            raise OSError(errors.pop(), "no")
        return accept()

    monkeypatch.setattr(server._listener, "accept", failing)
    clients = []                        # a connection that nobody keeps is closed
    for name in ("m1", "m2"):           # the first ends the accept that was under way
        clients.append(Client(server.port, name).authenticate())
        clients[-1].send({**HELLO, "node": name})
        assert heard.get() == (name, "hello")
    assert server.counters["not_accepted"] == 2


def test_a_peer_that_acknowledges_nothing_is_given_up_by_the_kernel(served):
    server, heard = served
    client = Client(server.port).authenticate()
    client.send(HELLO)
    heard.get()
    sock = server._by_name["m1"]._sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000
