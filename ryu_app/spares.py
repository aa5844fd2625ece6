"""Spares: each group has one that prefetches its checkpoints; the pool is shared by all groups. Pure."""

from .context import LOGS, Holder, role_arguments


def step(context, group, now_ns):
    """Give *group* a spare if it has none; to be called whenever anything has changed."""
    if group.spare is None and all(context.intact(group, role) for role in LOGS):
        name = candidate(context, group)
        if name is not None:
            group.spare = Holder(name, context.nodes[name].boot)
            context.request(now_ns, name, "spare", group, "spare", role_arguments(context, group, "spare"))


def candidate(context, group):
    """The usable node of the pool that stands by for the fewest groups; in the pool's order. None: nobody."""
    load = {name: 0 for name in group.spec.pool}
    for other in context.groups.values():
        if other.spare is not None and other.spare.node in load:
            load[other.spare.node] += 1
    usable = [name for name in group.spec.pool if context.usable(group, name)]
    return min(usable, key=load.get) if usable else None


def take(context, group, now_ns):
    """The node that is to become master of *group*, and whether it comes cold: (name, cold), or (None, True).

    Its own spare, else any usable node.
    """
    name, cold = None, True
    if group.spare is not None and context.usable(group, group.spare.node):
        name, cold = group.spare.node, not group.spare.acked
        group.spare = None
    else:
        name = candidate(context, group)
    if name is not None:
        release(context, group, name, now_ns)
    return name, cold


def lost(context, name, now_ns):
    """Node *name* stands by for nobody any more."""
    for group in context.groups.values():
        if group.spare is not None and group.spare.node == name:
            group.spare = None
            context.publish("warning", f"spare {name} is lost", now_ns, group, name)


def release(context, group, name, now_ns):
    """Node *name* is for *group* alone from now on; groups that shared it as a spare are told."""
    for other in context.groups.values():
        if other.spare is not None and other.spare.node == name:
            other.spare = None
            context.publish("warning", f"spare {name} was taken by group {group.name}", now_ns, other, name)
