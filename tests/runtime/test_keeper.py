"""The keeper: a process's memory outlasts it, its files do not, and then the keeper ends, too."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

MEMORY_BYTES = 64 << 20
#: has a keeper, memory, and a connection to the port that it is told; then does as it is told
PROGRAM = f"""
import os, signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)           # as a parent may have left it
from middleboxes.runtime.keeper import keep
keep()
memory = b"x" * {MEMORY_BYTES}
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sys.stdout.write("ready\\n")
sys.stdout.flush()
do = sys.stdin.readline().strip()
if do == "replace":
    os.execv(sys.executable, [sys.executable, "-c", "import sys; sys.stdin.read()"])
"""


class Kept:
    """A process of PROGRAM, the other end of its connection, and its keeper."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(server.getsockname()[1])], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE)
            self.connection, _ = server.accept()
        self.connection.settimeout(30)
        assert self.process.stdout.readline() == b"ready\n"
        line = Path(f"/proc/{self.process.pid}/cmdline").read_bytes()
        self.keeper, = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != self.process.pid and _line(pid) == line]
        self.life = os.pidfd_open(self.keeper)

    def keeper_ends(self):
        return bool(select.select([self.life], [], [], 30)[0])

    def keeper_bytes(self):
        return int(Path(f"/proc/{self.keeper}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.connection.close()
        os.close(self.life)


def _line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None                     # it ended meanwhile


@pytest.fixture(name="kept")
def _kept():
    kept = Kept()
    yield kept
    kept.close()


def test_a_killed_processs_memory_is_held_while_its_connection_has_ended(kept):
    os.kill(kept.keeper, signal.SIGSTOP)                # so it can't end before it is looked at
    kept.process.kill()
    assert kept.connection.recv(1) == b""
    kept.process.wait()
    assert kept.keeper_bytes() > MEMORY_BYTES, "nobody has spent time on giving it back"
    os.kill(kept.keeper, signal.SIGCONT)
    assert kept.keeper_ends()


def test_it_has_no_file_of_the_process_and_heeds_no_signal_of_the_terminal(kept):
    files = os.listdir(f"/proc/{kept.keeper}/fd")
    assert len(files) == 1 and "pipe" in os.readlink(f"/proc/{kept.keeper}/fd/{files[0]}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(kept.keeper, number)
    assert not select.select([kept.life], [], [], 0.2)[0]
    kept.process.communicate(b"end\n")
    assert kept.process.returncode == 0, "it is none of its process's business"
    assert kept.keeper_ends()


def test_a_program_that_replaces_the_process_is_not_kept(kept):
    kept.process.stdin.write(b"replace\n")
    kept.process.stdin.flush()
    assert kept.keeper_ends()
    assert kept.process.poll() is None
