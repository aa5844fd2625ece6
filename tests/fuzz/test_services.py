"""A node's roles and its agent: service messages and requests of peers that know the key, with any values in them."""

import json

from middleboxes.core.channel import pack
from middleboxes.core.checkpoint import COVERED, Cut
from middleboxes.core.messages import MESSAGE_BYTES_MAX, MessageError, check
from middleboxes.runtime.agent import Agent
from middleboxes.runtime.bundles import Bundles
from middleboxes.runtime.input_logger import InputLoggerRole
from middleboxes.runtime.loop import Loop
from middleboxes.runtime.node import Node
from middleboxes.runtime.output_logger import OutputLoggerRole
from middleboxes.runtime.store import StoreRole

from . import generate
from .samples import ADDRESS, INPUT_LOGGER, LOGGER, REQUESTS, SERVICES

#: what one answer may take at most before a hostile client is told no more by this test
TAKEN_MAX = 40


class Connection:
    """A connection that notes what is sent, as far as a real one would take it."""

    closed, waiting_bytes, on_drained, on_close = False, 0, None, None

    def __init__(self):
        self.sent = []

    def send(self, message):
        assert len(pack(check(message))) <= MESSAGE_BYTES_MAX
        self.sent.append(message)

    def pump(self, messages):
        for _, message in zip(range(TAKEN_MAX), messages):
            self.send(message)

    def close(self, reason="closed"):
        self.closed = True


class BareNode(Node):
    """A node without interfaces and sockets."""

    def __init__(self):
        self.name, self.loop, self.mac = "m1", Loop(), bytes(6)
        self._service, self._boot, self._ports, self.fault_counters = ADDRESS, 1, {}, {}
        self._roles, self._takers, self._by_id, self._buffers = {}, {}, {}, {}
        self.failed, self.restarted, self.link = [], [], Connection()
        self.agent = Agent(self, ADDRESS, 50)
        self.bundles = Bundles(self, None, b"")
        self.agent._open = True

    def dial(self, address, *handlers, **named):
        return self.link if not hasattr(self, "agent") else Connection()

    def send(self, frame):
        assert type(frame) is bytes

    def send_all(self, frames):
        for frame in frames:
            self.send(frame)

    send_apart = send_all

    def log(self, text):
        assert len(text) < 2000

    def fail(self, role, error):
        self.failed.append((role, error))

    def hold_inputs(self):
        pass

    def drain(self):
        pass

    def data_counters(self, inputs=(), others=()):
        return {}

    def leave_to_workers(self, group_id, left=True):
        pass

    def restart(self):
        self.restarted.append(1)


def checkpoint(rng, number):
    """The messages of one small checkpoint."""
    cut = Cut(id=number, base=0, epoch=1, covers=dict.fromkeys(COVERED, 1), function="F", positions=[(1, 1)], random=[1], times_ns=[0], keys={},
              sharing={"clocks": [], "domains": []}, changes=[])
    head = {"t": "checkpoint", "group": "nat", "epoch": 1, "id": number, "base": 0}
    return [*({**head, "last": False, "data": data} for data in cut.chunks()), {**head, "last": True, "data": b""}]


def facts(role):
    """What a role tells of itself, but for who follows it and how time goes by, and the node of its roles."""
    status = role.status()
    counters = {name: value for name, value in status["counters"].items() if not name.startswith("followers") and name != "heard_ago_ms"}
    return json.dumps([{**status, "counters": counters}, sorted(map(str, role.node._roles))])


def role_of(node, name):
    if name == "store":
        return StoreRole(node, "nat", 1)
    if name == "input-logger":
        return InputLoggerRole(node, "nat", 1, **INPUT_LOGGER)
    return OutputLoggerRole(node, "nat", 1, **LOGGER, covered_from=0)


def test_a_role_answers_or_refuses_any_service_message_and_does_not_fail(campaign):
    node, roles = None, []
    for number, rng in enumerate(campaign):
        if number % 50 == 0:
            for role in roles:
                role.close()
            node = BareNode()
            roles = [role_of(node, name) for name in ("store", "input-logger", "output-logger")]
        role, connection = rng.choice(roles), Connection()
        messages = checkpoint(rng, number + 1) if rng.randrange(2) else [rng.choice(SERVICES)]
        for message in messages:
            message = generate.mutated(rng, message) if rng.randrange(3) else message
            if message.get("t") == "checkpoint" and rng.randrange(3) == 0:
                message["data"] = generate.damaged(rng, messages[0]["data"])
            try:
                check(message)
            except MessageError:
                continue
            before = facts(role)
            role.guarded(role.serve)(connection, message)
            if message["t"] not in ("checkpoint", "inputs"):       # an answer with inputs ends with a tick
                assert facts(role) == before, "a question changes nothing"
        role.disconnected(connection)
        assert node.failed == []


def test_an_agent_answers_any_request_and_keeps_no_role_that_it_refused(campaign):
    node = None
    for number, rng in enumerate(campaign):
        if number % 30 == 0:
            for role in list(node._roles.values()) if node else ():
                node._drop(role)
            node = BareNode()
        do, args = rng.choice(REQUESTS)
        message = {"t": "request", "id": number, "do": do, "group": "nat", "epoch": 2, "args": args}
        message = generate.mutated(rng, message) if rng.randrange(4) else message
        try:
            check(message)
        except MessageError:
            continue
        before, link = set(node._roles), Connection()
        node.agent._message(link, message)
        (reply,) = link.sent
        assert reply["t"] == "reply" and reply["id"] == message["id"] and reply["ok"] == (reply["error"] == "")
        if not reply["ok"]:
            assert set(node._roles) <= before
        assert len(node.status()) <= 5 * 4
        check({"t": "beat", "roles": node.status()})
        check(node.hello())
