"""A controller that is started anew relearns roles and epochs from the agents."""

import pytest
from deployments import single
from fake_fabric import Fabric


def _restart(before):
    """A fabric with a new controller and the agents of *before*; nobody has connected yet."""
    after = Fabric(single())
    after.agents, after.boots = before.agents, before.boots
    after.masters, after.epochs, after.now_ns = before.masters, before.epochs, before.now_ns
    for agent in after.agents.values():
        agent.connected = False
    after.start(names=[])
    return after


@pytest.fixture
def before():
    fabric = Fabric(single())
    fabric.start()
    fabric.run()
    fabric.kill("m1")
    fabric.run()
    fabric.boot("m1")
    fabric.run()
    assert fabric.state() == "protected" and fabric.group().epoch == 2
    return fabric


def test_roles_and_epochs_are_adopted_and_nobody_is_asked_anything(before):
    after = _restart(before)
    after.run()
    assert after.state() == "protected" and after.group().epoch == 2
    assert after.master() == "m2" and after.group().spare.node == "m3"
    assert after.requests == []


def test_a_master_that_died_meanwhile_is_failed_over_with_all_silent_nodes_fenced(before):
    before.agents["m2"].running = False
    after = _restart(before)
    after.run()
    after.tick()
    after.tick(1_000_000_000)
    assert after.tokens[0][1].fenced == {"m2"}
    after.run()
    assert after.state() == "protected" and after.group().epoch == 3


def test_an_input_logger_that_is_late_brings_its_role_along(before):
    after = _restart(before)
    while [choice for choice in after.choices() if choice != ("connect", "il")]:
        after.step([choice for choice in after.choices() if choice != ("connect", "il")][0])
    after.tick(1_000_000_000)
    after.tick(1_000_000_000)
    assert after.state() == "unprotected" and after.master() == "m2"
    after.run()
    assert after.state() == "protected"


def test_a_failover_that_was_under_way_is_begun_again(before):
    before.kill("m2")
    while before.group().recovery.waiting:
        before.step(before.choices()[0])
    after = _restart(before)
    after.run()
    after.tick()
    after.tick(1_000_000_000)
    after.run()
    assert after.state() == "protected" and after.group().epoch > before.group().epoch


def test_a_start_that_was_under_way_is_begun_again():
    before = Fabric(single())
    before.start()
    while ("nat", "store") not in before.agents["st"].roles:
        before.step(before.choices()[0])
    after = _restart(before)
    after.run()
    assert after.state() == "protected" and after.group().epoch == 2
