"""The product with its real controller and nodes, in tests, and programs that run in its hosts."""

import contextlib
import json
import os
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from ftmb.emulator.openvswitch import ensure_running

from .machine import command, environment, output, snapshot

TIMEOUT_S = 60


class Product:
    """The command line, run in *directory*."""

    def __init__(self, directory):
        self.directory = directory

    def __call__(self, *arguments, code=0, stdin=None, **variables):
        """Run it with the text *stdin*; the CompletedProcess. It must end with *code* (None: any) and without a traceback."""
        done = subprocess.run(command(*arguments), env=environment(False, **variables), cwd=self.directory, input=stdin,
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert code in (None, done.returncode), f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments, **keywords):
        """Start it; the Popen, whose output and errors are one pipe."""
        return subprocess.Popen(command(*arguments), env=environment(False), cwd=self.directory, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **keywords)

    def status(self):
        """What ``status --json`` tells."""
        return json.loads(self("status", "--json").stdout)

    def group(self):
        """The only group in the status."""
        return self.status()["groups"][0]

    def wait_protected(self):
        """Return once every group is protected; its status then."""
        self("status", "--wait", "protected", "--timeout", "30")
        return self.group()


@contextlib.contextmanager
def clean_machine(directory):
    """A Product on a machine without an emulation; afterwards the machine must be as before."""
    if Path("/run/ftmb").exists():
        pytest.fail("a network is up on this machine: run `ftmb down` before the tests")
    product = Product(directory)
    product("status", code=2)       # starts nothing, but everything is imported once
    ensure_running()
    output("ovs-vsctl", "--timeout=5", "show")
    before = snapshot()
    try:
        yield product
    finally:
        product("down")
    now = snapshot()
    changed = {name: (before[name], now[name]) for name in now if now[name] != before[name]}
    assert not changed, f"changed on the machine (before, after): {changed}"


class Session:
    """A program in a host, talked to line by line; *arguments* are those of ``ftmb exec HOST --``."""

    def __init__(self, product, host, *arguments):
        self.name = f"{arguments[0]} in {host}"
        self._process = product.start("exec", host, "--", *arguments)
        self._rest = b""

    def tell(self, line):
        """Give it a line."""
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def wait_for(self, pattern):
        """Skip lines until one matches *pattern*; the match."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            found = re.search(pattern, self._line(deadline))
            if found:
                return found

    def drop_output(self):
        """Forget what it has said so far."""
        while self._read(0):
            pass
        self._rest = b""

    def end(self, number=None):
        """End it by a signal, or without one by the end of its input; (exit code, what it still said)."""
        if number is not None:
            self._process.send_signal(number)
        said, _ = self._process.communicate(timeout=TIMEOUT_S)
        return self._process.returncode, (self._rest + said).decode(errors="replace")

    def stop(self):
        """End it at once, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def _line(self, deadline):
        while b"\n" not in self._rest:
            left_s = max(0, deadline - time.monotonic())
            assert self._read(left_s), f"{self.name} says nothing more that was waited for: {self._rest!r}"
        line, _, self._rest = self._rest.partition(b"\n")
        assert time.monotonic() < deadline, f"{self.name} does not say what was waited for, but: {line!r}"
        return line.decode(errors="replace")

    def _read(self, timeout_s):
        """Take what has come within *timeout_s*; False if nothing has, or nothing will."""
        readable, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        data = os.read(self._process.stdout.fileno(), 1 << 16) if readable else b""
        self._rest += data
        return bool(data)


class Counting(Session):
    """A program that prints a line like *pattern* again and again, as long as traffic passes."""

    def __init__(self, product, host, pattern, *arguments):
        super().__init__(product, host, *arguments)
        self._pattern = pattern

    def goes_on(self):
        """Return after some more such lines."""
        self.drop_output()
        for _ in range(4):
            self.wait_for(self._pattern)
