"""What an operator plans: a master moves to another node, a node is drained of its roles. Pure.

A move: the target restarts, if its code is to be loaded anew; it becomes the group's spare; the master stops and makes
a last checkpoint; once nothing is being replaced, the rest is a failover, cause "moved". If the target dies before the
master was asked to stop, the move is called off. A drained node gives its roles away one by one, each when the group
is protected.
"""

from middleboxes.core.messages import MOVED as CAUSE

from . import failover, placement, replacement, spares
from .context import LOGS
from .refusal import Refused
from .underway import Move

RESTART_MAX_NS = 20_000_000_000
STOP_MAX_NS = 10_000_000_000


def move(context, name, to, reload, now_ns):
    """Move the master of the group called *name* to node *to* (None: the best one). Raises Refused."""
    group = context.groups.get(name)
    if group is None:
        raise Refused(f"there is no group {name!r}")
    if to is not None and to not in group.spec.pool:
        raise Refused(f"{to!r} is not in the pool of group {name}: {', '.join(group.spec.pool)}")
    _check_calm(context, group)
    if to == group.holders["master"].node:
        raise Refused(f"{to} is the master of group {name} already")
    if to is None:
        to = group.spare.node if group.spare is not None else placement.standby(context, group)
        if to is None:
            raise Refused(f"no node is free to be the master of group {name}")
    if not placement.can_master(context, group, to):
        raise Refused(f"{to} can't be the master of group {name} now: {_hindrance(context, group, to)}")
    _begin(context, group, to, reload, now_ns)


def _check_calm(context, group):
    """Raise Refused unless the group has all that it should, and nothing is under way."""
    if group.move is not None:
        raise Refused(f"group {group.name} is being moved already")
    if group.phase == "recovering" or group.replacing:
        raise Refused(f"a recovery of group {group.name} is under way")
    if not protected(context, group):
        raise Refused(f"group {group.name} is not protected")


def protected(context, group):
    """Whether the next failure of anything in *group* is survived."""
    return (group.phase == "running" and not group.replacing and group.durable and spares.ready(context, group)
            and all(context.intact(group, role) for role in LOGS))


def _hindrance(context, group, name):
    node = context.nodes[name]
    reasons = {"it is not alive": not node.alive, "it is drained": node.drained,
               "it is the master of another group": placement.has_master(context, name),
               "it is a logger or store": placement.logs_of(context, name),
               "it failed this group": placement.is_unfit(context, group, name)}
    return next((reason for reason, holds in reasons.items() if holds), "it is still giving up a role")


def _begin(context, group, to, reload, now_ns):
    node = context.nodes[to]
    context.publish("info", f"the master moves from {group.holders['master'].node} to {to}", now_ns, group, to)
    group.move = Move(to, "restarting" if reload else "preparing", now_ns, node.boot)
    if reload:
        node.restarting = True
        spares.release(context, to, "restarts", now_ns)
    else:
        _prepare(context, group, now_ns)


def _prepare(context, group, now_ns):
    if group.spare is None or group.spare.node != group.move.target:
        spares.assign(context, group, group.move.target, now_ns)


def step(context, group, now_ns):
    """Take the step of the move of a running *group* that is due; to be called whenever anything has changed."""
    plan = group.move
    if plan is None:
        return
    if plan.stage == "restarting":
        _restart(context, group, now_ns)
    elif plan.stage == "preparing":
        if group.spare is None or group.spare.node != plan.target or group.replacing:
            _call_off(context, group, f"{plan.target} or another node was lost", now_ns)
        elif group.spare.acked and group.durable and _is_warm(context, group):
            plan.stage, plan.since_ns = "stopping", now_ns
            context.request(now_ns, group.holders["master"].node, "stop", group, "master", {}, plan)
    elif plan.stage == "stopped" or now_ns - plan.since_ns > STOP_MAX_NS:
        # what died meanwhile is replaced first: only this master can make up for it
        if not group.replacing and all(context.intact(group, role) for role in LOGS):
            _over(context, group, now_ns)


def _is_warm(context, group):
    """Whether the target has prefetched something: what comes after it is a matter of moments."""
    return context.nodes[group.spare.node].counters(group.name, "spare").get("checkpoint", 0) > 0


def _restart(context, group, now_ns):
    plan = group.move
    node = context.nodes[plan.target]
    busy = node.roles or any(pending.node == node.name for pending in context.pending.values())
    if not plan.asked and node.connected and not busy:
        plan.asked = True
        context.request(now_ns, node.name, "restart", group, "", {}, plan)
    elif not node.restarting and placement.can_master(context, group, node.name):
        plan.stage, plan.since_ns = "preparing", now_ns
        _prepare(context, group, now_ns)
    elif now_ns - plan.since_ns > RESTART_MAX_NS:
        _call_off(context, group, f"{plan.target} did not come back from its restart", now_ns)


def _over(context, group, now_ns):
    """The master has stopped (or should have): the failover."""
    stopped = group.move.stage == "stopped"
    group.spare = group.spare if group.spare is not None and group.spare.node == group.move.target else None
    failover.begin(context, group, CAUSE, group.holders["master"].node, now_ns, now_ns)
    group.recovery.complete = stopped


def refused(context, group, pending, now_ns):
    """The master does not stop, or the target does not restart."""
    if group.move is pending.owner:
        _call_off(context, group, f"{pending.node} refused to {pending.do}", now_ns)


def _call_off(context, group, why, now_ns):
    context.nodes[group.move.target].restarting = False
    group.move = None
    context.publish("error", f"the move of the master was called off: {why}", now_ns, group)


def drain(context, name, now_ns):
    """Node *name* gets no more roles, and gives away those that it has. Raises Refused if nobody could take one."""
    node = context.nodes.get(name)
    if node is None:
        raise Refused(f"there is no node {name!r}")
    if node.drained:
        raise Refused(f"{name} is drained already")
    node.drained = True
    try:
        for group in context.groups.values():
            for role, holder in sorted(group.holders.items()):
                if holder.node == name and _successor(context, group, role) is None:
                    raise Refused(f"no other node can be the {role} of group {group.name}")
    except Refused:
        node.drained = False
        raise
    context.publish("info", f"{name} is being drained: it gets no more roles", now_ns, node=name)
    spares.release(context, name, "is drained", now_ns)


def undrain(context, name, now_ns):
    """Node *name* may get roles again. Raises Refused."""
    node = context.nodes.get(name)
    if node is None or not node.drained:
        raise Refused(f"there is no node {name!r}" if node is None else f"{name} is not drained")
    node.drained = False
    context.publish("info", f"{name} may get roles again", now_ns, node=name)


def _successor(context, group, role):
    if role == "master":
        return placement.standby(context, group)
    return placement.logger(context, group, role)


def give_away(context, group, now_ns):
    """Let a protected *group* take the next of its roles from a drained node."""
    drained = [role for role, holder in sorted(group.holders.items()) if context.nodes[holder.node].drained]
    if not drained or group.move is not None or not protected(context, group):
        return
    for role in drained:
        to = _successor(context, group, role)
        if role == "master" and group.spare is not None:
            to = group.spare.node
        if to is None:
            continue
        if role == "master":
            _begin(context, group, to, False, now_ns)
        else:
            replacement.begin(context, group, role, to, CAUSE, now_ns)
        return


def decide(context, name, policy, now_ns):
    """What to do with the lost group called *name*, instead of its on_loss. Raises Refused."""
    group = context.groups.get(name)
    if group is None:
        raise Refused(f"there is no group {name!r}")
    if policy not in ("last-checkpoint", "empty"):
        raise Refused(f"{policy!r} is no decision: last-checkpoint or empty")
    if group.recovery is None or group.recovery.lost is None:
        raise Refused(f"the state of group {name} is not lost")
    group.recovery.policy = policy
    context.publish("warning", f"decided by an operator: {policy}", now_ns, group)
