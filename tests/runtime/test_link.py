"""What the sockets on a data interface take: NSH to the interface's own address, each its kinds of frames, and nothing else."""

import itertools
import os
import socket
import subprocess
import time
from types import SimpleNamespace

import pytest

from middleboxes.core.frames import HOP_ACK, HOP_INPUT, HOP_OUTPUT, HOP_TRIM, virtual_mac
from middleboxes.runtime.link import _EXCLUDED_MAX, data_links, exclude, worker_link

pytestmark = [pytest.mark.emulation, pytest.mark.skipif(os.geteuid() != 0, reason="makes interfaces: needs root")]

NEAR, FAR = "ftxlink0", "ftxlink1"
OWN, OTHER = bytes.fromhex("024654110001"), bytes.fromhex("024654110002")
STRANGE = (OTHER, virtual_mac("master", 1), virtual_mac("output-logger", 1), b"\xff" * 6, bytes.fromhex("01005e000001"))
HOPS = (HOP_INPUT, HOP_OUTPUT, HOP_ACK, HOP_TRIM)
TIMEOUT_S = 10


def frame(target, group=1, hop=HOP_INPUT, worker=0, ethertype=0x894F):
    """As much of a frame as the filters look at, padded."""
    return (target + OTHER + ethertype.to_bytes(2, "big") + b"\x0f\xc6\x02\x03" + (group << 8 | hop).to_bytes(4, "big")
            + b"\xff\xf6\x01\x18" + bytes(4) + bytes([worker]) + bytes(40))


@pytest.fixture
def wire():
    """An interface, and ``send`` at the other end of its cable; Links in ``made`` are closed at the end."""
    subprocess.run(["ip", "link", "add", NEAR, "address", OWN.hex(":"), "type", "veth", "peer", "name", FAR], check=True)
    links, sender = [], socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        for name in (NEAR, FAR):
            subprocess.run(["ip", "link", "set", name, "up", "arp", "off"], check=True)
        sender.bind((FAR, 0))
        yield SimpleNamespace(made=links, send=sender.send)
    finally:
        for link in links:
            link.close()
        sender.close()
        subprocess.run(["ip", "link", "delete", NEAR], check=True)


def _taken(link, last):
    """What *link* takes before *last*, which it takes for certain."""
    taken, deadline = [], time.monotonic() + TIMEOUT_S
    while last not in taken:
        assert time.monotonic() < deadline, "the last one has not come"
        taken += link.receive()
    return taken[:-1]


def _check(wire, passes, groups=(1,), workers=(0,)):
    """Of frames of all kinds each link takes those to its own address for which *passes* [link] (group, hop, worker) is true."""
    kinds = list(itertools.product(groups, HOPS, workers))
    for target in (*STRANGE, OWN):
        for kind in kinds:
            wire.send(frame(target, *kind))
    wire.send(frame(OWN, ethertype=0x0800))
    wire.send(frame(b"\xff" * 6, ethertype=0x0806))
    for link, takes in passes.items():
        own = [frame(OWN, *kind) for kind in kinds if takes(*kind)]
        wire.send(own[-1] + b"last")
        assert _taken(link, own[-1] + b"last") == own


def test_inputs_and_others_come_to_their_sockets_if_they_are_to_the_own_address(wire):
    wire.made += data_links(NEAR, HOP_INPUT)
    inputs, others = wire.made
    _check(wire, {inputs: lambda group, hop, worker: hop == HOP_INPUT, others: lambda group, hop, worker: hop != HOP_INPUT})


@pytest.mark.parametrize("count", [1, 2, _EXCLUDED_MAX])
def test_what_is_left_to_workers_is_not_taken_and_the_rest_is(wire, count):
    """Also with as many groups as fit: the jumps of the filter reach that far."""
    left = range(5, 5 + count)
    wire.made += data_links(NEAR, HOP_INPUT)
    exclude(wire.made, HOP_INPUT, HOP_ACK, list(left))
    inputs, others = wire.made
    _check(wire, {inputs: lambda group, hop, worker: hop == HOP_INPUT and group not in left,
                  others: lambda group, hop, worker: hop != HOP_INPUT and (hop != HOP_ACK or group not in left)},
           sorted({4, left[0], left[-1], left[-1] + 1}))


@pytest.mark.parametrize("hop", [HOP_INPUT, HOP_ACK])
def test_a_worker_takes_its_own_frames_only(wire, hop):
    wire.made.append(worker_link(NEAR, 5, hop, 2))
    _check(wire, {wire.made[0]: lambda *kind: kind == (5, hop, 2)}, (4, 5), (1, 2, 3))


def test_an_interface_that_is_given_another_address_takes_what_is_to_that_one(wire):
    wire.made += data_links(NEAR, HOP_INPUT)
    subprocess.run(["ip", "link", "set", NEAR, "address", OTHER.hex(":")], check=True)
    wire.send(frame(OWN))
    wire.send(frame(OTHER))
    assert _taken(wire.made[0], frame(OTHER)) == []
