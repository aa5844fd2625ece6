"""Numbered UDP datagrams at a steady rate, and a receiver that misses, doubles or reorders none unseen.

    python -m tests.emulation.numbered receive --address 192.0.2.1
    python -m tests.emulation.numbered send --to 192.0.2.1 [--rate 5000] [--flows 20]

Each flow is a socket of its own whose datagrams carry flow and number. Commands: ``report`` and ``finish`` (answer: ``result``)
tell what was sent, or received; ``stop`` (answer: ``stopped``) ends the sending.
"""

import argparse
import socket
import struct
import time

from ftmb.demo.traffic.loop import Loop, emit

PORT = 7200
_DATAGRAM = struct.Struct("!IQ40x")     # flow, number
_TICK_NS = 2_000_000
_BATCH_MAX = 256
#: What waits at the last step must not be lost there.
_RECEIVE_BUFFER_BYTES = 16 << 20
_SO_RCVBUFFORCE = 33    # Linux; the socket module does not name it


class Sender:
    """Sends what is due at each tick, the flows in turn."""

    def __init__(self, to, rate_per_s, flows):
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(flows)]
        for sock in self._sockets:
            sock.connect((to, PORT))
        self._rate_per_s, self._sent, self._running = rate_per_s, 0, True
        self._start_ns = time.monotonic_ns()
        self._loop = Loop(self._on_command, self._on_tick, _TICK_NS)

    def run(self):
        """Send until told to finish."""
        emit("ready")
        self._loop.run()

    def _on_tick(self, now_ns):
        due = (now_ns - self._start_ns) * self._rate_per_s // 1_000_000_000
        while self._running and self._sent < due:
            number, flow = divmod(self._sent, len(self._sockets))
            self._sockets[flow].send(_DATAGRAM.pack(flow, number))
            self._sent += 1

    def _on_command(self, words):
        if words == ["stop"]:
            self._running = False
            emit("stopped", sent=self._sent)
        elif words == ["report"]:
            emit("report", sent=self._sent)
        elif words == ["finish"]:
            emit("result", sent=self._sent)
            self._loop.stop()
        else:
            raise ValueError(f"unknown command {words}")


class Receiver:
    """Counts what comes, what comes again, what comes after a later one, and whose source changes."""

    def __init__(self, address):
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        self._sock.bind((address, PORT))
        self._sock.setblocking(False)
        self._flows = {}            # flow -> [source, highest number, set of the numbers below it that are missing]
        self.received = self.twice = self.reordered = self.moved = 0
        self._loop = Loop(self._on_command)
        self._loop.add(self._sock, self._on_datagrams)

    def run(self):
        """Receive until told to finish."""
        emit("ready")
        self._loop.run()

    def _on_datagrams(self, _events):
        for _ in range(_BATCH_MAX):
            try:
                data, source = self._sock.recvfrom(_DATAGRAM.size)
            except BlockingIOError:
                return
            self._take(*_DATAGRAM.unpack(data), source)

    def _take(self, flow, number, source):
        state = self._flows.setdefault(flow, [source, -1, set()])
        self.received += 1
        self.moved += state[0] != source
        if number > state[1]:
            state[2].update(range(state[1] + 1, number))
            state[1] = number
        elif number in state[2]:
            state[2].remove(number)
            self.reordered += 1
        else:
            self.twice += 1

    def _on_command(self, words):
        if words not in (["report"], ["finish"]):
            raise ValueError(f"unknown command {words}")
        emit("report" if words == ["report"] else "result", received=self.received, twice=self.twice, reordered=self.reordered,
             source_changes=self.moved, missing=sum(len(state[2]) for state in self._flows.values()))
        if words == ["finish"]:
            self._loop.stop()


def main():
    """Command line of both sides."""
    parser = argparse.ArgumentParser(description="numbered UDP datagrams")
    sides = parser.add_subparsers(dest="side", required=True)
    send, receive = sides.add_parser("send"), sides.add_parser("receive")
    send.add_argument("--to", required=True)
    send.add_argument("--rate", type=int, default=5000)
    send.add_argument("--flows", type=int, default=20)
    receive.add_argument("--address", required=True)
    args = parser.parse_args()
    if args.side == "send":
        Sender(args.to, args.rate, args.flows).run()
    else:
        Receiver(args.address).run()


if __name__ == "__main__":
    main()
