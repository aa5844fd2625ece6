"""How a group begins: roles are given to fresh nodes. Pure.

The roles are given in an order in which nobody sends to anybody who is not ready: store, then output logger and
master, then the input logger, which lets traffic in.
"""

from . import placement, spares
from .arguments import role_arguments
from .context import LOGS
from .underway import Holder

_STAGES = (("store",), ("output-logger", "master"), ("input-logger",))


def begin(context, group, now_ns):
    """Give the roles of *group* to those that the deployment names, or to others if these do not turn up; if that is possible.

    Nothing else may see our frames: rules first, roles when they stand.
    """
    if context.switches != set(context.deployment.switches):
        return
    for role in LOGS:
        name = _first(context, group, role)
        if name is None:
            group.holders.clear()
            return
        group.holders[role] = Holder(name, context.nodes[name].boot)
    name = _first_master(context, group)
    if name is None:
        group.holders.clear()
        return
    for holder in group.holders.values():
        spares.release(context, holder.node, f"gets another role in group {group.name}", now_ns)
    spares.release(context, name, f"becomes the master of group {group.name}", now_ns)
    group.holders["master"] = Holder(name, context.nodes[name].boot)
    group.epoch += 1
    group.master_epoch = group.inputs_from = group.change = group.epoch
    group.fresh, group.presumed = True, False
    group.phase = "assigning"
    group.abandoned = False
    group.token = context.steer()


def _first(context, group, role):
    home = getattr(group.spec, role.replace("-", "_"))
    if placement.fit(context, group, home) and not placement.has_master(context, home):
        return home
    return placement.logger(context, group, role) if context.impatient else None


def _first_master(context, group):
    """The first of the pool; another one if it serves another group already, or does not turn up."""
    first = group.spec.pool[0]
    if placement.can_master(context, group, first):
        return first
    if placement.has_master(context, first) or placement.logs_of(context, first) or context.impatient:
        return placement.standby(context, group)
    return None


def step(context, group, now_ns):
    """Bring a group that is assigning its roles as far as it goes now."""
    if not all(context.standing(holder) for holder in group.holders.values()):
        abandon(context, group, "a node was lost before the group was complete", now_ns)
        return
    if group.token is not None:
        return
    asked = {request.do for request in context.pending.values() if request.group == group.name}
    for stage in _STAGES:
        for role in stage:
            holder = group.holders[role]
            if not holder.acked and role not in asked:
                context.request(now_ns, holder.node, role, group, role, role_arguments(context, group, role))
        if not all(group.holders[role].acked for role in stage):
            return
    group.phase = "running"


def abandon(context, group, why, now_ns):
    """Give up a start; the next begins when the nodes are idle again, with another epoch."""
    context.publish("warning", f"start given up: {why}", now_ns, group)
    _clear(context, group)


def renew(context, group, why, now_ns):
    """Give up all that the group has, its state too, and begin again."""
    context.publish("error", f"group {group.name} {why}", now_ns, group)
    if group.spare is not None:
        spares.release(context, group.spare.node, "is not needed until the group has begun anew", now_ns)
    for node in context.nodes.values():
        node.unfit.pop(group.name, None)
    _clear(context, group)


def _clear(context, group):
    for role, holder in group.holders.items():
        node = context.nodes[holder.node]
        node.fenced |= node.boot == holder.boot and (role == "master" or not context.standing(holder))
    context.steer()
    group.holders.clear()
    group.replacing.clear()
    group.token = group.recovery = group.move = None
    group.phase = "waiting"
    group.abandoned = True
