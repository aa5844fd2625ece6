"""The roles' own counters against each other and against what receivers counted, once traffic has ended. Pure.

Every input that was logged is a step of the master, and every datagram that arrived was released: what is
missing in between must be explained by a reason that is allowed: frames that the fault switches lost or a queue of the
emulated switch did not take.
"""

import statistics

#: roles whose counters are compared
ROLES = ("input-logger", "master", "output-logger")


def sample(status, group):
    """{role: counters} of *group* in an answer to ``status``; None while a role does not report."""
    found = {}
    for host in status["hosts"]:
        for role in host.get("beat", ()):
            if role["group"] == group["name"] and role["role"] in ROLES and role["epoch"] >= group["master_epoch"]:
                found[role["role"]] = role["counters"]
    return found if len(found) == len(ROLES) else None


def check(samples, workers, received, highest_stamp, overrun=0):
    """Violations in *samples* (see ``sample``) of a group at rest.

    *received*: datagrams that arrived at hosts; *highest_stamp*: the highest number of a witness, 0 without;
    *overrun*: inputs that the network's queues did not take.
    """
    if not samples:
        return ["the roles do not report their counters"]
    last = samples[-1]
    inputs, master, outputs = (last[role] for role in ROLES)
    found = _steps(samples, workers, overrun)
    if outputs["released"] < received:
        found.append(f"{received} datagrams arrived, but only {outputs['released']} packets were released")
    if highest_stamp > inputs["inputs"]:
        found.append(f"number {highest_stamp} was given, but only {inputs['inputs']} packets came in")
    for role, name in (("master", "bad_frames"), ("output-logger", "bad_frames"), ("master", "function_errors")):
        if last[role][name]:
            found.append(f"the {role} counts {last[role][name]} {name.replace('_', ' ')}")
    return found


def logged(counters, workers):
    """Inputs that an input logger with these *counters* has in its log, or had: packets, and a tick for each worker."""
    return counters["inputs"] + workers * counters["ticks"] - counters["dropped_log_full"]


def missing(samples, workers):
    """How many logged inputs never became a step.

    Beats come apart, and ticks go on: the most frequent difference is the one at rest.
    """
    return statistics.mode(logged(each["input-logger"], workers) - sum(each["master"]["k"]) for each in samples)


def _steps(samples, workers, overrun):
    lost = missing(samples, workers)
    if lost < 0:
        return [f"{-lost} steps more than inputs were logged"]
    inputs = samples[-1]["input-logger"]
    # an overtaken input comes too late and is dropped, as a lost one
    allowed = inputs.get("faults_lost", 0) + inputs.get("faults_reordered", 0) + overrun
    if lost > allowed:
        reason = f", and the network's losses explain only {allowed}" if allowed else ""
        return [f"{lost} inputs were logged and never processed{reason}"]
    return []
