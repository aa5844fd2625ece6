"""REST: any method, path, query, headers and body has a proper answer; without the key nothing changes."""

import json

from deployments import single
from fake_fabric import Fabric

from middleboxes.core.channel import pack
from ryu_app.refusal import Refused
from ryu_app.rest import BODY_BYTES_MAX, Rest
from ryu_app.status import status

from . import generate

KEY = bytes(range(32))
METHODS = ("GET", "POST", "DELETE", "PUT", "HEAD", "get", "", "PO ST", "\x00")
WORDS = ("ftmb", "status", "groups", "nodes", "events", "stream", "rules", "move", "drain", "undrain", "nat", "m1", "NAME", "", ".", "..", *generate.TEXTS)
PATHS = ("/ftmb/status", "/ftmb/groups", "/ftmb/groups/nat", "/ftmb/groups/nat/move", "/ftmb/groups/nat/decide", "/ftmb/nodes", "/ftmb/nodes/m1/drain",
         "/ftmb/nodes/m1/undrain", "/ftmb/events", "/ftmb/events/stream", "/ftmb/rules")
STATUSES = {200, 400, 401, 404, 405, 409, 411, 413, 503, 504}


class Operations:
    """The real core's status; notes what reaches the controller, checked for its types."""

    def __init__(self):
        self.fabric = Fabric(single())
        self.fabric.start()
        self.fabric.run()
        self.asked = []

    def status(self):
        return status(self.fabric.core.context, 0, [], 0)

    def events(self, since):
        assert type(since) is int and since >= 0
        return [{"number": since}]

    stream = events

    def move(self, group, to, reload):
        assert group == "nat" and (to is None or to in self.fabric.deployment.nodes) and type(reload) is bool
        return self._note()

    def decide(self, group, policy):
        assert group == "nat" and policy in ("last-checkpoint", "empty")
        return self._note()

    def drain(self, node):
        assert node in self.fabric.deployment.nodes
        return self._note()

    undrain = drain

    def withdraw(self):
        return self._note()

    def _note(self):
        self.asked.append(1)
        if len(self.asked) % 2:
            raise Refused("as things are")
        return {}


def path(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return "/" + "/".join(rng.choice(WORDS) for _ in range(rng.randint(0, 6)))
    if kind == 1:
        return generate.damaged(rng, rng.choice(PATHS).encode()).decode(rng.choice(("latin-1", "utf-8")), errors="replace")
    return rng.choice(PATHS)


def body(rng):
    kind = rng.randrange(7)
    if kind == 0:
        return generate.noise(rng, 3000)
    if kind == 1:
        return rng.choice((b"[", b'{"to":', b"[{\"a\":")) * rng.choice((10, 5000))
    if kind == 2:
        return generate.damaged(rng, b'{"to": "m2", "reload": false}')
    if kind == 3:
        return b'{"to": ' + b"9" * rng.choice((20, 5000)) + b"}"
    if kind == 4:
        return pack(generate.value(rng))
    item = generate.mutated(rng, rng.choice(({"to": "m2", "reload": False}, {"to": None}, {"policy": "empty"})))
    return json.dumps(item, default=lambda data: data.decode("latin-1")).encode()


def headers(rng, data):
    given = {"Content-Length": rng.choice((str(len(data)), str(len(data)), str(len(data)), str(len(data) + 1), "-1", "", "x", "\u0661", "1e9", str(1 << 40),
                                           "9" * 5000, str(BODY_BYTES_MAX + 1)))}
    if rng.randrange(8) == 0:
        given["Transfer-Encoding"] = rng.choice(("chunked", "identity", "x"))
    if rng.randrange(3):
        key = KEY.hex()
        given["X-FTMB-Key"] = rng.choice((key, key, key.upper(), key[:-1], key + "0", "", "\udcff", "x" * 70_000, key[1:] + key[0]))
    return given


def test_any_request_has_a_proper_answer_and_changes_nothing_without_the_key(campaign):
    operations = Operations()
    rest, before = Rest(KEY, operations), json.dumps(operations.status())
    for rng in campaign:
        data, operations.asked = body(rng), []
        given, method = headers(rng, data), rng.choice(METHODS[:3] if rng.randrange(2) else METHODS)
        read = []

        def take(count):
            read.append(count)
            return data[:count]

        query = {rng.choice(("since", "x")): rng.choice((*generate.TEXTS, "5", "-1", "9" * 30, "\u0661"))} if rng.randrange(2) else {}
        answer = rest.handle(method, path(rng), query, given, take)
        assert answer.status in STATUSES
        text = json.dumps(answer.value)
        if answer.status >= 400:
            assert list(answer.value) == ["error"] and len(text) < 2000
        assert all(count <= BODY_BYTES_MAX for count in read), "no more is read than the bound"
        if given.get("X-FTMB-Key") != KEY.hex():
            assert operations.asked == [] and read == []
    assert json.dumps(operations.status()) == before
