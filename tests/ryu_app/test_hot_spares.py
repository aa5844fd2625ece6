"""Hot spares: who gets to be one, what status tells of it, and when it is assigned anew."""

import pytest
from deployments import pool, single
from fake_fabric import Fabric
from fake_node import service

from ryu_app.spares import readiness
from ryu_app.status import status


def hot_arguments(fabric):
    """(node, group, whether hot) of each spare that was asked for since ``requests`` was cleared."""
    return [(node, group, fabric.hot[number]) for number, (node, do, group, _) in enumerate(fabric.requests) if do == "spare"]


class Watched(Fabric):
    """Remembers of each request whether it asks for a hot spare."""

    def __init__(self, deployment):
        self.hot = []
        super().__init__(deployment)

    def _check_request(self, action):
        self.hot.append(action.message["args"].get("hot"))
        super()._check_request(action)


def made(deployment, names=None, **spares):
    for name, group in deployment["groups"].items():
        group["spare"] = spares.get(name, "hot")
    fabric = Watched(deployment)
    fabric.start(names)
    if names is not None:
        fabric.tick(2_000_000_000)          # nobody else is waited for
    fabric.run()
    return fabric


@pytest.mark.parametrize("spare", ["hot", "warm"])
def test_a_spare_is_asked_to_be_what_the_group_wants(spare):
    fabric = made(single(), nat=spare)
    assert hot_arguments(fabric) == [("m2", "nat", spare == "hot")] and fabric.state() == "protected"


def test_a_node_is_hot_for_one_group_and_another_group_has_a_warm_spare_until_there_is_room():
    fabric = made(pool(2, 4), names=["il1", "ol1", "st1", "il2", "ol2", "st2", "m1", "m2", "m3"])
    assert sorted(hot_arguments(fabric)) == [("m3", "nat1", True), ("m3", "nat2", False)]
    fabric.boot("m4")
    fabric.run()
    groups = fabric.core.context.groups
    assert (groups["nat1"].spare.node, groups["nat2"].spare.node) == ("m3", "m4")
    assert groups["nat1"].spare.hot and groups["nat2"].spare.hot
    assert hot_arguments(fabric)[2:] == [("m4", "nat2", True)]
    assert all(fabric.state(name) == "protected" for name in groups)


def test_status_tells_what_a_failover_would_find():
    fabric = made(single())
    agent = fabric.agents[fabric.group().spare.node]
    assert readiness(fabric.core.context, fabric.group())[0] == "cold", "nothing was heard of it yet"
    for counters, told in (({"checkpoint": 0}, ("cold", None)), ({"checkpoint": 7}, ("warm", None)),
                           ({"checkpoint": 7, "hot": True, "behind_steps": 3}, ("hot", 3))):
        agent.counts["nat", "spare"] = counters
        fabric.tick()
        value, = status(fabric.core.context, 0, [], 0)["groups"]
        assert (value["readiness"], value["behind_steps"]) == told
    for name in ("m2", "m3"):
        fabric.kill(name)
    assert readiness(fabric.core.context, fabric.group()) == (None, None)


def asked_at_the_death(fabric):
    """What is asked as soon as the master is dead."""
    fabric.requests.clear()
    fabric.kill(fabric.master())
    return [(node, do) for node, do, _, _ in fabric.requests]


def test_a_hot_spare_may_go_ahead_as_soon_as_the_master_is_dead_and_recovers_when_all_is_fenced():
    fabric = made(single())
    assert asked_at_the_death(fabric) == [("ol", "fence"), ("m2", "go-ahead"), ("il", "fence"), ("st", "fence")]
    assert fabric.agents["m2"].inbox[-1]["args"] == {"input_logger": service("il"), "output_logger": service("ol"), "inputs_from": 1}
    fabric.run()
    assert ("m2", "recover", "nat", 2) in fabric.requests and fabric.state() == "protected"


def warm(fabric):
    pass


def lacks_a_durable_checkpoint(fabric):
    fabric.group().change = fabric.group().epoch + 1


def lost_a_logger(fabric):
    fabric.agents["st"].running = False
    fabric._drop("st")


def has_a_new_controller(fabric):
    fabric.group().presumed = True


@pytest.mark.parametrize("what", [warm, lacks_a_durable_checkpoint, lost_a_logger, has_a_new_controller])
def test_nobody_goes_ahead_where_the_store_or_a_logger_may_tell_that_the_state_is_lost(what):
    fabric = made(single(), nat="warm" if what is warm else "hot")
    what(fabric)
    assert "go-ahead" not in [do for _, do in asked_at_the_death(fabric)]


def test_one_that_takes_over_after_a_failed_attempt_does_not_go_ahead():
    fabric = made(single())
    asked_at_the_death(fabric)
    fabric.kill("m2")
    fabric.run()
    assert [node for node, do, _, _ in fabric.requests if do == "go-ahead"] == ["m2"] and fabric.master() == "m3"


def test_the_record_tells_how_ready_the_spare_was():
    for detail, told in (({}, "warm"), ({"hot": True}, "hot"), ({"hot": 1}, "warm")):
        fabric = made(single())
        fabric.kill("m1")
        while not (messages := [m for m in fabric.agents["m2"].outbox if m.get("name") == "live"]):
            fabric.step(fabric.choices()[0])
        messages[0]["detail"].update(detail)
        fabric.run()
        assert fabric.group().failovers[0]["readiness"] == told
