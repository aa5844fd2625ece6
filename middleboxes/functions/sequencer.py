"""Sequencer: a router that numbers the datagrams of a UDP port, over all flows and both directions.

A witness of the protection rather than a product: after any failover no number may be seen on two datagrams, no
datagram under two numbers, and no number below one that was seen before. ``ftmb chaos`` looks for just that.

Ports: ``inside`` and ``outside``; each is the gateway of its side.

Parameters:

=============  =======  ===================================================================================
stamped_port   7100     UDP port; datagrams to it or from it get their number in bytes 0 to 7 of the payload,
                        big-endian, from 1 on
routes         none     list of [prefix, next hop] (see ``routes``)
=============  =======  ===================================================================================

State: the number (one counter, shared by all workers), ARP (see ``router``), ``drops`` by reason.

Limits: fragments and datagrams with less than 8 bytes of payload are forwarded without a number; a datagram that
is dropped after it was numbered (its next hop does not answer) leaves a gap.
"""

from ..sdk import Counter
from .stamping_router import StampingRouter


class Sequencer(StampingRouter):
    """Stamps a global sequence number."""

    name = "sequencer"
    stamp_bytes = 8

    number = Counter()

    def stamp(self, flow):
        return self.number.add().to_bytes(8, "big")
