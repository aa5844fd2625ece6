"""The client's UDP flows: numbered datagrams in both directions, each flow on a socket of its own."""

import socket

from .loop import Wheel
from .payload import MESSAGE_BYTES, PayloadError, message, parse

_BATCH_MAX = 16


class _Flow:
    def __init__(self, loop, target, number):
        self.flow = number
        self.sent = self.answered = self.wrong = self.errors = 0
        self.answered_number = -1
        self._loop = loop
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.connect(target)
        loop.add(self._sock, self._on_event)

    def send(self):
        """Send the next datagram."""
        try:
            self._sock.send(message(self.flow, self.sent))
        except OSError:
            self.errors += 1        # an ICMP error or a full buffer; this number stays unanswered
        self.sent += 1

    def close(self):
        self._loop.close(self._sock)

    def _on_event(self, _events):
        for _ in range(_BATCH_MAX):
            try:
                data = self._sock.recv(MESSAGE_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                self.errors += 1
                continue
            try:
                flow, number = parse(data)
            except PayloadError:
                self.wrong += 1
                continue
            if flow != self.flow or number >= self.sent:
                self.wrong += 1     # somebody else's answer: the mapping back leads to the wrong flow
                continue
            self.answered += 1
            self.answered_number = max(self.answered_number, number)


class Flows:
    """*count* flows, each with a datagram every *period_ns*."""

    def __init__(self, loop, target, count, period_ns, now_ns):
        self._flows = [_Flow(loop, target, number) for number in range(count)]
        self._wheel = Wheel(self._flows, period_ns, now_ns)
        self._mark = [0] * count
        self.count = count

    def on_tick(self, now_ns):
        """Send whatever is due."""
        for flow in self._wheel.due(now_ns):
            flow.send()

    def mark(self):
        """From here on ``answered_since_mark`` counts only what is sent after this moment."""
        self._mark = [flow.sent for flow in self._flows]

    def answered_since_mark(self):
        """How many flows have had the answer to a datagram sent after the mark."""
        return sum(1 for flow, mark in zip(self._flows, self._mark) if flow.answered_number >= mark)

    def close(self):
        """Close all sockets."""
        for flow in self._flows:
            flow.close()

    def counts(self):
        """The counts as a map."""
        return {"udp_flows": len(self._flows), "udp_sent": sum(f.sent for f in self._flows),
                "udp_answered": sum(f.answered for f in self._flows), "udp_wrong": sum(f.wrong for f in self._flows),
                "udp_errors": sum(f.errors for f in self._flows)}
