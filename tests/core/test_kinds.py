"""Sets, records and expiring maps: what they promise, and that a restored one equals the one that went on, order included."""

import random

import pytest

from middleboxes.core.kinds import ExpiringMap, Records, Set
from middleboxes.core.sharing import State
from middleboxes.core.state import StateError
from middleboxes.sdk import Middlebox
from middleboxes.sdk.conformance import CHECKS, Subject

from .test_state import delta

KINDS = [Set(), Records("packets", "octets"), ExpiringMap()]


def _change(variable, rng, now_ns):
    key = rng.randrange(12)
    if isinstance(variable, Set):
        variable.add(key) if rng.random() < 0.6 else variable.discard(key)
    elif isinstance(variable, Records):
        if variable.find(key) is None or rng.random() < 0.3:
            variable.put(key, now_ns, 2)
        else:
            variable.change(key, octets=variable.find(key).octets + 1)
    elif rng.random() < 0.5:
        variable.put(key, "value", now_ns)
    elif rng.random() < 0.7:
        variable.use(key, now_ns)
    else:
        variable.expire(now_ns, 20, 3)


@pytest.mark.parametrize("prototype", KINDS, ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("seed", range(30))
def test_base_and_deltas_restore_it_in_order(prototype, seed):
    rng, live, deltas = random.Random(seed), prototype.fresh("x"), []
    for now_ns in range(300):
        _change(live, rng, now_ns)
        if rng.random() < 0.1:
            deltas.append(delta(live))
    copy = prototype.fresh("x")
    for columns in [*deltas, delta(live)]:
        copy.apply(*columns)
    assert list(copy.items()) == list(live.items()) and len(live) > 0


def test_a_set_keeps_the_order_of_adding():
    found = Set().fresh("seen")
    for key in "bcab":
        found.add(key)
    assert list(found) == ["b", "c", "a"] and "c" in found and found.discard("c") and not found.discard("c") and list(found) == ["b", "a"]


def test_records_have_their_fields_and_no_others():
    flows = Records("packets", "octets").fresh("flows")
    flows.put("a", 1, 60)
    assert flows.change("a", packets=2) == (2, 60) and flows.find("a").octets == 60 and flows.find("b") is None
    assert flows["a"] == (2, 60) and type(flows["a"]) is tuple
    for wrong in (lambda: flows.put("a", 1), lambda: flows.change("a", bytes=1), lambda: flows.put("a", [], 1), lambda: Records("a", "a"),
                  lambda: Records("def"), Records):
        with pytest.raises(StateError):
            wrong()
    with pytest.raises(KeyError):
        flows.change("b", packets=1)


def test_what_is_not_used_expires_oldest_first_and_what_is_used_stays():
    seen = ExpiringMap().fresh("seen")
    for now_ns, key in enumerate("abcd"):
        seen.put(key, key.upper(), now_ns)
    assert seen.use("a", 10) == "A" and seen.use("x", 10) is None and seen.peek("b") == "B" and seen.oldest() == "b"
    assert seen.expire(12, 10, 1) == [("b", "B")] and seen.expire(12, 10, 5) == [("c", "C")]
    assert seen.expire(10 ** 9, 1, 5) == [("d", "D"), ("a", "A")]
    with pytest.raises(KeyError):
        seen.oldest()


class Talkers(Middlebox):
    """Counts frames by source in records, remembers ports in a set, and forwards a source's first frame in a second."""

    ports = ("inside", "outside")
    victims = {"sources": "who was silent longest", "quiet": "who was silent longest"}
    sources = Records("frames", "octets")
    quiet = ExpiringMap()
    used = Set()

    def process(self, packet, ctx):
        source = packet.data[6:12]
        self.quiet.put(source, len(packet.data), ctx.now_ns)
        self.used.add(ctx.port)
        found = self.sources.find(source)
        if found is None:
            if len(self.sources) == 64:
                victim = self.quiet.oldest()
                del self.quiet[victim]
                self.sources.pop(victim, None)
            self.sources.put(source, 1, len(packet.data))
        else:
            self.sources.change(source, frames=found.frames + 1, octets=found.octets + len(packet.data))
        if found is None or found.frames % 2:
            ctx.emit("outside" if ctx.port == "inside" else "inside", packet.data)

    def tick(self, ctx):
        for source, _ in self.quiet.expire(ctx.now_ns, 1_000_000_000, 100):
            self.sources.pop(source, None)


@pytest.mark.parametrize("check", CHECKS)
def test_a_function_made_of_them_survives(check):
    check(Subject(Talkers, counters=None))


def test_workers_share_them_as_they_share_maps():
    state = State(Talkers, 2)
    views = [view.attributes for view in state.views]
    for session in state.sessions:
        session.begin()
        views[session.number]["sources"].put(session.number, 1, 2)
        views[session.number]["used"].add("inside")
        views[session.number]["quiet"].put(session.number, 0, 7)
        session.end(1)
    state.sessions[0].begin()
    assert views[0]["sources"].find(1).octets == 2 and len(views[0]["used"]) == 1 and views[0]["quiet"].oldest() == 0
