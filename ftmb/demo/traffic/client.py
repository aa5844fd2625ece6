"""The client in the inside network: what must not notice that its NAT dies.

    python -m ftmb.demo.traffic.client --to 192.0.2.1 [--connections 120] [--flows 120] [--new-per-s 200]

Commands: ``confirm MS`` answers ``confirmed`` once every connection and flow has had an answer to something
sent after the command, and all connections begun before it are done, or after MS milliseconds. ``caught FROM TO``
answers how many new connections were under way between two moments (ns, CLOCK_MONOTONIC). ``finish MS`` opens
no more, lets what is under way end in order within MS milliseconds and tells the ``result``.
"""

import argparse
import time

from .counters import Counters
from .loop import Loop, emit
from .tcp import Established, Openings
from .udp import Flows

_TICK_NS = 5_000_000
_ASK_PERIOD_NS = 400_000_000
_DATAGRAM_PERIOD_NS = 200_000_000
#: The kernel tries for more than two minutes; nobody waits that long for a web page.
_OPENING_TIMEOUT_NS = 20_000_000_000
_FINISH_MS = 10_000


class Client:
    """All traffic of the client, in one loop."""

    def __init__(self, args):
        now_ns = time.monotonic_ns()
        self._counters = Counters()
        self._loop = Loop(self._on_command, self._on_tick, _TICK_NS)
        tcp, udp = (args.to, args.tcp_port), (args.to, args.udp_port)
        self._established = Established(self._loop, tcp, args.connections, _ASK_PERIOD_NS, now_ns)
        self._openings = Openings(self._loop, tcp, args.new_per_s, _OPENING_TIMEOUT_NS, now_ns)
        self._flows = Flows(self._loop, udp, args.flows, _DATAGRAM_PERIOD_NS, now_ns)
        self._closing = False
        self._confirm(self._tell_ready, None)

    def run(self):
        """Run until the result is told."""
        self._loop.run()

    def _wait(self, done, then, timeout_ms):
        """Call *then* once *done* holds at a tick, or after *timeout_ms* (None: never)."""
        self._done, self._then = done, then
        self._deadline_ns = None if timeout_ms is None else time.monotonic_ns() + timeout_ms * 1_000_000

    def _confirm(self, then, timeout_ms):
        """Call *then* once everything has had an answer to something sent after this moment."""
        self._since_ns = time.monotonic_ns()
        self._flows.mark()
        self._wait(self._all_answered, then, timeout_ms)

    def _on_command(self, words):
        if len(words) == 2 and words[0] == "confirm":
            self._confirm(self._tell_confirmed, int(words[1]))
        elif len(words) == 3 and words[0] == "caught":
            emit("caught", count=self._openings.under_way(int(words[1]), int(words[2])))
        elif words[0:1] == ["finish"]:
            self._finish_ms = int(words[1]) if len(words) == 2 else _FINISH_MS
            self._openings.stop()
            self._confirm(self._close, self._finish_ms)
        else:
            raise ValueError(f"unknown command {words}")

    def _on_tick(self, now_ns):
        self._established.on_tick(now_ns)
        self._openings.on_tick(now_ns)
        if not self._closing:
            self._flows.on_tick(now_ns)
        if self._then is not None:
            late = self._deadline_ns is not None and now_ns >= self._deadline_ns
            if late or self._done(now_ns):
                then, self._then = self._then, None
                then()

    def _all_answered(self, now_ns):
        # those that are broken already can't answer; they are counted, not waited for
        return (self._openings.oldest_ns(now_ns) >= self._since_ns
                and self._flows.answered_since_mark() == self._flows.count
                and self._established.answered_since(self._since_ns) == self._established.alive)

    def _all_closed(self, _now_ns):
        return self._established.alive == 0 and self._openings.idle

    def _confirmation(self):
        return {"tcp_answered": self._established.answered_since(self._since_ns),
                "udp_answered_flows": self._flows.answered_since_mark()}

    def _counts(self):
        return {**self._established.counts(), **self._flows.counts(), **self._openings.counts(),
                "kernel": self._counters.growth()}

    def _tell_ready(self):
        emit("ready", **self._confirmation(), **self._counts())

    def _tell_confirmed(self):
        emit("confirmed", **self._confirmation(), **self._counts())

    def _close(self):
        self._last = self._confirmation()
        self._closing = True
        self._flows.close()
        self._established.close(self._since_ns)
        self._wait(self._all_closed, self._tell_result, self._finish_ms)

    def _tell_result(self):
        self._established.abandon()
        self._openings.abandon()
        emit("result", **self._last, **self._counts())
        self._loop.stop()


def main():
    """Command line of the client."""
    parser = argparse.ArgumentParser(description="client traffic of the demo")
    parser.add_argument("--to", required=True)
    parser.add_argument("--tcp-port", type=int, default=7000)
    parser.add_argument("--udp-port", type=int, default=7001)
    parser.add_argument("--connections", type=int, default=120)
    parser.add_argument("--flows", type=int, default=120)
    parser.add_argument("--new-per-s", type=int, default=200)
    args = parser.parse_args()
    Client(args).run()


if __name__ == "__main__":
    main()
