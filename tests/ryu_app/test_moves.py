"""Planned moves of masters and drained nodes."""

import pytest
from deployments import pool, single, with_candidates
from fake_fabric import Fabric

from ryu_app.refusal import Refused


def _running(candidates):
    fabric = Fabric(with_candidates(single(), candidates))
    fabric.start()
    fabric.run()
    fabric.tick()
    assert fabric.state() == "protected"
    fabric.requests.clear()
    return fabric


@pytest.fixture
def running():
    return _running(["st"])


def _asked(fabric):
    return [(node, do) for node, do, _, _ in fabric.requests]


def _finish(fabric):
    for _ in range(5):
        fabric.run()
        fabric.tick()


def test_a_move_stops_the_master_and_fails_over_without_a_failure(running):
    running.do(running.core.move("nat", None, False, running.now_ns))
    assert _asked(running) == [("m1", "stop")]
    _finish(running)
    assert running.state() == "protected" and running.master() == "m2"
    record = running.group().failovers[0]
    assert (record["cause"], record["from"], record["to"], record["detect_ms"]) == ("moved", "m1", "m2", 0.0)
    assert running.agents["m1"].roles.keys() <= {("nat", "spare")} and running.steering.fenced == frozenset()


def test_a_move_to_another_node_makes_it_the_spare_first(running):
    running.do(running.core.move("nat", "m3", False, running.now_ns))
    assert _asked(running) == [("m3", "spare"), ("m2", "retire")]
    _finish(running)
    assert running.master() == "m3" and running.state() == "protected"


def test_reload_restarts_the_target_before_anything_else(running):
    boot = running.agents["m2"].boot
    running.do(running.core.move("nat", "m2", True, running.now_ns))
    _finish(running)
    assert running.master() == "m2" and running.agents["m2"].boot != boot
    dos = [do for node, do in _asked(running) if do != "use-store"]
    assert dos.index("restart") < dos.index("stop") and dos[0] == "retire"


@pytest.mark.parametrize("group, to, why", [("fw", None, "no group"), ("nat", "il", "not in the pool"),
                                            ("nat", "m1", "is the master of group nat already"),
                                            ("nat", "nobody", "not in the pool")])
def test_what_can_not_be_moved_is_refused_with_the_reason(running, group, to, why):
    with pytest.raises(Refused, match=why):
        running.core.move(group, to, False, running.now_ns)


def test_a_move_is_refused_while_something_is_under_way(running):
    running.do(running.core.move("nat", "m3", False, running.now_ns))
    with pytest.raises(Refused, match="being moved already"):
        running.core.move("nat", None, False, running.now_ns)
    _finish(running)
    running.kill("ol")
    with pytest.raises(Refused, match="under way"):
        running.core.move("nat", None, False, running.now_ns)
    running.run()
    running.kill("m1")
    running.kill("m2")
    running.run()
    with pytest.raises(Refused, match="not protected"):
        running.core.move("nat", None, False, running.now_ns)


def test_a_dead_target_is_refused(running):
    running.kill("m3")
    running.run()
    with pytest.raises(Refused, match="m3 can't be the master of group nat now: it is not alive"):
        running.core.move("nat", "m3", False, running.now_ns)


def test_a_target_that_dies_before_the_master_stops_ends_the_move(running):
    running.do(running.core.move("nat", "m3", False, running.now_ns))
    running.kill("m3")
    running.run()
    assert running.master() == "m1" and running.group().move is None and ("m1", "stop") not in _asked(running)
    assert any("called off" in text for text in running.texts())
    _finish(running)
    assert running.state() == "protected"


def test_a_target_that_dies_after_the_master_has_stopped_is_followed_by_another(running):
    running.do(running.core.move("nat", None, False, running.now_ns))
    running.kill("m2")
    _finish(running)
    assert running.master() == "m3" and running.group().failovers[0]["cause"] == "moved"


def test_a_master_that_dies_while_it_stops_is_failed_over(running):
    running.do(running.core.move("nat", None, False, running.now_ns))
    running.kill("m1")
    _finish(running)
    assert running.master() == "m2" and running.group().failovers[0]["cause"] == "control connection closed"


@pytest.mark.parametrize("name", ["il", "ol", "st"])
@pytest.mark.parametrize("told", [True, False])
def test_what_dies_while_the_master_stops_is_replaced_before_another_goes_on(name, told):
    running = _running(["st", "il"])
    running.do(running.core.move("nat", None, False, running.now_ns))
    running.step(("inbox", "m1"))
    if told:
        running.kill(name)
    for _ in range(len(running.agents["m1"].outbox)):
        running.step(("outbox", "m1"))      # the last: it has stopped
        if not told and running.agents[name].running:
            running.kill(name)
    _finish(running)
    assert running.state() == "protected" and running.master() == "m2"
    assert not any("can't be recovered" in text for text in running.texts())
    assert [record["cause"] for record in running.group().failovers][-1] == "moved"


def test_a_stopped_master_waits_for_a_logger_that_nobody_can_replace():
    """Else the state would be lost, though one node only has failed."""
    fabric = _running([])
    fabric.do(fabric.core.move("nat", None, False, fabric.now_ns))
    for name in ("il", "ol"):
        fabric.kill(name)
    _finish(fabric)
    for _ in range(600):
        fabric.tick()
    assert fabric.master() == "m1" and fabric.state() == "recovering"
    for name in ("il", "ol"):
        fabric.boot(name)
    _finish(fabric)
    assert fabric.state() == "protected" and fabric.master() == "m2"


@pytest.mark.parametrize("name", ["il", "ol"])
def test_a_logger_that_is_found_dead_after_the_master_has_stopped_takes_no_state_along(running, name):
    """What the last checkpoint of a stopped master has is all there is, whatever on_loss says."""
    running.agents[name].hung = True
    running.do(running.core.move("nat", None, False, running.now_ns))
    for _ in range(80):
        running.tick()
        running.run()
    assert running.state() == "protected" and running.group().failovers[0]["cause"] == "moved"
    assert running.group().holders[{"il": "input-logger", "ol": "output-logger"}[name]].node != name
    assert not any("is lost" in text or "can't be recovered" in text for text in running.texts() if " is lost, and" not in text)


def test_a_target_that_dies_after_it_may_have_gone_on_leaves_more_than_the_last_checkpoint(running):
    running.do(running.core.move("nat", None, False, running.now_ns))
    while not any(do == "recover" for _, do in _asked(running)):
        running.step(running.choices()[0])
    running.kill("il")
    running.kill("m2")
    _finish(running)
    assert running.state() == "lost"


def test_a_target_that_does_not_come_back_from_its_restart_ends_the_move(running):
    running.do(running.core.move("nat", "m2", True, running.now_ns))
    while ("m2", "restart") not in _asked(running):
        running.step(running.choices()[0])
    running.kill("m2")
    for _ in range(12):
        running.tick(2_000_000_000)
        running.run()
    assert running.group().move is None and running.master() == "m1" and running.state() == "protected"


def test_a_drained_node_gives_all_its_roles_away_and_gets_none():
    fabric = Fabric(with_candidates(pool(groups=2, size=4), ["il1", "il2"]))
    fabric.start()
    fabric.run()
    for name in ("m1", "ol1", "st2"):
        fabric.tick()
        fabric.do(fabric.core.drain(name, fabric.now_ns))
        _finish(fabric)
        assert fabric.agents[name].roles == {}, name
    assert fabric.state("nat1") == fabric.state("nat2") == "protected"
    assert {record["cause"] for record in fabric.group("nat1").failovers} == {"moved"}
    assert fabric.steering.fenced == frozenset()
    with pytest.raises(Refused, match="drained already"):
        fabric.core.drain("m1", fabric.now_ns)
    fabric.do(fabric.core.undrain("m1", fabric.now_ns))
    with pytest.raises(Refused, match="is not drained"):
        fabric.core.undrain("m1", fabric.now_ns)


def test_a_drain_is_refused_if_nobody_could_take_a_role():
    fabric = Fabric(single(pool=("m1", "m2")))
    fabric.start()
    fabric.run()
    fabric.kill("m2")
    fabric.run()
    with pytest.raises(Refused, match="no other node can be the master of group nat"):
        fabric.core.drain("m1", fabric.now_ns)
    assert not fabric.core.context.nodes["m1"].drained


def test_the_old_output_logger_keeps_its_log_until_the_new_one_protects_the_group(running):
    """A master that dies in the middle of a drain loses nothing."""
    running.do(running.core.drain("ol", running.now_ns))
    while not running.group().replacing:
        running.step(running.choices()[0])
    assert ("ol", "retire") not in _asked(running)
    running.kill("m1")
    _finish(running)
    assert running.master() == "m2" and not any("can't be recovered" in text for text in running.texts())


def test_a_controller_that_comes_back_while_a_master_is_stopped_ends_the_move(running):
    running.do(running.core.move("nat", None, False, running.now_ns))
    running.step(("inbox", "m1"))
    after = running.with_new_controller()
    after.run()
    for _ in range(8):
        after.tick(2_000_000_000)
        after.run()
    assert after.master() != "m1" and after.state() == "protected"
