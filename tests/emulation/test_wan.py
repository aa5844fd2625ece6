"""A pair of WAN optimisers whose boxes die in the middle of downloads: each byte arrives, and what was downloaded before costs little."""

import contextlib
import hashlib
import json
import random
import re
import sys
from pathlib import Path

import pytest

from .machine import output
from .product import TIMEOUT_S, Session, clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]

FILE_BYTES = 4 << 20


@pytest.fixture
def ftmb(tmp_path):
    """The network ``wan``, whose server offers a file."""
    content = random.Random(1).randbytes(FILE_BYTES)
    (tmp_path / "file").write_bytes(content)
    with clean_machine(tmp_path) as product, contextlib.ExitStack() as stack:
        product("up", "wan")
        # No more than this may be on its way already when a box dies.
        product("exec", "client1", "--", "sh", "-c", "echo 4096 65536 131072 >/proc/sys/net/ipv4/tcp_rmem")
        server = Session(product, "server1", sys.executable, "-u", "-m", "http.server", "8000", "--bind", "::", "--directory", str(tmp_path))
        stack.callback(server.stop)
        server.wait_for("Serving HTTP")
        yield product


def wan_octets():
    """What the far box has sent to the near one so far, by the count of the switch."""
    deployment = json.loads(Path("/run/ftmb/deployment.json").read_text(encoding="utf-8"))
    port = deployment["nodes"][deployment["groups"]["far"]["output_logger"]]["ports"]["far"]["wan"]["port"]
    return int(re.search(r"rx pkts=\d+, bytes=(\d+)", output("ovs-ofctl", "-O", "OpenFlow13", "dump-ports", "fts1", str(port)))[1])


def download(ftmb, server):
    """curl gets the file from *server*; the master of the near box dies when a third of it is there, that of the far box after another. Octets on the WAN."""
    before, got = wan_octets(), hashlib.sha256()
    curl = ftmb.start("exec", "client1", "--", "curl", "-sS", "--max-time", str(2 * TIMEOUT_S), f"http://{server}:8000/file")
    try:
        for group in ("near", "far", None):
            left = FILE_BYTES // 3 if group else FILE_BYTES
            while left > 0 and (chunk := curl.stdout.read(min(left, 1 << 15))):
                got.update(chunk)
                left -= len(chunk)
            if group:
                assert not left, "it ended before the kill"
                ftmb("kill", group, "master")
        assert curl.wait(TIMEOUT_S) == 0
    finally:
        curl.kill()
        curl.communicate()
    assert got.digest() == hashlib.sha256((ftmb.directory / "file").read_bytes()).digest()
    ftmb("heal")
    ftmb.wait_protected()
    return wan_octets() - before


def test_a_file_downloaded_twice_crosses_the_wan_once_though_both_boxes_die(ftmb):
    """Over IPv4, then over IPv6: what is known serves both."""
    first, second = download(ftmb, "192.0.2.1"), download(ftmb, "[2001:db8:2::1]")
    assert first > FILE_BYTES
    assert second < 0.5 * first, (first, second)
    failovers = {group["name"]: len([one for one in group["failovers"] if one["role"] == "master"]) for group in ftmb.status()["groups"]}
    assert failovers == {"near": 2, "far": 2}
