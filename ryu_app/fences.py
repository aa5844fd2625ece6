"""The fences of a failover: store and loggers refuse the old epochs, and tell what they have. Pure.

Where what a logger has is of no more use, it is not fenced but begins anew: the output logger empty, the input logger
where the checkpoint ends. A store that is gone is replaced by an empty one if the spare has the checkpoint.
"""

from . import loss, placement, replacement, spares
from .arguments import role_arguments
from .underway import Holder


def ask(context, group, role, now_ns):
    """Ask *role* of a recovering *group* what is due now; to be called whenever anything has changed."""
    recovery = group.recovery
    anew = recovery.salvage and role != "store"
    if anew or role == "store" and (recovery.refilled or not context.intact(group, role)):
        _find(context, group, role, now_ns)
        if anew or recovery.refilled:
            _give(context, group, role, now_ns)
            return
    if not context.intact(group, role):
        # one that answered and is gone must answer again, should it come back as it was
        recovery.waiting.add(role)
        recovery.asked.discard(role)
    elif role not in recovery.asked and role not in recovery.doubtful:
        recovery.asked.add(role)
        context.request(now_ns, group.holders[role].node, "fence", group, role, {"role": role}, recovery)


def _find(context, group, role, now_ns):
    """Another node for *role* if the one that has it is gone, and it may be another."""
    recovery, holder = group.recovery, group.holders.get(role)
    if holder is not None and context.standing(holder) or role == "store" and not loss.refilled(context, group):
        return
    if role != "store" and role in recovery.asked:
        return                          # in the next epoch
    name = placement.logger(context, group, role)
    if name is None:
        return
    spares.release(context, name, f"becomes the {role} of group {group.name}", now_ns)
    group.holders[role] = Holder(name, context.nodes[name].boot)
    if role == "store":
        recovery.refilled, recovery.former_store = True, recovery.former_store or holder
    recovery.asked.discard(role)
    recovery.waiting.add(role)
    context.publish("warning", f"{name} is to be the {role}", now_ns, group, name)
    context.steer()


def _give(context, group, role, now_ns):
    recovery, holder = group.recovery, group.holders.get(role)
    if holder is None or not context.standing(holder) or role in recovery.asked:
        return
    if role != "input-logger":
        args = role_arguments(context, group, role)
    elif recovery.checkpoint is not None and recovery.checkpoint["checkpoint"]:
        args = role_arguments(context, group, role, [n for n, _ in recovery.checkpoint["positions"]],
                              recovery.checkpoint["last_ns"])
    else:
        return                          # where it begins is not known yet
    recovery.asked.add(role)
    context.request(now_ns, holder.node, role, group, role, args, recovery)


def stranded(context, group):
    """The nodes that were asked to begin anew and broke off: what they have begun is not to be mixed with what comes next."""
    recovery, found = group.recovery, []
    asked = {pending.role for pending in context.pending.values() if pending.owner is recovery}
    for role, holder in sorted(group.holders.items()):
        if role in recovery.asked and (role == "store" or recovery.salvage):
            if context.standing(holder):
                broke_off = role not in asked and not holder.acked
            else:
                broke_off = role != "store" and placement.logger(context, group, role) is not None
            found += [holder.node] if broke_off else []
    return found


def answered(context, group, pending, result, now_ns):
    """*pending.role* refuses the old epochs, or began anew. False if the *result* does not tell what it should."""
    recovery, role, workers = group.recovery, pending.role, group.spec.workers
    if role == "store":
        told = {"checkpoint": 0, "positions": [], "covers": {}, "change": 0, "last_ns": 0} if pending.do == "store" else result
        if not _is_checkpoint(told, workers):
            return False
        if not _told(context, group, told):
            return True
    elif role == "output-logger" and not recovery.salvage:
        stored, covered_from, output_epoch = (result.get(name) for name in ("stored", "covered_from", "output_epoch"))
        if not isinstance(stored, list) or len(stored) != workers or type(covered_from) is not int or type(output_epoch) is not int:
            return False
        if output_epoch > pending.epoch:
            # it began in an epoch of a controller before this one, which nobody else told: it is not fenced for this one
            group.epoch = output_epoch
            return True
        recovery.stored, recovery.covered_from = stored, covered_from
    elif role == "input-logger" and not recovery.salvage:
        begins_after = result.get("begins_after")
        if not isinstance(begins_after, list) or [type(n) for n in begins_after] != [int] * workers:
            return False
        recovery.begins_after = begins_after
    group.holders[role].acked = True
    recovery.waiting.discard(role)
    recovery.mark(f"{role} {'fenced' if pending.do == 'fence' else 'begun anew'}", now_ns)
    if not recovery.waiting - {"switch"}:
        recovery.fenced_ns = now_ns
        recovery.beyond = recovery.beyond or _missing(recovery)
    return True


def _missing(recovery):
    """What the loggers lack that the state after the last checkpoint needs; None: nothing.

    Whoever decided their replacement knows it already. This is for a controller that came in the middle of one.
    """
    if recovery.salvage or not recovery.checkpoint["checkpoint"]:
        return None
    if recovery.covered_from > recovery.checkpoint["covers"]["output-logger"]:
        return "the output logger had just begun, and lacks what left before"
    if any(begin > n for begin, (n, _) in zip(recovery.begins_after, recovery.checkpoint["positions"])):
        return "the input logger had just begun, and lacks inputs after the last checkpoint"
    return None


def _told(context, group, told):
    """The store *told* of its last checkpoint. False if the store before it is to be asked instead."""
    recovery, former = group.recovery, group.recovery.former_store
    if (told["checkpoint"] == 0 and former is not None and context.standing(former)
            and (group.name, "store") in context.nodes[former.node].roles):
        group.holders["store"], recovery.former_store = former, None
        recovery.refilled = False
        recovery.asked.discard("store")
        return False
    recovery.checkpoint = told
    for role, doubt in sorted(recovery.doubtful.items()):
        if told["change"] >= doubt.epoch:
            continue                    # it was over, only not told: the new one protects the group
        if role == "output-logger":
            # no checkpoint since it began, so nothing left by it: the former one has what counts
            replacement.take_back(group, doubt)
            context.steer()
        else:
            recovery.beyond = f"{doubt.dead} had inputs that no checkpoint covers"
    recovery.doubtful.clear()
    if recovery.salvage and told["checkpoint"] == 0:
        recovery.beyond = "no checkpoint is left"
    elif told["change"] < recovery.due and not recovery.salvage:
        recovery.beyond = "no checkpoint is durable since the last change"
    return True


def _is_checkpoint(told, workers):
    """Whether it is {"checkpoint": id, "positions": [n, k] per worker, "covers", "change": epoch, "last_ns"}; id 0: there is none."""
    if any(type(told.get(name)) is not int for name in ("checkpoint", "change", "last_ns")):
        return False
    positions, covers = told.get("positions"), told.get("covers")
    if not isinstance(covers, dict) or told["checkpoint"] and type(covers.get("output-logger")) is not int:
        return False
    return isinstance(positions, list) and (told["checkpoint"] == 0 or len(positions) == workers and all(
        isinstance(item, (list, tuple)) and [type(value) for value in item] == [int, int] for item in positions))
