"""What the bench compares. Each is a context manager that gives a Running: where traffic goes, and whose CPU time counts."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import NamedTuple

from middleboxes.runtime.awake import DEVICE, Request

from .network import SERVER_MAC, enter, role_mac, run
from .nodes import NAT, Nodes
from .programs import start, stop

#: long enough that no checkpoint but the first falls into a run
NO_CHECKPOINTS_MS = 3_600_000
CHECKPOINT_INTERVAL_MS = 100
_GROUP, _BOX = ("il", "ol", "il"), ("box", "box", "box")

_NFT = """table ip bench {{
  chain after {{
    type nat hook postrouting priority 100
    oifname "p-outside" snat to {first}-{last}
  }}
}}
"""
_ROUTER = """ip address replace 10.0.0.254/8 dev p-inside
ip address replace 192.0.2.254/24 dev p-outside
ip neigh replace 192.0.2.1 lladdr {server} dev p-outside nud permanent
echo 1 >/proc/sys/net/ipv4/ip_forward
"""
_NO_ROUTER = "ip address flush dev p-inside; ip address flush dev p-outside; echo 0 >/proc/sys/net/ipv4/ip_forward"


class Running(NamedTuple):
    """*link*: the interfaces of the client, of the server to receive and to ask; *pids*: {role: pid}; *nodes*: the Nodes, where there are."""

    link: tuple
    pids: dict
    nodes: object = None


@contextmanager
def limit(wire):
    """Three forwarders in C that do nothing, on the interfaces that the three roles have."""
    hops = {"il": ("p-inside", "d", role_mac("m")), "m": ("d", "d", role_mac("ol")), "ol": ("d", "p-outside", SERVER_MAC)}
    processes = {}
    try:
        for name, words in hops.items():
            processes[name] = start(name, [wire, "forward", *words])
        yield Running(_GROUP, {name: process.pid for name, process in processes.items()})
    finally:
        stop(list(processes.values()))


@contextmanager
def limit_awake(wire):
    """``limit`` while processors stay awake as the runtime has them (middleboxes.runtime.awake)."""
    request = Request()
    try:
        request.make()
        with limit(wire) as running:
            yield running
    finally:
        request.close()


@contextmanager
def plain(_wire):
    """The function in one process of the runtime, unprotected."""
    process = start("box", [sys.executable, "-m", "ftmb.bench.plain", "p-inside", "p-outside"], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()       # it says that it is ready
        yield Running(_BOX, {"master": process.pid})
    finally:
        stop([process])
        process.stdout.close()


@contextmanager
def protected(_wire, checkpoint_interval_ms=CHECKPOINT_INTERVAL_MS, workers=1):
    """Input logger, master, output logger and store as node processes."""
    with tempfile.TemporaryDirectory(prefix="ftmb-bench-") as directory:
        nodes = Nodes(directory, checkpoint_interval_ms, workers)
        try:
            yield Running(_GROUP, nodes.pids, nodes)
        finally:
            nodes.close()


def missing():
    """{system: why it can't be measured on this machine}."""
    found = {}
    if shutil.which("nft") is None:
        found["linux"] = "Linux's own NAT was left out: nft is not installed (apt-get install nftables)"
    if not os.access(DEVICE, os.W_OK):
        found["limit-awake"] = f"the limit with processors that stay awake was left out, and those of protected and plain sleep: {DEVICE} can't be written"
    return found


@contextmanager
def linux(_wire):
    """Linux's own NAT (nftables); it has no process, so no CPU time of its own."""
    run([*enter("box"), "sh", "-ec", _ROUTER.format(server=SERVER_MAC)])
    addresses = NAT["external_addresses"]
    try:
        run([*enter("box"), "nft", "-f", "-"], _NFT.format(first=addresses[0], last=addresses[-1]))
        yield Running(_BOX, {})
    finally:
        subprocess.run([*enter("box"), "nft", "delete", "table", "ip", "bench"], capture_output=True, check=False)
        run([*enter("box"), "sh", "-c", _NO_ROUTER])


ALL = {"limit": limit, "limit-awake": limit_awake, "plain": plain, "protected": protected, "linux": linux}
