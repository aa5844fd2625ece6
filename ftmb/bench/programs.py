"""Programs that the bench compiles, starts and ends: each dies with it."""

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from topologies.network import dying_with_us

from ..errors import UsageError
from .network import INSIDE_MAC, OUTSIDE_MAC, PREFIX, enter

_SOURCES = Path(__file__).parent
_END_S = 5.0
TRAFFIC_MORE_S = 10.0       # a run of traffic is given this much more than it is asked to last


@contextmanager
def compiled(source="wire.c"):
    """The path of the program *source*, compiled into a directory of its own. Raises UsageError."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise UsageError("bench: no C compiler for the forwarders and the traffic; mend: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="ftmb-bench-") as directory:
        path = os.path.join(directory, Path(source).stem)
        done = subprocess.run([compiler, "-O2", "-o", path, str(_SOURCES / source)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(f"bench: {compiler} can't compile {source}: {done.stderr.strip()}")
        yield path


def start(space, command, **options):
    """A program in *space*."""
    return subprocess.Popen([*enter(space), *command], preexec_fn=dying_with_us(), stdin=subprocess.DEVNULL, **options)


def stop(processes):
    """End *processes*, by force where they do not end."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def traffic(wire, link, frame_bytes, flows, mode, amount, seconds):
    """Run traffic on *link* (see systems.Running): what ``wire`` says. Raises UsageError.

    *mode*: "window" (at most *amount* frames under way) or "rate" (*amount* frames a second).
    """
    command = [wire, "traffic", f"{PREFIX}client", link[0], f"{PREFIX}server", *link[1:], INSIDE_MAC, OUTSIDE_MAC,
               str(frame_bytes), str(flows), mode, str(amount), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + TRAFFIC_MORE_S)
    except subprocess.TimeoutExpired as error:
        raise UsageError("bench: the traffic does not end") from error
    if done.returncode:
        raise UsageError(f"bench: {done.stderr.strip()}")
    return json.loads(done.stdout)
