"""Placement: which node gets a role. Pure.

The node of a group's master has no other role of any group, a node with a log role (input or output logger, store) of
any group is nobody's master or spare. A node that flaps is taken only if there is nobody else.
"""

from .context import LOGS


def fit(context, group, name):
    """Whether node *name* may get a role of *group* now, whichever."""
    node = context.nodes[name]
    return (node.alive and not node.fenced and not node.drained and not node.restarting
            and not is_unfit(context, group, name) and not context.stale(node))


def is_unfit(context, group, name):
    """Whether node *name*'s process failed *group* a short while ago."""
    return context.now_ns < context.nodes[name].unfit.get(group.name, 0)


def has_master(context, name):
    """Whether node *name* is, or is becoming, the master of any group."""
    return any(group.holders["master"].node == name for group in context.groups.values() if "master" in group.holders)


def logs_of(context, name):
    """The log roles of node *name*: (Group, role) pairs, those that are being replaced included."""
    return [(group, role) for group in context.groups.values() for role in LOGS
            if role in group.holders and group.holders[role].node == name]


def spares_of(context, name):
    """The groups that node *name* stands by for."""
    return [group for group in context.groups.values() if group.spare is not None and group.spare.node == name]


def hot_elsewhere(context, group, name):
    """For how many other groups than *group* node *name* is the hot spare."""
    return sum(other.spare.hot for other in spares_of(context, name) if other is not group)


def can_master(context, group, name):
    """Whether node *name* could take over or stand by for *group* now."""
    return fit(context, group, name) and not has_master(context, name) and not logs_of(context, name)


def standby(context, group):
    """The node of the pool to take over or stand by for *group*: one that stands by for the fewest; None: nobody.

    For a group that wants a hot spare: one that is hot for no other group, if there is one.
    """
    usable = [name for name in group.spec.pool if can_master(context, group, name)]
    wants_hot = group.spec.spare == "hot"
    return min(usable, key=lambda name: (_damped(context, name), wants_hot and hot_elsewhere(context, group, name),
                                         len(spares_of(context, name))), default=None)


def logger(context, group, role):
    """The candidate to take *role* (of LOGS) of *group*: one with the fewest roles; None: nobody.

    One that is a spare only if nobody without is there.
    """
    candidates = group.spec.stores if role == "store" else group.spec.loggers
    usable = [name for name in candidates if fit(context, group, name) and not has_master(context, name)]
    return min(usable, key=lambda name: (_damped(context, name), bool(spares_of(context, name)),
                                         len(logs_of(context, name))), default=None)


def _damped(context, name):
    return context.nodes[name].flapping.damped(context.now_ns)
