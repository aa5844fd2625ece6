"""State that can't be recovered: told loudly, and then what on_loss, or an operator, says."""

import pytest
from deployments import single, with_candidates
from fake_fabric import Fabric
from fake_node import POSITIONS

from ryu_app.refusal import Refused


def _running(on_loss):
    value = with_candidates(single(), ["st"])
    value["groups"]["nat"]["on_loss"] = on_loss
    fabric = Fabric(value)
    fabric.start()
    fabric.run()
    fabric.requests.clear()
    return fabric


def _lose(fabric, name):
    """The node *name* and the master at once, and time passes."""
    fabric.kill("m1")
    fabric.kill(name)
    fabric.run()
    for _ in range(8):
        fabric.tick(2_000_000_000)
        fabric.run()


@pytest.mark.parametrize("name", ["il", "ol"])
def test_block_waits_and_says_so(name):
    fabric = _running("block")
    _lose(fabric, name)
    assert fabric.state() == "lost" and "recover" not in [do for _, do, _, _ in fabric.requests]
    assert any(text.startswith("the state can't be recovered") and text.endswith("on_loss: block") for text in fabric.texts())
    fabric.boot("m1")
    fabric.boot(name)
    fabric.run()
    assert fabric.state() == "lost"


def test_last_checkpoint_begins_both_loggers_anew_where_it_ends():
    fabric = _running("last-checkpoint")
    fabric.kill("m1")
    fabric.kill("ol")
    _lose(fabric, "m3")
    assert fabric.state() in ("protected", "unprotected") and fabric.master() == "m2"
    epoch = fabric.group().master_epoch
    assert {(do, number) for _, do, _, number in fabric.requests if number == epoch and do in
            ("fence", "output-logger", "input-logger")} == {("fence", epoch), ("output-logger", epoch), ("input-logger", epoch)}
    assert fabric.group().inputs_from == epoch


def test_recover_from_the_last_checkpoint_is_told_its_end():
    fabric = _running("last-checkpoint")
    fabric.kill("m1")
    fabric.kill("ol")
    args = None
    for _ in range(8):
        fabric.tick(2_000_000_000)
        while fabric.choices() and args is None:
            fabric.step(fabric.choices()[0])
            for agent in fabric.agents.values():
                args = args or next((item["args"] for item in agent.inbox if item["do"] == "recover"), None)
    assert args["stored"] == [k for _, k in POSITIONS] and args["inputs_from"] == fabric.group().master_epoch


def test_empty_begins_the_group_anew():
    fabric = _running("empty")
    _lose(fabric, "ol")
    assert fabric.state() == "protected" and fabric.group().fresh is False
    assert fabric.group().holders["output-logger"].node != "ol"
    assert any("begins anew, empty" in text for text in fabric.texts())


def test_nothing_is_destroyed_before_late_nodes_had_their_time():
    fabric = _running("empty")
    fabric.cut("ol")
    fabric.kill("m1")
    fabric.tick()
    assert fabric.state() == "lost"
    fabric.run()
    assert fabric.state() == "protected" and not any("begins anew" in text for text in fabric.texts())


@pytest.mark.parametrize("node, has, lacks", [("ol", {"covered_from": {"nat": 99}}, "lacks what left"),
                                              ("il", {"begins_after": {"nat": [6]}}, "lacks inputs")])
def test_a_logger_that_had_just_begun_does_not_pass_for_a_complete_one(node, has, lacks):
    """Nobody told this controller that it was replaced: what it has says so."""
    fabric = _running("block")
    vars(fabric.agents[node]).update(has)
    fabric.kill("m1")
    fabric.run()
    assert fabric.state() == "lost" and "recover" not in [do for _, do, _, _ in fabric.requests]
    assert any(lacks in text for text in fabric.texts())


def test_a_logger_that_begins_where_the_checkpoint_ends_is_enough():
    fabric = _running("block")
    fabric.agents["il"].begins_after["nat"] = [n for n, _ in POSITIONS]
    fabric.agents["ol"].covered_from["nat"] = 1
    fabric.kill("m1")
    fabric.run()
    assert fabric.state() == "protected"


def test_an_operator_decides():
    fabric = _running("block")
    with pytest.raises(Refused, match="not lost"):
        fabric.core.decide("nat", "empty", fabric.now_ns)
    _lose(fabric, "ol")
    with pytest.raises(Refused, match="no decision"):
        fabric.core.decide("nat", "forget", fabric.now_ns)
    with pytest.raises(Refused, match="no group"):
        fabric.core.decide("fw", "empty", fabric.now_ns)
    fabric.do(fabric.core.decide("nat", "last-checkpoint", fabric.now_ns))
    fabric.run()
    assert fabric.state() == "protected" and fabric.group().holders["output-logger"].node != "ol"


def test_a_store_that_is_gone_too_leaves_no_checkpoint():
    fabric = _running("last-checkpoint")
    for name in ("m2", "m3", "m1", "st", "ol"):
        fabric.kill(name)
    for name in ("m2", "m1"):
        fabric.boot(name)
    for _ in range(8):
        fabric.tick(2_000_000_000)
        fabric.run()
    assert fabric.state() == "lost"


def test_a_master_that_dies_before_it_processed_anything_is_no_loss():
    fabric = Fabric(with_candidates(single(), ["st"]))
    fabric.start()
    while fabric.group().phase != "running":
        fabric.step([choice for choice in fabric.choices() if choice[0] != "checkpoint"][0])
    fabric.kill("m1")
    fabric.boot("m1")
    fabric.run()
    assert fabric.state() == "protected" and any("nothing was processed yet" in text for text in fabric.texts())
