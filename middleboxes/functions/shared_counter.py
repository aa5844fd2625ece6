"""SharedCounter: a router that counts the datagrams of a UDP port, per source and in total, and writes both in.

A witness of the protection, as ``sequencer``: it keeps many keys of state that change with each packet, and each
packet that leaves tells them. No count may go back or be seen twice.

Ports: ``inside`` and ``outside``; each is the gateway of its side.

Parameters:

=============  =======  ===================================================================================
stamped_port   7100     UDP port; datagrams to it or from it get, big-endian and from 1 on, the total count in
                        bytes 0 to 7 of the payload and the count of their source in bytes 8 to 15
routes         none     list of [prefix, next hop] (see ``routes``)
sources_max    65536    sources (address and port) that are counted; at the limit datagrams of others are dropped
=============  =======  ===================================================================================

State: the count of each source, the total, ARP (see ``router``), ``drops`` by reason (``sources_full``).

Limits: fragments and datagrams with less than 16 bytes of payload are forwarded and not counted; a source is
never forgotten.
"""

from ..sdk import Counter, Map
from .stamping_router import StampingRouter


class SharedCounter(StampingRouter):
    """Stamps the total count and the count of the source."""

    name = "shared-counter"
    stamp_bytes = 16
    victims = {**StampingRouter.victims, "counts": "none: the newcomer is refused (sources_full)"}

    total = Counter()
    counts = Map()      # (source address, source port) -> datagrams

    def configure_hop(self, taken):
        super().configure_hop(taken)
        self.sources_max = taken.integer("sources_max", 65536, 1, 1_000_000)

    def stamp(self, flow):
        source = flow[1:3]
        count = self.counts.get(source, 0)
        if not count and len(self.counts) >= self.sources_max:
            self.drop("sources_full")
            return None
        self.counts[source] = count + 1
        return self.total.add().to_bytes(8, "big") + (count + 1).to_bytes(8, "big")
