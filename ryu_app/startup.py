"""How a group begins: roles are given to fresh nodes, or relearned from nodes that already have them. Pure.

A fresh start gives the roles in an order in which nobody sends to anybody who is not ready: store, then
output logger and master, then the input logger, which lets traffic in. So an input logger that exists
says that the group was complete once; without one there is no state to lose.
"""

from . import failover, spares
from .context import LOGS, Holder, role_arguments

_STAGES = (("store",), ("output-logger", "master"), ("input-logger",))


def step(context, group, now_ns):
    """Bring a group in phase waiting or assigning as far as it goes now."""
    if group.phase == "waiting" and context.gathered:
        _decide(context, group, now_ns)
    if group.phase == "assigning":
        _assign(context, group, now_ns)


def _reported(context, group):
    """What connected nodes say they are in *group*: {role: [(epoch, node name)]}."""
    reported = {}
    for node in context.nodes.values():
        for (name, role), epoch in sorted(node.roles.items()):
            if node.connected and name == group.name:
                reported.setdefault(role, []).append((epoch, node.name))
    return reported


def _decide(context, group, now_ns):
    if any(request.group == group.name for request in context.pending.values()):
        return                      # of a start given up; what comes of it must be known first
    reported = _reported(context, group)
    epoch = max((epoch for found in reported.values() for epoch, _ in found), default=0)
    group.epoch = max(group.epoch, epoch)
    logs = [role for role in LOGS if context.home(group, role) in [name for _, name in reported.get(role, [])]]
    masters = [name for found, name in reported.get("master", []) if found == epoch]
    if group.abandoned and reported:
        return                      # being given back
    if len(masters) == 1:
        _adopt(context, group, logs, reported, masters[0], now_ns)
    elif len(logs) == len(LOGS):
        _adopt(context, group, logs, reported, None, now_ns)
    elif all(context.nodes[context.home(group, role)].alive for role in LOGS):
        if reported:
            context.publish("error", "the roles found make no whole: starting from empty state", now_ns, group)
            group.abandoned = True
        else:
            master = _first_master(context, group)
            if master is not None and _ready(context, group):
                _begin(context, group, master, now_ns)


def _first_master(context, group):
    """The first of the pool; another one if it serves another group already, or does not turn up."""
    first = group.spec.pool[0]
    if context.usable(group, first):
        return first
    if context.has_master(first) or context.impatient:
        return spares.candidate(context, group)
    return None


def _begin(context, group, master, now_ns):
    group.epoch += 1
    group.phase = "assigning"
    group.abandoned = False
    spares.release(context, group, master, now_ns)
    for role in (*LOGS, "master"):
        name = master if role == "master" else context.home(group, role)
        group.holders[role] = Holder(name, context.nodes[name].boot)
    # nothing else may see our frames: rules first, roles when they stand
    group.token = context.steer()


def _ready(context, group):
    return (context.switches == set(context.deployment.switches)
            and all(group.name not in context.nodes[context.home(group, role)].unfit for role in LOGS))


def _adopt(context, group, logs, reported, master, now_ns):
    """Take the roles as they are; a master that is not there is failed over at once."""
    for role in LOGS:
        name = context.home(group, role)
        group.holders[role] = Holder(name, context.nodes[name].boot if role in logs else None, role in logs)
        if role not in logs:
            context.publish("error", f"the {role} on {name} did not come with its role", now_ns, group, name)
    for name in group.spec.pool:
        # an old master may be any of those that are silent, and whoever says it was
        node = context.nodes[name]
        node.fenced |= name != master and (not node.connected or (group.name, "master") in node.roles)
    group.durable = True
    group.phase = "running"
    context.publish("info", f"relearned roles at epoch {group.epoch}", now_ns, group)
    if master is not None:
        group.holders["master"] = Holder(master, context.nodes[master].boot, True)
        ready = [name for _, name in reported.get("spare", []) if name in group.spec.pool]
        if ready:
            group.spare = Holder(ready[0], context.nodes[ready[0]].boot, True)
        context.steer()
        return
    failover.begin(context, group, "missing when the controller came back", "unknown", now_ns, now_ns)


def relearn(context, node):
    """A node that is late after the controller's return brings its role along, if nobody has it now."""
    for group in context.groups.values():
        for role in LOGS:
            holder = group.holders.get(role)
            if (holder is not None and holder.node == node.name and holder.boot is None
                    and (group.name, role) in node.roles):
                group.holders[role] = Holder(node.name, node.boot, True)


def _assign(context, group, now_ns):
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
    context.nodes[group.holders["master"].node].fenced = True
    context.steer()
    group.holders.clear()
    group.token = None
    group.phase = "waiting"
    group.abandoned = True
