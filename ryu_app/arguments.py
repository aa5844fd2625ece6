"""The arguments of the requests that give a role (middleboxes.core.messages has the table). Pure."""


def peers(context, group):
    """The service addresses of the group's store and loggers, as requests name them."""
    return {role.replace("-", "_"): context.nodes[group.holders[role].node].service
            for role in ("store", "input-logger", "output-logger")}


def use_arguments(context, group, role, output_epoch):
    """The arguments of the request that has a master use the store or output logger that the group has; *output_epoch*: of the latter's frames."""
    if role == "store":
        return {"store": context.nodes[group.holders[role].node].service}
    return {"output_epoch": output_epoch}


def role_arguments(context, group, role, start=None, start_ns=0, hot=False):
    """The arguments of the request that gives *role* of *group*.

    *start* is where a master's steps or an input logger's numbers begin, one per worker; None: at 0. *start_ns*: the
    last timestamp that an input logger's predecessor gave. *hot*: of a spare, whether it repeats what the master does.
    """
    spec = group.spec
    if role == "store":
        return {}
    args = {"group_id": spec.id, "workers": spec.workers,
            "ports": [{"name": port.name, "mac": port.mac, "address": port.address, "address6": list(port.address6)} for port in spec.ports]}
    if role in ("input-logger", "output-logger"):
        for item, port in zip(args["ports"], spec.ports):
            item["peer"] = {"group": port.peer[0], "port": port.peer[1]} if port.peer else None
    if role == "output-logger":
        # until it is over, the former one has the role should the master die (docs/protocol.md, rule 20)
        args["covered_from"] = group.epoch if role in group.replacing else 0
    if role == "input-logger":
        args.update(function=spec.function, tick_interval_ms=spec.tick_interval_ms, log_bytes_max=spec.log_bytes_max,
                    start_ns=start_ns, master_epoch=group.master_epoch)
    elif role in ("master", "spare"):
        args.update(function=spec.function, parameters=spec.parameters,
                    checkpoint_interval_ms=spec.checkpoint_interval_ms, store=peers(context, group)["store"])
    if role == "spare":
        args.update(peers(context, group), hot=hot)
    if role == "master":
        args["inputs_from"] = group.inputs_from
    if role in ("master", "input-logger"):
        args["start"] = start if start is not None else [0] * spec.workers
    return args
