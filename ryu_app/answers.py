"""What agents answer and tell, made facts. Pure. What breaks the rules of the channel comes back as a text."""

from . import failover, fences, moves, replacement, startup
from .arguments import peers
from .context import LOGS, UNFIT_NS
from .underway import Holder, Move, Recovery, Replacement

FIRST_OUTPUT = "first packet out"
_OF_BUNDLES = ("bundle", "bundle-failed")
_TROUBLES = ("function-error", "bundle-failed")
_LOSS = {"store": "its checkpoints: a failure of the master now may lose state",
         "input-logger": "the input log: no traffic passes, and a failure of the master now loses state",
         "output-logger": "the determinants: no output passes, and a failure of the master now loses state"}


def reply(context, node, message, now_ns):
    """The answer to a request. Returns what is wrong with it, or None."""
    pending = context.pending.get(message["id"])
    if pending is None or pending.node != node.name:
        return f"an answer to request {message['id']}, which it was not asked"
    del context.pending[message["id"]]
    group, ok = context.groups[pending.group], message["ok"]
    if not ok:
        context.publish("error", f"{node.name} refused {pending.do}: {message['error']}", now_ns, group, node.name)
    if pending.do == "retire":
        node.retiring.discard((group.name, pending.role))
        if ok:
            node.roles.pop((group.name, pending.role), None)
        return None if ok else "role not given up"
    if ok:
        _note(node, pending)
    if pending.do == "bundle":
        return None                     # of no consequence for the group
    if isinstance(pending.owner, Move):
        if not ok:
            moves.refused(context, group, pending, now_ns)
        return None
    if isinstance(pending.owner, Recovery):
        return _of_recovery(context, group, node, pending, message, now_ns)
    if isinstance(pending.owner, Replacement):
        return _of_replacement(context, group, node, pending, message, now_ns)
    _of_assignment(context, group, node, pending, message, now_ns)
    return None


def _note(node, pending):
    """The roles of *node* after it did what it was asked."""
    if pending.do == "recover":
        node.roles.pop((pending.group, "spare"), None)
    if pending.do == pending.role or pending.do == "recover" or pending.do == "fence" and pending.role in LOGS:
        node.roles[pending.group, pending.role] = pending.epoch


def _of_recovery(context, group, node, pending, message, now_ns):
    if group.recovery is not pending.owner or pending.epoch != group.epoch:
        return None                     # an attempt that was given up
    if pending.role in LOGS:
        holder = group.holders.get(pending.role)
        if holder is None or holder.node != node.name:
            return None
        if not message["ok"]:
            failed(context, group, node, pending.role, message["error"], now_ns)
        elif not fences.answered(context, group, pending, message["result"], now_ns):
            return f"an answer to {pending.do} of the {pending.role} that does not tell what it has"
    elif not message["ok"]:
        failed(context, group, node, "master", message["error"], now_ns)
    elif pending.do == "master":
        # recovery is switched off: an empty master is all there is to wait for
        failover.finish(context, group, {"load_ms": 0.0, "replay_ms": 0.0, "replayed_packets": 0}, now_ns)
    return None


def _of_replacement(context, group, node, pending, message, now_ns):
    if group.replacing.get(pending.owner.role) is not pending.owner:
        return None
    if not message["ok"]:
        failed(context, group, node, pending.role, message["error"], now_ns)
    elif not replacement.answered(group, pending, message["result"], now_ns):
        return "an answer to fence without the positions of its inputs"
    return None


def _of_assignment(context, group, node, pending, message, now_ns):
    holder = group.spare if pending.role == "spare" else group.holders.get(pending.role)
    if holder is None or holder.node != node.name or (
            holder is not pending.owner if isinstance(pending.owner, Holder) else pending.epoch != group.epoch):
        return                          # decided otherwise meanwhile
    if not message["ok"]:
        failed(context, group, node, pending.role, message["error"], now_ns)
    elif pending.do == pending.role:
        holder.acked = True


def failed(context, group, node, role, why, now_ns):
    """The process on *node* can't have, or can't go on with, *role*."""
    master = group.holders.get("master")
    if role == "spare" and group.recovery is not None and master is not None and master.node == node.name:
        role = "master"                 # until it is live, a recovering spare calls itself a spare
    if role in group.replacing and group.replacing[role].previous is not None \
            and group.replacing[role].previous.node == node.name:
        group.replacing[role].previous = None
    holder = group.spare if role == "spare" else group.holders.get(role)
    if holder is None or holder.node != node.name:
        return
    node.unfit[group.name] = now_ns + UNFIT_NS
    if role == "spare":
        group.spare = None
    elif group.phase == "assigning":
        startup.abandon(context, group, f"{role} on {node.name}: {why}", now_ns)
    elif role == "master":
        if group.phase == "recovering":
            group.recovery.failed = True
            failover.retry(context, group, f"{node.name} could not recover: {why}", now_ns)
        else:
            failover.begin(context, group, f"failed: {why}", node.name, now_ns, now_ns)
    elif role in group.replacing:
        replacement.retry(context, group, role, f"{node.name} could not be the {role}: {why}", now_ns)
    else:
        holder.acked = False
        if group.recovery is not None and group.recovery.salvage:
            del group.holders[role]
        lost(context, group, role, node.name, now_ns)


def lost(context, group, role, name, now_ns):
    """Tell that a role of LOGS is gone."""
    context.publish("error", f"{role} {name} is lost, and with it {_LOSS[role]}", now_ns, group, name)


def event(context, node, message, now_ns):
    """Something that the agent tells by itself. Returns what is wrong with it, or None."""
    group = context.groups.get(message["group"])
    if group is None:
        return f"an event of an unknown group {message['group'][:64]!r}"
    name, detail = message["name"], message["detail"]
    master = group.holders.get("master")
    is_master = master is not None and master.node == node.name and message["epoch"] == group.master_epoch
    if name == "failed":
        if not isinstance(detail.get("role"), str):
            return "a failed event without its role"
        context.publish("error", f"{node.name} failed: {detail.get('error')}", now_ns, group, node.name)
        if is_master or detail["role"] != "master":
            failed(context, group, node, detail["role"], detail.get("error"), now_ns)
    elif name == "protected" and is_master:
        if type(detail.get("change")) is not int:
            return "a protected event without its change"
        group.durable_change = max(group.durable_change, detail["change"])
        if group.durable:
            group.fresh = group.presumed = False
    elif name == "stopped" and is_master and group.move is not None and group.move.stage == "stopping":
        group.move.stage = "stopped"
    elif name == "live" and is_master and group.recovery is not None and group.recovery.sent:
        if not all(_is_number(detail.get(key)) for key in ("load_ms", "replay_ms", "replayed_packets")):
            return "a live event without its numbers"
        failover.finish(context, group, detail, now_ns)
    elif name == "first-output":
        _first_output(group, message["epoch"], now_ns)
    elif name == "bundle-wanted":
        if is_master and all(context.intact(group, role) for role in LOGS):
            context.request(now_ns, node.name, "bundle", group, "master", peers(context, group))
    elif isinstance(detail.get("text"), str) and (is_master or name in _OF_BUNDLES):
        # of the middlebox, which a spare only repeats; or of a bundle, also of one that could not recover
        context.publish("warning" if name in _TROUBLES else "info", f"{name}: {detail['text']}", now_ns, group, node.name)
    return None


def _first_output(group, epoch, now_ns):
    timelines = [record["timeline"] for record in group.failovers if record["role"] == "master" and record["epoch"] == epoch]
    if group.recovery is not None and epoch == group.epoch:
        timelines.append(group.recovery.timeline)
    # once, however often it is told
    if timelines and all(mark["what"] != FIRST_OUTPUT for mark in timelines[-1]):
        timelines[-1].append({"what": FIRST_OUTPUT, "at_ns": now_ns})


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
