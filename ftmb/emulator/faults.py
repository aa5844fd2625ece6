"""The ways in which a node dies, and how it is mended.

process   SIGKILL: the process is gone, its host is there
host      SIGKILL and all links of the host down at once
hang      SIGSTOP: all is there, nothing moves
link      the data link is cut, as if the cable were pulled; the process lives and has its management network

A link between switches can only be cut.
"""

import time

from ..errors import UsageError
from .interfaces import Interfaces
from .processes import empty_files


class Node:
    """A role node: its process, its links, and what was done to them."""

    def __init__(self, rundir, process, links, pid):
        self.name = process.name
        self.process = process
        self._rundir = rundir
        self._links = links
        self._own = Interfaces(pid)
        self._root = Interfaces()
        self._cut = False

    def is_alive(self):
        """Running, not hung, and connected."""
        return self.process.is_running() and not self.process.stopped and not self._cut

    def start(self):
        """Start its process with an empty disk; the pid."""
        empty_files(self._rundir, self.name)
        return self.process.start()

    def kill(self, how):
        """Do it in the way *how*; monotonic times (ns): just before, and from when on nothing of it passes. Raises UsageError: it is dead already."""
        if not self.process.is_running():
            raise UsageError(f"{self.name} is dead already: `ftmb heal {self.name}` brings it back")
        at_ns, dead_ns = time.monotonic_ns(), None
        if how == "host":
            # Links first: the kernel must not close the dead host's connections for it.
            self._cut = True
            self._own.set_up([self._links.data], False)
            dead_ns = time.monotonic_ns()
            self._own.set_up([name for name in self._links.all() if name != self._links.data], False)
        if how in ("process", "host"):
            ended_ns = self.process.kill()
            dead_ns = dead_ns or ended_ns
        if how == "hang":
            self.process.stop()
        if how == "link":
            self._cut = True
            # At the switch's end: the process sees no carrier, not a disabled interface.
            self._root.set_up([self._links.at_switch[self._links.data]], False)
        return at_ns, dead_ns or time.monotonic_ns()

    def heal(self):
        """Links up, SIGCONT, and a new process if there is none; its pid then, otherwise None."""
        if self._cut:
            self._root.set_up(self._links.at_switch.values(), True)
            self._own.set_up(self._links.all(), True)
            self._cut = False
        if not self.process.is_running():
            return self.start()
        if self.process.stopped:
            self.process.resume()
        return None


class Trunk:
    """The link *name* between two switches; *ends* are its two interfaces."""

    def __init__(self, name, ends):
        self.name, self.is_cut = name, False
        self._ends = ends
        self._root = Interfaces()

    def cut(self):
        """Take it down; monotonic times (ns): just before, and when it was. Raises UsageError: it is down already."""
        if self.is_cut:
            raise UsageError(f"the link {self.name} is down already: `ftmb heal link:{self.name}` brings it back")
        at_ns = time.monotonic_ns()
        self.is_cut = True
        self._root.set_up(self._ends, False)
        return at_ns, time.monotonic_ns()

    def heal(self):
        """Take it up again."""
        self._root.set_up(self._ends, True)
        self.is_cut = False
