"""What an emulation makes on the machine, written down before it is made.

Processes are named by pid and start time, so that a number which the kernel gave to somebody else is never
touched. Namespaces are held by bind mounts in the run directory: whatever runs inside is ours.
"""

import json
import os
from dataclasses import asdict, dataclass, field

from .rundir import write_json


def start_time(pid):
    """The start time of process *pid* (clock ticks since boot), or None: no such process, or only its zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid, start):
    """Whether the process that began at *start* still runs as *pid*."""
    return start is not None and start_time(pid) == start


@dataclass
class Ledger:
    """Names of what was, or is about to be, made."""

    bridges: list = field(default_factory=list)
    interfaces: list = field(default_factory=list)      # in the root namespace
    namespaces: list = field(default_factory=list)      # files in the run directory
    processes: list = field(default_factory=list)       # [pid, start time, what]

    @classmethod
    def load(cls, rundir):
        """The ledger in *rundir*, or None."""
        try:
            return cls(**json.loads(rundir.ledger.read_bytes()))
        except FileNotFoundError:
            return None

    def save(self, rundir):
        """Write it; returns when a later reader sees it."""
        write_json(rundir.ledger, asdict(self))

    def add_process(self, rundir, pid, what):
        """Note the process *pid*, just started."""
        self.processes.append([pid, start_time(pid), what])
        self.save(rundir)

    def living(self):
        """Pids of the noted processes that still run, without our own."""
        return [pid for pid, start, _what in self.processes if pid != os.getpid() and is_alive(pid, start)]
