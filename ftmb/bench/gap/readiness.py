"""Whether a network is as ready as it will be, by ``ftmb status --json``. Pure."""


def group_of(status, name):
    """The entry of group *name*."""
    return next(group for group in status["groups"] if group["name"] == name)


def masters_failover(group, since_ns):
    """The first failover of the group's master that began after *since_ns* (CLOCK_MONOTONIC) and is over; None: there is none."""
    return next((failover for failover in group["failovers"] if failover["role"] == "master" and failover["at_ns"] > since_ns), None)


def is_whole(status, name):
    """Whether the group is protected and every node of the network is alive."""
    return group_of(status, name)["state"] == "protected" and all(host["alive"] for host in status["hosts"])


def checkpoint(status, name):
    """The number of the last checkpoint that the store of the group told of; None if it told of none."""
    store = counters(status, name, "store", group_of(status, name)["store"])
    return store["checkpoint"] or None if store else None


def is_ready(status, name, kind, number, behind_max):
    """Whether the group's spare is as ready as a spare of *kind* becomes: it has checkpoint *number* or a later one.

    A hot one repeats what the master does, *behind_max* steps behind it at most. A cold one has nothing, and need not be there by name.
    """
    if kind == "cold":
        return True
    spares = group_of(status, name)["spares"]
    spare = counters(status, name, "spare", spares[0]) if spares else None
    if spare is None or spare["checkpoint"] < number or spare["recovering"]:
        return False
    return kind != "hot" or (spare["hot"] and spare["behind_steps"] <= behind_max)


def counters(status, name, role, node):
    """What *node* told of its *role* in the group with its last beat, None if it told nothing."""
    beats = (beat for host in status["hosts"] if host["name"] == node for beat in host.get("beat", ()))
    return next((beat["counters"] for beat in beats if beat["role"] == role and beat["group"] == name), None)
