"""A middlebox that gives each packet a number of a sequence that all workers share, and the programs at both its ends.

    python -m tests.runtime.sequencer send COUNT BURST       frames of many flows out of eth0, 100 bursts a second
    python -m tests.runtime.sequencer receive SECONDS        what comes in, until that long nothing came: records on stdout,
                                                             and "ready" on stderr before
"""

import socket
import struct
import sys
import time

from middleboxes.sdk import Counter, Map, Middlebox
from middleboxes.sdk.build import ipv4, udp
from middleboxes.sdk.packet import UDP

FLOWS = 40
ETHERTYPE = 0x88B5                              # IEEE 802: for experiments
HEAD = bytes.fromhex("024654ee0002024654ee000188b5")
STAMP = struct.Struct(">QHIIBI")                # number, flow, place in the flow, serial, worker, number in the worker
_DATA = 42                                      # where the UDP payload begins
_SERIAL = struct.Struct(">I")


class Sequencer(Middlebox):
    """Stamps what comes in at ``inside`` and sends the stamp out of ``outside``."""

    ports = ("inside", "outside")
    number = Counter()
    places = Map(domain="z-places")     # flow -> packets; shared, though each flow has one worker only
    mine = Map(scope="flow")            # the same per worker
    own = Counter(scope="worker")

    def handle(self, frame, ctx):
        if ctx.port != "inside" or len(frame) < _DATA + _SERIAL.size:
            return
        own, number = self.own.add(), self.number.add()
        flow = int.from_bytes(frame[34:36], "big")
        place = self.places[flow] = self.places.get(flow, 0) + 1
        mine = self.mine[flow] = self.mine.get(flow, 0) + 1
        if place != mine:
            raise ValueError("a flow has two workers")
        (serial,) = _SERIAL.unpack_from(frame, _DATA)
        ctx.emit("outside", HEAD + STAMP.pack(number, flow, place, serial, self.worker_number, own) + bytes(20))


class OneKeyForAll(Sequencer):
    """Declares as a flow's what all workers use."""

    def handle(self, frame, ctx):
        self.mine[b"total"] = self.mine.get(b"total", 0) + 1


def send(count, burst):
    """*count* frames of FLOWS flows, *burst* at a time, 100 times a second."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind(("eth0", 0))
    target, source = bytes.fromhex("02005e000101"), bytes.fromhex("0246540a0001")
    begin = time.monotonic()
    for serial in range(count):
        datagram = udp(0x0A000001, 1000 + serial % FLOWS, 0xC0000201, 53, _SERIAL.pack(serial))
        link.send(ipv4(target, source, UDP, 0x0A000001, 0xC0000201, datagram))
        if serial % burst == burst - 1:
            time.sleep(max(0, begin + (serial + 1) / burst / 100 - time.monotonic()))


def receive(seconds):
    """Write the stamps that come in to stdout, until nothing came for *seconds*."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    link.bind(("eth0", ETHERTYPE))
    link.settimeout(seconds)
    print("ready", file=sys.stderr, flush=True)
    while True:
        try:
            frame = link.recv(2048)
        except socket.timeout:
            return
        sys.stdout.buffer.write(frame[len(HEAD):len(HEAD) + STAMP.size])


if __name__ == "__main__":
    {"send": send, "receive": receive}[sys.argv[1]](*map(int, sys.argv[2:]))
