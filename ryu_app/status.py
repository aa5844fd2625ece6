"""What REST tells of the controller's facts, as JSON values."""

from .controller import state_of
from .spares import readiness


def status(context, wall_offset_ns, apps, events):
    """The value of ``GET /ftmb/status``. Adding *wall_offset_ns* to a monotonic time gives Unix time."""
    return {"groups": [_group(context, group, wall_offset_ns) for group in context.groups.values()],
            "hosts": [{"name": node.name, "role": _role(context, node), "alive": node.alive, "drained": node.drained,
                       "beat": node.beat or []}
                      for node in context.nodes.values()],
            "controller": {"alive": True, "apps": apps},
            "events": events}


def _group(context, group, wall_offset_ns):
    holders = {role: group.holders[role].node if role in group.holders else None
               for role in ("master", "input-logger", "output-logger", "store")}
    failovers, (ready, behind_steps) = [], readiness(context, group)
    for record in group.failovers:
        record = dict(record)
        record["at"] = unix_seconds(record["at_ns"], wall_offset_ns)
        failovers.append(record)
    return {"name": group.name, "function": group.spec.function, "epoch": group.epoch, "master_epoch": group.master_epoch,
            "state": state_of(context, group), "lost": group.recovery.lost if group.recovery is not None else None,
            "master": holders["master"], "input_logger": holders["input-logger"],
            "output_logger": holders["output-logger"], "store": holders["store"],
            "spares": [group.spare.node] if group.spare else [], "readiness": ready,
            "behind_steps": behind_steps, "replacing": sorted(group.replacing), "moving_to": group.move.target if group.move is not None else None, "failovers": failovers}


def _role(context, node):
    roles = {role for group in context.groups.values() for role, holder in group.holders.items()
             if holder.node == node.name}
    roles |= {"spare" for group in context.groups.values() if group.spare is not None and group.spare.node == node.name}
    return ", ".join(sorted(roles)) or "idle"


def unix_seconds(monotonic_ns, wall_offset_ns):
    """Unix time in seconds of a monotonic time."""
    return round((monotonic_ns + wall_offset_ns) / 1e9, 6)
