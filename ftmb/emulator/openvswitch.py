"""Open vSwitch: it is started where it does not run, and in user space so that it keeps its memory.

Its user-space datapath takes room for a batch at each port that it looks at, thousands of times a second, and gives it back. By default
glibc returns the top of the heap to the kernel each time and takes it again as new pages, which ovs-vswitchd, locked into memory, has to fill:
a third of its CPU time (docs/performance.md). So where we start it, and no systemd does, it keeps what it had once; one that runs already is left as it is.
"""

import os
import subprocess
from pathlib import Path

from topologies.network import datapath

from ..errors import UsageError

_TIMEOUT_S = 5
_START_TIMEOUT_S = 60
_KEEPS_MEMORY = ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=67108864")
_PID_FILE = "/run/openvswitch/ovs-vswitchd.pid"


def ensure_running():
    """Start Open vSwitch once if it does not answer. Raises UsageError."""
    try:
        if _answers():
            return
    except FileNotFoundError as error:
        raise UsageError(f"the program {error.filename} is missing: apt-get install openvswitch-switch (or run scripts/setup)") from error
    command = ["systemctl", "start", "openvswitch-switch"]
    if not Path("/run/systemd/system").is_dir():
        # what `service` runs, but with a variable more than it lets through
        command = ["/etc/init.d/openvswitch-switch", "start"]
    environment = {name: os.environ[name] for name in ("LANG", "PATH", "TERM") if name in os.environ}
    try:
        # Its daemons keep what they inherit: no pipe of ours may be among that.
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=_START_TIMEOUT_S, check=False, cwd="/", env=environment | dict([_KEEPS_MEMORY]))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"Open vSwitch does not run, and `{' '.join(command)}` failed: {error}") from error
    if not _answers():
        raise UsageError(f"Open vSwitch does not answer, and `{' '.join(command)}` did not help: see /var/log/openvswitch")


def _answers():
    # The switch daemon too: without it ovs-vsctl waits for ever.
    for command in (["ovs-vsctl", f"--timeout={_TIMEOUT_S}", "show"],
                    ["ovs-appctl", f"--timeout={_TIMEOUT_S}", "-t", "ovs-vswitchd", "version"]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return False
    return True


def advice():
    """What to tell a user whose user-space switch runs slower than it could; None if it does not, or that can't be known."""
    if datapath() != "user":
        return None
    try:
        pid = int(Path(_PID_FILE).read_text(encoding="ascii"))
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ValueError):       # somewhere else, or somebody else's
        return None
    if b"trim_threshold" in environment or b"MALLOC_TRIM_THRESHOLD_" in environment:
        return None
    return f"Open vSwitch was started without {'='.join(_KEEPS_MEMORY)}: its user-space switch is slower than it could be (docs/operations.md)"
