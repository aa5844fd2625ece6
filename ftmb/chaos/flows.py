"""The traffic of a campaign: short numbered UDP flows, new ones all the time, and their answers.

    python -m ftmb.chaos.flows serve --address 192.0.2.1 --record FILE
    python -m ftmb.chaos.flows send --to 192.0.2.1 --first-flow 0 --record FILE

Either side appends what it receives to FILE, and what it sends to FILE.sent (see payload.py), when told ``flush`` (answer: ``flushed``) and now and
then by itself. The sender keeps SLOTS flows alive, each with a socket of its own for LIFE datagrams: so at any
moment some flow is new. Its command ``stop`` ends the sending (answer: ``stopped``), not the receiving; ``finish``
tells the ``result``.
"""

import argparse
import collections
import ipaddress
import socket
import time

from ..demo.traffic.loop import Loop, Wheel, emit
from .payload import DATAGRAM_BYTES, PORT, SENT_SUFFIX, PayloadError, Sent, decode, encode, to_record, to_sent_record

SLOTS = 20
LIFE = 20
PERIOD_NS = 100_000_000
_TICK_NS = 5_000_000
#: Sockets of ended flows that still wait for late answers: those of some forty seconds, longer than any outage that is waited for.
_RETIRED_MAX = 400
#: Bytes kept before they are written out unasked.
_KEPT_BYTES_MAX = 1 << 20
_BATCH_MAX = 64
#: A burst after an outage must not be lost at the last step.
_RECEIVE_BUFFER_BYTES = 8 << 20
_SO_RCVBUFFORCE = 33    # Linux; the socket module does not name it


def _socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    sock.setblocking(False)
    return sock


class Recorder:
    """Notes what was sent, and arrivals and what is wrong with them."""

    def __init__(self, path):
        self._file, self._sent_file = open(path, "wb", buffering=0), open(path + SENT_SUFFIX, "wb", buffering=0)
        self._kept, self._kept_sent = bytearray(), bytearray()
        self.received = self.damaged = 0

    def arrived(self, data, source):
        """The Arrival of *data* from *source* as the socket tells it, or None if it is damaged."""
        try:
            arrival = decode(data, time.monotonic_ns(), (int(ipaddress.IPv4Address(source[0])), source[1]))
        except PayloadError:
            self.damaged += 1
            return None
        self.received += 1
        self._kept += to_record(arrival)
        if len(self._kept) > _KEPT_BYTES_MAX:
            self.flush()
        return arrival

    def sent(self, back, flow, number, sent_ns):
        """A datagram was sent."""
        self._kept_sent += to_sent_record(Sent(sent_ns, back, flow, number))
        if len(self._kept_sent) > _KEPT_BYTES_MAX:
            self.flush()

    def flush(self):
        """Write out what is kept."""
        for file, kept in ((self._file, self._kept), (self._sent_file, self._kept_sent)):
            file.write(kept)
            kept.clear()


class Server:
    """Answers each datagram with one of the same flow and number."""

    def __init__(self, address, record):
        self._recorder = Recorder(record)
        self._loop = Loop(self._on_command)
        self._sock = _socket()
        self._sock.bind((address, PORT))
        self._loop.add(self._sock, self._on_datagram)
        self._answered = self._full = 0

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
            arrival = self._recorder.arrived(data, source)
            if arrival is not None and not arrival.back:
                now_ns = time.monotonic_ns()
                try:
                    self._sock.sendto(encode(True, arrival.inside, arrival.flow, arrival.number, now_ns), source)
                except BlockingIOError:     # a starved machine: the send buffer is full, nothing has left
                    self._full += 1
                    continue
                self._recorder.sent(True, arrival.flow, arrival.number, now_ns)
                self._answered += 1

    def _on_command(self, words):
        self._recorder.flush()
        counts = {"sent": self._answered, "received": self._recorder.received, "damaged": self._recorder.damaged,
                  "misdelivered": 0, "full": self._full}
        emit("result" if words == ["finish"] else "flushed", **counts)
        if words == ["finish"]:
            self._loop.stop()


class _Flow:
    def __init__(self, client, number, left):
        self.flow, self.sent, self.left = number, 0, left
        self._client = client
        self.sock = _socket()
        self.sock.connect((client.to, PORT))
        address, port = self.sock.getsockname()
        self._inside = int(ipaddress.IPv4Address(address)), port
        self._source = client.to, PORT
        client.loop.add(self.sock, self._on_answer)

    def send(self):
        """Send the next datagram; False if the socket has an error to tell instead."""
        now_ns = time.monotonic_ns()
        try:
            self.sock.send(encode(False, self._inside, self.flow, self.sent, now_ns))
            self._client.recorder.sent(False, self.flow, self.sent, now_ns)
        except OSError:
            return False
        finally:
            self.sent += 1
            self.left -= 1
        return True

    def _on_answer(self, _events):
        for _ in range(_BATCH_MAX):
            try:
                data = self.sock.recv(DATAGRAM_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                self._client.errors += 1        # an ICMP error
                continue
            arrival = self._client.recorder.arrived(data, self._source)
            if arrival is not None and (arrival.inside != self._inside or not arrival.back):
                self._client.misdelivered += 1


class Client:
    """SLOTS flows at a time, and the sockets of those that ended."""

    def __init__(self, to, first_flow, record):
        self.to, self.recorder = to, Recorder(record)
        self.errors = self.misdelivered = 0
        self.loop = Loop(self._on_command, self._on_tick, _TICK_NS)
        self._next_flow, self._sent = first_flow, 0
        # not all of one age: flows begin and end at any time
        self._slots = [self._flow(1 + slot * LIFE // SLOTS) for slot in range(SLOTS)]
        self._wheel = Wheel(range(SLOTS), PERIOD_NS, time.monotonic_ns())
        self._retired = collections.deque()

    def run(self):
        """Run until told to finish."""
        emit("ready")
        self.loop.run()

    def _flow(self, left):
        flow = _Flow(self, self._next_flow, left)
        self._next_flow += 1
        return flow

    def _on_tick(self, now_ns):
        if self._wheel is None:
            return
        for slot in self._wheel.due(now_ns):
            flow = self._slots[slot]
            self._sent += flow.send()
            if not flow.left:
                self._retire(flow)
                self._slots[slot] = self._flow(LIFE)

    def _retire(self, flow):
        self._retired.append(flow)
        if len(self._retired) > _RETIRED_MAX:
            self.loop.close(self._retired.popleft().sock)

    def _on_command(self, words):
        self.recorder.flush()
        if words == ["stop"]:
            self._wheel = None
        counts = {"sent": self._sent, "received": self.recorder.received, "damaged": self.recorder.damaged,
                  "misdelivered": self.misdelivered, "errors": self.errors}
        emit({"finish": "result", "stop": "stopped"}.get(words[0], "flushed"), **counts)
        if words == ["finish"]:
            self.loop.stop()


def main():
    """Command line of both sides."""
    parser = argparse.ArgumentParser(description="numbered UDP flows of a campaign")
    sides = parser.add_subparsers(dest="side", required=True)
    server, client = sides.add_parser("serve"), sides.add_parser("send")
    server.add_argument("--address", required=True)
    client.add_argument("--to", required=True)
    client.add_argument("--first-flow", type=int, default=0)
    for side in (server, client):
        side.add_argument("--record", required=True)
    args = parser.parse_args()
    if args.side == "serve":
        Server(args.address, args.record).run()
    else:
        Client(args.to, args.first_flow, args.record).run()


if __name__ == "__main__":
    main()
