"""What an author of a middlebox imports.

::

    from middleboxes.sdk import Counter, Map, Middlebox

    class Echo(Middlebox):
        \"""Sends every frame back to where it came from and counts per port.\"""
        ports = ("inside", "outside")
        seen = Map()

        def process(self, packet, ctx):
            self.seen[ctx.port] = self.seen.get(ctx.port, 0) + 1
            ctx.emit(ctx.port, packet.data)

An author sees a class, ``process(packet, ctx)``, declared state, and nothing of the protocol:

- ``middlebox``  the base class ``Middlebox``, ``Port``, ``ConfigurationError``, and what ``ctx`` offers
- ``packet``     ``Packet``: lazily parsed views of a frame, rewriting with incremental checksums (RFC 1624); compiled
- ``packet6``    ``Packet6``: the same for IPv6; ``address_text``: an address of either kind for people
- ``views``      the headers that they give: ``Ipv4``, ``Ipv6``, ``Tcp``, ``Arp``
- ``parameters``  ``Parameters``: takes what the configuration gives, each value with its type checked
- state          ``Map``, ``Counter``, ``IdleTimers`` (from middleboxes.core.state), ``Set``, ``Records``, ``ExpiringMap`` (kinds);
                 with several workers each variable has a scope, and shared ones a domain: see ``Middlebox``
"""

from ..core.kinds import ExpiringMap, Records, Set
from ..core.state import Counter, IdleTimers, Map, StateError
from .middlebox import ConfigurationError, Context, Middlebox, Port
from .packet import Packet
from .packet6 import Packet6, address_text
from .parameters import Parameters, Prefix

__all__ = ["ConfigurationError", "Context", "Counter", "ExpiringMap", "IdleTimers", "Map", "Middlebox", "Packet", "Packet6",
           "Parameters", "Port", "Prefix", "Records", "Set", "StateError", "address_text"]
