"""The guardian: a killed process's connection ends at once, and the guardian ends with its process."""

import os
import signal
import socket
import subprocess
import sys

import pytest

#: connects to the port that it is told, and lets a child have the connection, too: so the kernel does not end it with the process
PROGRAM = """
import socket, subprocess, sys
from middleboxes.runtime.guardian import Guardian
guardian = Guardian()
first = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
guardian.watch(first.fileno())
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
guardian.watch(connection.fileno())
child = subprocess.Popen(["sleep", "100"], stdout=subprocess.DEVNULL, pass_fds=[first.fileno(), connection.fileno()])
connection.sendall(b"%d " % child.pid)
if sys.argv[2] == "ends":
    sys.exit(0)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["killed", "ends"])
def test_a_connection_ends_with_the_process_though_somebody_else_has_it(how):
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(server.getsockname()[1]), how], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        child = None
        try:
            server.settimeout(30)
            former, _ = server.accept()
            connection, _ = server.accept()
            with former, connection:
                connection.settimeout(30)
                child = int(connection.recv(100))
                if how == "killed":
                    process.send_signal(signal.SIGKILL)
                assert connection.recv(1) == b"", "the guardian shut it down"
                former.setblocking(False)
                with pytest.raises(BlockingIOError):
                    former.recv(1)          # given before: the guardian has it no more
            # the pipe ends when both have: the process, and its guardian
            assert process.stdout.read() == b""
        finally:
            if child is not None:
                os.kill(child, signal.SIGKILL)
            process.kill()
            process.communicate()
