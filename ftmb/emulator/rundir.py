"""The run directory: where everything about the one running emulation is kept, and the lock that says who owns it."""

import fcntl
import json
import os
import secrets
from pathlib import Path

from ..errors import UsageError

RUN_DIRECTORY = Path("/run/ftmb")


class RunDirectory:
    """Paths in the run directory, and its lock."""

    def __init__(self, path=RUN_DIRECTORY):
        self.path = Path(path)
        self.lock_file = self.path / "lock"
        self.ledger = self.path / "ledger.json"
        self.socket = self.path / "emulator.sock"
        self.log = self.path / "emulator.log"
        self.controller_log = self.path / "controller.log"
        self.deployment = self.path / "deployment.json"
        self.hosts = self.path / "hosts.json"
        self.key = self.path / "key"
        self.namespaces = self.path / "namespaces"
        self._lock = None

    def node(self, name):
        """The directory of one node process."""
        return self.path / "nodes" / name

    def acquire(self):
        """Take the lock (and make the directory): True, or False when a living process has it."""
        while True:
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:       # removed by its owner since the line above
                continue
            except OSError as error:
                raise UsageError(f"cannot use {self.path}: {error}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            if self._is_lock(descriptor):
                self._lock = descriptor
                return True
            os.close(descriptor)            # its owner removed it while we opened it

    def sign(self, pid, start):
        """Note in the lock who holds it: *pid* and its start time."""
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps([pid, start]).encode(), 0)

    def owner(self):
        """(pid, start time) of whoever signed the lock last, or None."""
        try:
            pid, start = json.loads(self.lock_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return pid, start

    def release(self):
        """Let others have the lock."""
        os.close(self._lock)
        self._lock = None

    def _is_lock(self, descriptor):
        try:
            now = os.stat(self.lock_file)
        except FileNotFoundError:
            return False
        held = os.fstat(descriptor)
        return (held.st_dev, held.st_ino) == (now.st_dev, now.st_ino)


def write_json(path, value, mode=0o600):
    """Write *value* to *path* so that a reader sees all of it or the file before."""
    write_text(path, json.dumps(value, indent=1), mode)


def write_text(path, text, mode=0o600):
    """Write *text* to *path* at once, readable as *mode* says from the first byte."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
