"""What a controller finds when it comes: nodes that have roles already are taken as they are, wherever they are. Pure.

An input logger that exists says that the group was complete once; without one, and with nothing in the store, there is
no state to lose. Whether the last change before was brought to its end nobody can tell: so the master is asked
to use store and output logger once more, and a checkpoint that is cut after that protects the group for sure.
"""

from . import failover, startup
from .arguments import use_arguments
from .context import LOGS
from .underway import Holder


def step(context, group, now_ns):
    """Decide what becomes of a group in phase waiting, if that is possible now."""
    if not context.gathered or any(request.group == group.name for request in context.pending.values()):
        return                      # what comes of a start that was given up must be known first
    reported = _reported(context, group)
    group.epoch = max([group.epoch, *(epoch for found in reported.values() for epoch, _ in found)])
    if not reported:
        startup.begin(context, group, now_ns)
    if not reported or group.abandoned:
        return                      # else being given back
    if any(context.nodes[name].beat is None for found in reported.values() for _, name in found):
        return                      # what it has to tell comes at once
    for _, name in reported.get("master", []):
        # a change that it was told of may concern only nodes that are silent
        counters = context.nodes[name].counters(group.name, "master")
        group.epoch = max(group.epoch, counters.get("inputs_from", 0), counters.get("output_epoch", 0), counters.get("change", 0))
    master = _master(context, group, reported)
    for _, name in reported.get("output-logger", []):
        # one that began and that the master was not told of waits for an epoch not below its own; below it none can be fenced
        group.epoch = max(group.epoch, _output_epoch(context, group, name, "output-logger"))
    logs = {role: name for role in LOGS for name in [_log(context, group, role, reported, master)] if name is not None}
    if master is not None or len(logs) == len(LOGS):
        _adopt(context, group, logs, reported, master, now_ns)
    elif _was_complete(context, group, reported):
        if context.impatient:
            _adopt(context, group, logs, reported, None, now_ns)
    elif context.impatient or all(context.nodes[getattr(group.spec, role.replace("-", "_"))].alive for role in LOGS):
        startup.renew(context, group, "begins anew: its start was not complete", now_ns)


def _reported(context, group):
    """What connected nodes say they are in *group*: {role: [(epoch, node name)]}."""
    reported = {}
    for node in context.nodes.values():
        for (name, role), epoch in sorted(node.roles.items()):
            if node.connected and name == group.name:
                reported.setdefault(role, []).append((epoch, node.name))
    return reported


def _master(context, group, reported):
    """The node of the one master that store and output logger know, and that goes on; None: there is none."""
    fenced = max([epoch for role in ("store", "output-logger") for epoch, _ in reported.get(role, [])], default=0)
    masters = [(epoch, name) for epoch, name in reported.get("master", []) if epoch >= fenced]
    top = max(masters, default=(0, ""))[0]
    found = [name for epoch, name in masters if epoch == top]
    if len(found) != 1 or context.nodes[found[0]].counters(group.name, "master").get("stopped"):
        return None
    return found[0]


def _log(context, group, role, reported, master):
    """The node that has *role*: the one of the highest epoch, and not of a former configuration."""
    found = reported.get(role, [])
    top = max(found, default=(0, ""))[0]
    names = [name for epoch, name in found if epoch == top]
    if master is not None:
        counters = context.nodes[master].counters(group.name, "master")
        low = context.nodes[master].roles[group.name, "master"]
        if role == "input-logger":
            low = max(low, counters.get("inputs_from", 0))
        if top < low:
            return None             # it was replaced already
    if role == "output-logger":
        return _output_logger(context, group, names, master)
    if role == "store" and master is None and names:
        # two of the same master: the one that has its last checkpoint
        return max(names, key=lambda name: context.nodes[name].counters(group.name, role).get("checkpoint", 0))
    return names[0] if len(names) == 1 else None


def _output_logger(context, group, names, master):
    """The last that the master was told of, of *names*, output loggers of one master; if that is not here, the one that it is to be told of.

    One that waits for its first checkpoint lacks what left before: without the master the former one is needed.
    """
    told = _output_epoch(context, group, master, "master") if master is not None else 0
    epochs = {name: _output_epoch(context, group, name, "output-logger") for name in names}
    waiting = [name for name in names if context.nodes[name].counters(group.name, "output-logger").get("covered_from")]
    begun = [name for name in names if name not in waiting and epochs[name] >= told]
    return max(begun or (waiting if master is not None else []), key=epochs.get, default=None)


def _output_epoch(context, group, name, role):
    """Of which epoch the OUTPUT frames are that *name* sends or takes."""
    return context.nodes[name].counters(group.name, role).get("output_epoch", 0)


def _was_complete(context, group, reported):
    """Whether something was processed, for all that the nodes say."""
    def told(role, counter):
        return any(context.nodes[name].counters(group.name, role).get(counter, 0) for _, name in reported.get(role, []))
    return ("input-logger" in reported or "spare" in reported or told("store", "checkpoint")
            or told("output-logger", "released"))


def _adopt(context, group, logs, reported, master, now_ns):
    """Take the roles as they are; a master that is not there is failed over at once."""
    for role in LOGS:
        if role in logs:
            group.holders[role] = Holder(logs[role], context.nodes[logs[role]].boot, True)
        else:
            context.publish("error", f"nobody came with the role of the {role}", now_ns, group)
    holders = {*logs.values(), master}
    for name in dict.fromkeys([*group.spec.pool, *group.spec.loggers]):
        # an old master or logger may be any of those that are silent, and whoever says it was
        node = context.nodes[name]
        node.fenced |= not node.connected or name not in holders and any(
            (group.name, role) in node.roles for role in ("master", "input-logger", "output-logger"))
    if "input-logger" in logs:
        group.inputs_from = context.nodes[logs["input-logger"]].roles[group.name, "input-logger"]
    group.master_epoch = max((epoch for role in ("master", "store", "output-logger")
                              for epoch, _ in reported.get(role, [])), default=group.epoch)
    group.presumed = True
    group.phase = "running"
    context.publish("info", f"relearned roles at epoch {group.epoch}", now_ns, group)
    # one that recovers for the controller before can't begin again with what it has: it is retired, and then as good as any
    ready = [name for _, name in reported.get("spare", []) if name in group.spec.pool
             and not context.nodes[name].counters(group.name, "spare").get("recovering")]
    if ready and len(logs) == len(LOGS):
        group.spare = Holder(ready[0], context.nodes[ready[0]].boot, True)
    if master is None:
        failover.begin(context, group, "missing when the controller came back", "unknown", now_ns, now_ns)
        return
    group.holders["master"] = Holder(master, context.nodes[master].boot, True)
    group.master_epoch = context.nodes[master].roles[group.name, "master"]
    context.steer()
    _verify(context, group, master, now_ns)


def _verify(context, group, master, now_ns):
    """Have the master use store and output logger once more; those that are missing are replaced, which does the same."""
    for role in ("store", "output-logger"):
        if role in group.holders:
            group.epoch += 1
            group.change = group.epoch
            output_epoch = _output_epoch(context, group, group.holders[role].node, "output-logger")
            context.request(now_ns, master, f"use-{role}", group, "master", use_arguments(context, group, role, output_epoch))


def relearn(context, node):
    """A node that is late after the controller's return brings its role along, if nobody has it."""
    for group in context.groups.values():
        if group.phase != "recovering":
            continue                # while the master lives, who is missing is replaced
        for role in LOGS:
            if role not in group.holders and (group.name, role) in node.roles:
                group.holders[role] = Holder(node.name, node.boot, True)
