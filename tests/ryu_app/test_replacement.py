"""The replacement of input logger, output logger and store, step by step, and what happens when something fails on the way."""

import pytest
from deployments import pool, single, tree, with_candidates
from fake_fabric import Fabric
from fake_node import service

LOGS = ("store", "output-logger", "input-logger")


def _running(value):
    fabric = Fabric(value)
    fabric.start()
    fabric.run()
    assert fabric.state() == "protected"
    fabric.requests.clear()
    return fabric


@pytest.fixture
def running():
    """A single group whose loggers and stores are il, ol, st and x."""
    value = single(pool=("m1", "m2", "m3", "x"))
    return _running(with_candidates(value, ["st", "x"]))


def _asked(fabric):
    return [(node, do) for node, do, _, _ in fabric.requests if do not in ("spare", "retire")]


def test_an_input_logger_begins_where_the_fenced_master_says(running):
    running.kill("il")
    assert running.requests == [("m1", "fence", "nat", 2)]
    assert running.tokens[0][1].active["nat", "input-logger"] == "x" and "il" in running.tokens[0][1].fenced
    running.step(("inbox", "m1"))
    running.step(("outbox", "m1"))
    assert running.requests[-1] == ("x", "input-logger", "nat", 2)
    args = running.agents["x"].inbox[-1]["args"]
    assert (args["start"], args["start_ns"], args["master_epoch"]) == ([5], 9, 1)
    running.run()
    assert running.state() == "protected" and running.group().inputs_from == 2


def test_an_output_logger_is_used_once_it_has_the_role_and_the_switches_lead_there(running):
    running.kill("ol")
    assert running.requests == [("x", "output-logger", "nat", 1)], "in the master's epoch"
    assert running.agents["x"].inbox[-1]["args"]["covered_from"] == 2, "below the epoch that the master will be told"
    running.step(("inbox", "x"))
    running.step(("outbox", "x"))
    assert _asked(running) == [("x", "output-logger")]
    running.step(("token", running.tokens[0]))
    assert running.requests[-1] == ("m1", "use-output-logger", "nat", 3)
    assert running.agents["m1"].inbox[-1]["args"] == {"output_epoch": 2}
    assert running.state() == "unprotected"
    running.run()
    assert running.state() == "protected"


def test_a_store_is_used_once_it_has_the_role(running):
    running.kill("st")
    running.run()
    assert _asked(running) == [("x", "store"), ("m1", "use-store")]
    assert running.agents["m1"].store == {"nat": "x"} and running.state() == "protected"


@pytest.mark.parametrize("role, name", [("store", "st"), ("output-logger", "ol"), ("input-logger", "il")])
def test_each_has_its_record(running, role, name):
    running.tick()
    running.kill(name)
    running.run()
    record = running.group().failovers[0]
    assert (record["role"], record["from"], record["to"], record["cause"]) == (role, name, "x", "control connection closed")
    assert record["total_ms"] > 0 and record["replay_ms"] == 0.0 and record["replayed_packets"] == 0
    assert (record["fence_ms"] > 0) == (role == "input-logger")
    assert (record["redirect_ms"] > 0) == (role != "store")


def test_all_three_at_once_with_the_master_alive():
    value = _running(with_candidates(single(pool=("m1", "m2", "m3", "x", "y")), ["x", "y"]))
    for name in ("il", "ol", "st"):
        value.kill(name)
    value.run()
    assert value.state() == "protected" and value.master() == "m1" and len(value.group().failovers) == 3
    assert {value.group().holders[role].node for role in LOGS} == {"x", "y"}


def test_the_spare_is_told_the_new_addresses_once_the_group_is_protected(running):
    running.kill("il")
    running.run()
    told = [request for request in running.requests if request[1] == "spare"]
    assert told == [("m2", "spare", "nat", 2)] and running.group().spare.peers["input_logger"] == service("x")


def test_a_node_with_fewer_roles_is_taken_and_a_spare_only_if_there_is_nobody_else():
    fabric = _running(with_candidates(single(pool=("m1", "m2")), ["m2"]))
    fabric.kill("il")
    fabric.run()
    assert fabric.group().holders["input-logger"].node == "ol" and fabric.group().spare.node == "m2"
    fabric.kill("ol")
    fabric.run()
    assert fabric.group().holders["input-logger"].node == "m2" and fabric.group().spare is None
    assert fabric.state() == "unprotected" and ("nat", "spare") not in fabric.agents["m2"].roles


def test_a_candidate_that_dies_is_followed_by_the_next_in_another_epoch(running):
    running.kill("il")
    running.kill("x")
    running.run()
    assert running.state() == "protected" and running.group().holders["input-logger"].node in ("ol", "st")
    assert running.group().failovers[0]["attempts"] == 2


def test_a_candidate_whose_connection_broke_before_it_answered_begins_again_in_another_epoch():
    """The first time it may have numbered inputs already."""
    fabric = _running(single())
    fabric.kill("ol")
    fabric.run()
    assert fabric.group().holders["output-logger"].node == "il"
    fabric.boot("ol")
    fabric.run()
    fabric.kill("il")
    while ("ol", "input-logger", "nat", 5) not in fabric.requests:
        fabric.step(fabric.choices()[0])
    fabric.cut("ol")
    fabric.run()
    epochs = [epoch for node, do, _, epoch in fabric.requests if do == "input-logger"]
    assert len(epochs) == 2 and epochs[1] > epochs[0] and fabric.state() == "protected"


def test_a_logger_that_returns_as_it_was_is_used_if_nobody_could_replace_it():
    fabric = _running(single())
    fabric.kill("ol")
    fabric.run()
    fabric.cut("il")
    assert fabric.state() == "recovering" or fabric.state() == "unprotected"
    fabric.run()
    assert fabric.state() == "protected" and fabric.group().holders["input-logger"].node == "il"


def test_one_that_returns_late_is_retired_and_its_fence_taken_away(running):
    running.cut("il")
    while running.group().replacing:
        running.step([choice for choice in running.choices() if choice != ("connect", "il")][0])
    assert "il" in running.steering.fenced
    running.run()
    assert running.agents["il"].roles == {} and running.steering.fenced == frozenset()


def test_a_logger_whose_process_gave_the_role_up_is_replaced_by_another_node(running):
    running.agents["ol"].roles.pop(("nat", "output-logger"))
    running.agents["ol"].outbox.append({"t": "event", "name": "failed", "group": "nat", "epoch": 1,
                                        "detail": {"role": "output-logger", "error": "broken"}})
    running.run()
    assert running.state() == "protected" and running.group().holders["output-logger"].node == "x"
    assert running.group().failovers[0]["cause"] == "failed"


def test_the_master_dies_before_the_new_output_logger_matters_and_the_old_one_returns(running):
    """The master was not told yet, so the old one has all that is needed."""
    running.cut("ol")
    running.kill("m1")
    assert running.state() == "lost"
    running.run()
    assert running.state() == "protected" and running.group().holders["output-logger"].node == "ol"


def test_the_store_says_whether_the_replacement_came_to_its_end_before_the_master_died(running):
    """The word that it was durable was on its way when the master died: nothing is lost."""
    running.kill("ol")
    while ("checkpoint", ("m1", "nat")) not in running.choices():
        running.step(running.choices()[0])
    running.step(("checkpoint", ("m1", "nat")))
    running.kill("m1")
    running.run()
    assert running.state() == "protected" and running.group().holders["output-logger"].node == "x"
    assert "lost" not in " ".join(text for text in running.texts() if "group nat" in text)


def test_master_and_store_together_are_survived_by_a_warm_spare(running):
    running.kill("st")
    running.kill("m1")
    running.run()
    assert running.state() == "protected" and running.master() == "m2"
    assert running.group().holders["store"].node == "x"


def test_a_group_whose_store_has_nothing_yet_is_not_protected(running):
    """The new store is empty and the former one dead: until the new master's first checkpoint only its own node has the state."""
    running.kill("st")
    while not any(do == "use-store" for _, do in _asked(running)):
        running.step(next(choice for choice in running.choices() if choice[0] != "checkpoint"))
    running.kill("m1")
    seen = []
    while running.choices():
        running.step(next((choice for choice in running.choices() if choice[0] != "checkpoint"), running.choices()[0]))
        store = running.agents[running.group().holders["store"].node]
        seen.append((running.state(), "nat" in store.checkpoint))
    assert ("protected", False) not in seen and seen[-1] == ("protected", True)


def test_two_groups_share_a_node_for_several_roles():
    fabric = Fabric(with_candidates(pool(groups=2, size=4), ["il1", "il2"]))
    fabric.start()
    fabric.run()
    for name in ("ol1", "st1", "ol2", "st2"):
        fabric.kill(name)
        fabric.run()
    assert fabric.state("nat1") == fabric.state("nat2") == "protected"
    assert sorted(len(fabric.agents[name].roles) for name in ("il1", "il2")) == [3, 3]


def test_a_node_to_which_no_path_is_left_counts_as_failed():
    fabric = _running(tree())
    end = fabric.deployment.links[1][0]
    fabric.do(fabric.core.port(end, False, fabric.now_ns))
    dead = {name for name, node in fabric.core.context.nodes.items() if not node.alive}
    assert dead == {"il", "m1"} and fabric.core.context.nodes["m1"].death[0] == "no path"


def test_what_was_on_its_way_from_a_node_that_is_judged_dead_is_no_offence(running):
    """Its connection is closed once, and not again when it has come back."""
    place = running.deployment.nodes["st"].data.place
    running.do(running.core.port(place, False, running.now_ns))
    beat = running.agents["st"].beat()
    running.published.clear()
    assert running.core.message("st", beat, running.now_ns) == []
    running.do(running.core.port(place, True, running.now_ns))
    running.run()
    assert running.core.context.nodes["st"].alive and not any("unexpected" in text for text in running.texts())
    running.core.message("st", {"t": "request"}, running.now_ns)
    assert not running.core.context.nodes["st"].connected, "what nobody may send is an offence as before"
