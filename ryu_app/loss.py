"""State that can't be recovered: when that is so, and what is to be done then (``on_loss``). Pure.

    block              nothing passes; a logger or store that returns as it was, or an operator, ends it
    last-checkpoint    the last durable checkpoint, nothing beyond; both loggers begin anew
    empty              the group begins anew

Nothing that destroys state is done before late nodes had their time, unless an operator decides it.
"""

from . import placement
from .context import LOGS

#: What to do with a recovering group.
GO_ON, WAIT, SALVAGE, EMPTY = "go on", "wait", "salvage", "empty"


def verdict(context, group, now_ns):
    """One of the above for a recovering *group*; tells when its state is lost, or after all not."""
    recovery = group.recovery
    why, policy = hopeless(context, group), policy_of(context, group)
    if why is not None and recovery.complete and _can_salvage(context, group):
        return SALVAGE                  # nothing is lost by it
    if why != recovery.lost:
        recovery.lost = why
        if why is None:
            context.publish("info", "the state can be recovered after all", now_ns, group)
        else:
            recovery.mark(f"lost: {why}", now_ns)
            context.publish("error", f"the state can't be recovered: {why}; on_loss: {policy}", now_ns, group)
    if why is None:
        return GO_ON
    if policy == "empty" and _decided(context, group):
        return EMPTY
    if policy == "last-checkpoint" and _decided(context, group) and _can_salvage(context, group):
        return SALVAGE
    return WAIT


def _can_salvage(context, group):
    return not group.recovery.salvage and context.intact(group, "store") and not group.recovery.refilled


def policy_of(context, group):
    """What is to be done if the state of a recovering *group* is lost."""
    return group.recovery.policy or (group.spec.on_loss if context.deployment.recovery else "empty")


def _decided(context, group):
    return context.impatient or group.recovery.policy is not None


def hopeless(context, group):
    """Why the state of a recovering *group* can't be recovered as things are; None: it can."""
    recovery = group.recovery
    if recovery.sent:
        return None                     # the target tells
    if recovery.beyond is not None:
        return recovery.beyond
    if recovery.failed and "master" not in group.holders:
        return "no node could recover it"
    if recovery.salvage:
        return None if context.intact(group, "store") else "the store is gone, and with it the last checkpoint"
    gone = [role for role in LOGS if not context.intact(group, role) and not (role == "store" and refilled(context, group))]
    return f"{', '.join(gone)} and master are gone" if gone else None


def refilled(context, group):
    """Whether a store that has nothing is or can be put in place of the one that is gone: the spare has the checkpoint."""
    recovery = group.recovery
    holder = group.holders.get("store")
    if recovery.refilled and holder is not None and context.standing(holder):
        return True
    if context.deployment.recovery and ("master" not in group.holders or recovery.cold or recovery.salvage):
        return False
    return placement.logger(context, group, "store") is not None
