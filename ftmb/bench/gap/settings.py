"""Which networks a gap run brings up, and which kills it makes in each. Pure."""

from typing import NamedTuple

#: what the targets are told for
FLOWS, RATE_PPS, INTERVAL_MS = 100_000, 10_000, 100
#: the NAT has at most a million mappings, and the probe has one
FLOWS_MAX = 999_999
#: the values beside those above that a sweep tries, the rest as above
SWEEPS = {"flows": (1000, 10_000), "rate_pps": (1000, 3000), "checkpoint_interval_ms": (25, 400)}
SWEEP_HOW = "process"
SWEEP_KILLS_MAX = 10
HOWS = ("process", "host", "hang", "link")
DEFAULT_HOWS = HOWS[:3]


class Setting(NamedTuple):
    """One network with its load; ``kills`` of each way in ``hows``."""

    readiness: str
    flows: int
    rate_pps: int
    checkpoint_interval_ms: int
    hows: tuple
    kills: int

    def key(self, how):
        """What tells the kills of one way in this network from all others."""
        return {"readiness": self.readiness, "flows": self.flows, "rate_pps": self.rate_pps,
                "checkpoint_interval_ms": self.checkpoint_interval_ms, "how": how}


def plan(readiness, hows, kills, load, with_sweeps):
    """The Settings of a run: one for each readiness, then, if asked for, the sweeps.

    *load*: {flows, rate_pps, checkpoint_interval_ms}.
    """
    settings = [Setting(kind, hows=tuple(hows), kills=kills, **load) for kind in readiness]
    if with_sweeps:
        for kind in readiness:
            base = Setting(kind, hows=(SWEEP_HOW,), kills=min(kills, SWEEP_KILLS_MAX), **load)
            settings += [base._replace(**{name: value}) for name, values in SWEEPS.items() for value in values
                         if getattr(base, name) != value]
    return settings


def left(setting, rows):
    """{how: number of kills that *rows* of an earlier run do not have yet}, without those that are complete."""
    missing = {}
    for how in setting.hows:
        row = find(rows, setting.key(how))
        count = setting.kills - (len(row["kills"]) if row else 0)
        if count > 0:
            missing[how] = count
    return missing


def find(rows, key):
    """The row of *rows* that has *key*, None if there is none."""
    return next((row for row in rows if all(row[name] == value for name, value in key.items())), None)


def order(readiness):
    """A number to sort by: the readiest first."""
    return ("hot", "warm", "cold").index(readiness)
