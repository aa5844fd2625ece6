"""Spares: each group has one that prefetches its checkpoints; the pool is shared by all groups. Pure.

A hot one repeats what the master does, which costs its node as much as it costs the master's: so a node is hot for HOT_GROUPS_MAX groups at
most. A group whose spare would be one too many has a warm one, until a node is there that has room.
"""

from . import placement
from .arguments import peers, role_arguments
from .context import LOGS
from .underway import Holder

HOT_GROUPS_MAX = 1


def step(context, group, now_ns):
    """Give *group* a spare if it has none, or the new addresses; to be called whenever anything has changed."""
    if group.replacing or not all(context.intact(group, role) for role in LOGS):
        return
    if group.spare is None:
        name = placement.standby(context, group) if group.spec.spare != "cold" and group.move is None else None
        if name is not None:
            assign(context, group, name, now_ns)
    elif group.spare.acked and group.durable and group.spare.peers != peers(context, group):
        # not before: what it has prefetched may be all that is left
        assign(context, group, group.spare.node, now_ns)
    elif group.spare.acked and group.durable and group.move is None and not group.spare.hot:
        name = placement.standby(context, group)
        if name is not None and _has_room(context, group, name):
            assign(context, group, name, now_ns)


def assign(context, group, name, now_ns):
    """Node *name* stands by for *group* from now on."""
    hot = _has_room(context, group, name)
    group.spare = Holder(name, context.nodes[name].boot, peers=peers(context, group), hot=hot)
    context.request(now_ns, name, "spare", group, "spare", role_arguments(context, group, "spare", hot=hot), group.spare)


def _has_room(context, group, name):
    """Whether node *name* may be the hot spare of *group*."""
    return group.spec.spare == "hot" and placement.hot_elsewhere(context, group, name) < HOT_GROUPS_MAX


def readiness(context, group):
    """("hot", "warm" or "cold", steps that it is behind): what a failure of the master would find now; (None, None): nobody."""
    if group.spare is None or not group.spare.acked:
        return ("cold", None) if placement.standby(context, group) is not None else (None, None)
    counters = context.nodes[group.spare.node].counters(group.name, "spare")
    if counters.get("hot") is True:
        return "hot", counters.get("behind_steps")
    return "warm" if counters.get("checkpoint") else "cold", None


def ready(context, group):
    """Whether a failure of the master would find a node to take over."""
    if group.spec.spare == "cold":
        return placement.standby(context, group) is not None
    return group.spare is not None and group.spare.acked


def successor(context, group):
    """The node that would become master of *group* now: its own spare, else any usable node; None: nobody."""
    if group.spare is not None and placement.can_master(context, group, group.spare.node):
        return group.spare.node
    return placement.standby(context, group)


def take(context, group, now_ns):
    """The ``successor`` of *group*'s master, which is to become it, and whether it comes cold: (name, cold), or (None, True)."""
    name, cold = successor(context, group), True
    if group.spare is not None and name == group.spare.node:
        cold = not group.spare.acked
        group.spare = None
    if name is not None:
        release(context, name, f"was taken by group {group.name}", now_ns)
    return name, cold


def release(context, name, why, now_ns):
    """Node *name* stands by for nobody any more; the groups are told *why*."""
    for group in placement.spares_of(context, name):
        group.spare = None
        context.publish("warning", f"spare {name} {why}", now_ns, group, name)
