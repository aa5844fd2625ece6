"""Removes what a ledger names, and checks that it is gone.

Works from the ledger alone, so it is the same after an orderly end and after the daemon was killed. Safe to
repeat: what is gone already is no error.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import time

from ..errors import UsageError
from .ledger import Ledger

_OVS_TIMEOUT_S = 10
_KILL_TIMEOUT_S = 5


def clean(rundir):
    """Remove everything that the ledger in *rundir* names, then *rundir* itself; the caller holds its lock.

    Raises UsageError with what could not be removed; the ledger stays then, for another try.
    """
    ledger = Ledger.load(rundir)
    if ledger is not None:
        problems = [_end_processes(rundir, ledger), _remove_bridges(ledger.bridges),
                    _remove_interfaces(ledger.interfaces), _remove_namespaces(rundir, ledger.namespaces)]
        problems = [problem for problem in problems if problem]
        if problems:
            raise UsageError("could not remove everything (run `ftmb down` again): " + "; ".join(problems))
    shutil.rmtree(rundir.path)


def _end_processes(rundir, ledger):
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    inodes = {os.stat(path).st_ino for path in _mounted(rundir, ledger.namespaces)}
    while True:
        # Again and again: what we look for can fork while we look.
        pids = set(ledger.living()) | processes_inside(inodes)
        if not pids:
            return ""
        if time.monotonic() > deadline:
            return f"processes {sorted(pids)} do not end"
        _kill_and_wait(pids, deadline)


def _kill_and_wait(pids, deadline):
    descriptors = []
    for pid in pids:
        try:
            descriptors.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(descriptors[-1], signal.SIGKILL)
        except ProcessLookupError:
            continue        # it ended by itself
    for descriptor in descriptors:
        # readable once the process has ended
        select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        os.close(descriptor)


def processes_inside(inodes):
    """Pids of all processes whose network namespace is among *inodes*."""
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            inode = os.stat(f"/proc/{entry}/ns/net").st_ino
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue        # it ended meanwhile, or it is a zombie
        if inode in inodes:
            found.add(int(entry))
    return found


def _mounted(rundir, names):
    """The namespace files that really hold a namespace."""
    paths = [rundir.namespaces / name for name in names]
    return [path for path in paths if path.exists() and os.stat(path).st_dev != os.stat(rundir.namespaces).st_dev]


def _remove_namespaces(rundir, names):
    problems = []
    for path in _mounted(rundir, names):
        done = subprocess.run(["umount", "--no-canonicalize", path], capture_output=True, text=True, check=False)
        if done.returncode:
            problems.append(f"namespace {path.name}: {done.stderr.strip()}")
    return ", ".join(problems)


def _remove_bridges(names):
    if not names:
        return ""
    command = ["ovs-vsctl", f"--timeout={_OVS_TIMEOUT_S}"]
    for name in names:
        command += ["--", "--if-exists", "del-br", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"bridges {', '.join(names)}: {done.stderr.strip()}" if done.returncode else ""


def _remove_interfaces(names):
    lines = [f"link del {name}" for name in names if existing(name)]
    if lines:
        # -force: one that has gone in between does not keep the others
        subprocess.run(["ip", "-force", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True,
                       check=False)
    left = [name for name in names if existing(name)]
    return f"interfaces {', '.join(left)} are still there" if left else ""


def existing(interface):
    """Whether an interface of that name is in our namespace (/sys may show another one's)."""
    return interface in (name for _index, name in socket.if_nameindex())
