"""The status joins what the controller says with what the emulator knows."""

import pytest

from ftmb.emulator import report

ALIVE = {"client1": True, "il": True, "ol": True, "st": True, "m1": True, "m2": True, "m3": True}
NODES = ["il", "ol", "st", "m1", "m2", "m3"]


def group(**changes):
    return {"name": "nat", "function": "nat", "epoch": 2, "state": "protected", "master": "m1", "input_logger": "il",
            "output_logger": "ol", "store": "st", "spares": ["m2"], "failovers": [], **changes}


def failover(at_ns, dead="m1", detect_ms=1.0, total_ms=5.0, role="master", cause="connection closed"):
    return {"role": role, "cause": cause, "at_ns": at_ns, "from": dead, "detect_ms": detect_ms, "total_ms": total_ms}


def kill(at_ns, node="m1", role="master"):
    return {"at_ns": at_ns, "group": "nat", "role": role, "node": node, "how": "process"}


HOMES = {"nat": {"master": "m1", "input_logger": "il", "output_logger": "ol", "store": "st"}}


def compose(status, alive=None, kills=(), links_down=()):
    return report.compose(status, {**ALIVE, **(alive or {})}, NODES, True, list(kills), HOMES, links_down)


def test_hosts_have_their_roles():
    got = compose({"groups": [group()], "controller": {"apps": ["a"]}}, {"m3": False})
    assert {host["name"]: host["role"] for host in got["hosts"]} == {
        "client1": "host", "il": "input-logger", "ol": "output-logger", "st": "store", "m1": "master", "m2": "spare",
        "m3": "idle"}
    assert [host["name"] for host in got["hosts"] if not host["alive"]] == ["m3"]
    assert got["controller"] == {"apps": ["a"], "alive": True}


def test_a_node_is_alive_once_the_controller_has_heard_it():
    """As long as there is a controller to hear it."""
    status = {"groups": [group()], "hosts": [{"name": "m3", "alive": False, "beat": []}]}
    for controller_alive in (True, False):
        got = report.compose(status, ALIVE, NODES, controller_alive, [], HOMES, [])
        assert [host["name"] for host in got["hosts"] if not host["alive"]] == (["m3"] if controller_alive else [])


def test_a_node_with_several_roles_names_them_all():
    assert report.roles_of([group(output_logger="il"), group(master="m3", spares=["m2"])])["il"] == \
        "input-logger,output-logger"


@pytest.mark.parametrize("dead, state", [("m1", "recovering"), ("il", "unprotected"), ("st", "unprotected"),
                                         ("m2", "unprotected"), ("m3", "protected"), ("client1", "protected")])
def test_protection_ends_with_the_kill_not_with_its_detection(dead, state):
    assert compose({"groups": [group()]}, {dead: False})["groups"][0]["state"] == state


def test_a_group_whose_spares_are_cold_has_none_by_name_and_is_protected():
    assert report.state(group(spares=[]), ALIVE) == "protected"
    assert report.state(group(spares=[]), {**ALIVE, "st": False}) == "unprotected"


@pytest.mark.parametrize("state", ["recovering", "unprotected", "lost"])
def test_what_is_worse_stays_as_the_controller_says(state):
    status = {"groups": [group(state=state, master=None, spares=[])]}
    assert compose(status)["groups"][0]["state"] == state


def test_detection_counts_from_the_kill():
    got = report.corrected([failover(12_000_000)], [kill(2_000_000)])
    assert (got[0]["detect_ms"], got[0]["total_ms"]) == (10.0, 14.0)


@pytest.mark.parametrize("kills", [[], [kill(13_000_000)], [kill(2_000_000, node="m2")]], ids=["none", "later", "other node"])
def test_a_failover_without_a_fitting_kill_stays_as_it_is(kills):
    assert report.corrected([failover(12_000_000)], kills) == [failover(12_000_000)]


def test_the_kill_of_a_node_explains_the_failover_of_each_of_its_roles():
    """Whichever role it was killed for."""
    records = [failover(12_000_000, "il", role=role) for role in ("input-logger", "output-logger")]
    got = report.corrected(records, [kill(2_000_000, node="il", role="input-logger")])
    assert [record["detect_ms"] for record in got] == [10.0, 10.0]


def test_a_move_has_no_kill_behind_it():
    moved = failover(12_000_000, cause="moved")
    assert report.corrected([moved], [kill(2_000_000)]) == [moved]


def test_what_was_at_first_and_which_links_are_down_is_told():
    got = compose({"groups": [group(input_logger="m3")]}, links_down=["link:s1-s2"])
    assert got["groups"][0]["homes"]["input_logger"] == "il" and got["links_down"] == ["link:s1-s2"]


def test_a_kill_explains_one_failover_only():
    records = [failover(12_000_000), failover(40_000_000)]
    assert report.corrected(records, [kill(2_000_000)])[1] == records[1]


@pytest.mark.parametrize("role, node", [("master", "m1"), ("input-logger", "il"), ("output-logger", "ol"),
                                        ("store", "st"), ("spare", "m2")])
def test_holder(role, node):
    assert report.holder(group(), role) == node


def test_there_may_be_no_spare():
    assert report.holder(group(spares=[]), "spare") is None
