"""Memory that a logged packet and a flow take, as the kernel counts it: what compiled modules allocate is seen by nothing else.

    python -m ftmb.bench.resident COUNT

A process of its own, so that no memory that was given back before is taken again, unseen.
"""

import gc
import json
import os
import subprocess
import sys

from middleboxes.core.inputlog import InputLogger

from .inside import fill, frames_of, nat_master

_FLOWS = 100
_NS = 1_000_000_000


def memory(count):
    """{"logged_packet_bytes": of a packet of 64 bytes at the input logger, "flow_bytes": of a flow at the master}, means of *count*."""
    done = subprocess.run([sys.executable, "-m", "ftmb.bench.resident", str(count)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _measure(count):
    gc.disable()
    logger, master = InputLogger(1, bytes(6), 1, 1, 1 << 40), nat_master()
    frames = frames_of(_FLOWS, _FLOWS)
    before = _resident_bytes()
    for number in range(count):
        # as from a socket: a frame of its own each time
        logger.accept(0, bytes(bytearray(frames[number % _FLOWS])), 2 * _NS)
    logged = _resident_bytes()
    fill(master, count)
    return {"logged_packet_bytes": (logged - before) / count, "flow_bytes": (_resident_bytes() - logged) / count}


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
