"""The 1 kHz UDP flow whose longest silence, at the receiver, is what a client feels of a failover.

    python -m ftmb.demo.traffic.probe send --to 192.0.2.1 [--port 7002]
    python -m ftmb.demo.traffic.probe receive --address 192.0.2.1 --record FILE [--port 7002]

Both are processes of their own: nothing else of the demo may hold them up. Probes go out at absolute times of
CLOCK_MONOTONIC, which all hosts of an emulated network share. The receiver keeps (number, received_ns) pairs
of 64-bit words and appends them to FILE when asked to: no disk holds it up. Commands: ``finish`` (as SIGTERM
does); the receiver also ``flush``, which it answers with ``flushed`` at its next arrival.
"""

import argparse
import array
import collections
import signal
import socket
import struct
import sys
import threading
import time

from .loop import emit

INTERVAL_NS = 1_000_000
#: Pairs that the receiver keeps before it writes them out unasked: 1 MiB, a minute.
_PAIRS_KEPT_MAX = 1 << 16
_PROBE = struct.Struct("!QQ")
_SILENCE_S = 0.2
#: Records longer than this (2^24 probes: more than four hours) are not for a demo.
RECORD_BYTES_MAX = 16 << 24


def read_record(path):
    """(numbers, received_ns) as two arrays of 64-bit words, in order of arrival. Raises OSError, ValueError."""
    with open(path, "rb") as file:
        data = file.read(RECORD_BYTES_MAX + 1)
    if len(data) > RECORD_BYTES_MAX:
        raise ValueError("the record of the probe flow is too long")
    words = array.array("Q")
    words.frombytes(data[:len(data) - len(data) % 16])      # the last pair may still be on its way
    return words[0::2], words[1::2]


class Commands:
    """Commands that came on stdin, to be looked at between two probes; SIGTERM and its end come as ``finish``."""

    def __init__(self):
        self.waiting = collections.deque(maxlen=16)
        signal.signal(signal.SIGTERM, lambda *_: self.waiting.append("finish"))
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        for line in sys.stdin:
            self.waiting.append(line.strip())
        self.waiting.append("finish")


def send(address, port):
    """Send a probe each INTERVAL_NS until told to stop. A late one goes out at once; none is left out."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    commands = Commands().waiting
    sock.connect((address, port))
    emit("ready")
    number = failed = 0
    start_ns = time.monotonic_ns()
    while not commands:
        now_ns = time.monotonic_ns()
        due_ns = start_ns + number * INTERVAL_NS
        if now_ns < due_ns:
            time.sleep((due_ns - now_ns) / 1e9)
            now_ns = time.monotonic_ns()
        try:
            sock.send(_PROBE.pack(number, now_ns))
        except OSError:
            failed += 1         # an ICMP error of an earlier probe; this number counts as lost
        number += 1
    emit("result", sent=number, failed=failed)


def receive(address, port, record):
    """Note each probe's number and time of arrival until told to stop."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    sock.settimeout(_SILENCE_S)
    commands, pairs, source = Commands().waiting, array.array("Q"), None
    received = changed = 0
    with open(record, "wb", buffering=0) as file:
        emit("ready")
        while True:
            try:
                data, sender = sock.recvfrom(64)
            except socket.timeout:
                data = b""
            now_ns = time.monotonic_ns()
            if len(data) == _PROBE.size:
                changed += sender != source and source is not None
                source = sender
                received += 1
                pairs.extend((_PROBE.unpack(data)[0], now_ns))
            if commands or len(pairs) >= 2 * _PAIRS_KEPT_MAX:
                file.write(pairs.tobytes())
                del pairs[:]
                if not commands:
                    continue
                if commands.popleft() == "finish":
                    break
                emit("flushed")
    emit("result", received=received, mappings_changed=changed)


def main():
    """Command line of the probe."""
    parser = argparse.ArgumentParser(description="1 kHz probe flow of the demo")
    sides = parser.add_subparsers(dest="side", required=True)
    sender, receiver = sides.add_parser("send"), sides.add_parser("receive")
    sender.add_argument("--to", required=True)
    receiver.add_argument("--address", required=True)
    receiver.add_argument("--record", required=True)
    for side in (sender, receiver):
        side.add_argument("--port", type=int, default=7002)
    args = parser.parse_args()
    if args.side == "send":
        send(args.to, args.port)
    else:
        receive(args.address, args.port, args.record)


if __name__ == "__main__":
    main()
