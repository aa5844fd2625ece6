"""The reconciler: only our entries change, in a safe order, and barriers end when all switches have confirmed."""

import dataclasses

import pytest
from deployments import single, tree

from ryu_app.deployment import parse
from ryu_app.reconcile import ADD, DELETE, MODIFY, conflict, difference
from ryu_app.steering import Flow, Group, Steering, wanted
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


def test_a_barrier_waits_for_all_connected_switches_and_for_no_lost_one():
    deployment = parse(tree())
    switches = Switches(deployment)
    flows, groups = wanted(deployment, Steering(ACTIVE))
    for name in ("s1", "s2", "s3"):
        switches.switch_connected(name)
    switches.want(flows, groups, 1)
    for name in ("s1", "s2", "s3"):
        switches.entries(name, "groups", [], False)
        switches.entries(name, "flows", [], False)
    assert switches.barrier_reply("s1", 1) == [] and switches.barrier_reply("s3", 1) == []
    assert switches.switch_lost("s2") == [Done(1)]
