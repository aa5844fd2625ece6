"""The replacement of an input logger, output logger or store while the master lives (docs/architecture.md). Pure.

Input logger: the master is fenced (it says where the new one begins) and the switches turn to the new node, in
parallel; then the new node gets the role. Output logger and store: the new node gets the role and the switches turn to
it; then the master is told to use it. It is over once a checkpoint of the master that was cut after that is durable: until
then the former holder keeps what it has. A node that dies on the way is followed by the next.
"""

from . import placement, spares
from .arguments import role_arguments, use_arguments
from .context import LOGS
from .underway import Holder, Replacement, milliseconds


def step(context, group, now_ns):
    """Begin what is due for a running *group*, and take the steps that are possible; to be called whenever anything changed."""
    for role in LOGS:
        replacement = group.replacing.get(role)
        if replacement is None:
            if not context.intact(group, role):
                _look_for(context, group, role, now_ns)
        elif not context.standing(group.holders[role]):
            cause, _ = context.nodes[group.holders[role].node].death
            retry(context, group, role, f"{group.holders[role].node} died as the new {role}: {cause}", now_ns)
        elif not group.holders[role].acked and replacement.asked and not _is_pending(context, replacement):
            # its connection broke before it had answered: whatever it has begun is not to be mixed with what comes now
            begin(context, group, role, group.holders[role].node, "begins again", now_ns)
        else:
            _advance(context, group, replacement, now_ns)


def begin(context, group, role, name, cause, now_ns):
    """Node *name* is to take *role*; *cause* says why the one that had it does not go on."""
    old = group.holders.get(role)
    before = group.replacing.get(role)
    node = context.nodes[old.node] if old is not None else None
    group.epoch += 1
    group.fresh = group.presumed = False
    last_seen_ns = now_ns if old is None or context.standing(old) else node.death[1]
    if before is None:
        replacement = Replacement(role, cause, old.node if old else "nobody", last_seen_ns, now_ns, group.epoch, old)
        replacement.mark("last sign of life", last_seen_ns)
        replacement.mark("detected", now_ns)
    else:
        replacement = Replacement(role, before.cause, before.dead, before.last_seen_ns, before.began_ns, group.epoch,
                                  before.previous, before.attempts + 1, timeline=before.timeline)
    if old is not None and node.boot == old.boot and not context.standing(old):
        node.fenced = True              # it may be a zombie: nothing that it still sends may get anywhere
    spares.release(context, name, f"becomes the {role} of group {group.name}", now_ns)
    group.holders[role] = Holder(name, context.nodes[name].boot)
    group.replacing[role] = replacement
    context.publish("warning", f"{name} is to be the {role}: {cause}", now_ns, group, name)
    token = context.steer()
    if role == "input-logger":
        replacement.told, replacement.told_ns = True, now_ns
        context.request(now_ns, group.holders["master"].node, "fence", group, "master", {"role": "master"}, replacement)
    else:
        replacement.asked = True
        context.request(now_ns, name, role, group, role, role_arguments(context, group, role), replacement,
                        group.master_epoch)
    if role != "store":
        replacement.token = token


def _look_for(context, group, role, now_ns):
    name = placement.logger(context, group, role)
    if name is not None:
        old = group.holders.get(role)
        if old is None:
            cause = "missing when the controller came back"
        else:
            cause = context.nodes[old.node].death[0] if not context.standing(old) else "failed"
        begin(context, group, role, name, cause, now_ns)


def retry(context, group, role, why, now_ns):
    """The new node is of no use: the next one, in the next epoch; if there is none, its turn comes when one is there."""
    replacement = group.replacing[role]
    replacement.mark(why, now_ns)
    name = placement.logger(context, group, role)
    if name is not None:
        context.publish("warning", why, now_ns, group)
        begin(context, group, role, name, why, now_ns)


def _is_pending(context, replacement):
    return any(pending.owner is replacement and pending.do == replacement.role for pending in context.pending.values())


def _advance(context, group, replacement, now_ns):
    role, holder = replacement.role, group.holders[replacement.role]
    if role == "input-logger" and replacement.start is not None and not replacement.asked:
        replacement.asked = True
        context.request(now_ns, holder.node, role, group, role,
                        role_arguments(context, group, role, replacement.start["n"], replacement.start["last_ns"]),
                        replacement, replacement.epoch)
    if not holder.acked or replacement.token is not None:
        return
    if replacement.placed_ns is None:
        replacement.placed_ns = now_ns
    if not replacement.told:
        _tell_master(context, group, replacement, now_ns)
    elif group.durable_change >= replacement.epoch:
        _finish(context, group, replacement, now_ns)


def _tell_master(context, group, replacement, now_ns):
    """What the master is told has to come in rising epochs: its checkpoints name the last one."""
    began = replacement.epoch
    group.epoch += 1
    replacement.epoch = group.epoch
    replacement.told, replacement.told_ns = True, now_ns
    replacement.mark("master told", now_ns)
    args = use_arguments(context, group, replacement.role, began)
    context.request(now_ns, group.holders["master"].node, f"use-{replacement.role}", group, "master", args, replacement)


def answered(group, pending, result, now_ns):
    """A node did what a replacement asked. False if the *result* is not what it should be."""
    replacement = pending.owner
    if pending.do == "fence":
        if not _is_start(result, group.spec.workers):
            return False
        replacement.start = result
        replacement.fenced_ns = now_ns
        replacement.mark("master fenced", now_ns)
    elif pending.do == replacement.role:
        group.holders[replacement.role].acked = True
        if replacement.role == "input-logger":
            group.inputs_from = replacement.epoch
        replacement.mark(f"{group.holders[replacement.role].node} has the role", now_ns)
    return True


def redirected(replacement, now_ns):
    """The switches have turned to the new node."""
    replacement.token = None
    replacement.redirected_ns = now_ns
    replacement.mark("redirected", now_ns)


def restore(group):
    """The master is dead: undo what had not begun to matter, the former holders still have all that is needed.

    Returns the replacements of loggers that may or may not have got to their end: {role: Replacement}.
    """
    doubtful = {}
    for role, replacement in sorted(group.replacing.items()):
        if role == "store":
            if not replacement.told and replacement.previous is not None:
                group.holders[role] = replacement.previous
        elif replacement.told if role == "output-logger" else replacement.asked:
            doubtful[role] = replacement
        else:
            take_back(group, replacement)
    return doubtful


def take_back(group, replacement):
    """The former holder has the role again, be it alive or not; without one nobody has."""
    group.holders.pop(replacement.role)
    if replacement.previous is not None:
        group.holders[replacement.role] = replacement.previous


def _finish(context, group, replacement, now_ns):
    role, holder = replacement.role, group.holders[replacement.role]
    del group.replacing[role]
    replacement.mark("protected", now_ns)
    ended_ns = replacement.placed_ns if role == "input-logger" else now_ns
    fence_ns = replacement.fenced_ns - replacement.began_ns if role == "input-logger" else 0
    redirect_ns = replacement.redirected_ns - replacement.began_ns if role != "store" else 0
    load_ns = now_ns - replacement.told_ns if role != "input-logger" else 0
    group.failovers.append({
        "role": role, "cause": replacement.cause, "at_ns": replacement.began_ns, "epoch": replacement.epoch,
        "from": replacement.dead, "to": holder.node, "cold": False, "attempts": replacement.attempts,
        "detect_ms": milliseconds(replacement.began_ns - replacement.last_seen_ns), "fence_ms": milliseconds(fence_ns),
        "redirect_ms": milliseconds(redirect_ns), "load_ms": milliseconds(load_ns), "replay_ms": 0.0,
        "total_ms": milliseconds(ended_ns - replacement.last_seen_ns), "replayed_packets": 0,
        "timeline": replacement.timeline})
    context.publish("info", f"{holder.node} is the {role} now", now_ns, group, holder.node)


def _is_start(result, workers):
    numbers = [result.get("last_ns")] + (result["n"] if isinstance(result.get("n"), list) else [])
    return len(numbers) == workers + 1 and all(type(number) is int and number >= 0 for number in numbers)
