"""The channel: two ends against each other in memory; whatever is wrong raises ChannelError or MessageError, nothing else."""

import random
import struct

import pytest

from middleboxes.core import channel as module
from middleboxes.core.channel import MAGIC, NONCE_BYTES, AuthenticationError, Channel, ChannelError, VersionError, pack
from middleboxes.core.messages import MESSAGE_BYTES_MAX, VERSION, MessageError

from .boxes import mutations

KEY = bytes(range(32))
BEAT = {"t": "beat", "roles": []}


def pair(server_key=KEY, client_key=KEY, name="m1"):
    return Channel("server", server_key, b"s" * NONCE_BYTES), Channel("client", client_key, b"c" * NONCE_BYTES, name)


def shake_hands(server, client):
    client.receive(server.data_to_send())
    server.receive(client.data_to_send())
    client.receive(server.data_to_send())


def connected():
    server, client = pair()
    shake_hands(server, client)
    assert server.established and client.established
    return server, client


def chunk(number, size=10):
    return {"t": "chunk", "group": "nat", "id": number, "base": 0, "last": False, "data": bytes(size)}


def test_both_ends_authenticate_and_talk_both_ways():
    server, client = connected()
    assert server.peer == "m1"
    for number in range(3):
        client.send(chunk(number))
        server.send(chunk(number + 10))
    assert server.receive(client.data_to_send()) == [chunk(n) for n in range(3)]
    assert client.receive(server.data_to_send()) == [chunk(n + 10) for n in range(3)]


def test_the_stream_may_be_split_anywhere():
    got = []

    def feed(target, data, size):
        for at in range(0, len(data), size):
            got.extend(target.receive(data[at:at + size]))

    for size in (1, 2, 3, 5, 7, 64):
        server, client = pair()
        got.clear()
        feed(client, server.data_to_send(), size)
        feed(server, client.data_to_send(), size)
        feed(client, server.data_to_send(), size)
        for number in range(3):
            client.send(chunk(number))
        feed(server, client.data_to_send(), size)
        assert got == [chunk(n) for n in range(3)]


def test_the_handshake_and_messages_may_come_in_one_piece():
    server, client = pair()
    client.receive(server.data_to_send())
    server.receive(client.data_to_send())
    answer = server.data_to_send()
    server.send(BEAT)
    assert client.receive(answer + server.data_to_send()) == [BEAT]


@pytest.mark.parametrize("server_key, client_key", [(KEY, b"other"), (b"other", KEY)])
def test_a_client_without_the_key_is_refused(server_key, client_key):
    server, client = pair(server_key, client_key)
    client.receive(server.data_to_send())
    with pytest.raises(AuthenticationError):
        server.receive(client.data_to_send())
    assert not server.established and server.peer is None and not server.data_to_send()


def test_a_server_without_the_key_is_refused():
    server, client = pair()
    client.receive(server.data_to_send())
    client.data_to_send()
    with pytest.raises(AuthenticationError):
        client.receive(bytes(32))
    assert not client.established


def test_a_recorded_handshake_is_of_no_use_against_another_nonce():
    server, client = pair()
    client.receive(server.data_to_send())
    hello = client.data_to_send()
    later = Channel("server", KEY, b"z" * NONCE_BYTES)
    with pytest.raises(AuthenticationError):
        later.receive(hello)


def test_another_version_is_told_by_number():
    _, client = pair()
    with pytest.raises(VersionError, match=f"version 9 .* speaks {VERSION}"):
        client.receive(MAGIC + bytes([9]) + bytes(NONCE_BYTES))
    server, client = pair()
    client.receive(server.data_to_send())
    hello = bytearray(client.data_to_send())
    hello[len(MAGIC)] = VERSION + 1
    with pytest.raises(VersionError):
        server.receive(bytes(hello))


@pytest.mark.parametrize("side", [0, 1])
def test_strangers_are_refused_at_their_first_bytes(side):
    with pytest.raises(ChannelError):
        pair()[side].receive(b"GET ")


def test_replayed_reordered_dropped_and_reflected_messages_are_refused():
    def sent(count):
        server, client = connected()
        pieces = []
        for number in range(count):
            client.send(chunk(number))
            pieces.append(client.data_to_send())
        return server, client, pieces

    for order in ([0, 0], [1, 0], [1]):
        server, _, pieces = sent(2)
        with pytest.raises(AuthenticationError):
            for at in order:
                server.receive(pieces[at])
    server, client, pieces = sent(1)
    with pytest.raises(AuthenticationError):
        client.receive(pieces[0])           # back to its sender


def test_every_tampered_byte_of_a_message_is_noticed():
    server, client = connected()
    client.send(BEAT)
    data = client.data_to_send()
    for at in range(4, len(data)):
        server, client = connected()
        client.send(BEAT)
        bad = bytearray(client.data_to_send())
        bad[at] ^= 1
        with pytest.raises(AuthenticationError):
            server.receive(bytes(bad))


def test_an_oversized_announcement_is_refused_before_its_body_comes():
    server, _ = connected()
    with pytest.raises(ChannelError, match="limit"):
        server.receive(struct.pack(">I", MESSAGE_BYTES_MAX + 1))
    server, _ = connected()
    assert server.receive(struct.pack(">I", MESSAGE_BYTES_MAX)) == []
    assert len(server._incoming) == 4


def test_an_oversized_message_is_not_sent():
    _, client = connected()
    with pytest.raises(ChannelError, match="'chunk'"):
        client.send(chunk(1, MESSAGE_BYTES_MAX))
    assert client.data_to_send() == b""


def test_sending_before_the_handshake_is_an_error():
    with pytest.raises(ChannelError):
        pair()[1].send(BEAT)


def test_wrong_construction_is_an_error():
    with pytest.raises(ValueError):
        Channel("peer", KEY, bytes(NONCE_BYTES))
    with pytest.raises(ValueError):
        Channel("server", KEY, b"short")


def with_session(body):
    """A correctly authenticated message of any body, as a peer with the key could send it."""
    server, client = connected()
    tag = client._tag("client", 1, body)
    return server, struct.pack(">I", len(body)) + tag + body


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", pack([1]), pack({"t": "nonsense"}), pack({"t": ["x"]}),
                                  b"\x81\x90\x01", b"\x81\xa1t\xd9\x04\xff\xff\xff\xff", pack({**BEAT, "more": 1}), pack(BEAT) + b"x"])
def test_a_peer_with_the_key_can_still_not_send_nonsense(body):
    server, data = with_session(body)
    with pytest.raises((ChannelError, MessageError)):
        server.receive(data)


def test_random_bodies_from_a_peer_with_the_key():
    for body in mutations([pack(chunk(1)), pack(BEAT), bytes(8)], 2000, seed=5):
        server, data = with_session(body)
        try:
            server.receive(data)
        except (ChannelError, MessageError):
            continue


def streams():
    """All bytes that each end received in a good conversation."""
    server, client = pair()
    to_client = server.data_to_send()
    client.receive(to_client)
    to_server = client.data_to_send()
    server.receive(to_server)
    answer = server.data_to_send()
    client.receive(answer)
    client.send(chunk(1))
    server.send(chunk(2))
    return to_server + client.data_to_send(), to_client + answer + server.data_to_send()


def test_random_and_damaged_streams_raise_nothing_but_channel_errors():
    rng = random.Random(6)
    for end, good in enumerate(streams()):
        for data in [*mutations([good], 4000, seed=7), *(rng.randbytes(rng.randrange(200)) for _ in range(1000))]:
            target = pair()[end]
            if end == 1:
                target.data_to_send()
            try:
                while data:
                    size = rng.randint(1, 60)
                    target.receive(data[:size])
                    data = data[size:]
            except (ChannelError, MessageError):
                continue


def test_every_truncation_of_a_good_stream_only_waits():
    for end, good in enumerate(streams()):
        for length in range(len(good)):
            target = pair()[end]
            assert target.receive(good[:length]) == []


def test_unpack_raises_value_error_only():
    for data in mutations([pack([{"a": (1, 2.5, b"x", "y")}, None])], 5000, seed=8):
        try:
            module.unpack(data)
        except ValueError:
            continue
