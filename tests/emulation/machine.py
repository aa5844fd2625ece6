"""Running the command line in tests, and looking at what it leaves on the machine."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

FAKES = Path(__file__).with_name("fakes")
ROOT = Path(__file__).parents[2]


def command(*arguments):
    """The argument vector of ``ftmb`` with *arguments*."""
    return [sys.executable, "-m", "ftmb", *arguments]


def environment(fakes, **more):
    """The environment for the command line: with a controller and nodes that only pretend, if *fakes*."""
    path = os.pathsep.join([str(FAKES), str(ROOT)]) if fakes else str(ROOT)
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def output(*arguments):
    """What a program prints; it must succeed."""
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def snapshot():
    """Whatever an emulation could leave behind or change: interfaces, bridges, processes, mounts, limits, files."""
    links = re.sub(r"\n\d+: ovs-netdev.*?(?=\n\d+: |\Z)", "", output("ip", "-details", "link", "show"), flags=re.DOTALL)
    # the namespaces of others come and go; ours are mounted in the run directory
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines() if "ftmb" in line]
    return {"links": links, "addresses": sorted(output("ip", "-brief", "address").split("\n")),
            "bridges": output("ovs-vsctl", "show"), "processes": ours(), "mounts": sorted(mounts),
            "tcp_rmem": Path("/proc/sys/net/ipv4/tcp_rmem").read_text(encoding="ascii"),
            "run": Path("/run/ftmb").exists()}


def ours():
    """Command lines of processes that belong to an emulation."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue        # it ended meanwhile
            if re.search(r"mininet:ft|ftmb\.emulator|ryu_app\.launcher|middleboxes\.runtime", line):
                found.append(line)
    return found


def listener(address, port):
    """A socket that keeps *port* busy."""
    return socket.create_server((address, port))
