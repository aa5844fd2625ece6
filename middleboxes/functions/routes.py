"""Static routes of a hop with several ports, the longest prefix first.

The parameter ``routes`` is a list of ``[prefix, next hop]``, e.g. ``[["198.51.100.0/24", "192.0.2.7"], ["0.0.0.0/0",
"192.0.2.1"]]``: at most ROUTES_MAX, a next hop being another host in the prefix of one of the ports, no prefix twice. Functions that speak
IPv6 take routes of it in the same list (``["2001:db8:9::/48", "2001:db8::7"]``; a link-local next hop is not possible: it does not say
at which port). The prefixes of the ports are routes, too. ``routes`` is configuration, not state: it is the same in every instance of a function.
"""

from .route_table import Routes

ROUTES_MAX = 1024


def mask_of(prefix_length, bits=32):
    """The netmask (int) of a prefix length (bits) of an address of so many *bits*."""
    return (1 << bits) - (1 << bits - prefix_length)


class Routes6(Routes):
    """Routes of IPv6: networks and masks are ints, next hops and destinations 16 bytes."""

    def find(self, destination):
        hop = super().find(int.from_bytes(destination, "big"))
        return hop and (hop[0], hop[1] if isinstance(hop[1], bytes) else destination)


def take_routes(taken, router):
    """Take the parameter ``routes`` out of *taken* (Parameters) for *router* (Ipv4Router). Raises ConfigurationError."""
    seen = set()
    for entry in taken.list("routes", (), ROUTES_MAX):
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            taken.fail(f"routes: each must be a list [prefix, next hop], not {entry!r}")
        if router.routes6 is None:
            network, mask = taken.parse_network("routes", entry[0])
            next_hop, kind = taken.parse_address("routes", entry[1]), 32
        else:
            network, mask, kind = taken.parse_prefix("routes", entry[0])
            next_hop = taken.parse_any_address("routes", entry[1])
        if isinstance(next_hop, bytes) != (kind == 128):
            taken.fail(f"routes: {entry[0]} by way of {entry[1]}: both must be of IPv4, or both of IPv6")
        if (network, mask, kind) in seen:
            taken.fail(f"routes: {entry[0]} is there twice")
        seen.add((network, mask, kind))
        add_route(taken, router, "routes", network, mask, next_hop, f"{entry[0]} by way of {entry[1]}")


def add_route(taken, router, name, network, mask, next_hop, text):
    """Add one route to *router*; *name* and *text* are for the message. Raises ConfigurationError."""
    port = router.on_link(next_hop)
    if port is None or not router.is_host(next_hop):
        taken.fail(f"{name}: {text}: the next hop must be another host in the prefix of a port")
    routes = router.routes6 if isinstance(next_hop, bytes) else router.routes
    if not routes.add(network, mask, port, next_hop):
        taken.fail(f"{name}: {text}: this prefix has a route already, of a port or a parameter")
