"""Programs of others that talk through a middlebox: each is started, is seen to go on, and comes to an end that tells whether all was well.

rsync copies a file, redis counts, sipp makes calls, coturn's client finds out how a NAT behaves.
"""

import hashlib
import random
import re
import signal
import time

from .product import TIMEOUT_S, Session

_POLL_S = 0.05


class Increments(Session):
    """A redis-cli that increments a number again and again; each answer must be one more than the last."""

    def __init__(self, product, started, client, server, address, port=6379):
        self._server = started(Session(product, server, "redis-server", "--port", str(port), "--bind", address, "--save", "", "--appendonly",
                                       "no", "--protected-mode", "no", "--dir", str(product.directory)))
        self._server.wait_for("Ready to accept connections")
        self._ask = ("exec", client, "--", "redis-cli", "-h", address, "-p", str(port))
        self._product, self._count = product, 0
        super().__init__(product, client, "redis-cli", "-h", address, "-p", str(port), "-r", "-1", "-i", "0.01", "INCR", "n")

    def goes_on(self):
        """Return after some more answers, all of them right."""
        while self._read(0):
            pass
        for _ in range(self._rest.count(b"\n") + 4):
            self._check(self._line(time.monotonic() + TIMEOUT_S))

    def _check(self, line):
        self._count += 1
        assert line == str(self._count), f"redis answers {line} to increment {self._count}"

    def finish(self):
        """End it; the server must have counted what the client was told, and the one that was under way at most."""
        _, said = super().end(signal.SIGINT)
        for line in said.split("\n")[:-1]:
            self._check(line)
        assert int(self._product(*self._ask, "GET", "n").stdout) - self._count in (0, 1)


class Calls(Session):
    """sipp's own call scenario, 20 calls a second of 0.3 s each, over UDP."""

    def __init__(self, product, started, hosts, addresses):
        (client, server), (near, far) = hosts, addresses
        # it draws a screen each second, which nobody reads
        self._server = started(Session(product, server, "sh", "-c", f"exec sipp -sn uas -i {far} -p 5060 -nostdin >/dev/null"))
        self._directory = product.directory     # where it runs
        super().__init__(product, client, "sipp", "-sn", "uac", f"{far}:5060", "-i", near, "-p", "5061", "-r", "20", "-d", "300", "-nostdin",
                         "-trace_rtt", "-rtt_freq", "1")

    def _answered(self):
        return sum(len(path.read_bytes().splitlines()) for path in self._directory.glob("uac_*_rtt.csv"))

    def goes_on(self):
        """Return after some more calls were taken."""
        self.drop_output()
        enough, deadline = self._answered() + 4, time.monotonic() + TIMEOUT_S
        while self._answered() < enough:
            assert time.monotonic() < deadline, "no more calls are taken"
            self.drop_output()
            time.sleep(_POLL_S)         # it tells by a file

    def finish(self):
        """Begin no more calls and let the others end: none may have failed, and none got an answer that it did not expect."""
        code, said = self.end(signal.SIGUSR1)
        counts = {name: int(count) for name, count in re.findall(r"(Successful call|Failed call) *\| *\d+ *\| *(\d+)", said)}
        unexpected = re.findall(r"(?:<---.*?) (\d+) *$", said, re.MULTILINE)
        assert code == 0 and counts["Failed call"] == 0 and counts["Successful call"] > 10, said
        assert unexpected and set(unexpected) == {"0"}, said


class Copy(Session):
    """An rsync that copies a file slowly; in the end another one completes the copy, from what is there."""

    def __init__(self, product, started, client, server, address, directory):
        self._from, self._to = directory / "original", directory / "copy"
        self._from.write_bytes(random.Random(2).randbytes(24 << 20))
        config = directory / "rsyncd.conf"
        config.write_text(f"address = {address}\nport = 8730\nuse chroot = no\nmax verbosity = 0\nlog file = {directory}/rsyncd.log\n"
                          f"pid file = {directory}/rsyncd.pid\n[files]\npath = {directory}\nuid = root\ngid = root\n", encoding="ascii")
        started(Session(product, server, "rsync", "--daemon", "--no-detach", f"--config={config}"))
        deadline = time.monotonic() + TIMEOUT_S
        while product("exec", client, "--", "rsync", self._url(address, ""), code=None).returncode:
            assert time.monotonic() < deadline, "the rsync daemon does not answer"
        self._again = ("exec", client, "--", "rsync", "--inplace", "--no-whole-file", self._url(address, "original"), str(self._to))
        self._product = product
        super().__init__(product, client, "rsync", "--inplace", "--bwlimit=600", self._url(address, "original"), str(self._to))

    @staticmethod
    def _url(address, name):
        return f"rsync://{address}:8730/files/{name}"

    def stop(self):
        """End it and what it has forked, if it has not ended."""
        if self._process.poll() is None:
            self.end(signal.SIGINT)
        super().stop()

    def _size(self):
        return self._to.stat().st_size if self._to.exists() else 0

    def goes_on(self):
        """Return when more has come."""
        enough, deadline = self._size() + 1, time.monotonic() + TIMEOUT_S
        while self._size() < enough:
            assert time.monotonic() < deadline, "rsync gets no more"
            time.sleep(_POLL_S)         # it tells by its file

    def finish(self):
        """End it, complete the copy at once, and compare."""
        _, said = self.end(signal.SIGINT)
        assert "received SIGINT" in said and "connection" not in said, said
        self._product(*self._again)
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (self._from, self._to)]
        assert digests[0] == digests[1]


class Discovery:
    """coturn's NAT behaviour discovery (RFC 5780): the server has two addresses, the client one port of its own."""

    def __init__(self, product, started, client, server, addresses, near, directory):
        listening = [argument for address in addresses for argument in ("-L", address)]
        turn = started(Session(product, server, "turnserver", "-n", "--log-file", "stdout", *listening, "--no-tls", "--no-dtls", "--no-auth",
                               "--no-cli", "--pidfile", str(directory / "turn.pid"), "--userdb", str(directory / "turn.db")))
        turn.wait_for("Total General servers")
        self._begin = lambda: started(Session(product, client, "turnutils_natdiscovery", "-m", "-f", "-L", near, "-l", "6600", addresses[0]))

    def begin(self):
        """Start it; for ``report``. Where answers are filtered it waits for them for some seconds."""
        return self._begin()

    @staticmethod
    def report(session):
        """(mapping and filtering, as it says; the external endpoint of the client's port)."""
        code, said = session.end()
        endpoints = re.findall(r"UDP reflexive addr: (\S+)\n.*Local addr: : \S+:6600\n", said)
        assert code == 0 and len(endpoints) == 2 and len(set(endpoints)) == 1, said
        return re.findall(r"^NAT with .*", said, re.MULTILINE), endpoints[0]
