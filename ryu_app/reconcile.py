"""Wanted entries against a switch's actual ones: the changes that make them match, touching only ours. Pure.

An entry is ours by its cookie's upper half (flows) or by the prefix of its id and its shape (groups).
Order of changes: groups before the flows that use them, the far end of a path before its beginning, deletions last.
"""

from dataclasses import dataclass
from typing import FrozenSet, Tuple, Union

from .deployment import BAND
from .steering import Flow, Group, Kept, group_prefix

ADD, MODIFY, DELETE = "add", "modify", "delete"


@dataclass(frozen=True)
class Change:
    """One message to a switch. Adding a flow overwrites ours of the same table, priority and match."""
    what: str
    entry: Union[Flow, Group]


@dataclass(frozen=True)
class Conflict:
    """A foreign entry in our place; *text* says which and what it means."""
    switch: str
    text: str


@dataclass(frozen=True)
class Difference:
    """What to change, our entries once that is done, and others' entries that stand in our place."""
    changes: Tuple[Change, ...]
    flows: FrozenSet[Flow]
    groups: FrozenSet[Group]
    foreign_flows: FrozenSet[Flow]
    foreign_groups: FrozenSet[Group]


def is_ours(flow, cookie):
    """Whether *flow* carries our number in the upper half of its cookie."""
    return flow.cookie >> 32 == cookie


def difference(wanted_flows, wanted_groups, actual_flows, actual_groups, deployment, kept=Kept()):
    """The Difference for one switch; others' entries in the actual sets stay as they are, and so do *kept* ones."""
    rest = actual_flows - wanted_flows      # of those in place nothing is to be said: a failover concerns few
    foreign = {flow.key: flow for flow in rest if not is_ours(flow, deployment.cookie)}
    prefix = group_prefix(deployment.cookie)
    groups = {group.group_id: group for group in actual_groups if group.group_id >> 18 == prefix}
    taken = {number for number, group in groups.items() if not _is_our_shape(group)}

    want_groups = {group.group_id: group for group in wanted_groups if group.group_id not in taken}
    if foreign or taken:
        # a rule that would overwrite a foreign one, or lead to a foreign group, is held back
        wanted_flows = frozenset(flow for flow in wanted_flows
                                 if flow.key not in foreign and not any(action == ("group", number) for number in taken
                                                                        for action in flow.actions))
        rest = actual_flows - wanted_flows
    changes = []
    for number, group in sorted(want_groups.items()):
        if number not in groups:
            changes.append(Change(ADD, group))
        elif groups[number] != group:
            changes.append(Change(MODIFY, group))
    new_flows = wanted_flows - actual_flows
    changes += [Change(ADD, flow) for flow in sorted(new_flows, key=lambda flow: (flow.depth, repr(flow)))]
    replaced = {flow.key for flow in new_flows}
    extra_flows = sorted((flow for flow in rest if is_ours(flow, deployment.cookie) and flow.key not in replaced), key=repr)
    extra_groups = [group for number, group in sorted(groups.items())
                    if number not in want_groups and number not in taken]
    changes += [Change(DELETE, entry) for entry in (*extra_flows, *extra_groups) if not kept.holds(entry)]
    return Difference(tuple(changes),
                      wanted_flows.union(flow for flow in extra_flows if kept.holds(flow)),
                      frozenset([*want_groups.values(), *(group for group in extra_groups if kept.holds(group))]),
                      frozenset(flow for flow in foreign.values() if _in_our_way(flow, deployment)),
                      frozenset(groups[number] for number in taken))


def applied(changes, flows, groups):
    """What a switch holds that held *flows* and *groups*, once it has made *changes*: two frozensets."""
    entries = {Flow: {flow.key: flow for flow in flows}, Group: {group.key: group for group in groups}}
    for change in changes:
        if change.what == DELETE:
            del entries[type(change.entry)][change.entry.key]
        else:
            entries[type(change.entry)][change.entry.key] = change.entry
    return frozenset(entries[Flow].values()), frozenset(entries[Group].values())


def ours_among(flows, groups, cookie):
    """Those of a switch's *flows* and *groups* that are ours: two frozensets."""
    return (frozenset(flow for flow in flows if is_ours(flow, cookie)),
            frozenset(group for group in groups if group.group_id >> 18 == group_prefix(cookie) and _is_our_shape(group)))


def concerns_us(flow, deployment):
    """Whether *flow* is ours or stands in our way; all others are none of our business."""
    return is_ours(flow, deployment.cookie) or _in_our_way(flow, deployment)


def conflict(entry, deployment):
    """The Conflict that tells of a foreign *entry* (Flow or Group) in our place or above it."""
    if isinstance(entry, Group):
        return Conflict(entry.switch, f"group {entry.group_id:#x} of type {entry.type} is not ours but has an id of "
                                      "ours: rules that need it are held back")
    match = ",".join(f"{name}={value}" for name, value in entry.match)
    where = "in" if entry.priority < deployment.priority + BAND else "above"
    return Conflict(entry.switch, f"a rule of cookie {entry.cookie:#x} is {where} our band: table {entry.table}, "
                                  f"priority {entry.priority}, {match or 'any packet'}")


def _in_our_way(flow, deployment):
    return flow.table == deployment.table and flow.priority >= deployment.priority


def _is_our_shape(group):
    return group.type == "indirect" and [name for name, _ in group.bucket] in ([], ["eth_dst", "output"])
