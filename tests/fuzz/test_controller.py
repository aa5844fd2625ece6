"""The controller's core against agents that know the key and say strange things: it goes on, and its status can be told."""

import json

from deployments import single
from fake_fabric import Fabric

from middleboxes.core.messages import MessageError, check
from ryu_app.actions import Publish
from ryu_app.events import WHAT_CHARS_MAX, EventLog
from ryu_app.status import status

from . import generate
from .samples import MESSAGES

ROUNDS = 20     # hostile messages to one controller before the next, fresh one


def protected():
    fabric = Fabric(single())
    fabric.start()
    fabric.run()
    return fabric


def hostile(rng, fabric):
    """A message that passes the channel's check, from any node, near to what the controller expects just now."""
    name = rng.choice([*fabric.deployment.nodes, "nobody"])
    samples = [message for message in MESSAGES if message["t"] in ("hello", "beat", "reply", "event", "request")]
    agent = fabric.agents.get(name)
    if agent is not None:
        samples.append(agent.hello())
    for number in fabric.core.context.pending:
        samples.append({"t": "reply", "id": number, "ok": True, "error": "", "result": {"stored": [1], "n": [1], "last_ns": 1}})
    for event in ("live", "protected", "first-output", "failed", "stopped", "function-error"):
        samples.append({"t": "event", "name": event, "group": "nat", "epoch": rng.randint(0, 3), "detail": {
            "role": "master", "error": "x", "load_ms": 1.0, "replay_ms": 1.0, "replayed_packets": 1, "n": [1], "k": [1], "change": 1}})
    message = rng.choice(samples)
    while True:
        try:
            return name, check(generate.mutated(rng, message))
        except MessageError:
            continue


def test_a_controller_survives_whatever_its_agents_say(campaign):
    fabric, log = None, None
    for number, rng in enumerate(campaign):
        if number % ROUNDS == 0:
            fabric, log = protected(), EventLog()
        name, message = hostile(rng, fabric)
        core, now_ns = fabric.core, fabric.now_ns + number * 1_000_000
        actions = core.message(name, message, now_ns)
        if rng.randrange(4) == 0:
            actions += core.closed(name, now_ns)
        actions += core.tick(now_ns)
        for action in actions:
            if isinstance(action, Publish):
                log.add({"what": action.what})
        told = status(core.context, 0, [], 0)
        json.dumps(told)
        assert all(len(event["what"]) <= WHAT_CHARS_MAX for event in log.since(0))
        assert set(core.context.groups) == {"nat"} and set(core.context.nodes) == set(fabric.deployment.nodes)
