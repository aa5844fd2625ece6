"""The agent against a controller that knows the key and misbehaves: it answers what it can't do, and lives."""

import pytest

from middleboxes.runtime import agent as module
from middleboxes.runtime.agent import EVENTS_MAX, TEXT_CHARS_MAX, Agent
from middleboxes.runtime.loop import Loop
from middleboxes.runtime.role import RoleError


class Link:
    """A connection: what was sent, and why it was closed."""

    def __init__(self):
        self.sent, self.reason = [], None

    def send(self, message):
        self.sent.append(message)

    def close(self, reason):
        self.reason = reason


class Node:
    """A node whose requests end with *outcome*."""

    def __init__(self, outcome=None):
        self.loop, self.link, self.outcome, self.lines = Loop(), Link(), outcome, []
        self.log = self.lines.append
        self.agent = Agent(self, ["127.0.0.1", 1], 50)

    def dial(self, address, *handlers):
        return self.link

    def request(self, do, group, epoch, args):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def hello(self):
        return {"t": "hello"}

    def status(self):
        return []


REQUEST = {"t": "request", "id": 7, "do": "store", "group": "nat", "epoch": 1, "args": {}}


def replies(node):
    return [message for message in node.link.sent if message["t"] == "reply"]


def test_a_request_is_answered_with_its_result():
    node = Node({"stored": [1]})
    node.agent._message(node.link, REQUEST)
    assert replies(node) == [{"t": "reply", "id": 7, "ok": True, "error": "", "result": {"stored": [1]}}]


@pytest.mark.parametrize("error", [RoleError("not here"), RoleError(""), KeyError("mac"), IndexError("x"), ValueError("no hex"), AttributeError("x"),
                                   OverflowError("int too big"), OSError(99, "no such address"), *[
                                       kind("bad") for kind in module.UNUSABLE]])
def test_what_arguments_lead_to_is_answered_and_the_node_lives(error):
    node = Node(error)
    node.agent._message(node.link, REQUEST)
    (reply,) = replies(node)
    assert reply["ok"] is False and reply["error"] and reply["result"] == {} and len(node.lines) == 1


def test_texts_are_cut_so_that_no_message_is_too_large():
    node = Node(RoleError("x" * 5_000_000))
    node.agent._message(node.link, {**REQUEST, "group": "g" * 1_000_000})
    assert len(replies(node)[0]["error"]) == TEXT_CHARS_MAX and len(node.lines[0]) < 1000
    node.agent._opened(node.link)
    node.agent.event("failed", "nat", 1, {"error": "x" * 5_000_000, "at_ns": 5})
    assert node.link.sent[-1]["detail"] == {"error": "x" * TEXT_CHARS_MAX, "at_ns": 5}


def test_what_is_no_request_ends_the_connection():
    node = Node()
    node.agent._message(node.link, {"t": "beat", "roles": []})
    assert "not a request" in node.link.reason and node.link.sent == []


def test_events_are_kept_for_a_controller_that_is_away_and_the_oldest_go_at_the_bound():
    node = Node()
    for number in range(EVENTS_MAX + 3):
        node.agent.event("live", "nat", number, {})
    node.agent._opened(node.link)
    epochs = [message["epoch"] for message in node.link.sent if message["t"] == "event"]
    assert epochs == list(range(3, EVENTS_MAX + 3)) and "3 events were dropped" in node.lines[0]
