"""Exporter: collects IPFIX records and sends them, as packets of the function itself."""

from ..sdk.build import NO_MAC, ipv4, udp
from ..sdk.build6 import ipv6
from ..sdk.packet import UDP
from . import ipfix

#: records that wait for the next tick at most
RECORDS_WAITING_MAX = 512


class Exporter:
    """Messages of *router* (an Ipv6Router with the Maps ``waiting`` and ``export``) to *collector* (address of either kind) or None.

    ``export``: "sequence" -> records sent, "template_ns" -> when the template was sent last.
    """

    def __init__(self, router, collector, port, domain, template_interval_ns):
        self._router, self._collector, self._port, self._domain = router, collector, port, domain
        self._template_interval_ns = template_interval_ns
        self.wanted = collector is not None
        self._with_ipv6 = any(own.addresses6 for own in router.port.values())

    @property
    def full(self):
        """Whether ``send`` should be called before the next tick."""
        return len(self._router.waiting) >= RECORDS_WAITING_MAX

    def add(self, record):
        """Keep *record* for the next message."""
        number = self._router.export.get("added", 0)
        self._router.export["added"] = number + 1
        self._router.waiting[number] = record

    def send(self, ctx):
        """Send what waits, and the template if it is due."""
        if not self.wanted:
            return
        waiting, export = self._router.waiting, self._router.export
        is_due = ctx.now_ns - export.get("template_ns", 0) >= self._template_interval_ns
        records = list(waiting.values())
        for number in list(waiting):
            del waiting[number]
        while records or is_due:
            count = ipfix.fitting(records)
            some, records = records[:count], records[count:]
            sequence = export.get("sequence", 0)
            self._emit(ipfix.message(some, sequence, self._domain, ctx.now_ns, is_due, self._with_ipv6), ctx)
            export["sequence"] = sequence + len(some)
            if is_due:
                export["template_ns"], is_due = ctx.now_ns, False

    def _emit(self, message, ctx):
        hop = self._router.route(self._collector)
        if hop is None:
            self._router.drop("collector_no_route")
            return
        if isinstance(self._collector, bytes):
            source, make = self._router.source_for(hop[0], self._collector), ipv6
        else:
            source, make = self._router.port[hop[0]].address, ipv4
        datagram = udp(source, self._port, self._collector, self._port, message)
        self._router.transmit_to(make(NO_MAC, NO_MAC, UDP, source, self._collector, datagram), *hop, ctx)
