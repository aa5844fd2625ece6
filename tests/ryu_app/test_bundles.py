"""What the controller does for bundles: it tells a master where its loggers are, and passes on what nodes tell of them."""

import pytest
from deployments import single
from fake_fabric import Fabric


@pytest.fixture
def running():
    fabric = Fabric(single())
    fabric.start()
    fabric.run()
    return fabric


def tell(fabric, node, name, detail=None, epoch=1):
    fabric.agents[node].outbox.append({"t": "event", "name": name, "group": "nat", "epoch": epoch, "detail": detail or {}})
    fabric.run()


def asked(fabric):
    return [request for request in fabric.requests if request[1] == "bundle"]


def test_the_master_is_told_where_its_loggers_are(running):
    tell(running, "m1", "bundle-wanted")
    assert asked(running) == [("m1", "bundle", "nat", 1)] and running.state() == "protected"


def test_nobody_else_is(running):
    tell(running, "m2", "bundle-wanted")
    tell(running, "m1", "bundle-wanted", epoch=0)
    assert asked(running) == []


def test_a_refusal_is_told_and_changes_nothing(running):
    running.agents["m1"].incapable = True
    tell(running, "m1", "bundle-wanted")
    assert running.master() == "m1" and running.state() == "protected" and any("refused bundle" in text for text in running.texts())


@pytest.mark.parametrize("name, level", [("bundle", "info"), ("bundle-failed", "warning"), ("function-error", "warning"), ("scan", "info")])
def test_what_a_node_or_its_middlebox_tells_is_an_event(running, name, level):
    tell(running, "m1", name, {"text": "of interest"})
    (action,) = [action for action in running.published if action.what == f"{name}: of interest"]
    assert (action.level, action.group, action.node) == (level, "nat", "m1")


def test_what_a_spare_repeats_of_a_middlebox_is_told_by_its_master_alone(running):
    tell(running, "m2", "function-error", {"text": "again"})
    tell(running, "m2", "bundle", {"text": "mine"})
    assert [text for text in running.texts() if "again" in text or "mine" in text] == ["bundle: mine"]


def test_an_event_without_a_text_is_none(running):
    before = len(running.published)
    tell(running, "m1", "anything", {"text": 5})
    assert len(running.published) == before
