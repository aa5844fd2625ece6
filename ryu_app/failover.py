"""The failover of a master, step by step, as docs/architecture.md tells it. Pure.

``begin`` starts it. ``step`` sends whatever is due: fences and redirect in parallel, then, once all four
have answered, ``recover`` (or, in a deployment with ``recovery: false``, ``master``: an empty one) to the
target. A target that dies or can't goes the way of the master before it: next node, next epoch. Without
a free node it waits for one. ``finish`` makes the record.
"""

from . import spares
from .context import LOGS, TICK_INTERVAL_NS, Holder, Recovery, role_arguments

#: Counters of a spare's beat that its recovery moves on; others (what it dropped) go on without it.
PROGRESS = ("checkpoint", "replayed", "processed")
#: 10 s: replay moves a counter within milliseconds; the longest step between two changes is to load one base checkpoint.
PROGRESS_TICKS_MAX = 10_000_000_000 // TICK_INTERVAL_NS


def begin(context, group, cause, dead, last_seen_ns, now_ns):
    """The master of *group* is dead, says *cause*: fence, redirect, recover."""
    group.phase = "recovering"
    group.recovery = Recovery(cause, dead, last_seen_ns, now_ns)
    group.recovery.mark("last sign of life", last_seen_ns)
    group.recovery.mark("detected", now_ns)
    context.publish("warning", f"master {dead} is dead: {cause}", now_ns, group, dead if dead in context.nodes else None)
    _attempt(context, group, now_ns)


def _attempt(context, group, now_ns):
    recovery = group.recovery
    old = group.holders.pop("master", None)
    if old is not None:
        context.nodes[old.node].fenced = True
    group.epoch += 1
    recovery.attempts += 1
    recovery.asked.clear()
    recovery.waiting = set(LOGS)
    recovery.stored, recovery.sent = None, False
    recovery.counters, recovery.idle_ticks = None, 0
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
        asked = any(pending.node == name and pending.do == "spare" and pending.group == group.name
                    for pending in context.pending.values())
        if context.deployment.recovery and not asked and (group.name, "spare") not in context.nodes[name].roles:
            # only a spare can recover; it loads while the others are fenced
            context.request(now_ns, name, "spare", group, "spare", role_arguments(context, group, "spare"))


def _redirect(context, group):
    group.recovery.waiting.add("switch")
    group.recovery.token = context.steer()


def step(context, group, now_ns):
    """Send what is due; to be called whenever anything has changed."""
    recovery, target = group.recovery, group.holders.get("master")
    if target is not None and not context.standing(target):
        cause, _ = context.nodes[target.node].death
        retry(context, group, f"{target.node} died while recovering: {cause}", now_ns)
    elif target is None and spares.candidate(context, group) is not None:
        _choose(context, group, now_ns)
        _redirect(context, group)
    if recovery.sent:
        return
    for role in LOGS:
        if not context.intact(group, role):
            # one that answered and is gone must answer again, should it come back as it was
            recovery.waiting.add(role)
            recovery.asked.discard(role)
        elif role not in recovery.asked:
            recovery.asked.add(role)
            context.request(now_ns, group.holders[role].node, "fence", group, role, {"role": role})
    if not recovery.waiting and "master" in group.holders:
        _recover(context, group, now_ns)


def retry(context, group, why, now_ns):
    """The target is of no use: the next one, in the next epoch."""
    group.recovery.mark(why, now_ns)
    context.publish("warning", why, now_ns, group)
    _attempt(context, group, now_ns)


def is_stuck(context, group):
    """Whether the target stands still in its recovery, though it beats. To be called once a tick.

    Ticks, not time: while this process does not run, it can't hear of progress either.
    """
    recovery = group.recovery
    if not recovery.sent or not context.deployment.recovery:
        return False
    counters = [[role["counters"].get(name) for name in PROGRESS]
                for role in context.nodes[group.holders["master"].node].beat
                if isinstance(role, dict) and role.get("group") == group.name and isinstance(role.get("counters"), dict)]
    recovery.idle_ticks = recovery.idle_ticks + 1 if counters == recovery.counters else 0
    recovery.counters = counters
    return recovery.idle_ticks >= PROGRESS_TICKS_MAX


def fenced(group, role, result, now_ns):
    """*role* refuses the old epochs. False if the output logger's *result* does not tell what is recoverable."""
    recovery = group.recovery
    if role == "output-logger":
        stored = result.get("stored")
        if not isinstance(stored, list) or len(stored) != group.spec.workers:
            return False
        recovery.stored = stored
    recovery.waiting.discard(role)
    recovery.mark(f"{role} fenced", now_ns)
    if not recovery.waiting & set(LOGS):
        recovery.fenced_ns = now_ns
    return True


def redirected(group, now_ns):
    """The switches have confirmed the redirect."""
    group.recovery.waiting.discard("switch")
    group.recovery.redirected_ns = now_ns
    group.recovery.mark("redirected", now_ns)


def _recover(context, group, now_ns):
    recovery, target = group.recovery, group.holders["master"].node
    recovery.sent = True
    if not context.deployment.recovery:
        group.durable = False
        recovery.mark("master sent", now_ns)
        # beyond what the output logger has seen, so that it takes nothing for a repetition
        context.request(now_ns, target, "master", group, "master",
                        role_arguments(context, group, "master", start=recovery.stored))
        return
    addresses = {role.replace("-", "_"): context.nodes[group.holders[role].node].service for role in LOGS}
    recovery.mark("recover sent", now_ns)
    context.request(now_ns, target, "recover", group, "master",
                    {"stored": recovery.stored, "cold": recovery.cold, "inputs_from": 0, **addresses})


def finish(context, group, detail, now_ns):
    """The target is live: write the record. *detail* has load_ms, replay_ms, replayed_packets."""
    recovery, holder = group.recovery, group.holders["master"]
    holder.acked = True
    recovery.mark("live", now_ns)
    group.failovers.append({
        "role": "master", "cause": recovery.cause, "at_ns": recovery.began_ns, "epoch": group.epoch,
        "from": recovery.dead, "to": holder.node, "cold": recovery.cold, "attempts": recovery.attempts,
        "detect_ms": _ms(recovery.began_ns - recovery.last_seen_ns),
        "fence_ms": _ms(recovery.fenced_ns - recovery.began_ns),
        "redirect_ms": _ms(recovery.redirected_ns - recovery.began_ns),
        "load_ms": detail["load_ms"], "replay_ms": detail["replay_ms"],
        "total_ms": _ms(now_ns - recovery.last_seen_ns),
        "replayed_packets": detail["replayed_packets"], "timeline": recovery.timeline})
    group.recovery = None
    group.phase = "running"
    context.publish("info", f"{holder.node} is live at epoch {group.epoch}", now_ns, group, holder.node)


def _ms(ns):
    return round(ns / 1e6, 3)
