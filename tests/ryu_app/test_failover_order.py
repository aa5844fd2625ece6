"""The controller's core, from start to failover, against fake agents in the orders that matter."""

import pytest
from deployments import pool, single
from fake_fabric import Fabric
from fake_node import service

from ryu_app.context import TICK_INTERVAL_NS


@pytest.fixture
def running():
    """A single group, protected, with nothing under way."""
    fabric = Fabric(single())
    fabric.start()
    fabric.run()
    assert fabric.state() == "protected"
    fabric.requests.clear()
    return fabric


def test_roles_are_given_after_the_rules_and_in_an_order_in_which_all_are_ready():
    fabric = Fabric(single())
    fabric.start()
    assert fabric.tokens and not fabric.requests
    fabric.run()
    assert [do for _, do, _, _ in fabric.requests] == ["store", "output-logger", "master", "input-logger", "spare"]
    assert fabric.master() == "m1" and fabric.group().spare.node == "m2"


def test_a_group_is_protected_only_once_its_master_says_durable_and_a_spare_has_acknowledged():
    fabric = Fabric(single(pool=("m1",)))
    fabric.start()
    fabric.run()
    assert fabric.state() == "unprotected"


def test_nothing_starts_while_a_node_of_the_group_is_missing():
    fabric = Fabric(single())
    fabric.start(names=["il", "ol", "m1", "m2"])
    fabric.tick(2_000_000_000)
    fabric.run()
    assert fabric.requests == []
    fabric.boot("st")
    fabric.run()
    assert fabric.state() == "protected"


def test_fences_and_redirect_go_out_at_once_and_recover_waits_for_the_last_of_them(running):
    running.kill("m1")
    assert [(node, do) for node, do, _, _ in running.requests] == [
        ("ol", "fence"), ("il", "fence"), ("st", "fence")]
    assert running.tokens[0][1].active["nat", "master"] == "m2"
    assert running.tokens[0][1].fenced == {"m1"}
    for name in ("st", "ol", "il"):
        running.step(("inbox", name))
        running.step(("outbox", name))
    assert "recover" not in [do for _, do, _, _ in running.requests]
    running.step(("token", running.tokens[0]))
    assert running.requests[-1] == ("m2", "recover", "nat", 2)


def test_recover_carries_the_prefix_and_the_service_addresses(running):
    running.kill("m1")
    while running.requests[-1][1] != "recover":
        running.step(running.choices()[0])
    assert running.agents["m2"].inbox[-1]["args"] == {
        "stored": [7], "positions": [[5, 6]], "cold": False, "inputs_from": 1, "input_logger": service("il"), "output_logger": service("ol"),
        "store": service("st"), "cause": "control connection closed"}


def test_the_record_of_a_failover_tells_its_parts_apart(running):
    running.tick()
    running.kill("m1")
    running.run()
    assert running.state() == "protected" and running.master() == "m2" and running.group().spare.node == "m3"
    record = running.group().failovers[0]
    assert record["cause"] == "control connection closed" and record["cold"] is False
    assert (record["load_ms"], record["replay_ms"], record["replayed_packets"]) == (1.0, 2.0, 3)
    assert 0 < record["fence_ms"] < record["total_ms"] and 0 < record["redirect_ms"] < record["total_ms"]
    assert [mark["what"] for mark in record["timeline"]][:2] == ["last sign of life", "detected"]


def test_the_first_packet_out_is_noted_in_the_timeline(running):
    running.kill("m1")
    running.run()
    running.do(running.core.message("ol", {"t": "event", "name": "first-output", "group": "nat", "epoch": 2,
                                           "detail": {}}, running.now_ns))
    assert running.group().failovers[0]["timeline"][-1]["what"] == "first packet out"


def test_a_spare_that_dies_while_recovering_is_replaced_in_the_next_epoch(running):
    running.kill("m1")
    while running.requests[-1][1] != "recover":
        running.step(running.choices()[0])
    running.kill("m2")
    running.run()
    assert running.master() == "m3" and running.group().epoch == 3
    assert running.group().failovers[0]["cold"] is True and running.group().failovers[0]["attempts"] == 2


def test_without_a_spare_recovery_waits_and_goes_on_when_a_node_joins(running):
    running.kill("m3")
    running.kill("m2")
    running.run()
    running.kill("m1")
    running.run()
    assert running.state() == "unprotected" and running.master() is None
    assert "no node is free to take over: waiting for one" in running.texts()
    running.boot("m3")
    running.run()
    assert running.master() == "m3" and running.state() == "unprotected"
    running.boot("m1")
    running.run()
    assert running.state() == "protected"


def test_a_fresh_process_is_fenced_no_more_and_joins_the_pool(running):
    running.kill("m1")
    running.run()
    assert running.steering.fenced == {"m1"}
    running.boot("m1")
    running.run()
    assert running.steering.fenced == frozenset()
    running.kill("m3")
    running.run()
    assert running.group().spare.node == "m1"


def test_a_zombie_master_stays_fenced_until_it_has_retired(running):
    running.cut("m1")
    while running.master() != "m2" or running.group().recovery is not None:
        running.step([choice for choice in running.choices() if choice != ("connect", "m1")][0])
    running.step(("connect", "m1"))
    assert running.requests[-1][:2] == ("m1", "retire")
    running.tick()
    assert "m1" in running.core.context.steering().fenced
    running.run()
    assert ("nat", "master") not in running.agents["m1"].roles
    assert running.steering.fenced == frozenset()


def test_a_hung_master_is_replaced_and_then_retired(running):
    running.agents["m1"].hung = True
    for _ in range(52):
        running.tick()
    running.run()
    assert running.master() == "m2"
    assert running.group().failovers[0]["cause"] == "beats missed"
    assert 1000 <= running.group().failovers[0]["detect_ms"] <= 1100
    running.agents["m1"].hung = False
    running.run()
    assert running.agents["m1"].roles == {} and running.steering.fenced == frozenset()


def test_a_master_whose_link_goes_down_is_replaced_and_its_process_retired(running):
    place = running.deployment.nodes["m1"].data.place
    running.do(running.core.port(place, False, running.now_ns))
    running.run()
    assert running.master() == "m2" and running.group().failovers[0]["cause"] == "link down"
    assert running.agents["m1"].roles == {}
    running.kill("m3")
    running.run()
    assert running.group().spare is None, "a node without a link is no spare"
    running.do(running.core.port(place, True, running.now_ns))
    running.run()
    assert running.group().spare.node == "m1"


def test_kill_after_kill_after_kill(running):
    for number in range(10):
        victim = running.master()
        running.kill(victim)
        running.run()
        running.boot(victim)
        running.run()
        assert running.state() == "protected" and running.group().epoch == number + 2
    assert len(running.group().failovers) == 10


def test_master_and_output_logger_together_are_lost_unless_the_logger_returns_as_it_was(running):
    running.cut("ol")
    running.kill("m1")
    assert running.state() == "lost"
    running.run()
    assert running.state() == "protected"
    running.kill("ol")
    running.kill("m2")
    running.run()
    running.boot("ol")
    running.run()
    assert running.state() == "lost"


def test_a_target_that_can_not_recover_is_passed_over(running):
    running.agents["m2"].incapable = True
    running.kill("m1")
    running.run()
    assert running.master() == "m3" and running.group().epoch == 3
    assert running.agents["m2"].roles == {}, "it is asked for nothing of this group again"


def test_if_nobody_can_recover_the_state_is_lost_and_a_fresh_process_may_try_again(running):
    running.agents["m2"].incapable = running.agents["m3"].incapable = True
    running.kill("m1")
    running.run()
    assert running.state() == "lost"
    running.boot("m1")
    running.run()
    assert running.master() == "m1" and running.state() == "unprotected"


def test_a_cold_target_becomes_a_spare_before_it_recovers(running):
    running.kill("m1")
    running.kill("m2")
    running.run()
    assert [(do, epoch) for node, do, _, epoch in running.requests if node == "m3"] == [("spare", 3), ("recover", 3)]
    assert running.state() == "unprotected" and running.master() == "m3"


def test_with_recovery_off_the_spare_starts_empty_after_the_same_fence():
    fabric = Fabric({**single(), "recovery": False})
    fabric.start()
    fabric.run()
    fabric.requests.clear()
    fabric.kill("m1")
    fabric.run()
    assert ("m2", "master", "nat", 2) in fabric.requests and fabric.state() == "protected"
    assert "recover" not in [do for _, do, _, _ in fabric.requests]


def test_one_spare_stands_by_for_two_groups_and_the_second_waits_for_a_node():
    fabric = Fabric(pool(groups=2, size=3))
    fabric.start()
    fabric.run()
    assert fabric.state("nat1") == fabric.state("nat2") == "protected"
    assert fabric.group("nat1").spare.node == fabric.group("nat2").spare.node == "m3"
    fabric.kill("m1")
    fabric.run()
    assert fabric.master("nat1") == "m3" and fabric.state("nat2") == "unprotected"
    fabric.boot("m1")
    fabric.run()
    assert fabric.state("nat1") == fabric.state("nat2") == "protected"


def test_a_node_that_does_not_answer_is_as_good_as_dead(running):
    running.kill("m1")
    running.agents["ol"].inbox.clear()
    for _ in range(520):
        running.tick()
    assert any("no answer to fence" in text for text in running.texts())
    running.run()
    assert running.state() == "protected"


def _beat(fabric, name, after_ns=TICK_INTERVAL_NS, **counters):
    fabric.agents[name].counts["nat", "spare"] = counters
    fabric.tick(after_ns)


def _recovering(fabric):
    """The master is dead, m2 is asked to recover and will not be heard of."""
    fabric.kill("m1")
    while fabric.requests[-1][1] != "recover":
        fabric.step(fabric.choices()[0])
    fabric.agents["m2"].inbox.clear()


def test_a_target_that_beats_and_stands_still_is_replaced(running):
    """What it drops meanwhile is no progress."""
    _recovering(running)
    for number in range(500):
        _beat(running, "m2", checkpoint=4, replayed=7, processed=9, live_dropped=number)
        assert running.master() == "m2"
    _beat(running, "m2", checkpoint=4, replayed=7, processed=9, live_dropped=500)
    assert running.master() == "m3" and running.group().epoch == 3
    assert any("no progress" in text for text in running.texts())
    running.run()
    assert running.group().failovers[0]["to"] == "m3" and running.agents["m2"].roles == {}
    assert running.group().spare is None, "it is not asked again"


def test_ticks_that_come_soon_one_after_the_other_make_no_target_stand_still(running):
    _recovering(running)
    for _ in range(2000):
        _beat(running, "m2", 1_000_000, checkpoint=4)
    assert running.master() == "m2", "2 s have passed"


def test_a_target_that_only_waits_for_the_data_plane_makes_room_and_may_come_again(running):
    """With the data plane down for all, nobody is to blame: the state is never given up for it."""
    _recovering(running)
    for number in range(501):
        _beat(running, "m2", checkpoint=4, replayed=7, processed=9, has_replayed=True)
    assert running.master() == "m3" and any("hears nothing of the data plane" in text for text in running.texts())
    running.run()
    assert running.group().failovers[0]["to"] == "m3"
    assert not running.core.context.nodes["m2"].unfit, "it may be asked again"


@pytest.mark.parametrize("counter", ["checkpoint", "replayed", "processed"])
def test_a_target_that_goes_on_is_waited_for(running, counter):
    _recovering(running)
    for number in range(1500):
        _beat(running, "m2", **{"checkpoint": 4, "replayed": 7, "processed": 9, counter: number // 400})
    assert running.master() == "m2" and running.group().epoch == 2
