"""The control channel's both ends: nothing forged, damaged, repeated, reordered or strange is ever taken for a message."""

import struct

import pytest

from middleboxes.core.channel import MAGIC, NONCE_BYTES, Channel, ChannelError, pack
from middleboxes.core.messages import MESSAGE_BYTES_MAX, VERSION, MessageError, check

from . import generate
from .samples import MESSAGES, REQUESTS

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
#: what the longest handshake needs: greeting, name, proof
HANDSHAKE_BYTES_MAX = 37 + 1 + 255 + 32


def pair(rng, client_key=KEY, server_key=KEY):
    return Channel("server", server_key, rng.randbytes(NONCE_BYTES)), Channel("client", client_key, rng.randbytes(NONCE_BYTES), "m1")


def connected(rng):
    server, client = pair(rng)
    client.receive(server.data_to_send())
    server.receive(client.data_to_send())
    client.receive(server.data_to_send())
    return server, client


def feed(rng, target, data):
    """(messages, whether it was refused): *data* in pieces."""
    got = []
    try:
        for piece in generate.pieces(rng, data):
            got += target.receive(piece)
            assert target.established or len(target._incoming) <= HANDSHAKE_BYTES_MAX
            assert len(target._incoming) <= MESSAGE_BYTES_MAX + 20
    except (ChannelError, MessageError):
        return got, True
    return got, False


def handshake_for(rng, server):
    """Bytes of a peer that does not know the key, for *server*: of many kinds."""
    _, client = pair(rng, client_key=rng.choice((KEY, OTHER_KEY)))
    other, _ = pair(rng)
    kind = rng.randrange(6)
    if kind == 0:
        return generate.noise(rng, 5000)
    if kind == 1:
        return MAGIC + bytes([rng.choice((VERSION, 0, 255))]) + generate.noise(rng, 600)
    if kind == 2:           # recorded from another conversation
        client.receive(other.data_to_send())
        return client.data_to_send()
    good = server.data_to_send()
    client.receive(good)
    hello = client.data_to_send()
    if kind == 3:
        return hello[:rng.randrange(len(hello))]
    if kind == 4:
        return good + hello     # sent back
    damaged = generate.damaged(rng, hello)
    return damaged if not damaged.startswith(hello) and not hello.startswith(damaged) else hello[:-1] + bytes([hello[-1] ^ 1])


def test_a_server_lets_nobody_in_without_the_key(campaign):
    for rng in campaign:
        server, _ = pair(rng)
        got, _ = feed(rng, server, handshake_for(rng, server))
        assert got == [] and not server.established and server.peer is None
        with pytest.raises(ChannelError):
            server.send({"t": "beat", "roles": []})


def test_a_client_trusts_no_server_without_the_key(campaign):
    for rng in campaign:
        server, client = pair(rng, server_key=OTHER_KEY)
        greeting = server.data_to_send()
        kind = rng.randrange(4)
        if kind == 0:
            stream = generate.noise(rng, 5000)
        elif kind == 1:
            stream = generate.damaged(rng, greeting + rng.randbytes(32))
        elif kind == 2:
            client.receive(greeting)
            stream = client.data_to_send()[-32:]         # its own proof, sent back
        else:
            real, known = pair(rng)
            known.receive(real.data_to_send())
            real.receive(known.data_to_send())
            stream = greeting + real.data_to_send()       # recorded from another conversation
        got, _ = feed(rng, client, stream)
        assert got == [] and not client.established


def test_only_what_was_sent_arrives_and_in_its_order(campaign):
    """Somebody on the way damages, drops, repeats, exchanges, sends back or cuts messages of a good conversation."""
    for rng in campaign:
        server, client = connected(rng)
        sent = [rng.choice(MESSAGES) for _ in range(rng.randint(1, 5))]
        frames = []
        for message in sent:
            client.send(message)
            frames.append(client.data_to_send())
        at, kind = rng.randrange(len(frames)), rng.randrange(7)
        if kind == 0:
            frames[at] = generate.damaged(rng, frames[at])
        elif kind == 1:
            del frames[at]
        elif kind == 2:
            frames.insert(at, frames[at])
        elif kind == 3:
            rng.shuffle(frames)
        elif kind == 4:
            server.send(sent[0])
            frames[at] = server.data_to_send()
        elif kind == 5:
            frames[at] = frames[at][:rng.randrange(len(frames[at]))]
        else:
            frames.insert(at, generate.noise(rng, 200))
        got, _ = feed(rng, server, b"".join(frames))
        assert got == sent[:len(got)]


def authentic(client, body):
    """*body* as a peer that knows the key can send it, whatever it is."""
    client._sent += 1
    return struct.pack(">I", len(body)) + client._tag("client", client._sent, body) + body


def hostile_body(rng):
    kind = rng.randrange(5)
    if kind == 0:
        return generate.noise(rng, 3000)
    if kind == 1:
        return generate.damaged(rng, pack(rng.choice(MESSAGES)))
    if kind == 2:
        return rng.choice((b"\x91", b"\x81", b"\x81\xa1t", b"\x81\x91")) * rng.choice((10, 2000, 100_000)) + b"\xc0"      # deep
    if kind == 3:
        return rng.choice((b"\xdd", b"\xdf", b"\xdb", b"\xc6")) + rng.choice((2**32 - 1, 2**20, 2**16)).to_bytes(4, "big") + rng.randbytes(9)
    return pack(generate.mutated(rng, rng.choice(MESSAGES)))


def test_a_peer_with_the_key_gets_only_messages_of_the_vocabulary_through(campaign):
    for rng in campaign:
        server, client = connected(rng)
        got, _ = feed(rng, server, authentic(client, hostile_body(rng)))
        for message in got:
            assert check(message) is message and all(type(key) is str for key in message)


def test_an_announced_size_takes_no_memory(campaign, memory):
    """Peers that announce large messages and stop: what is held is what came."""
    held = []
    for rng in campaign:
        server, _ = connected(rng)
        length = rng.choice((MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1, 2**32 - 1, rng.getrandbits(32)))
        feed(rng, server, struct.pack(">I", length) + rng.randbytes(rng.randrange(40)))
        held = [*held[-99:], server]
    assert memory() < 4 << 20


def test_requests_with_mutated_arguments_are_of_the_vocabulary_or_refused(campaign):
    for rng in campaign:
        do, args = rng.choice(REQUESTS)
        message = {"t": "request", "id": 1, "do": do, "group": "nat", "epoch": 1, "args": args}
        assert check(message) is message
        try:
            check(generate.mutated(rng, message))
        except MessageError as error:
            assert len(str(error)) < 1000
