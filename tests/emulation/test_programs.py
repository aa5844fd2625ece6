"""Programs that know nothing of us go on while the NAT between them dies: curl, iperf3, ping, ssh, nc, rsync, redis, sipp, coturn."""

import contextlib
import getpass
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .programs import Calls, Copy, Discovery, Increments
from .product import TIMEOUT_S, Counting, Session, clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]

CLIENT, SERVER, ADDRESS = "client1", "server1", "192.0.2.1"
NEAR, SECOND = "10.0.0.1", "192.0.2.3"
# For each time that the download is seen to go on, so much of it at most; and one that is large enough for all of them.
DOWNLOAD_STEP_BYTES = 2 << 20
DOWNLOAD_BYTES = 8 * DOWNLOAD_STEP_BYTES


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network with one protected NAT; afterwards the machine must be as before."""
    with clean_machine(tmp_path_factory.mktemp("programs")) as product:
        product("up", "single")
        yield product


@pytest.fixture
def ftmb(network):
    """That network; afterwards all of it is well again."""
    yield network
    network("heal")
    network.wait_protected()


@pytest.fixture
def started():
    """Ends, after the test, whatever the test put into it."""
    with contextlib.ExitStack() as stack:
        yield lambda session: stack.callback(session.stop) and session


class Relay:
    """A netcat at either end of a connection; a line is passed to and fro."""

    def __init__(self, ftmb, started, port):
        self._far = started(Session(ftmb, SERVER, "nc", "-nlv", str(port)))
        self._far.wait_for("Listening on")
        self._near = started(Session(ftmb, CLIENT, "nc", "-nN", ADDRESS, str(port)))
        self._count = 0

    def goes_on(self):
        """Return after a line went there and another one came back."""
        self._count += 1
        for sender, receiver in ((self._near, self._far), (self._far, self._near)):
            sender.tell(f"line {self._count}")
            receiver.wait_for(f"^line {self._count}$")

    def end(self):
        """Close it from the client; both must end well."""
        assert self._near.end() == (0, "")
        assert self._far.end() == (0, "")


class Shell(Session):
    """An ssh session whose far end sends each line back."""

    def __init__(self, ftmb, started, directory):
        port, config = _write_ssh_files(directory)
        server = started(Session(ftmb, SERVER, shutil.which("sshd", path="/usr/sbin:/sbin:" + os.environ["PATH"]),
                                 "-D", "-e", "-f", str(directory / "sshd_config")))
        server.wait_for("Server listening")
        super().__init__(ftmb, CLIENT, "ssh", "-F", str(config), "-p", str(port), ADDRESS, "cat; exit 3")
        started(self)
        self._count = 0

    def goes_on(self):
        """Return after a line came back."""
        self._count += 1
        self.tell(f"line {self._count}")
        self.wait_for(f"^line {self._count}$")


def _write_ssh_files(directory):
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    shutil.copy(directory / "user.pub", directory / "authorized_keys")
    port = 2222
    (directory / "sshd_config").write_text(
        f"Port {port}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized_keys\nPidFile none\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nUseDNS no\n", encoding="ascii")
    config = directory / "ssh_config"
    config.write_text(
        f"User {getpass.getuser()}\nIdentityFile {directory}/user\nIdentitiesOnly yes\nBatchMode yes\n"
        f"StrictHostKeyChecking accept-new\nUserKnownHostsFile {directory}/known_hosts\nLogLevel ERROR\n",
        encoding="ascii")
    return port, config


class Download(threading.Thread):
    """A curl whose output is read slowly and in steps, until it is told to finish: a slow machine changes nothing."""

    def __init__(self, ftmb, started, directory):
        super().__init__(daemon=True)
        content = random.Random(1).randbytes(DOWNLOAD_BYTES)
        (directory / "file").write_bytes(content)
        self._wanted = hashlib.sha256(content).hexdigest()
        server = started(Session(ftmb, SERVER, sys.executable, "-u", "-m", "http.server", "8000", "--directory",
                                 str(directory)))
        server.wait_for("Serving HTTP")
        # No more than this may be on its way already when the middlebox dies.
        ftmb("exec", CLIENT, "--", "sh", "-c", "echo 4096 65536 131072 >/proc/sys/net/ipv4/tcp_rmem")
        self._curl = ftmb.start("exec", CLIENT, "--", "curl", "-sS", f"http://{ADDRESS}:8000/file")
        self._got, self._sum = 0, hashlib.sha256()
        self._may_get, self._pause_s = DOWNLOAD_STEP_BYTES, 0.02
        self._changed = threading.Condition()
        self.start()

    def run(self):
        """Read, about 1.5 MB a second, as far as allowed."""
        while chunk := self._curl.stdout.read(1 << 15):
            self._sum.update(chunk)
            with self._changed:
                self._got += len(chunk)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._got < self._may_get)
            time.sleep(self._pause_s)

    def _allow(self, limit):
        with self._changed:
            self._may_get = limit
            self._changed.notify_all()

    def goes_on(self):
        """Return when more has come than could be on its way before."""
        enough = self._got + DOWNLOAD_STEP_BYTES // 4
        self._allow(self._got + DOWNLOAD_STEP_BYTES)
        with self._changed:
            assert self._changed.wait_for(lambda: self._got >= enough, TIMEOUT_S), f"it stands still at {self._got} bytes"

    def end(self):
        """Let it come to its end; what came must be what was served."""
        assert self._got < DOWNLOAD_BYTES, "it did not last as long as the kills"
        self._pause_s = 0
        self._allow(DOWNLOAD_BYTES + 1)
        self.join(TIMEOUT_S)
        assert self._curl.wait(TIMEOUT_S) == 0
        assert (self._got, self._sum.hexdigest()) == (DOWNLOAD_BYTES, self._wanted)

    def stop(self):
        """End it at once."""
        self._curl.kill()
        self._pause_s = 0
        self._allow(DOWNLOAD_BYTES + 1)
        self.join(TIMEOUT_S)
        self._curl.communicate()


@pytest.fixture
def privilege_separation():
    """The directory that every sshd wants; a service would make it."""
    directory = Path("/run/sshd")
    existed = directory.is_dir()
    directory.mkdir(mode=0o755, exist_ok=True)
    yield
    if not existed:
        directory.rmdir()


def _iperf(ftmb, started, port, *how):
    """(receiver, sender) of an iperf3 that would last longer than the test; with -R the client receives. Only the receiver says what it gets."""
    per_second = r"\[ *\d+\] .* [1-9][\d.]* [KM]?Bytes .*bits/sec"
    says, is_silent = ("-i", "0.2", "--forceflush"), ("-i", "0", "--forceflush")
    at_server, at_client = (is_silent, says) if "-R" in how else (says, is_silent)
    server = started(Counting(ftmb, SERVER, per_second, "iperf3", "-s", "-1", "-p", str(port), *at_server))
    server.wait_for("Server listening")
    client = started(Counting(ftmb, CLIENT, per_second, "iperf3", "-c", ADDRESS, "-p", str(port), "-t", "600", *at_client, *how))
    return (client, server) if "-R" in how else (server, client)


def test_programs_live_through_two_deaths_of_the_master(ftmb, started, tmp_path, privilege_separation):
    """Once its process dies, once its host; everything that was under way comes to a good end."""
    download = Download(ftmb, started, tmp_path)
    started(download)
    tcp, tcp_client = _iperf(ftmb, started, 5201, "-b", "2M")
    udp, udp_client = _iperf(ftmb, started, 5202, "-u", "-b", "500K", "-l", "500")
    back, back_server = _iperf(ftmb, started, 5203, "-u", "-R", "-b", "500K", "-l", "500")
    ping = started(Counting(ftmb, CLIENT, "bytes from", "ping", "-i", "0.05", ADDRESS))
    shell = Shell(ftmb, started, tmp_path)
    relay = Relay(ftmb, started, 7000)
    copy = started(Copy(ftmb, started, CLIENT, SERVER, ADDRESS, tmp_path))
    counted = started(Increments(ftmb, started, CLIENT, SERVER, ADDRESS))
    calls = started(Calls(ftmb, started, (CLIENT, SERVER), (NEAR, ADDRESS)))
    ftmb("exec", SERVER, "--", "ip", "address", "add", f"{SECOND}/24", "dev", f"ft{SERVER}-d")
    discovery = Discovery(ftmb, started, CLIENT, SERVER, (ADDRESS, SECOND), NEAR, tmp_path)
    programs = [download, tcp, udp, back, ping, shell, relay, copy, counted, calls]

    def all_go_on():
        for program in programs:
            program.goes_on()

    all_go_on()
    before = discovery.report(discovery.begin())
    assert before[0] == ["NAT with Endpoint Independent Mapping!", "NAT with Endpoint Independent Filtering!"]
    for how in ("process", "host"):
        ftmb.wait_protected()
        ftmb("kill", "nat", "master", "--how", how)
        all_go_on()
        assert discovery.report(discovery.begin()) == before, "also the same external endpoint"
    assert ftmb.group()["state"] != "protected", "two of three nodes are dead: nobody is left to take over"
    ftmb("heal")
    group = ftmb.wait_protected()
    masters = [(failover["from"], failover["to"]) for failover in group["failovers"] if failover["role"] == "master"]
    assert len(masters) == 2 and masters[0][1] == masters[1][0] and masters[1][1] == group["master"]
    assert all(host["alive"] for host in ftmb.status()["hosts"])
    all_go_on()

    for program in (copy, counted, calls):
        program.finish()
    download.end()
    relay.end()
    assert shell.end() == (3, ""), "ssh tells the exit code of the far end"
    _check_ping(*ping.end(signal.SIGINT))
    for receiver, sender in ((tcp, tcp_client), (udp, udp_client)):
        assert "the client has terminated" in sender.end(signal.SIGINT)[1]
        _, said = receiver.end()
        assert "the client has terminated" in said
    _check_iperf(said)
    _check_iperf(back.end(signal.SIGINT)[1])
    assert "the client has terminated" in back_server.end()[1]


def _check_iperf(said):
    lost, sent = re.findall(r"(\d+)/(\d+) \(", said)[-1]
    assert int(sent) > 0 and int(lost) < int(sent) / 10


def _check_ping(code, said):
    assert code == 0 and "DUP!" not in said
    sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", said).groups()
    assert int(received) > 0.9 * int(sent)


def test_traffic_goes_on_without_a_controller(ftmb, started):
    """Old and new connections pass while it is dead; when it is back, it sees a master die."""
    relay, master = Relay(ftmb, started, 7000), ftmb.group()["master"]
    relay.goes_on()
    ftmb("kill", "-", "controller")
    assert ftmb.status()["controller"]["alive"] is False
    relay.goes_on()
    new = Relay(ftmb, started, 7001)
    new.goes_on()
    ftmb("heal", "controller")
    assert ftmb.wait_protected()["master"] == master, "it found everybody in the role that they had"
    for each in (relay, new):
        each.goes_on()
    ftmb("kill", "nat", "master")
    for each in (relay, new):
        each.goes_on()
    assert ftmb.group()["master"] != master
    for each in (relay, new):
        each.end()


def test_a_store_may_die_and_another_takes_its_place(ftmb, started):
    """That one has nothing, and is filled: the next death of the master costs nothing, be the first store back or not."""
    relay, before = Relay(ftmb, started, 7000), ftmb.group()
    ftmb("kill", "nat", "store")
    assert ftmb.wait_protected()["store"] != before["store"]
    relay.goes_on()
    ftmb("kill", "nat", "master", "--how", "host")
    relay.goes_on()
    assert ftmb.group()["master"] != before["master"]
    relay.end()


def test_exec_is_transparent(ftmb):
    """Input, output, errors and the exit code are those of the command."""
    done = ftmb("exec", CLIENT, "--", "sh", "-c", "cat; echo oops >&2; exit 7", code=7, stdin="x" * (1 << 20))
    assert (done.stdout, done.stderr) == ("x" * (1 << 20), "oops\n")
    ftmb("exec", CLIENT, "--", "sh", "-c", "kill -TERM $$", code=-15)
