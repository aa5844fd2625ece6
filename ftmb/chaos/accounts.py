"""The roles' own counters against each other and against what receivers counted, once traffic has ended. Pure.

Every input that has a number is a step of the master, and every datagram that arrived was released: what is missing in
between must be explained by a reason that is allowed: frames that the fault switches lost or a queue of the emulated switch
did not take. An input logger that replaces another goes on with the numbers where the master stands. So the numbers that only the
dead one had given are given again: these inputs were on their way when it died, and are a loss of the network
(``Book.on_the_way``).
"""

import statistics

#: roles whose counters are compared, and where the group's status has their holders
ROLES = {"input-logger": "input_logger", "master": "master", "output-logger": "output_logger"}


class Book:
    """What each holder of a role told first and last; those that were replaced stay in it, in order."""

    def __init__(self):
        self._tenures = {role: [] for role in ROLES}        # [node, counters at first, counters at last]
        self._failovers = {}

    def note(self, status, group):
        """An answer to ``status`` and its entry of the group."""
        for role, counters in told(status, group).items():
            tenures, node = self._tenures[role], group[ROLES[role]]
            if not tenures or tenures[-1][0] != node:
                tenures.append([node, counters, counters])
            tenures[-1][2] = counters
        self._failovers.update({(each["role"], each["at_ns"]): each for each in group["failovers"]})

    def failovers(self):
        """All failovers in order: a controller that starts anew has forgotten those before."""
        return [self._failovers[key] for key in sorted(self._failovers, key=lambda key: key[1])]

    def total(self, role, name):
        """The counter *name* over all holders of *role*, as far as they told."""
        return sum(last.get(name, 0) for _, _, last in self._tenures[role])

    def replaced(self, role):
        """How many holders of *role* were replaced."""
        return max(0, len(self._tenures[role]) - 1)

    def on_the_way(self, workers):
        """(inputs that a dead logger had told to have and its follower does not know, inputs that one had not told before it
        died and its follower knows of)."""
        differences = [sum(before["n"]) - (sum(first["n"]) - logged(first, workers))
                       for (_, _, before), (_, first, _) in zip(self._tenures["input-logger"], self._tenures["input-logger"][1:])]
        return sum(each for each in differences if each > 0), -sum(each for each in differences if each < 0)


def told(status, group):
    """{role: counters} of the holders of *group* in an answer to ``status``, as far as they report."""
    found = {}
    for host in status["hosts"]:
        for role in host.get("beat", ()):
            if (role["group"] == group["name"] and role["role"] in ROLES and host["name"] == group[ROLES[role["role"]]]
                    and role["epoch"] >= group["master_epoch"]):
                found[role["role"]] = role["counters"]
    return found


def sample(status, group):
    """As ``told``; None while a role does not report."""
    found = told(status, group)
    return found if len(found) == len(ROLES) else None


def check(samples, book, workers, received, highest_stamp, overrun=0):
    """Violations in *samples* (see ``sample``) of a group at rest, whose past is in *book*.

    *received*: datagrams that arrived at hosts since the output logger has its role; *highest_stamp*: the highest number of a
    witness, 0 without; *overrun*: inputs that the network's queues did not take.
    """
    if not samples:
        return ["the roles do not report their counters"]
    last = samples[-1]
    inputs, master, outputs = (last[role] for role in ROLES)
    found = _steps(samples, book, workers, overrun)
    if outputs["released"] < received:
        found.append(f"{received} datagrams arrived, but only {outputs['released']} packets were released")
    # what an input logger took between its last beat and its death is told by nobody but the master's steps
    came_in = sum(master["k"]) if book.replaced("input-logger") else inputs["inputs"]
    if highest_stamp > came_in:
        found.append(f"number {highest_stamp} was given, but only {came_in} packets came in")
    for role, name in (("master", "bad_frames"), ("output-logger", "bad_frames"), ("master", "function_errors")):
        count = book.total(role, name)
        if count:
            found.append(f"the {role} counts {count} {name.replace('_', ' ')}")
    return found


def logged(counters, workers):
    """Inputs that an input logger with these *counters* has in its log, or had: packets, and a tick for each worker."""
    return counters["inputs"] + workers * counters["ticks"] - counters["dropped_log_full"]


def missing(samples):
    """How many inputs that have a number never became a step, in the whole campaign.

    Beats come apart, and ticks go on: the most frequent difference is the one at rest.
    """
    return statistics.mode(sum(each["input-logger"]["n"]) - sum(each["master"]["k"]) for each in samples)


def _steps(samples, book, workers, overrun):
    lost = missing(samples)
    if lost < 0:
        return [f"{-lost} steps more than inputs were logged"]
    # an overtaken input comes too late and is dropped, as a lost one
    losses = book.total("input-logger", "faults_lost") + book.total("input-logger", "faults_reordered")
    # what a logger's fault switch lost after its last beat is among the inputs that it had not told
    allowed = losses + overrun + (book.on_the_way(workers)[1] if losses else 0)
    if lost > allowed:
        reason = f", and the network's losses explain only {allowed}" if allowed else ""
        return [f"{lost} inputs were logged and never processed{reason}"]
    return []
