"""UDP as fast as the three hops take it: each answer calls for the next datagram, in many flows.

    python -m ftmb.soak.load serve --address 192.0.2.1
    python -m ftmb.soak.load send --to 192.0.2.1 --first-flow 0

The server sends each datagram back. The sender keeps WINDOW datagrams under way, of FLOWS flows in turn; when no answer has come
for STALL_NS, what was under way counts as lost and a new window is sent, so that the load goes on while nothing passes.
Each side notes per flow which numbers came (a bit each). Commands: ``report`` (answer: ``report``), ``stop`` ends the sending
(answer: ``stopped``), ``finish`` tells the ``result``.
"""

import argparse
import collections
import socket
import time

from ..demo.traffic.loop import Loop, emit
from ..demo.traffic.payload import MESSAGE_BYTES, PayloadError, message, parse

PORT = 7110
FLOWS = 200
#: Datagrams under way of one sender: below what a queue of the user-space switch takes.
WINDOW = 40
DATAGRAM_BYTES = 512
STALL_NS = 50_000_000
#: Of each flow; more than an hour at full load.
NUMBERS_MAX = 1 << 20
_TICK_NS = 5_000_000
_BATCH_MAX = 64
_RECEIVE_BUFFER_BYTES = 8 << 20
_SO_RCVBUFFORCE = 33    # Linux; the socket module does not name it


def _socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    sock.setblocking(False)
    return sock


def datagram(flow, number):
    """Datagram *number* of *flow*."""
    return message(flow, number).ljust(DATAGRAM_BYTES, b"\0")


class Arrivals:
    """Which datagrams came, and what is wrong with them."""

    def __init__(self):
        self.counts = {"received": 0, "repeated": 0, "damaged": 0}
        self._seen = collections.defaultdict(bytearray)     # flow -> a bit for each number

    def take(self, data):
        """The flow of *data*; None if it is not as it was sent, or came before."""
        try:
            flow, number = parse(data[:MESSAGE_BYTES])
            if len(data) != DATAGRAM_BYTES or number >= NUMBERS_MAX:
                raise PayloadError("of another length, or with a number that nobody sends")
        except PayloadError:
            self.counts["damaged"] += 1
            return None
        self.counts["received"] += 1
        seen, (byte, bit) = self._seen[flow], divmod(number, 8)
        if byte >= len(seen):
            seen.extend(bytes(byte + 1 - len(seen)))
        if seen[byte] >> bit & 1:
            self.counts["repeated"] += 1
            return None
        seen[byte] |= 1 << bit
        return flow


class Server:
    """Sends back what comes, once."""

    def __init__(self, address):
        self._arrivals = Arrivals()
        self._sources = {}
        self._changed = 0
        self._loop = Loop(self._on_command)
        self._sock = _socket()
        self._sock.bind((address, PORT))
        self._loop.add(self._sock, self._on_datagram)

    def run(self):
        """Serve until told to finish."""
        emit("ready")
        self._loop.run()

    def _on_datagram(self, _events):
        for _ in range(_BATCH_MAX):
            try:
                data, source = self._sock.recvfrom(DATAGRAM_BYTES + 1)
            except BlockingIOError:
                return
            flow = self._arrivals.take(data)
            if flow is not None:
                self._changed += self._sources.setdefault(flow, source) != source
                self._sources[flow] = source
                self._sock.sendto(data, source)

    def _on_command(self, words):
        emit("result" if words == ["finish"] else "report", **self._arrivals.counts, mappings_changed=self._changed)
        if words == ["finish"]:
            self._loop.stop()


class Client:
    """Keeps a window of datagrams under way."""

    def __init__(self, to, first_flow):
        self._arrivals = Arrivals()
        self._first = first_flow
        self._sent = self._errors = self._under_way = 0
        self._heard_ns = time.monotonic_ns()
        self._sending = True
        self._loop = Loop(self._on_command, self._on_tick, _TICK_NS)
        self._socks = []
        for _ in range(FLOWS):
            sock = _socket()
            sock.connect((to, PORT))
            self._loop.add(sock, lambda _events, sock=sock: self._on_answer(sock))
            self._socks.append(sock)

    def run(self):
        """Run until told to finish."""
        emit("ready")
        self._loop.run()

    def _fill(self):
        while self._sending and self._under_way < WINDOW:
            number, flow = divmod(self._sent, FLOWS)
            self._sent += 1
            self._under_way += 1
            try:
                self._socks[flow].send(datagram(self._first + flow, number))
            except OSError:
                self._errors += 1           # an ICMP error, or no room: it is lost, and counted as sent and not arrived
                return

    def _on_tick(self, now_ns):
        if now_ns - self._heard_ns > STALL_NS:
            self._heard_ns, self._under_way = now_ns, 0
        self._fill()

    def _on_answer(self, sock):
        for _ in range(_BATCH_MAX):
            try:
                data = sock.recv(DATAGRAM_BYTES + 1)
            except BlockingIOError:
                break
            except OSError:
                self._errors += 1
                continue
            if self._arrivals.take(data) is not None:
                self._heard_ns = time.monotonic_ns()
                self._under_way = max(0, self._under_way - 1)
        self._fill()

    def _on_command(self, words):
        if words == ["stop"]:
            self._sending = False
        emit({"finish": "result", "stop": "stopped"}.get(words[0], "report"), **self._arrivals.counts, sent=self._sent,
             errors=self._errors)
        if words == ["finish"]:
            self._loop.stop()


def main():
    """Command line of both sides."""
    parser = argparse.ArgumentParser(description="UDP load of a soak")
    sides = parser.add_subparsers(dest="side", required=True)
    sides.add_parser("serve").add_argument("--address", required=True)
    client = sides.add_parser("send")
    client.add_argument("--to", required=True)
    client.add_argument("--first-flow", type=int, default=0)
    args = parser.parse_args()
    if args.side == "serve":
        Server(args.address).run()
    else:
        Client(args.to, args.first_flow).run()


if __name__ == "__main__":
    main()
