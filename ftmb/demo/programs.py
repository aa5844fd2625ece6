"""The traffic programs as processes inside hosts: started, asked, ended."""

import hashlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time

#: A program's answer is never longer; more is a fault of the program.
_LINE_BYTES_MAX = 1 << 20
_CURL_RATE = "1M"
_STDERR_BYTES_MAX = 1 << 16


class ProgramError(Exception):
    """A traffic program ended, or did not answer in time."""


class Program:
    """One program in one host: *module* of ftmb.demo.traffic, or of another *package*.

    *popen* is ``popen(host, argv, **keywords)`` as ``ftmb.emulator.client`` has it.
    """

    def __init__(self, popen, host, module, *arguments, package="ftmb.demo.traffic"):
        self._start(popen, host, module, [sys.executable, "-m", f"{package}.{module}", *map(str, arguments)])

    def _start(self, popen, host, what, argv):
        self.name = f"{what} in {host}"
        self._stderr = tempfile.TemporaryFile()
        self._rest = b""
        # a session of its own: Ctrl-C is for the demo, which then ends its programs itself
        self._process = popen(host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                              start_new_session=True)

    def ask(self, command, event, timeout_s):
        """Send *command* and return the answer's fields. Raises ProgramError."""
        self.tell(command)
        return self.wait_for(event, timeout_s)

    def tell(self, command):
        """Send *command*. Raises ProgramError."""
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ProgramError(self._why_ended()) from None

    def wait_for(self, event, timeout_s):
        """The fields of the next line, which must be *event*. Raises ProgramError."""
        fields = json.loads(self._next_line(event, time.monotonic() + timeout_s))
        if fields.pop("event") != event:
            raise ProgramError(f"{self.name}: expected the event {event}")
        return fields

    def _next_line(self, event, deadline):
        fd = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
                raise ProgramError(f"{self.name}: nothing heard in time ({event})")
            data = os.read(fd, 65536)
            if not data:
                raise ProgramError(self._why_ended())
            self._rest += data
            if len(self._rest) > _LINE_BYTES_MAX:
                raise ProgramError(f"{self.name}: its answer is too long")
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _why_ended(self):
        code = self._process.wait()
        text = _last_words(self._stderr)
        return f"{self.name} ended with code {code}" + (f": {text}" if text else "")

    def stop(self):
        """End the process, if it is still there, and wait for its end."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            _close(file)


class Compiled(Program):
    """As Program, of an executable file, at *path*, instead of a module."""

    def __init__(self, popen, host, path, *arguments):
        self._start(popen, host, os.path.basename(path), [path, *map(str, arguments)])


def _last_words(file):
    """The last line in *file*, which a program had as its stderr."""
    file.seek(0)
    lines = file.read(_STDERR_BYTES_MAX).decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")


def _close(file):
    try:
        file.close()
    except BrokenPipeError:
        return      # a command was on its way to a program that had ended: it is closed all the same


class Download:
    """curl in a host; what it gets is counted and hashed as it comes, and kept nowhere."""

    def __init__(self, popen, host, url):
        argv = ["curl", "--silent", "--show-error", "--fail", "--no-buffer", "--limit-rate", _CURL_RATE, url]
        self._stderr = tempfile.TemporaryFile()
        self._process = popen(host, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._stderr,
                              start_new_session=True)
        self.received_bytes = 0
        self._digest = hashlib.sha256()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        fd = self._process.stdout.fileno()
        while True:
            data = os.read(fd, 65536)
            if not data:
                return
            self._digest.update(data)
            self.received_bytes += len(data)
            self._begun.set()

    def wait_begun(self, timeout_s):
        """Wait for the first bytes. Raises ProgramError."""
        if not self._begun.wait(timeout_s):
            raise ProgramError("curl got no first byte of the download in time")

    def result(self, timeout_s):
        """Wait for curl's end: {"bytes", "sha256", "curl_exit", "error"}; exit None: it stood still."""
        self._thread.join(timeout_s)
        code = None if self._thread.is_alive() else self._process.wait()
        self.stop()
        return {"bytes": self.received_bytes, "sha256": self._digest.hexdigest(), "curl_exit": code,
                "error": _last_words(self._stderr)}

    def stop(self):
        """End curl, if it is still there."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
