"""From what a soak found to its JSON and its words. Pure."""

from dataclasses import dataclass, field

ROLES = ("input_logger", "master", "output_logger", "store")
_MIB = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """What was asked for: seconds of load, of them seconds with the store stopped, in the middle."""

    seconds: int
    store_stopped_s: int
    workers: int
    seed: int


@dataclass
class Outcome:
    """All that a soak found."""

    samples: list = field(default_factory=list)         # (phase, {role: counters}, {role: resident bytes})
    accounts: list = field(default_factory=list)        # lines
    violations: list = field(default_factory=list)      # texts
    traffic: dict = field(default_factory=dict)         # see traffic_set
    download: dict = field(default_factory=dict)
    edge_overruns: int = 0                              # frames that the switch's queues did not take from hosts
    bounds: dict = field(default_factory=dict)          # {"role.counter": bound}
    ended: bool = False


def traffic_problems(traffic, download):
    """Violations among what the traffic programs counted."""
    found = []
    for side, counts in traffic.items():
        for name in ("repeated", "damaged", "mappings_changed"):
            if counts.get(name):
                found.append(f"{side}: {counts[name]} {name.replace('_', ' ')}")
    if download["curl_exit"] != 0:
        found.append(f"the download did not go on to its end: {download['error'] or 'it stood still'}")
    elif (download["bytes"], download["sha256"]) != (download["served_bytes"], download["served_sha256"]):
        found.append(f"the download differs: {download['bytes']} of {download['served_bytes']} bytes")
    return found


def highest(outcome):
    """{role: {"resident_bytes": (idle, highest), counters with a bound: highest}}."""
    found = {}
    for role in ROLES:
        resident = [values[role] for _, _, values in outcome.samples]
        found[role] = {"resident_bytes": [resident[0], max(resident)]} if resident else {}
    for name in outcome.bounds:
        role, counter = name.split(".")
        found[role][counter] = max((roles[role][counter] for _, roles, _ in outcome.samples), default=0)
    return found


def held(outcome):
    """Whether everything held, to the end."""
    return outcome.ended and not outcome.violations


def to_json(wanted, outcome):
    """The content of ``--json``."""
    return {**vars(wanted), "held": held(outcome), "violations": outcome.violations, "highest": highest(outcome),
            "bounds": outcome.bounds, "accounts": outcome.accounts, "traffic": outcome.traffic, "download": outcome.download,
            "edge_overruns": outcome.edge_overruns,
            "samples": [{"phase": phase, "counters": roles, "resident_bytes": resident} for phase, roles, resident in outcome.samples]}


def summary(wanted, outcome):
    """The end of the run as lines."""
    lines = []
    for role, values in highest(outcome).items():
        if not values:
            continue
        idle, most = values.pop("resident_bytes")
        parts = [f"resident {idle / _MIB:.1f} MiB idle, {most / _MIB:.1f} at most"]
        parts += [f"{counter} {value} of {outcome.bounds[f'{role}.{counter}']}" for counter, value in values.items()]
        lines.append(f"{role.replace('_', ' '):14} {'; '.join(parts)}")
    lines += outcome.accounts
    if outcome.traffic:
        clients = outcome.traffic["clients"]
        lines.append(f"{clients['sent']} datagrams sent, {clients['received']} answered;"
                     f" download of {outcome.download.get('bytes', 0)} bytes; the switch's queues lost"
                     f" {outcome.edge_overruns} frames of hosts before they came to the group")
    lines += [f"VIOLATION: {text}" for text in outcome.violations]
    lines.append(f"{wanted.seconds} s of load, the store stopped for {wanted.store_stopped_s} s: "
                 + ("memory bounded, every packet accounted for" if held(outcome) else f"{len(outcome.violations)} violations"))
    return lines
