"""The traffic programs as processes on the loopback: well against each other, and against servers that misbehave."""

import socket
import struct
import subprocess
import threading

import pytest

from ftmb.demo import programs
from ftmb.demo.traffic.payload import download_digest
from ftmb.demo.traffic_set import TrafficSet
from ftmb.demo.report import Wanted

HERE = "127.0.0.1"
SMALL = Wanted(kills=1, connections=5, flows=5, new_per_s=20, recovery=True, seed=11, how="process")


def popen(_host, argv, **keywords):
    return subprocess.Popen(argv, **keywords)


@pytest.fixture
def run():
    """Starts programs; all are ended afterwards."""
    started = []

    def start(module, *arguments):
        started.append(programs.Program(popen, "here", module, *arguments))
        return started[-1]
    yield start
    for program in started:
        program.stop()


@pytest.fixture
def free_port():
    with socket.create_server((HERE, 0)) as listener:
        return listener.getsockname()[1]


class Misbehaving:
    """A TCP server that gives every connection to *treat* on a thread of its own."""

    def __init__(self, treat):
        self._listener = socket.create_server((HERE, 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._treat = treat
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return      # closed by the test
            threading.Thread(target=self._treat, args=(sock,), daemon=True).start()

    def close(self):
        # accept wakes up only by shutdown
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def misbehaving():
    made = []

    def make(treat):
        made.append(Misbehaving(treat))
        return made[-1].port
    yield make
    for each in made:
        each.close()


def client_against(run, tcp_port, *more):
    return run("client", "--to", HERE, "--tcp-port", tcp_port, "--flows", 0, "--connections", 3, "--new-per-s", 20, *more)


def reset(sock):
    """Reads a message, then closes with a reset."""
    sock.recv(64)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def lie(sock):
    """Echoes with the last byte changed."""
    with sock:
        while data := sock.recv(64):
            sock.sendall(data[:-1] + bytes([data[-1] ^ 1]))


def cut(sock):
    """Loses the last byte and ends in order."""
    with sock:
        sock.sendall(sock.recv(64)[:-1])


def ignore(sock):
    """Reads and never answers."""
    with sock:
        while sock.recv(64):
            pass


@pytest.mark.parametrize("treat, reason", [(reset, "ECONNRESET"), (lie, "wrong bytes"), (cut, "closed by the peer")])
def test_a_broken_connection_is_counted_with_its_reason(run, misbehaving, treat, reason):
    client = client_against(run, misbehaving(treat))
    client.wait_for("ready", 10)
    result = client.ask("finish 1000", "result", 10)
    assert result["tcp_broken"] == 3 and result["tcp_broken_why"] == {reason: 3}
    assert result["new_failed"] == result["new_opened"] > 0 and set(result["new_failed_why"]) == {reason}


def test_a_connection_without_answers_is_broken_at_the_end(run, misbehaving):
    client = client_against(run, misbehaving(ignore))
    confirmed = client.ask("confirm 300", "confirmed", 10)
    assert confirmed["tcp_answered"] == 0 and confirmed["tcp_alive"] == 3
    result = client.ask("finish 300", "result", 10)
    assert result["tcp_broken_why"] == {"no answer": 3}
    assert set(result["new_failed_why"]) == {"timeout"} and result["new_failed"] == result["new_opened"]


def test_a_refused_connection_is_broken(run, free_port):
    client = client_against(run, free_port)
    client.wait_for("ready", 10)
    assert client.ask("finish 300", "result", 10)["tcp_broken_why"] == {"ECONNREFUSED": 3}


def test_a_flow_answered_for_another_is_noticed(run):
    """A NAT that mixes two flows up gives each the other's answers: every one counts as wrong."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((HERE, 0))
    udp.settimeout(10)
    server = run("server", "--address", HERE, "--tcp-port", 0, "--udp-port", 0)
    server.wait_for("ready", 10)
    client = run("client", "--to", HERE, "--udp-port", udp.getsockname()[1], "--flows", 2, "--connections", 0,
                 "--tcp-port", 1, "--new-per-s", 1)
    sources, first = {}, {}
    while len(sources) < 2:
        data, source = udp.recvfrom(64)
        flow = struct.unpack_from("!I", data)[0]
        sources[flow], first[flow] = source, data
    udp.sendto(first[0], sources[1])
    udp.sendto(first[1], sources[0])
    result = client.ask("finish 300", "result", 10)
    udp.close()
    assert result["udp_wrong"] == 2 and result["udp_answered"] == 0 and result["udp_answered_flows"] == 0


def test_curl_gets_the_stream_bit_for_bit_until_it_is_told_to_end(run, free_port):
    server = run("files", "--address", HERE, "--port", free_port, "--seed", 42)
    server.wait_for("ready", 10)
    download = programs.Download(popen, "here", f"http://{HERE}:{free_port}/")
    download.wait_begun(10)
    served = server.ask("finish", "result", 10)
    got = download.result(10)
    assert got["curl_exit"] == 0 and got["bytes"] == served["bytes"] > 0
    assert got["sha256"] == served["sha256"] == download_digest(42, got["bytes"])


def test_a_download_that_breaks_off_is_not_taken_for_whole(run, free_port):
    """curl itself tells that the chunked stream had no end."""
    server = run("files", "--address", HERE, "--port", free_port, "--seed", 42)
    server.wait_for("ready", 10)
    download = programs.Download(popen, "here", f"http://{HERE}:{free_port}/")
    download.wait_begun(10)
    server.stop()
    assert download.result(10)["curl_exit"] in (18, 56)


def test_a_program_that_dies_is_reported_with_its_last_words(run):
    program = run("server", "--address", "203.0.113.1")     # nobody here has this address
    with pytest.raises(programs.ProgramError, match="server in here ended with code 1.*Cannot assign"):
        program.wait_for("ready", 10)


def test_the_end_of_stdin_ends_a_program(run):
    """Whoever started it is gone: nothing may stay behind."""
    for module, arguments in (("server", ("--address", HERE, "--tcp-port", 0, "--udp-port", 0)),
                              ("probe", ("send", "--to", HERE))):
        program = run(module, *arguments)
        program.wait_for("ready", 10)
        program._process.stdin.close()
        assert program._process.wait(10) == 0


def test_all_traffic_together_measures_itself():
    """A whole set on the loopback: established, confirmed, one window measured, ended in order."""
    traffic = TrafficSet(popen, "here", "here", HERE)
    try:
        traffic.start(SMALL)
        client, server = traffic.confirm(5000)
        assert client["tcp_answered"] == 5 and client["udp_answered_flows"] == server["udp_flows"] == 5
        totals = traffic.finish(5000)
    finally:
        traffic.stop()
    assert totals["client"]["tcp_closed_in_order"] == 5 and totals["client"]["tcp_broken"] == 0
    assert totals["probe"]["received"] == totals["probe"]["sent"] > 0 and totals["probe"]["repeats"] == 0
    assert totals["download"]["sha256"] == totals["download"]["served_sha256"]
