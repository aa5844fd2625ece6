"""Real servers on loopback under hostile connections: who behaves is served all the while, and nothing is left behind."""

import json
import socket as blocking
import struct

import eventlet
import eventlet.queue
from eventlet.green import socket
from web import Web

from middleboxes.core.admission import CONNECTIONS_MAX
from middleboxes.core.channel import NONCE_BYTES, Channel, ChannelError
from middleboxes.core.messages import MessageError
from middleboxes.runtime.connection import Connection, Listener
from middleboxes.runtime.loop import Loop
from ryu_app.server import Server

from . import generate
from .test_channel import KEY, handshake_for, hostile_body
from .test_rest import KEY as REST_KEY
from .test_rest import PATHS, Operations, body

RESET = struct.pack("ii", 1, 0)     # SO_LINGER: a close resets the connection
PATIENCE_S = 60


def converse(rng, sock, name):
    """Be a hostile client on the blocking-style *sock*, of one of many kinds, to its end."""
    try:
        if rng.randrange(2):
            sock.sendall(handshake_for(rng, Channel("server", KEY, rng.randbytes(NONCE_BYTES))))
        else:
            authenticate(rng, sock, name)
        if rng.randrange(3) == 0:
            sock.setsockopt(blocking.SOL_SOCKET, blocking.SO_LINGER, RESET)
            return
        sock.shutdown(blocking.SHUT_WR)
        while sock.recv(65536):
            pass
    except OSError:
        return          # the server was first to end it
    finally:
        sock.close()


def authenticate(rng, sock, name):
    """Know the key, and say what is no message."""
    channel = Channel("client", KEY, rng.randbytes(NONCE_BYTES), name)
    while not channel.established:
        data = sock.recv(65536)
        if not data:
            return
        channel.receive(data)
        sock.sendall(channel.data_to_send())
    spoilt = hostile_body(rng)
    tag = channel._tag("client", 1, spoilt) if rng.randrange(2) else rng.randbytes(16)
    sock.sendall(struct.pack(">I", len(spoilt)) + tag + spoilt)


class Agent:
    """A good agent on eventlet's sockets."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.channel = Channel("client", KEY, b"n" * NONCE_BYTES, "good")
        while not self.channel.established:
            self.channel.receive(self.sock.recv(65536))
            self.sock.sendall(self.channel.data_to_send())

    def send(self, message):
        self.channel.send(message)
        self.sock.sendall(self.channel.data_to_send())


def test_the_controllers_server_goes_on_serving(campaign):
    heard = eventlet.queue.LightQueue()
    server = Server(("127.0.0.1", 0), KEY, lambda name, message: heard.put((name, message)), lambda name: heard.put((name, None)), 1000)
    thread = eventlet.spawn(server.serve)
    with eventlet.Timeout(PATIENCE_S):
        agent = Agent(server.port)
        for number, rng in enumerate(campaign):
            crowd = [eventlet.spawn(converse, rng, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S), "bad")
                     for _ in range(rng.randint(1, 3))]
            agent.send({"t": "reply", "id": number, "ok": True, "error": "", "result": {}})
            for client in crowd:
                client.wait()
            assert server.connections <= CONNECTIONS_MAX
            while True:
                name, message = heard.get()
                if name == "good":
                    assert message["id"] == number, "the good agent's messages arrive, all and in their order"
                    break
        while server.connections > 1:
            eventlet.sleep(0)
    assert set(server._by_name) == {"good"} and server.counters["unauthenticated"] > 0
    thread.kill()
    agent.sock.close()


class Node:
    """A listener and a good client on one loop, turned by hand."""

    def __init__(self):
        self.loop, self.got, self.lines = Loop(), [], []
        self.listener = Listener(self.loop, ["127.0.0.1", 0], KEY, self._message, self.lines.append)
        self.client = Connection.connect(self.loop, ["127.0.0.1", self.listener.port], KEY, "good",
                                         on_message=lambda connection, message: self.got.append(message["id"]))
        self.until(lambda: self.client.channel.established)

    @staticmethod
    def _message(connection, message):
        if connection.channel.peer == "good":
            connection.send({"t": "stored", "group": "nat", "id": message["have"]})

    def until(self, condition, turns=100_000):
        for _ in range(turns):
            if condition():
                return
            timer = self.loop.after(1_000_000, lambda: None)
            self.loop._turn()
            self.loop.cancel(timer)
        raise AssertionError("it did not happen")


def hostile_stream(rng, greeting):
    """All that a client says that has read the server's *greeting* only."""
    if rng.randrange(2):
        return handshake_for(rng, Channel("server", KEY, rng.randbytes(NONCE_BYTES)))
    client = Channel("client", KEY, rng.randbytes(NONCE_BYTES), "bad")
    client.receive(greeting)
    hello = client.data_to_send()
    try:
        client.receive(client._proof("server", b"bad"))     # it knows what the server will answer
    except (ChannelError, MessageError) as error:
        raise AssertionError("the proof is right") from error
    spoilt = hostile_body(rng)
    return hello + struct.pack(">I", len(spoilt)) + client._tag("client", 1, spoilt) + spoilt


def test_a_nodes_service_goes_on_serving(campaign):
    node = Node()
    for number, rng in enumerate(campaign):
        with blocking.create_connection(("127.0.0.1", node.listener.port), timeout=PATIENCE_S) as sock:
            node.until(lambda: node.listener.connections == 2)
            sock.sendall(hostile_stream(rng, sock.recv(37)))
            if rng.randrange(3) == 0:
                sock.setsockopt(blocking.SOL_SOCKET, blocking.SO_LINGER, RESET)
        node.client.send({"t": "subscribe", "group": "nat", "have": number, "follow": False, "headers": False})
        node.until(lambda: node.got and node.got[-1] == number)
        node.until(lambda: node.listener.connections == 1)
    assert node.got == list(range(campaign.count)) and len(node.lines) < 40


def request(rng):
    """The bytes of a hostile HTTP request; never one that has the key and is whole."""
    if rng.randrange(6) == 0:
        return generate.noise(rng, 9000)
    data = body(rng)[:2000]
    key = rng.choice((REST_KEY.hex()[::-1], "", "x" * 300))
    head = (f"{rng.choice(('GET', 'POST', 'DELETE', 'BREW'))} {rng.choice(PATHS)}{rng.choice(('', '?since=1', '?since=%ff', '%00', '/%2e%2e'))} HTTP/1.1\r\n"
            f"Host: {rng.choice(('x', '', 'x' * 300))}\r\nConnection: close\r\nX-FTMB-Key: {key}\r\n"
            f"Content-Length: {rng.choice((len(data), len(data), 1 << 40, -1, 'x'))}\r\n\r\n").encode()
    return generate.damaged(rng, head) + data if rng.randrange(2) else head + data


def test_the_web_server_goes_on_answering(campaign):
    operations = Operations()
    operations.stream = lambda since: [since]
    before = json.dumps(operations.status())
    web = Web(REST_KEY, operations)
    with eventlet.Timeout(PATIENCE_S):
        for rng in campaign:
            with web.connect() as sock:
                try:
                    sock.sendall(request(rng))
                    sock.shutdown(blocking.SHUT_WR)
                    while sock.recv(65536):
                        pass
                except ConnectionError:
                    pass            # it was refused in the middle
            status, value, _ = web.ask("GET", "/ftmb/status")
            assert status == 200 and json.dumps(value) == before
    assert operations.asked == []
    web.stop()
