"""The status that users see, made of what the controller says and what the emulator knows; pure."""

ROLE_KEYS = {"master": "master", "input-logger": "input_logger", "output-logger": "output_logger", "store": "store"}
ROLES = (*ROLE_KEYS, "spare")

# How a node can be killed; faults.py does it.
WAYS = ("process", "host", "hang", "link")

# The cause of a failover that was asked for.
MOVED = "moved"

# What a link between switches is called where nodes have their names: "link:s1-s2".
TRUNK = "link:"


def holder(group, role):
    """The node that has *role* in *group* (an entry of the controller's status), or None."""
    if role == "spare":
        return group["spares"][0] if group["spares"] else None
    return group[ROLE_KEYS[role]]


def roles_of(groups):
    """{node: its roles, in a fixed order}."""
    found = {}
    for group in groups:
        for role, key in ROLE_KEYS.items():
            if group[key]:
                found.setdefault(group[key], []).append(role)
        for name in group["spares"]:
            found.setdefault(name, []).append("spare")
    return {name: ",".join(role for role in ROLES if role in roles) for name, roles in found.items()}


def compose(status, alive, nodes, controller_alive, kills, homes, links_down):
    """The answer to ``ftmb status``.

    *status*: the controller's last answer; *alive*: {host or node: bool}; *nodes*: names of the role nodes;
    *kills*: what the emulator killed, in order; *homes*: {group: {key of a role: the node that has it at first}};
    *links_down*: names of links between switches.
    """
    roles = roles_of(status["groups"])
    told = {host["name"]: host for host in status.get("hosts", [])}
    hosts = []
    for name, is_alive in alive.items():
        if name not in nodes:
            hosts.append({"name": name, "role": "host", "alive": is_alive})
            continue
        node = told.get(name, {})
        # A node that was mended is there once the controller has heard it.
        is_heard = node.get("alive", True) or not controller_alive
        hosts.append({"name": name, "role": roles.get(name, "idle"), "alive": is_alive and is_heard,
                      "drained": node.get("drained", False), "beat": node.get("beat", [])})
    groups = [{**group, "state": state(group, alive), "homes": homes[group["name"]],
               "failovers": corrected(group["failovers"], kills)} for group in status["groups"]]
    controller = {**status.get("controller", {}), "alive": controller_alive}
    return {"groups": groups, "hosts": hosts, "controller": controller, "kills": kills, "links_down": list(links_down)}


def state(group, alive):
    """The state of *group*; "protected" no longer, from the moment that one of its nodes is dead.

    The controller needs a while to notice: whoever waits for protection after a kill must not meet the time before.
    """
    if group["state"] != "protected":
        return group["state"]
    if not alive[group["master"]]:
        return "recovering"
    # a cold spare has no name: the controller says whether somebody stands by
    holders = [name for name in (holder(group, role) for role in ROLES) if name is not None]
    return "protected" if all(alive[name] for name in holders) else "unprotected"


def corrected(failovers, kills):
    """*failovers* of a group, oldest first, each detection counted from the kill that caused it, where one fits.

    The controller can only count from the last sign of life that it had. A kill of a node with several roles causes a
    failover of each, but not two of the same.
    """
    result, before_ns = [], {}
    for failover in failovers:
        at_ns, role = failover.get("at_ns", 0), failover["role"]
        causes = [kill["at_ns"] for kill in kills
                  if kill["node"] == failover.get("from") and before_ns.get(role, 0) < kill["at_ns"] <= at_ns]
        if causes and failover.get("cause") != MOVED:
            detect_ms = (at_ns - causes[-1]) / 1e6
            total_ms = failover["total_ms"] - failover["detect_ms"] + detect_ms
            failover = {**failover, "detect_ms": round(detect_ms, 3), "total_ms": round(total_ms, 3)}
        result.append(failover)
        before_ns[role] = at_ns
    return result
