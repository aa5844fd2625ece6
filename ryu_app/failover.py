"""The failover of a master, step by step, as docs/architecture.md tells it. Pure.

``begin`` starts it. ``step`` sends whatever is due: fences and redirect in parallel, then, once all four
have answered, ``recover`` (or, in a deployment with ``recovery: false``, ``master``: an empty one) to the
target; a hot spare is let go ahead at once. A target that dies or can't goes the way of the master before it: next node, next epoch. Without
a free node it waits for one. ``finish`` makes the record.
"""

from dataclasses import replace

from . import fences, loss, placement, replacement, spares, startup
from .arguments import peers, role_arguments
from .context import LOGS, TICK_INTERVAL_NS
from .underway import Holder, Recovery, milliseconds

#: Counters of a spare's beat that its recovery moves on; others (what it dropped) go on without it.
PROGRESS = ("checkpoint", "load_steps", "replayed", "processed")
#: Each of its steps, also loading a large checkpoint, moves a counter within milliseconds.
STUCK_NS = 10_000_000_000


def outlook(context, group):
    """The Steering that the death of *group*'s master would ask for now; None if nobody could take over, or much else is under way."""
    name = spares.successor(context, group)
    if name is None or group.phase != "running" or group.replacing or group.move is not None:
        return None
    now, master = context.steering(), group.holders["master"].node
    return replace(now, active={**now.active, (group.name, "master"): name}, fenced=now.fenced | {master})


def begin(context, group, cause, dead, last_seen_ns, now_ns):
    """The master of *group* is dead, says *cause*: fence, redirect, recover."""
    group.phase = "recovering"
    group.move = None
    calm = group.durable and not (group.replacing or group.presumed) and all(context.intact(group, role) for role in LOGS)
    group.recovery = Recovery(cause, dead, last_seen_ns, now_ns, calm=calm)
    group.recovery.mark("last sign of life", last_seen_ns)
    group.recovery.mark("detected", now_ns)
    context.publish("warning", f"master {dead} does not go on: {cause}", now_ns, group, dead if dead in context.nodes else None)
    store = group.replacing.get("store")
    if store is not None and store.told:
        group.recovery.former_store = store.previous
    if group.durable_change < group.change and not (group.fresh or group.presumed):
        group.recovery.due = group.change
    group.recovery.doubtful = replacement.restore(group)
    group.replacing.clear()
    _attempt(context, group, now_ns)


def _attempt(context, group, now_ns):
    recovery = group.recovery
    old = group.holders.pop("master", None)
    if old is not None:
        context.nodes[old.node].fenced = True
    group.epoch += 1
    group.master_epoch = group.epoch
    recovery.attempts += 1
    recovery.asked.clear()
    recovery.waiting = set(LOGS)
    recovery.stored, recovery.sent, recovery.checkpoint = None, False, None
    recovery.covered_from, recovery.begins_after = 0, None
    recovery.counters, recovery.idle_ns = None, 0
    recovery.fenced_ns = recovery.redirected_ns = None
    _choose(context, group, now_ns)
    if "master" not in group.holders:
        context.publish("error", "no node is free to take over: waiting for one", now_ns, group)
    _redirect(context, group)
    away = sorted(set(context.deployment.switches) - context.switches)
    if away:
        context.publish("warning", f"not connected: {', '.join(away)}; what changes there is waited for", now_ns, group)


def _choose(context, group, now_ns):
    name, cold = spares.take(context, group, now_ns)
    if name is not None:
        group.holders["master"] = Holder(name, context.nodes[name].boot)
        group.recovery.cold = cold
        group.recovery.prepared = any(pending.node == name and pending.do == "spare" and pending.group == group.name
                                      for pending in context.pending.values())


def _redirect(context, group):
    group.recovery.waiting.add("switch")
    group.recovery.token = context.steer()


def step(context, group, now_ns):
    """Send what is due; to be called whenever anything has changed."""
    recovery, target = group.recovery, group.holders.get("master")
    if target is not None and not context.standing(target):
        cause, _ = context.nodes[target.node].death
        retry(context, group, f"{target.node} died while recovering: {cause}", now_ns)
    elif target is None and placement.standby(context, group) is not None:
        _choose(context, group, now_ns)
        _redirect(context, group)
    if group.epoch > group.master_epoch:
        retry(context, group, f"the output logger is of epoch {group.epoch} already", now_ns)
    what = loss.verdict(context, group, now_ns)
    if what == loss.EMPTY:
        startup.renew(context, group, f"begins anew, empty, as {recovery.lost}", now_ns)
    elif what == loss.SALVAGE:
        _salvage(context, group, now_ns)
        what = loss.GO_ON
    if what == loss.EMPTY or recovery.sent:
        return
    _prepare(context, group, now_ns)
    # whom a hot spare waits for, then the spare, then all others
    fences.ask(context, group, LOGS[0], now_ns)
    _let_go_ahead(context, group, now_ns)
    for role in LOGS[1:]:
        fences.ask(context, group, role, now_ns)
    stranded = fences.stranded(context, group)
    if stranded:
        retry(context, group, f"{', '.join(stranded)} begins again", now_ns)
    elif what == loss.GO_ON and not recovery.waiting and "master" in group.holders:
        _recover(context, group, now_ns)


def _let_go_ahead(context, group, now_ns):
    """A hot spare goes on as soon as the output logger is fenced (docs/protocol.md, rule 28), if what others may tell can't matter."""
    recovery, target = group.recovery, group.holders.get("master")
    if not recovery.calm or recovery.let_go_ahead or recovery.cold or target is None or group.spec.spare != "hot":
        return
    if recovery.attempts == 1 and context.deployment.recovery:
        recovery.let_go_ahead = True
        loggers = {name: address for name, address in peers(context, group).items() if name != "store"}
        context.request(now_ns, target.node, "go-ahead", group, "spare", {**loggers, "inputs_from": group.inputs_from}, recovery)


def _salvage(context, group, now_ns):
    recovery = group.recovery
    if recovery.complete:
        context.publish("warning", "goes on from the stopped master's last checkpoint", now_ns, group)
    else:
        context.publish("error", "goes on from the last durable checkpoint: what came after it is lost", now_ns, group)
    recovery.salvage, recovery.failed = True, False
    recovery.beyond = recovery.lost = None
    for name in group.spec.pool:
        context.nodes[name].unfit.pop(group.name, None)
    _attempt(context, group, now_ns)


def _prepare(context, group, now_ns):
    """Only a spare can recover; a cold one loads while the others are fenced."""
    recovery, target = group.recovery, group.holders.get("master")
    if (target is None or recovery.prepared or not context.deployment.recovery
            or (group.name, "spare") in context.nodes[target.node].roles or any(role not in group.holders for role in LOGS)):
        return
    recovery.prepared = True
    context.request(now_ns, target.node, "spare", group, "spare", role_arguments(context, group, "spare"), recovery)


def retry(context, group, why, now_ns):
    """The target is of no use: the next one, in the next epoch."""
    group.recovery.mark(why, now_ns)
    context.publish("warning", why, now_ns, group)
    _attempt(context, group, now_ns)


def is_stuck(context, group, now_ns):
    """Whether the target stands still in its recovery, though it beats. To be called each tick.

    A late tick counts for little: while this process does not run, it can't hear of progress either.
    """
    recovery = group.recovery
    if not recovery.sent or not context.deployment.recovery:
        return False
    node = context.nodes[group.holders["master"].node]
    counters = [node.counters(group.name, role).get(name) for role in ("spare", "master") for name in PROGRESS]
    recovery.idle_ns += min(now_ns - recovery.looked_ns, 2 * TICK_INTERVAL_NS)
    recovery.looked_ns = now_ns
    if counters != recovery.counters:
        recovery.counters, recovery.idle_ns = counters, 0
    return recovery.idle_ns >= STUCK_NS


def redirected(group, now_ns):
    """The switches have confirmed the redirect."""
    group.recovery.waiting.discard("switch")
    group.recovery.redirected_ns = now_ns
    group.recovery.mark("redirected", now_ns)


def _recover(context, group, now_ns):
    recovery, target = group.recovery, group.holders["master"].node
    if not context.deployment.recovery:
        recovery.sent = True
        recovery.mark("master sent", now_ns)
        # beyond what the output logger has seen, so that it takes nothing for a repetition
        context.request(now_ns, target, "master", group, "master",
                        role_arguments(context, group, "master", start=recovery.stored), recovery)
        return
    if recovery.checkpoint["checkpoint"] == 0 and _without_checkpoint(context, group, now_ns):
        return
    recovery.sent, recovery.complete = True, False
    recovery.mark("recover sent", now_ns)
    positions = recovery.checkpoint["positions"]
    stored = [k for _, k in positions] if recovery.salvage else recovery.stored
    context.request(now_ns, target, "recover", group, "master",
                    {"stored": stored, "positions": positions, "cold": recovery.cold, "cause": recovery.cause, **peers(context, group),
                     "inputs_from": group.epoch if recovery.salvage else group.inputs_from}, recovery)


def _without_checkpoint(context, group, now_ns):
    """The store has nothing. False if the spare has prefetched what was in another one."""
    recovery = group.recovery
    if group.fresh and not recovery.refilled:
        startup.renew(context, group, "begins anew: nothing was processed yet", now_ns)
    elif recovery.cold or recovery.salvage:
        recovery.beyond = "no store has a checkpoint"
        loss.verdict(context, group, now_ns)
    else:
        return False
    return True


def finish(context, group, detail, now_ns):
    """The target is live: write the record. *detail* has load_ms, replay_ms, replayed_packets."""
    recovery, holder = group.recovery, group.holders["master"]
    holder.acked = True
    recovery.mark("live", now_ns)
    group.failovers.append({
        "role": "master", "cause": recovery.cause, "at_ns": recovery.began_ns, "epoch": group.epoch,
        "from": recovery.dead, "to": holder.node, "cold": recovery.cold,
        "readiness": "hot" if detail.get("hot") is True else "cold" if recovery.cold else "warm", "attempts": recovery.attempts,
        "detect_ms": milliseconds(recovery.began_ns - recovery.last_seen_ns),
        "fence_ms": milliseconds(recovery.fenced_ns - recovery.began_ns),
        "redirect_ms": milliseconds(recovery.redirected_ns - recovery.began_ns),
        "load_ms": detail["load_ms"], "replay_ms": detail["replay_ms"],
        "total_ms": milliseconds(now_ns - recovery.last_seen_ns),
        "replayed_packets": detail["replayed_packets"], "timeline": recovery.timeline})
    if recovery.salvage:
        group.inputs_from = group.epoch
    # a store that has nothing yet protects only from the new master's first checkpoint on
    if recovery.salvage or recovery.refilled or not recovery.checkpoint["checkpoint"] or not context.deployment.recovery:
        group.change = group.epoch
        group.fresh, group.presumed = not context.deployment.recovery, False
    group.recovery = None
    group.phase = "running"
    context.publish("info", f"{holder.node} is live at epoch {group.epoch}", now_ns, group, holder.node)
