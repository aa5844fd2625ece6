"""The processes of an emulation: the controller and one process per node. None outlives the daemon."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time

from topologies.network import die_with_parent

DEFAULT_APP = "ryu.app.simple_switch_13"
_LOG_LINES = 12
_LOG_TAIL_BYTES = 16384
#: nice value of nodes and controller: each stands for a machine of its own, so it goes before the traffic that it shares the processors
#: with, and before a switch in user space, which takes half of one and more (its start script gives it -10)
_NICE = -15
_PF_EXITING = 0x4           # of a task's flags in proc(5): the kernel is ending it


class Process:
    """A program that can be started again: its command, its log, and the process that runs now."""

    def __init__(self, name, command, log, environment=None, nice=0):
        self.name = name
        self._nice = nice
        self.log = log
        self.stopped = False
        self._command = command
        self._environment = environment
        self._popen = None

    def start(self):
        """Start it; the pid. Call from the main thread: the kernel ends it together with its parent thread."""
        with open(self.log, "ab") as log:
            self._popen = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           env=self._environment, preexec_fn=functools.partial(self._begin, os.getpid()))
        self.stopped = False
        return self._popen.pid

    def _begin(self, parent):
        """In the new process, before the program."""
        die_with_parent(parent)
        with contextlib.suppress(PermissionError):      # a container without CAP_SYS_NICE: failovers take longer under load
            os.setpriority(os.PRIO_PROCESS, 0, self._nice)

    def is_running(self):
        """Whether it has not ended (a stopped one runs)."""
        return self._popen is not None and self._popen.poll() is None

    def exit_code(self):
        """How it ended, or None."""
        return self._popen.poll() if self._popen else None

    def kill(self):
        """SIGKILL; returns when it is gone, with the time (monotonic, ns) from when on it did nothing any more.

        The two are some ten ms apart: a kernel that closes a packet socket waits until nobody looks at it.
        """
        self._popen.kill()
        while self.is_running() and not _is_ending(self._popen.pid):
            os.sched_yield()
        dead_ns = time.monotonic_ns()
        self._popen.wait()
        return dead_ns

    def stop(self):
        """SIGSTOP: it hangs; returns when it does, or has ended before it could."""
        self._popen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._popen.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self.stopped = True

    def resume(self):
        """SIGCONT."""
        self._popen.send_signal(signal.SIGCONT)
        self.stopped = False

    def resident_bytes(self):
        """Its resident memory; 0 if it does not run."""
        if not self.is_running():
            return 0
        with open(f"/proc/{self._popen.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_ns(self):
        """CPU time that it took so far, in ns; 0 if it does not run."""
        return cpu_ns(self._popen.pid) if self.is_running() else 0

    def log_tail(self):
        """The last lines of its log, indented, or nothing."""
        try:
            with open(self.log, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(f"    {line}" for line in lines[-_LOG_LINES:])


def _is_ending(pid):
    """Whether no thread of process *pid*, a child that is not waited for yet, runs code of its own any more."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue                    # gone meanwhile
        if not int(fields[6]) & _PF_EXITING:
            return False
    return True


def cpu_ns(pid):
    """CPU time that process *pid* took so far, all its threads, in ns."""
    total_ns = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total_ns += int(file.read().split()[0])
    return total_ns


def controller(rundir, settings, applications):
    """The Process of the Ryu controller with *applications* and ours beside them."""
    command = [sys.executable, "-m", "ryu_app.launcher",
               "--ofp-tcp-listen-port", str(settings.openflow_port), "--ofp-listen-host", "127.0.0.1",
               "--wsapi-port", str(settings.rest_port), "--wsapi-host", "127.0.0.1",
               *(applications or [DEFAULT_APP]), "ryu_app.app"]
    environment = {**os.environ, "FTMB_DEPLOYMENT": str(rundir.deployment), "PYTHONUNBUFFERED": "1"}
    return Process("controller", command, rundir.controller_log, environment, _NICE)


def node(rundir, name, namespace_pid):
    """The Process of node *name*, in the namespaces of *namespace_pid*."""
    directory = rundir.node(name)
    command = ["mnexec", "-a", str(namespace_pid), sys.executable, "-m", "middleboxes.runtime",
               str(directory / "node.json")]
    return Process(name, command, directory / "log", {**os.environ, "PYTHONUNBUFFERED": "1"}, _NICE)


def empty_files(rundir, name):
    """Have node *name* start with nothing on its disk."""
    files = rundir.node(name) / "files"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(mode=0o700)
