"""From what a campaign found to its JSON and its words. Pure."""

from dataclasses import dataclass, field
from typing import Optional

from ..demo.gaps import distribution


@dataclass(frozen=True)
class Wanted:
    """What was asked for. *faults*: {"loss", "duplicate", "reorder"} or None; *kinds*: names of kills or None (all)."""

    kills: int
    seed: int
    function: str
    workers: int = 1
    faults: Optional[dict] = None
    kinds: Optional[tuple] = None
    recovery: bool = True
    spare: str = "warm"


@dataclass
class Blow:
    """One strike that was carried out: what died, and what it took."""

    kind: str
    how: str
    nodes: list
    recovered_ms: Optional[float] = None    # until the group was as well again as it can be without healing
    gap_ms: Optional[float] = None          # longest silence of the probe flow


@dataclass
class Outcome:
    """All that a campaign found."""

    blows: list = field(default_factory=list)
    violations: list = field(default_factory=list)      # texts
    counts: dict = field(default_factory=dict)          # of the traffic, see traffic_set
    counters: dict = field(default_factory=dict)        # of the roles, at the end
    released: int = 0                                   # packets, by all output loggers, as far as they told
    inputs_lost: Optional[int] = None                   # numbered and never processed
    inputs_on_the_way: int = 0                          # of dead input loggers, that the network lost with them, as far as told
    lost_at_loggers: int = 0                            # datagrams of flows: on their way when a logger died
    lost_elsewhere: int = 0                             # datagrams of flows: at any other time
    overruns: dict = field(default_factory=dict)        # interface of a switch -> frames that its queue did not take
    failovers: list = field(default_factory=list)


def held(wanted, outcome):
    """Whether every invariant held, and the campaign went to its end."""
    return not outcome.violations and len(outcome.blows) == wanted.kills


def traffic_problems(counts):
    """Violations among the *counts* of the traffic."""
    harm = {"damaged": "datagrams arrived damaged", "misdelivered": "answers came to another socket than the one that asked",
            "probes_repeated": "probes arrived twice", "probe_source_changes": "times the probe flow's source changed"}
    return [f"{counts[name]} {text}" for name, text in harm.items() if counts[name]]


def to_json(wanted, outcome):
    """The content of ``--json``."""
    return {"seed": wanted.seed, "kills": len(outcome.blows), "packets_released": outcome.released,
            "violations": outcome.violations, "client_gap_ms": [blow.gap_ms for blow in outcome.blows],
            "function": wanted.function, "workers": wanted.workers, "faults": wanted.faults, "spare": wanted.spare,
            "blows": [vars(blow) for blow in outcome.blows], "traffic": outcome.counts, "counters": outcome.counters,
            "inputs_lost": outcome.inputs_lost, "inputs_on_the_way": outcome.inputs_on_the_way,
            "lost_at_loggers": outcome.lost_at_loggers, "lost_elsewhere": outcome.lost_elsewhere, "queue_overruns": outcome.overruns, "failovers": outcome.failovers}


def line(number, wanted, blow):
    """One blow as a line."""
    what = blow.kind if blow.kind == blow.how else f"{blow.kind} ({blow.how})"
    took = "NOT recovered in time" if blow.recovered_ms is None else f"recovered after {blow.recovered_ms:7.1f} ms"
    gap = "" if blow.gap_ms is None else f", client gap {blow.gap_ms:7.1f} ms"
    return f"kill {number:>{len(str(wanted.kills))}}/{wanted.kills}  {what:26} {', '.join(blow.nodes):14} {took}{gap}"


def summary(wanted, outcome):
    """The end of the run as lines."""
    counts, lines = outcome.counts, []
    if counts:
        lost = counts["sent"] - counts["received"]
        lines.append(f"{counts['received']} numbered datagrams arrived, {lost} were lost on the way, "
                     f"{outcome.lost_at_loggers} of them when a logger died; "
                     f"{outcome.released} packets released, "
                     f"{len(outcome.failovers)} failovers, {outcome.inputs_lost} logged inputs lost by the network")
        if any(outcome.overruns.values()):
            lines.append(f"queues of the emulated switches overran: {sum(outcome.overruns.values())} frames were lost there")
    gaps = distribution([blow.gap_ms for blow in outcome.blows if blow.gap_ms is not None])
    if gaps:
        lines.append(f"client gap: p50 {gaps['p50']:.1f} ms, p90 {gaps['p90']:.1f} ms, max {gaps['max']:.1f} ms")
    lines += [f"VIOLATION: {text}" for text in outcome.violations]
    if held(wanted, outcome):
        lines.append(f"{len(outcome.blows)} kills, no violation (seed {wanted.seed})")
    else:
        lines.append(f"{len(outcome.blows)} of {wanted.kills} kills, {len(outcome.violations)} violations (seed {wanted.seed})")
    return lines
