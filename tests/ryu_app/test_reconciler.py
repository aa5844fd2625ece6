"""The reconciler: only our entries change, in a safe order."""

import dataclasses

from deployments import single

from ryu_app.deployment import parse
from ryu_app.reconcile import ADD, DELETE, MODIFY, conflict, difference
from ryu_app.steering import Flow, Group, Steering, wanted

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
    assert found.foreign_flows == {theirs} and "cookie 0x99 is in our band" in conflict(theirs, DEPLOYMENT).text


def test_a_foreign_group_with_our_id_is_left_and_rules_that_need_it_are_held_back():
    mine = sorted(GROUPS, key=repr)[0]
    theirs = dataclasses.replace(mine, type="other")
    found = difference(FLOWS, GROUPS, NONE, {theirs}, DEPLOYMENT)
    entries = {change.entry for change in found.changes}
    assert mine not in entries and found.foreign_groups == {theirs}
    assert not [entry for entry in entries if isinstance(entry, Flow) and ("group", mine.group_id) in entry.actions]
