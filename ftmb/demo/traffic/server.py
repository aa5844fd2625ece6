"""The server in the outside network: echoes TCP and UDP and watches who speaks to it.

    python -m ftmb.demo.traffic.server --address 192.0.2.1 [--tcp-port 7000] [--udp-port 7001]

A UDP flow carries its number in every datagram. A flow whose source address or port changes, or two flows
with one source, mean that the NAT between has lost its mapping or given it twice. A datagram that comes twice
means that something was sent out again. Commands: ``report``, ``finish``.
"""

import argparse
import select
import socket

from .counters import Counters
from .loop import Loop, emit
from .payload import MESSAGE_BYTES, PayloadError, parse

_READ_BYTES = 4096
_ACCEPT_MAX = 64
_DATAGRAMS_MAX = 64
#: Numbers this far back are told apart from repeats.
_WINDOW = 1 << 10


class FlowTable:
    """What the server knows of each UDP flow; ``seen`` takes datagrams, the counts tell what was wrong."""

    def __init__(self):
        self._source = {}       # flow -> (address, port)
        self._owner = {}        # (address, port) -> flow that has it
        self._recent = {}       # flow -> [highest number, bits of the numbers below it]
        self.datagrams = self.changed = self.shared = self.duplicates = 0

    def seen(self, flow, number, source):
        """Take note of datagram *number* of *flow*, which came from *source*."""
        self.datagrams += 1
        known = self._source.get(flow)
        if known != source:
            if known is not None:
                self.changed += 1
                self._owner.pop(known, None)
            if self._owner.get(source, flow) != flow:
                self.shared += 1
            self._source[flow] = source
            self._owner[source] = flow
        recent = self._recent.setdefault(flow, [number - 1, 0])
        ahead = number - recent[0]
        if ahead > 0:
            recent[1] = ((recent[1] << ahead) | 1) & ((1 << _WINDOW) - 1) if ahead < _WINDOW else 1
            recent[0] = number
        elif -ahead < _WINDOW:
            if recent[1] >> -ahead & 1:
                self.duplicates += 1
            recent[1] |= 1 << -ahead

    def counts(self):
        """The counts as a map."""
        return {"udp_flows": len(self._source), "udp_datagrams": self.datagrams, "mappings_changed": self.changed,
                "mappings_shared": self.shared, "udp_duplicates": self.duplicates}


class Server:
    """Both echo services on one address."""

    def __init__(self, address, tcp_port, udp_port):
        self._counters = Counters()
        self._flows = FlowTable()
        self._accepted = self._resets = self._bad = self._unanswered = 0
        self._loop = Loop(self._on_command)
        self._listener = socket.create_server((address, tcp_port), backlog=1024)
        self._listener.setblocking(False)
        self._loop.add(self._listener, self._on_accept)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, udp_port))
        self._udp.setblocking(False)
        self._loop.add(self._udp, self._on_datagram)

    def run(self):
        """Serve until told to finish."""
        emit("ready")
        self._loop.run()

    def _on_command(self, words):
        if words == ["report"]:
            emit("report", **self._counts())
        elif words == ["finish"]:
            emit("result", **self._counts())
            self._loop.stop()
        else:
            raise ValueError(f"unknown command {words}")

    def _counts(self):
        return {**self._flows.counts(), "tcp_accepted": self._accepted, "tcp_resets_seen": self._resets,
                "bad_payloads": self._bad, "udp_unanswered": self._unanswered, "kernel": self._counters.growth()}

    def _on_accept(self, _events):
        for _ in range(_ACCEPT_MAX):
            try:
                sock, _peer = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            self._accepted += 1
            self._loop.add(sock, Echo(self._loop, sock, self._on_reset).on_event)

    def _on_reset(self):
        self._resets += 1

    def _on_datagram(self, _events):
        for _ in range(_DATAGRAMS_MAX):
            try:
                data, source = self._udp.recvfrom(MESSAGE_BYTES + 1)
            except BlockingIOError:
                return
            try:
                flow, number = parse(data)
            except PayloadError:
                self._bad += 1
                continue
            self._flows.seen(flow, number, source)
            try:
                self._udp.sendto(data, source)
            except BlockingIOError:         # a starved machine: the send buffer is full, this one stays unanswered
                self._unanswered += 1


class Echo:
    """One TCP connection: what comes goes back; at its end it is closed in order, without a reset."""

    def __init__(self, loop, sock, on_reset):
        self._loop, self._sock, self._on_reset = loop, sock, on_reset
        self._pending = b""

    def on_event(self, _events):
        """Read, or write what is left to write; never both, which bounds what is kept."""
        try:
            if self._pending:
                self._write(self._pending)
                return
            data = self._sock.recv(_READ_BYTES)
            if not data:
                self._loop.close(self._sock)
                return
            self._write(data)
        except BlockingIOError:
            return
        except OSError:
            # reset, or given up by the kernel after its retries: either way it did not end in order
            self._on_reset()
            self._loop.close(self._sock)

    def _write(self, data):
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        was_pending, self._pending = bool(self._pending), data[sent:]
        if bool(self._pending) != was_pending:
            self._loop.want(self._sock, select.EPOLLOUT if self._pending else select.EPOLLIN)


def main():
    """Command line of the server."""
    parser = argparse.ArgumentParser(description="TCP and UDP echo of the demo")
    parser.add_argument("--address", required=True)
    parser.add_argument("--tcp-port", type=int, default=7000)
    parser.add_argument("--udp-port", type=int, default=7001)
    args = parser.parse_args()
    Server(args.address, args.tcp_port, args.udp_port).run()


if __name__ == "__main__":
    main()
