"""IPv6 through a protected firewall in the emulated network: neighbours find it by the switch's rules, and its master's death breaks nothing."""

import hashlib
import random
import select
import signal
import sys
import time

import pytest

from .product import TIMEOUT_S, Counting, Session, clean_machine

pytestmark = pytest.mark.emulation

CONFIGURATION = """
network:
  switches: [s1]
  hosts:
    client1: {switch: s1, address: 10.0.0.1/24, gateway: 10.0.0.254, address6: "2001:db8:1::1/64", gateway6: "2001:db8:1::fe"}
    client2: {switch: s1, address: 10.0.0.2/24, gateway: 10.0.0.254, address6: "2001:db8:1::2/64", gateway6: "2001:db8:1::fe"}
    server1: {switch: s1, address: 192.0.2.1/24, gateway: 192.0.2.254, address6: "2001:db8:2::1/64", gateway6: "fe80::5eff:fe00:102"}
  nodes: {il: s1, ol: s1, st: s1, m1: s1, m2: s1}
groups:
  fw:
    function: firewall
    parameters:
      rules: [{action: accept, from: inside, source: "2001:db8:1::/64"}]
    ports:
      inside:  {mac: "02:00:5e:00:01:01", address: 10.0.0.254/24,  address6: "2001:db8:1::fe/64", hosts: [client1, client2]}
      outside: {mac: "02:00:5e:00:01:02", address: 192.0.2.254/24, address6: ["2001:db8:2::fe/64"], hosts: [server1]}
    input_logger: il
    output_logger: ol
    store: st
    pool: [m1, m2]
"""
CLIENT, SERVER, SERVER_ADDRESS, NEIGHBOUR = "client1", "server1", "2001:db8:2::1", "2001:db8:1::2"
FILE_BYTES, BEFORE_BYTES = 4 << 20, 500_000


@pytest.fixture(scope="module")
def ftmb(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ipv6")
    (directory / "firewall6.yaml").write_text(CONFIGURATION, encoding="ascii")
    with clean_machine(directory) as product:
        product("up", "firewall6.yaml")
        yield product


def read(process, count):
    """Up to *count* bytes of what *process* says, all of it if it ends before."""
    said, deadline = b"", time.monotonic() + TIMEOUT_S
    while len(said) < count:
        readable, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        assert readable, f"it stands still after {len(said)} bytes"
        part = process.stdout.read1(count - len(said))
        if not part:
            break
        said += part
    return said


def test_a_download_and_a_ping_live_through_the_death_of_the_master(ftmb, tmp_path):
    content = random.Random(6).randbytes(FILE_BYTES)
    (tmp_path / "file").write_bytes(content)
    server = Session(ftmb, SERVER, sys.executable, "-u", "-m", "http.server", "8000", "--bind", "::", "--directory", str(tmp_path))
    ping = Counting(ftmb, CLIENT, "bytes from", "ping", "-6", "-i", "0.05", SERVER_ADDRESS)
    curl = None
    try:
        server.wait_for("Serving HTTP")
        # no more than this may be on its way already when the middlebox dies
        ftmb("exec", CLIENT, "--", "sh", "-c", "echo 4096 65536 131072 >/proc/sys/net/ipv4/tcp_rmem")
        ping.goes_on()
        curl = ftmb.start("exec", CLIENT, "--", "curl", "-sS", "-g", "-6", f"http://[{SERVER_ADDRESS}]:8000/file")
        got = read(curl, BEFORE_BYTES)
        ftmb("kill", "fw", "master")
        ping.goes_on()
        got += read(curl, FILE_BYTES + 1)
        assert curl.wait(TIMEOUT_S) == 0 and hashlib.sha256(got).digest() == hashlib.sha256(content).digest(), got[:200]
        assert ftmb.group()["master"] == "m2"
        code, said = ping.end(signal.SIGINT)
        assert code == 0 and "DUP!" not in said
    finally:
        if curl is not None:
            curl.kill()
            curl.communicate()
        ping.stop()
        server.stop()


def test_hosts_of_one_link_find_each_other_and_the_rules_hold(ftmb):
    """Their neighbour traffic is left to the other app; what the outside begins ends at the firewall."""
    ftmb("exec", CLIENT, "--", "ping", "-6", "-c", "1", "-W", "5", NEIGHBOUR)
    ftmb("exec", SERVER, "--", "ping", "-6", "-c", "1", "-W", "1", "2001:db8:1::1", code=1)
