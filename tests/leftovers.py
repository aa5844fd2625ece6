"""What tests make on the machine under fixed names belongs to one run of the tests at a time.

A run that was killed could remove nothing. So the run that gets the lock removes what bears the tests' names: nobody who
lives can own it. Nodes that still run in such a namespace are ended with it.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
from pathlib import Path

LOCK = Path("/run/lock/ftmb-tests")
SPACES, LINKS, BRIDGES = "ftx-", ("ftx", "ftctl-"), ("ftxdata", "ftctl1")


def remove():
    """Remove namespaces with the processes in them, interfaces and bridges that bear the tests' names."""
    for line in _output("ip", "netns", "list").splitlines():
        space = line.split()[0]
        if space.startswith(SPACES):
            for number in _output("ip", "netns", "pids", space, failing=True).split():
                with contextlib.suppress(ProcessLookupError):       # it ended by itself
                    os.kill(int(number), signal.SIGKILL)
            _output("ip", "netns", "delete", space)
    links = [name for _, name in socket.if_nameindex() if name.startswith(LINKS)]
    if links:
        for bridge in BRIDGES:
            _output("ovs-vsctl", "--timeout=20", "--if-exists", "del-br", bridge, failing=True)
    for link in links:
        _output("ip", "link", "delete", link, failing=True)     # it may have gone with its namespace, or with its peer


def _output(*command, failing=False):
    return subprocess.run(command, capture_output=True, text=True, check=not failing).stdout


class Claim:
    """The machine's names of tests, held until the process ends. Raises BlockingIOError while another run holds them.

    ``clean`` removes what dead runs left.
    """

    def __init__(self, lock=LOCK, clean=remove):
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._lock = open(lock, "w", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise
        clean()

    def release(self):
        """Let another run have them."""
        self._lock.close()
