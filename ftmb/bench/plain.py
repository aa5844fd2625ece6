"""The process of ``plain``: a NAT between two port interfaces in the runtime's loop and links, without any protection.

    python -m ftmb.bench.plain INSIDE-INTERFACE OUTSIDE-INTERFACE
"""

import gc
import sys
import time

from middleboxes.core.master import StepContext
from middleboxes.functions import load
from middleboxes.runtime.awake import Awake, Request
from middleboxes.runtime.link import port_link
from middleboxes.runtime.loop import Loop
from middleboxes.sdk import Port

from .nodes import NAT, PORTS

_TICK_NS = 100_000_000


class Plain:
    """The function, and a link for each port."""

    def __init__(self, interfaces):
        self._loop = Loop()
        ports = [Port.parse(port["name"], port["mac"], port["address"]) for port in PORTS]
        self._names = [port.name for port in ports]
        self._function = load("nat").instances(NAT, ports, 1)[0]
        self._context = StepContext({name: number for number, name in enumerate(self._names)}, 1, print)
        self._links = [port_link(interface) for interface in interfaces]
        self._outgoing = [port_link(interface, receives=False) for interface in interfaces]
        for number, link in enumerate(self._links):
            self._loop.watch(link.fileno(), lambda number=number: self._receive(number))
        self._loop.after(_TICK_NS, self._tick)
        try:
            Awake(self._loop, lambda: self._loop.turns, Request())
        except OSError as error:        # a node would say so, too, and go on
            print(f"plain: processors sleep between packets: {error}", file=sys.stderr)

    def run(self):
        """Serve until the process ends."""
        gc.disable()
        self._loop.run()

    def _receive(self, number):
        context, handle = self._context, self._function.handle
        context.port, context.now_ns = self._names[number], time.time_ns()
        context.outputs = []
        for frame in self._links[number].receive():
            handle(frame, context)
        for port, link in enumerate(self._outgoing):
            outputs = [output for to, output in context.outputs if to == port]
            if outputs:
                link.send_all(outputs)

    def _tick(self):
        self._context.outputs, self._context.now_ns = [], time.time_ns()
        self._function.tick(self._context)
        # what changed is for checkpoints, of which there are none here
        for variable in self._function.variables.values():
            variable.cut()
        self._loop.after(_TICK_NS, self._tick)


if __name__ == "__main__":
    plain = Plain(sys.argv[1:3])
    print("ready", flush=True)
    plain.run()
