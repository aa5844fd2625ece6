"""All switches: only differences are sent, and a token ends when every switch has confirmed."""

import dataclasses

import pytest
from deployments import single, tree

from ryu_app.deployment import Place, parse
from ryu_app.reconcile import ADD, DELETE, MODIFY, Conflict, conflict
from ryu_app.steering import Flow, Steering, kept, wanted
from ryu_app.switches import FULL_AUDIT, AskEntries, Barrier, Done, Send, Switches

ACTIVE = {("nat", "input-logger"): "il", ("nat", "output-logger"): "ol", ("nat", "master"): "m1"}
DEPLOYMENT = parse(single())
FLOWS, GROUPS = wanted(DEPLOYMENT, Steering(ACTIVE))
OTHERS = Flow("s1", 0, 1, (("in_port", 3),), 0, (("output", 4),))
MOVED = wanted(DEPLOYMENT, Steering({**ACTIVE, ("nat", "master"): "m2"}))


def _read(switches, name, flows=(), groups=()):
    """The switch *name* tells what it holds."""
    return switches.entries(name, "groups", list(groups), False) + switches.entries(name, "flows", list(flows), False)


def _sent(commands, name=None):
    """The changes among *commands*, to switch *name* or to all."""
    return [change for command in commands if isinstance(command, Send) and name in (None, command.switch)
            for change in command.changes]


def _answer(switches, commands, names=None):
    """Every barrier among *commands*, and among what follows, is answered (by switches *names*, or all); all commands."""
    every = list(commands)
    for command in every:       # it grows
        if isinstance(command, Barrier) and (names is None or command.switch in names):
            every += switches.barrier_reply(command.switch, command.number)
    return every


@pytest.fixture
def synced():
    """The reconcilers of one switch that is in line."""
    switches = Switches(DEPLOYMENT)
    switches.switch_connected("s1")
    switches.want(FLOWS, GROUPS)
    _answer(switches, _read(switches, "s1"))
    return switches


def test_nothing_is_sent_before_steering_is_known_and_the_switch_has_told():
    switches = Switches(DEPLOYMENT)
    assert switches.switch_connected("s1") == []
    assert switches.want(FLOWS, GROUPS, 1) == [AskEntries("s1", True)]
    assert switches.entries("s1", "groups", [], False) == []
    assert switches.entries("s1", "flows", [OTHERS], True) == []
    send, barrier = switches.entries("s1", "flows", sorted(FLOWS, key=repr), False)
    assert {change.entry for change in send.changes} == GROUPS
    assert switches.barrier_reply("s1", barrier.number) == [Done(1)]


def test_a_switch_that_holds_everything_already_needs_no_barrier():
    switches = Switches(DEPLOYMENT)
    switches.want(FLOWS, GROUPS, 1)
    switches.switch_connected("s1")
    assert _read(switches, "s1", FLOWS, GROUPS) == [Done(1)]
    assert switches.want(FLOWS, GROUPS, 2) == [Done(2)]


def test_later_only_differences_are_sent_at_once_with_a_barrier(synced):
    flows, groups = wanted(DEPLOYMENT, Steering({**ACTIVE, ("nat", "master"): "m2"}, frozenset({"m1"})))
    send, barrier = synced.want(flows, groups, 7)
    assert isinstance(send, Send) and [change.what for change in send.changes] == [MODIFY, ADD]
    assert synced.barrier_reply("s1", barrier.number) == [Done(7)]


def test_only_the_barrier_after_the_newest_changes_counts(synced):
    _, old = synced.want(*MOVED, 7)
    _, new = synced.want(FLOWS, GROUPS, 8)
    assert synced.barrier_reply("s1", old.number) == []
    assert synced.barrier_reply("s1", new.number) == [Done(7), Done(8)]


def test_an_audit_repairs_what_somebody_else_deleted(synced):
    assert synced.audit() == [AskEntries("s1", True)]
    synced.entries("s1", "groups", sorted(GROUPS, key=repr), False)
    lost = sorted(FLOWS, key=repr)[0]
    commands = synced.entries("s1", "flows", [flow for flow in FLOWS if flow != lost], False)
    assert [change.entry for change in _sent(commands)] == [lost]


def _texts(commands):
    return [command.text for command in commands if isinstance(command, Conflict)]


def test_what_somebody_else_deletes_is_told_by_the_switch_and_mended_at_once(synced):
    lost = sorted(FLOWS, key=repr)[:2]
    assert synced.removed("s1", dataclasses.replace(lost[0], actions=())) == [AskEntries("s1", False)]
    # the second is told while the answer is on its way: it may be older than that
    assert synced.removed("s1", dataclasses.replace(lost[1], actions=())) == []
    assert _read(synced, "s1", FLOWS - {lost[0]}, GROUPS) == [AskEntries("s1", False)]
    commands = _read(synced, "s1", FLOWS - set(lost), GROUPS)
    assert {change.entry for change in _sent(commands)} == set(lost)
    assert _texts(commands) == ["2 of our entries were removed or changed: put back"]


def test_what_we_delete_ourselves_and_what_is_not_ours_is_no_loss(synced):
    fenced = wanted(DEPLOYMENT, Steering(ACTIVE, frozenset({"m2"})))
    fence, = fenced[0] - FLOWS
    _answer(synced, synced.want(*fenced))
    _answer(synced, synced.want(FLOWS, GROUPS))
    assert synced.removed("s1", fence) == []
    assert synced.removed("s1", dataclasses.replace(sorted(FLOWS, key=repr)[0], cookie=0x99)) == []


def test_an_audit_that_changes_overtook_is_ignored(synced):
    synced.audit()
    synced.want(*MOVED)
    synced.entries("s1", "groups", sorted(GROUPS, key=repr), False)
    assert synced.entries("s1", "flows", sorted(FLOWS, key=repr), False) == []


def test_a_foreign_rule_stays_known_after_the_first_answer():
    theirs = dataclasses.replace(sorted(FLOWS, key=repr)[0], cookie=0x99)
    switches = Switches(DEPLOYMENT)
    switches.switch_connected("s1")
    switches.want(FLOWS, GROUPS)
    switches.entries("s1", "groups", [], False)
    commands = switches.entries("s1", "flows", [theirs], False)
    assert conflict(theirs, DEPLOYMENT) in commands
    assert switches.want(FLOWS, GROUPS) == []
    # an audit that asks for ours only says nothing of others
    switches.barrier_reply("s1", commands[-1].number)
    assert switches.audit() == [AskEntries("s1", True)]
    _read(switches, "s1", [*(flow for flow in FLOWS if flow.key != theirs.key), theirs], GROUPS)
    assert switches.audit() == [AskEntries("s1", False)]
    assert _read(switches, "s1", [flow for flow in FLOWS if flow.key != theirs.key], GROUPS) == []


@pytest.mark.parametrize("priority, where", [(40999, "in our band"), (41000, "above our band"), (65535, "above our band")])
def test_what_others_put_in_our_way_later_is_found_by_a_full_audit_and_told_once(synced, priority, where):
    theirs = Flow("s1", 0, priority, (("eth_type", 2054),), 0, (("output", 0xfffffffa),))
    below, elsewhere = dataclasses.replace(theirs, priority=39999), dataclasses.replace(theirs, table=1)
    told = []
    for number in range(1, 2 * FULL_AUDIT + 1):
        full = number % FULL_AUDIT == 1
        assert synced.audit() == [AskEntries("s1", full)]
        told += _texts(_read(synced, "s1", FLOWS | ({theirs, below, elsewhere} if full else set()), GROUPS))
    assert len(told) == 1 and where in told[0]


def test_of_many_rules_in_our_way_some_are_told_and_the_number_of_the_others(synced):
    theirs = {Flow("s1", 0, 50000, (("in_port", port),), 0, ()) for port in range(1, 10)}
    synced.audit()
    told = _texts(_read(synced, "s1", FLOWS | theirs, GROUPS))
    assert len(told) == 4 and told[-1] == "6 more rules of others are in our band or above it"


@pytest.fixture
def row():
    """(the reconcilers of three switches in line, their deployment)."""
    deployment = parse(tree())
    switches = Switches(deployment)
    flows, groups = wanted(deployment, Steering(ACTIVE))
    for name in ("s1", "s2", "s3"):
        switches.switch_connected(name)
    commands = switches.want(flows, groups, 1)
    for name in ("s1", "s2", "s3"):
        commands += _read(switches, name)
    assert Done(1) not in commands and _answer(switches, commands)[-1] == Done(1)
    return switches, deployment


def _moved(deployment):
    return wanted(deployment, Steering({**ACTIVE, ("nat", "master"): "m2"}))


def test_a_switch_that_is_lost_before_it_confirmed_is_waited_for_until_it_is_back_and_in_line(row):
    switches, deployment = row
    commands = switches.want(*_moved(deployment), 2)
    assert [change.entry.switch for change in _sent(commands)] == ["s1"], "where the group entry is"
    switches.switch_lost("s1")
    assert _answer(switches, commands) == commands
    assert switches.switch_connected("s1") == [AskEntries("s1", True)]
    assert _answer(switches, _read(switches, "s1"))[-1] == Done(2)


def test_a_switch_that_is_away_when_its_entries_change_is_waited_for(row):
    switches, deployment = row
    switches.switch_lost("s1")
    assert switches.want(*_moved(deployment), 2) == []
    switches.switch_connected("s1")
    assert _answer(switches, _read(switches, "s1"))[-1] == Done(2)


def test_a_switch_that_never_connected_is_waited_for():
    switches = Switches(DEPLOYMENT)
    assert switches.want(FLOWS, GROUPS, 1) == []
    switches.switch_connected("s1")
    assert _answer(switches, _read(switches, "s1"))[-1] == Done(1)


def test_a_switch_that_is_away_and_has_nothing_to_change_is_not_waited_for(row):
    switches, deployment = row
    switches.switch_lost("s1")
    flows, groups = wanted(deployment, Steering(ACTIVE, fenced=frozenset({"m2"})))
    assert {flow.switch for flow in flows - wanted(deployment, Steering(ACTIVE))[0]} == {"s3"}
    assert _answer(switches, switches.want(flows, groups, 2))[-1] == Done(2)


def test_a_switch_that_was_lost_with_changes_under_way_is_waited_for_even_if_they_are_taken_back(row):
    switches, deployment = row
    switches.want(*_moved(deployment), 2)
    switches.switch_lost("s1")
    assert Done(3) not in _answer(switches, switches.want(*wanted(deployment, Steering(ACTIVE)), 3))


CUT = frozenset({Place("s2", 51)})      # the other end of the only link of s1
GONE = Steering({("nat", "input-logger"): "ol", ("nat", "output-logger"): "ol", ("nat", "master"): "m1"}, down=CUT)


def test_a_switch_that_is_lost_and_has_no_link_left_is_not_waited_for_until_it_has_one_again(row):
    switches, deployment = row
    switches.switch_lost("s1")
    assert Done(2) in _answer(switches, switches.steer(GONE, 2))
    back = switches.steer(dataclasses.replace(GONE, down=frozenset()), 3)
    assert Done(3) not in _answer(switches, back)
    commands = switches.switch_connected("s1") + _read(switches, "s1", *wanted(deployment, Steering(ACTIVE)))
    assert Done(3) in _answer(switches, commands)


def _deleted(commands, ports):
    """The switches on which an entry is deleted for what comes in at one of *ports*."""
    return {change.entry.switch for change in _sent(commands) if change.what == DELETE and isinstance(change.entry, Flow)
            and dict(change.entry.match).get("in_port") in ports}


TRUNKS, LOGGER = (51, 52), (14, 15)     # ports of the links; those where "ol" speaks for the middlebox, at s3


@pytest.mark.parametrize("down", [frozenset(), frozenset({Place("s2", 52)})], ids=["links up", "its only link down"])
def test_what_a_switch_that_is_away_may_still_send_finds_entries_until_it_is_back_and_in_line(row, down):
    switches, deployment = row
    moved = Steering({**ACTIVE, ("nat", "output-logger"): "il"}, down=down)
    commands = switches.steer(moved, 2)
    assert _deleted(commands, LOGGER) == {"s3"}
    commands += switches.switch_lost("s3")      # nobody knows whether it took them
    commands = _answer(switches, commands)
    assert not _deleted(commands, TRUNKS)
    assert (Done(2) in commands) == bool(down), "who has no link is waited for by such deletions only"
    returned = dataclasses.replace(moved, down=frozenset())
    assert not _deleted(_answer(switches, switches.steer(returned, 3)), TRUNKS)
    commands = switches.switch_connected("s3") + _read(switches, "s3", *_held(deployment, "s3"))
    assert _deleted(commands, LOGGER) == {"s3"} and not _deleted(commands, TRUNKS)
    commands = _answer(switches, commands)
    assert Done(3) in commands and _deleted(commands, TRUNKS) == {"s1", "s2"}


def test_when_all_is_withdrawn_no_deletion_waits_for_another_switch(row):
    switches, deployment = row
    switches.switch_lost("s3")
    commands = switches.want(frozenset(), frozenset(), 2)
    for name in ("s1", "s2"):
        assert {change.entry for change in _sent(commands, name)} == set().union(*_held(deployment, name))
    assert Done(2) not in _answer(switches, commands)


def test_what_is_withdrawn_from_a_switch_that_only_passes_frames_on_is_waited_for():
    value = tree()
    value["switches"]["s4"] = 4
    value["links"].append({"a": {"switch": "s3", "port": 53}, "b": {"switch": "s4", "port": 53}})
    deployment = parse(value)
    switches = Switches(deployment)
    switches.want(*wanted(deployment, Steering(ACTIVE)))
    for name in deployment.switches:
        _answer(switches, switches.switch_connected(name) + _read(switches, name))
    commands = _answer(switches, switches.want(frozenset(), frozenset(), 2), ("s1", "s2", "s3"))
    assert _sent(commands, "s4") and Done(2) not in commands
    barrier, = (command for command in commands if isinstance(command, Barrier) and command.switch == "s4")
    assert switches.barrier_reply("s4", barrier.number) == [Done(2)]


def _held(deployment, name):
    """The flows and the groups that switch *name* of ``row`` holds."""
    return [{entry for entry in entries if entry.switch == name} for entries in wanted(deployment, Steering(ACTIVE))]


def test_a_switch_without_links_is_waited_for_as_long_as_it_is_connected(row):
    switches, _ = row
    commands = _answer(switches, switches.steer(GONE, 2), ("s2", "s3"))
    assert _sent(commands, "s1") and Done(2) not in commands
    assert _answer(switches, switches.switch_lost("s1"))[-1] == Done(2)


def test_the_only_switch_is_not_taken_for_one_without_links(synced):
    synced.switch_lost("s1")
    steering = Steering({**ACTIVE, ("nat", "master"): "m2"}, down=frozenset({Place("s1", 1)}))
    assert synced.steer(steering, 2) == []


def test_a_refused_change_keeps_its_token_open_until_the_switch_is_read_and_mended(synced):
    _, barrier = synced.want(*MOVED, 7)
    assert synced.refused("s1") == [AskEntries("s1", True)]
    assert synced.refused("s1") == [], "a second one of the same batch"
    assert synced.barrier_reply("s1", barrier.number) == [], "the barrier after the refused change says nothing"
    send, barrier = _read(synced, "s1", FLOWS, GROUPS)
    assert [change.what for change in send.changes] == [MODIFY]
    assert synced.barrier_reply("s1", barrier.number) == [Done(7)]


def test_a_switch_that_refuses_again_and_again_is_told_of_and_tried_with_each_audit(synced):
    synced.want(*MOVED, 7)
    for _ in range(2):
        assert synced.refused("s1") == [AskEntries("s1", True)]
        _read(synced, "s1", FLOWS, GROUPS)
    told, = synced.refused("s1")
    assert "refused 3 times in a row" in told.text and synced.refused("s1") == []
    assert synced.audit() == [AskEntries("s1", True)]
    assert _answer(synced, _read(synced, "s1", FLOWS, GROUPS))[-1] == Done(7)
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
    switches.steer(steering, 1)
    commands = _read(switches, "s1", flows, groups)
    fence = [flow for flow in flows if flow.priority == 40900 and dict(flow.match)["in_port"] != place.port]
    assert [(change.what, change.entry) for change in _sent(commands)] == [(DELETE, fence[0])]
    assert _answer(switches, commands)[-1] == Done(1)
    assert switches.steer(steering) == []
    # once decided, everything is brought in line
    send, _ = switches.want(FLOWS, GROUPS)
    assert sorted(change.what for change in send.changes) == [DELETE, MODIFY]


def test_a_redirect_is_sent_at_once_and_alone_while_others_confirm_nothing(row):
    switches, deployment = row
    commands = switches.want(*_moved(deployment), 2)
    assert [type(command) for command in commands] == [Send, Barrier]
    assert [change.what for change in commands[0].changes] == [MODIFY]


def test_the_beginning_of_a_path_waits_for_its_end_on_another_switch(row):
    """The input logger moves from s1 to s3: c1's switch s1 leads there when s2 does, and s2 when s3 does."""
    switches, deployment = row
    commands = switches.want(*wanted(deployment, Steering({**ACTIVE, ("nat", "input-logger"): "ol"})), 2)
    mac = deployment.groups["nat"].ports[0].mac

    def toward(found, name):
        return [change.entry for change in _sent(found, name) if isinstance(change.entry, Flow)
                and change.what == ADD and ("eth_dst", mac) in change.entry.match]

    def confirmed(found, name):
        more = []
        for command in found:
            if isinstance(command, Barrier) and command.switch == name:
                more += switches.barrier_reply(name, command.number)
        return more

    assert toward(commands, "s3") and not toward(commands, "s2") and not toward(commands, "s1")
    second = confirmed(commands, "s3")
    assert toward(second, "s2") and not toward(second, "s1")
    assert toward(confirmed(commands + second, "s2"), "s1")
