"""A controller that is started anew relearns roles and epochs from the agents."""

import pytest
from deployments import pool, single, tree
from fake_fabric import Fabric
from fake_node import NEVER


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


def test_roles_and_epochs_are_adopted_and_the_master_confirms_them(before):
    """Nobody is asked to begin anew; that the last change was brought to its end, a new checkpoint says."""
    after = before.with_new_controller()
    _connect(after, sorted(after.agents))
    assert after.state() == "unprotected" and after.group().master_epoch == 2
    assert after.master() == "m2" and after.group().spare.node == "m3"
    after.run()
    assert after.state() == "protected" and after.master() == "m2"
    assert after.requests == [("m2", "use-store", "nat", 3), ("m2", "use-output-logger", "nat", 4),
                              ("m3", "spare", "nat", 4)]


def _half_replaced(before):
    """A second output logger has begun; neither the master nor the controller that comes now was told."""
    before.agents["m3"].roles = {("nat", "output-logger"): 2}
    before.agents["m3"].counts["nat", "output-logger"] = {"covered_from": 7}
    before.agents["m3"].output_epoch["nat", "output-logger"] = 7
    before.agents["m3"].complete_from["nat", "output-logger"] = NEVER
    return before.with_new_controller()


def test_an_output_logger_that_had_just_begun_is_given_up_for_the_one_that_has_all(before):
    after = _half_replaced(before)
    after.run()
    assert after.state() == "protected" and after.group().holders["output-logger"].node == "ol"
    told = [epoch for _, do, _, epoch in after.requests if do == "use-output-logger"]
    assert min(told) > 7, "whoever waits hears of an epoch that is not below its own"


def test_an_output_logger_that_had_just_begun_is_used_if_the_former_one_is_gone_and_the_master_lives(before):
    before.agents["ol"].running = False
    after = _half_replaced(before)
    after.run()
    after.tick()
    after.tick(1_000_000_000)
    after.run()
    assert after.state() == "protected" and after.group().holders["output-logger"].node != "ol"


def test_an_output_logger_that_had_just_begun_does_not_pass_for_one_that_has_what_left(before):
    before.agents["ol"].running = before.agents["m2"].running = False
    after = _half_replaced(before)
    after.run()
    for _ in range(3):
        after.tick(1_000_000_000)
        after.run()
    assert after.group().holders.get("output-logger") is None and after.group().phase != "running"


def test_of_two_output_loggers_of_one_master_the_last_that_it_was_told_of_is_used(before):
    """The former one has begun, too, and was not retired yet; nobody is to be replaced."""
    before.agents["m3"].roles = {("nat", "output-logger"): 2}
    before.agents["m3"].output_epoch["nat", "output-logger"] = before.agents["m2"].output_epoch["nat", "master"] = 5
    before.agents["m2"].change["nat"] = before.agents["m2"].told["nat"] = 6
    before.agents["m3"].complete_from["nat", "output-logger"] = 6
    after = before.with_new_controller()
    after.run()
    assert after.state() == "protected" and after.group().holders["output-logger"].node == "m3"
    assert [do for _, do, _, _ in after.requests if do == "output-logger"] == [] and after.group().epoch > 6


def test_of_two_output_loggers_of_a_dead_master_the_later_one_is_used(before):
    """It has begun: so a checkpoint covers it, and what left since the former one lacks."""
    before.agents["m2"].running = False
    before.agents["m3"].roles = {("nat", "output-logger"): 2}
    before.agents["m3"].output_epoch["nat", "output-logger"] = 5
    before.agents["m3"].complete_from["nat", "output-logger"] = 0
    before.boot("m1")
    after = before.with_new_controller()
    after.run()
    after.tick(1_000_000_000)
    after.run()
    assert after.group().holders["output-logger"].node == "m3" and after.group().master_epoch > 5


def test_a_former_output_logger_does_not_pass_for_the_one_that_the_master_was_told_of(before):
    """That one is gone, no checkpoint covers it; what the former one has is not what the master counts on."""
    before.agents["m2"].output_epoch["nat", "master"] = 5
    after = before.with_new_controller()
    _connect(after, sorted(after.agents))
    assert after.group().replacing["output-logger"].epoch > 5, "whatever comes of the one that is gone is not for the next one"
    after.run()
    assert after.state() == "protected"


def test_a_late_output_logger_of_an_epoch_that_nobody_told_is_fenced_for_a_higher_one(before):
    """It takes nothing of an epoch below its own: the new master would not be heard."""
    before.agents["ol"].output_epoch["nat", "output-logger"] = 9
    before.agents["m2"].running = False
    after = before.with_new_controller()
    _connect(after, [name for name in sorted(after.agents) if name not in ("ol", "m2")])
    for _ in range(12):
        after.tick(1_000_000_000)
    assert after.group().phase == "recovering" and "output-logger" not in after.group().holders and after.group().epoch < 9
    after.run()
    after.tick()
    after.run()
    assert after.state() == "protected" and after.group().master_epoch > 9
    assert after.group().holders["output-logger"].node == "ol"


def test_a_master_that_died_meanwhile_is_failed_over_with_all_silent_nodes_fenced(before):
    before.agents["m2"].running = False
    after = before.with_new_controller()
    after.run()
    after.tick()
    after.tick(1_000_000_000)
    assert after.tokens[0][1].fenced == {"m2"}
    after.run()
    assert after.state() == "protected" and after.group().epoch == 3


def test_an_input_logger_that_is_late_has_been_replaced_and_is_retired(before):
    after = before.with_new_controller()
    _connect(after, [name for name in sorted(after.agents) if name != "il"])
    assert after.state() == "recovering" and after.master() == "m2"
    after.run()
    assert after.state() == "protected" and after.group().holders["input-logger"].node == "ol"
    assert after.agents["il"].roles == {}


def test_a_failover_that_was_under_way_is_begun_again(before):
    before.kill("m2")
    while before.group().recovery.waiting:
        before.step(before.choices()[0])
    after = before.with_new_controller()
    after.run()
    after.tick()
    after.tick(1_000_000_000)
    after.run()
    assert after.state() == "protected" and after.group().epoch > before.group().epoch


def test_a_spare_that_recovers_for_an_earlier_controller_is_not_asked_to_do_it_twice(before):
    """It would refuse, and count as a node that can't recover the group."""
    before.boot("m1")
    before.kill("m2")
    while not any(do == "recover" for _, do, _, _ in before.requests[-3:]):
        before.step(before.choices()[0])
    target = before.master()
    while before.agents[target].inbox:
        before.step(("inbox", target))
    after = before.with_new_controller()
    before.agents[target].outbox.clear()            # it is still busy with it
    after.run()
    after.tick()
    after.tick(1_000_000_000)
    after.run()
    after.tick()
    after.run()
    assert after.state() == "protected"
    assert not any("can't" in text or "could not" in text for text in after.texts())


def test_a_start_that_was_under_way_is_begun_again():
    before = Fabric(single())
    before.start()
    while ("nat", "store") not in before.agents["st"].roles:
        before.step(before.choices()[0])
    after = before.with_new_controller()
    after.run()
    assert after.state() == "protected" and after.group().epoch == 2


def _connect(fabric, names):
    """These agents say hello, and the time for hellos ends."""
    for name in names:
        fabric.connect(name)
    fabric.tick()
    fabric.tick(1_000_000_000)


def test_nothing_is_steered_before_hellos_are_gathered():
    """A trunk that is down is no reason to steer a group whose master is not known yet."""
    value = tree()
    value["links"].append({"a": {"switch": "s1", "port": 53}, "b": {"switch": "s3", "port": 53}})
    running = Fabric(value)
    running.start()
    running.run()
    end = running.deployment.links[0][0]
    running.do(running.core.port(end, False, running.now_ns))
    after = running.with_new_controller()
    assert after.core.context.down == {end} and after.tokens == []
    after.run()
    assert after.state() == "protected" and after.steering.down == {end} and after.master() == "m1"


def test_a_group_that_is_not_decided_yet_keeps_its_entries_when_another_one_is():
    """Steering it as the deployment says would lead it back to pool[0]; its fence may hold a zombie."""
    running = Fabric(pool(groups=2, size=4))
    running.start()
    running.run()
    after = running.with_new_controller()
    _connect(after, ["il1", "ol1", "st1", "m1"])
    steering = after.tokens[-1][1]
    assert steering.active["nat1", "master"] == "m1" and ("nat2", "master") not in steering.active
    assert steering.undecided == {"nat2"}
    assert {"m2", "m3"} <= steering.unjudged and "m1" not in steering.unjudged


def test_a_silent_node_stays_fenced_also_when_the_master_lives(before):
    """It may be a zombie that an earlier controller had fenced."""
    before.agents["m1"].hung = True
    after = before.with_new_controller()
    _connect(after, [name for name in sorted(after.agents) if name != "m1"])
    assert after.master() == "m2" and after.tokens[-1][1].fenced == {"m1"}
    after.agents["m1"].hung = False
    after.run()
    assert after.steering.fenced == frozenset() and after.state() == "protected"
