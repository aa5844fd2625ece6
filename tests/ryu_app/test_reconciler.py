"""The reconciler: only our entries change, in a safe order, and barriers end when all switches have confirmed."""

import dataclasses

import pytest
from deployments import single, tree

from ryu_app.deployment import parse
from ryu_app.reconcile import ADD, DELETE, MODIFY, conflict, difference
from ryu_app.steering import Flow, Group, Steering, kept, wanted
from ryu_app.switches import AskEntries, Barrier, Done, Send, Switches

ACTIVE = {("nat", "input-logger"): "il", ("nat", "output-logger"): "ol", ("nat", "master"): "m1"}
DEPLOYMENT = parse(single())
FLOWS, GROUPS = wanted(DEPLOYMENT, Steering(ACTIVE))
NONE = frozenset()
OTHERS = Flow("s1", 0, 1, (("in_port", 3),), 0, (("output", 4),))


def test_an_empty_switch_gets_everything_groups_first():
    changes = difference(FLOWS, GROUPS, NONE, NONE, DEPLOYMENT).changes
    assert {change.entry for change in changes} == FLOWS | GROUPS
    kinds = [type(change.entry) for change in changes]
    assert kinds == sorted(kinds, key=lambda kind: kind is Flow)


def test_a_switch_in_line_gets_nothing_and_others_entries_do_not_matter():
    found = difference(FLOWS, GROUPS, FLOWS | {OTHERS}, GROUPS, DEPLOYMENT)
    assert found.changes == () and found.foreign_flows == NONE


def test_leftovers_of_ours_go_last_flows_before_groups_and_others_stay():
    changes = difference(NONE, NONE, FLOWS | {OTHERS}, GROUPS, DEPLOYMENT).changes
    assert {change.what for change in changes} == {DELETE}
    assert {change.entry for change in changes} == FLOWS | GROUPS
    kinds = [type(change.entry) for change in changes]
    assert kinds == sorted(kinds, key=lambda kind: kind is Group)


def test_a_redirect_is_one_group_modification():
    flows, groups = wanted(DEPLOYMENT, Steering({**ACTIVE, ("nat", "master"): "m2"}))
    changes = difference(flows, groups, FLOWS, GROUPS, DEPLOYMENT).changes
    assert [(change.what, type(change.entry)) for change in changes] == [(MODIFY, Group)]


def test_a_foreign_rule_that_ours_would_overwrite_is_left_and_told():
    mine = sorted(FLOWS, key=repr)[0]
    theirs = dataclasses.replace(mine, cookie=0x99)
    found = difference(FLOWS, GROUPS, {theirs}, NONE, DEPLOYMENT)
    assert mine not in {change.entry for change in found.changes}
    assert found.foreign_flows == {theirs} and "cookie 0x99 is in our band" in conflict(theirs).text


def test_a_foreign_group_with_our_id_is_left_and_rules_that_need_it_are_held_back():
    mine = sorted(GROUPS, key=repr)[0]
    theirs = dataclasses.replace(mine, type="other")
    found = difference(FLOWS, GROUPS, NONE, {theirs}, DEPLOYMENT)
    entries = {change.entry for change in found.changes}
    assert mine not in entries and found.foreign_groups == {theirs}
    assert not [entry for entry in entries if isinstance(entry, Flow) and ("group", mine.group_id) in entry.actions]


@pytest.fixture
def synced():
    """The reconcilers of one switch that is in line."""
    switches = Switches(DEPLOYMENT)
    switches.switch_connected("s1")
    switches.want(FLOWS, GROUPS)
    switches.entries("s1", "groups", [], False)
    switches.entries("s1", "flows", [], False)
    return switches


def test_nothing_is_sent_before_steering_is_known_and_the_switch_has_told():
    switches = Switches(DEPLOYMENT)
    assert switches.switch_connected("s1") == []
    assert switches.want(FLOWS, GROUPS, 1) == [AskEntries("s1", True)]
    assert switches.entries("s1", "groups", [], False) == []
    assert switches.entries("s1", "flows", [OTHERS], True) == []
    send, barrier = switches.entries("s1", "flows", sorted(FLOWS, key=repr), False)
    assert {change.entry for change in send.changes} == GROUPS
    assert barrier == Barrier("s1", 1)
    assert switches.barrier_reply("s1", 1) == [Done(1)]


def test_later_only_differences_are_sent_at_once_with_a_barrier(synced):
    flows, groups = wanted(DEPLOYMENT, Steering({**ACTIVE, ("nat", "master"): "m2"}, frozenset({"m1"})))
    send, barrier = synced.want(flows, groups, 7)
    assert isinstance(send, Send) and [change.what for change in send.changes] == [MODIFY, ADD]
    assert barrier == Barrier("s1", 7) and synced.barrier_reply("s1", 7) == [Done(7)]


def test_an_audit_repairs_what_somebody_else_deleted(synced):
    assert synced.audit() == [AskEntries("s1", False)]
    synced.entries("s1", "groups", sorted(GROUPS, key=repr), False)
    lost = sorted(FLOWS, key=repr)[0]
    commands = synced.entries("s1", "flows", [flow for flow in FLOWS if flow != lost], False)
    assert [change.entry for command in commands for change in command.changes] == [lost]


def test_an_audit_that_changes_overtook_is_ignored(synced):
    synced.audit()
    flows, groups = wanted(DEPLOYMENT, Steering({**ACTIVE, ("nat", "master"): "m2"}))
    synced.want(flows, groups)
    synced.entries("s1", "groups", sorted(GROUPS, key=repr), False)
    assert synced.entries("s1", "flows", sorted(FLOWS, key=repr), False) == []


def test_a_foreign_rule_stays_known_after_the_first_answer():
    mine = sorted(FLOWS, key=repr)[0]
    switches = Switches(DEPLOYMENT)
    switches.switch_connected("s1")
    switches.want(FLOWS, GROUPS)
    switches.entries("s1", "groups", [], False)
    commands = switches.entries("s1", "flows", [dataclasses.replace(mine, cookie=0x99)], False)
    assert conflict(dataclasses.replace(mine, cookie=0x99)) in commands
    assert switches.want(FLOWS, GROUPS) == []


MOVED = wanted(DEPLOYMENT, Steering({**ACTIVE, ("nat", "master"): "m2"}))


def _read(switches, name, flows=(), groups=()):
    """The switch *name* tells what it holds."""
    return switches.entries(name, "groups", list(groups), False) + switches.entries(name, "flows", list(flows), False)


@pytest.fixture
def row():
    """(the reconcilers of three switches in line, their deployment)."""
    deployment = parse(tree())
    switches = Switches(deployment)
    flows, groups = wanted(deployment, Steering(ACTIVE))
    for name in ("s1", "s2", "s3"):
        switches.switch_connected(name)
    switches.want(flows, groups, 1)
    for name in ("s1", "s2", "s3"):
        _read(switches, name)
    assert [switches.barrier_reply(name, 1) for name in ("s1", "s2", "s3")] == [[], [], [Done(1)]]
    return switches, deployment


def test_a_switch_that_is_lost_before_it_confirmed_is_waited_for_until_it_is_back_and_in_line(row):
    switches, deployment = row
    flows, groups = wanted(deployment, Steering({**ACTIVE, ("nat", "master"): "m2"}))
    switches.want(flows, groups, 2)
    switches.switch_lost("s1")
    assert switches.barrier_reply("s2", 2) == [] and switches.barrier_reply("s3", 2) == []
    assert switches.switch_connected("s1") == [AskEntries("s1", True)]
    assert Barrier("s1", 2) in _read(switches, "s1")
    assert switches.barrier_reply("s1", 2) == [Done(2)]


def test_a_switch_that_is_away_when_its_entries_change_is_waited_for(row):
    switches, deployment = row
    switches.switch_lost("s1")
    flows, groups = wanted(deployment, Steering({**ACTIVE, ("nat", "master"): "m2"}))
    switches.want(flows, groups, 2)
    assert switches.barrier_reply("s2", 2) == [] and switches.barrier_reply("s3", 2) == []
    switches.switch_connected("s1")
    _read(switches, "s1")
    assert switches.barrier_reply("s1", 2) == [Done(2)]


def test_a_switch_that_never_connected_is_waited_for():
    switches = Switches(DEPLOYMENT)
    assert switches.want(FLOWS, GROUPS, 1) == []
    switches.switch_connected("s1")
    _read(switches, "s1")
    assert switches.barrier_reply("s1", 1) == [Done(1)]


def test_a_switch_that_is_away_and_has_nothing_to_change_is_not_waited_for(row):
    switches, deployment = row
    switches.switch_lost("s1")
    flows, groups = wanted(deployment, Steering(ACTIVE, fenced=frozenset({"m2"})))
    assert {flow.switch for flow in flows - wanted(deployment, Steering(ACTIVE))[0]} == {"s3"}
    switches.want(flows, groups, 2)
    assert switches.barrier_reply("s2", 2) == [] and switches.barrier_reply("s3", 2) == [Done(2)]


def test_a_switch_that_was_lost_with_changes_under_way_is_waited_for_even_if_they_are_taken_back(row):
    switches, deployment = row
    before = wanted(deployment, Steering(ACTIVE))
    switches.want(*wanted(deployment, Steering({**ACTIVE, ("nat", "master"): "m2"})), 2)
    switches.switch_lost("s1")
    switches.want(*before, 3)
    assert switches.barrier_reply("s2", 3) == [] and switches.barrier_reply("s3", 3) == []


def test_a_refused_change_keeps_its_token_open_until_the_switch_is_read_and_mended(synced):
    synced.want(*MOVED, 7)
    assert synced.refused("s1") == [AskEntries("s1", True)]
    assert synced.refused("s1") == [], "a second one of the same batch"
    assert synced.barrier_reply("s1", 7) == [], "the barrier after the refused change says nothing"
    send, barrier = _read(synced, "s1", FLOWS, GROUPS)
    assert [change.what for change in send.changes] == [MODIFY] and barrier == Barrier("s1", 7)
    assert synced.barrier_reply("s1", 7) == [Done(7)]


def test_a_switch_that_refuses_again_and_again_is_told_of_and_tried_with_each_audit(synced):
    synced.want(*MOVED, 7)
    for _ in range(2):
        assert synced.refused("s1") == [AskEntries("s1", True)]
        _read(synced, "s1", FLOWS, GROUPS)
    told, = synced.refused("s1")
    assert "refused 3 times in a row" in told.text and synced.refused("s1") == []
    assert synced.barrier_reply("s1", 7) == []
    assert synced.audit() == [AskEntries("s1", True)]
    _read(synced, "s1", FLOWS, GROUPS)
    assert synced.barrier_reply("s1", 7) == [Done(7)]
    assert synced.want(FLOWS, GROUPS) and synced.refused("s1") == [AskEntries("s1", True)], "the count begins anew"


def test_a_refused_question_is_asked_again():
    switches = Switches(DEPLOYMENT)
    switches.switch_connected("s1")
    switches.want(FLOWS, GROUPS, 1)
    assert switches.refused("s1", question=True) == [AskEntries("s1", True)]


def test_entries_of_undecided_groups_and_fences_of_unjudged_nodes_stay_as_they_are():
    """A controller that is back knows neither who is master there nor who was fenced."""
    place = DEPLOYMENT.nodes["m1"].data.place
    flows, groups = wanted(DEPLOYMENT, Steering({**ACTIVE, ("nat", "master"): "m2"}, fenced=frozenset({"m1", "m3"})))
    steering = Steering({}, undecided=frozenset({"nat"}), unjudged=frozenset({"m1"}))
    switches = Switches(DEPLOYMENT)
    switches.switch_connected("s1")
    switches.want(*wanted(DEPLOYMENT, steering), 1, kept(DEPLOYMENT, steering))
    send, _ = _read(switches, "s1", flows, groups)
    fence = [flow for flow in flows if flow.priority == 40900 and dict(flow.match)["in_port"] != place.port]
    assert [(change.what, change.entry) for change in send.changes] == [(DELETE, fence[0])]
    assert switches.want(*wanted(DEPLOYMENT, steering), None, kept(DEPLOYMENT, steering)) == []
    # once decided, everything is brought in line
    send, = switches.want(FLOWS, GROUPS)
    assert sorted(change.what for change in send.changes) == [DELETE, MODIFY]
