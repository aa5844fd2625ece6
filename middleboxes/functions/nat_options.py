"""What a NAT is told: forwards and filtering, from its configuration.

A forward is a map ``{protocol: tcp|udp, external_address, external_port, inside_address, inside_port}``: a mapping that is always there. ``external_address``
may be left out if there is only one; ``inside_port`` is by default the external one.
"""

from ..sdk import Parameters
from ..sdk.packet import TCP, UDP, endpoint

FORWARDS_MAX = 1024
EXTERNAL_ADDRESSES_MAX = 256
_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_FORWARD_KEYS = ("protocol", "external_address", "external_port", "inside_address", "inside_port")

INTEGERS = {
    # parameter: (default, least, most)
    "first_port": (1024, 1, 65535),
    "last_port": (65535, 1, 65535),
    "mappings_max": (60_000, 1, 1_000_000),
    "mappings_per_host_max": (60_000, 1, 1_000_000),
    "contacts_max": (60_000, 1, 1_000_000),
    "tcp_sessions_max": (60_000, 1, 1_000_000),
    "tcp_established_timeout_s": (7440, 1, 1_000_000),
    "tcp_opening_timeout_s": (240, 1, 1_000_000),
    "tcp_closing_timeout_s": (240, 1, 1_000_000),
    "udp_timeout_s": (300, 1, 1_000_000),
    "icmp_timeout_s": (60, 1, 1_000_000),
    "log_port": (514, 1, 65535),
}
PARAMETERS = (*INTEGERS, "external_addresses", "outside_gateway", "routes", "filtering", "forwards", "log_collector")
FILTERING = ("endpoint-independent", "address-dependent", "address-and-port-dependent")


def take_external_addresses(taken, nat):
    """The parameter ``external_addresses`` out of *taken* (Parameters), as ints. Raises ConfigurationError."""
    texts = taken.any("external_addresses", None)
    if not isinstance(texts, (list, tuple)) or not 1 <= len(texts) <= EXTERNAL_ADDRESSES_MAX:
        taken.fail(f"external_addresses must be a list of 1 to {EXTERNAL_ADDRESSES_MAX} IPv4 addresses")
    addresses = [taken.parse_address("external_addresses", text) for text in texts]
    if len(set(addresses)) != len(addresses):
        taken.fail("external_addresses names an address twice")
    for text, address in zip(texts, addresses):
        usable = nat.is_host(address) or address == nat.port["outside"].address
        if not usable or nat.on_link(address) == "inside":
            taken.fail(f"external address {text} must be a host's and outside of the inside prefix")
    return addresses


def take_forwards(taken, nat):
    """The parameter ``forwards`` out of *taken*: {external end: inside end}, each an endpoint(). Raises ConfigurationError."""
    forwards = {}
    for number, given in enumerate(taken.list("forwards", (), FORWARDS_MAX), 1):
        each = Parameters(f"nat: forward {number}", given, _FORWARD_KEYS)
        protocol = _PROTOCOLS[each.choice("protocol", None, tuple(_PROTOCOLS))]
        only = nat.external_addresses[0] if len(nat.external_addresses) == 1 else None
        external = each.address("external_address", only)
        if external not in nat.external_addresses:
            each.fail("external_address must be one of external_addresses")
        port = each.integer("external_port", None, 1, 65535)
        inside = each.address("inside_address")
        if not nat.is_host(inside) or not nat.is_inside(inside):
            each.fail("inside_address must be a host's on the inside")
        inside_end = endpoint(protocol, inside, each.integer("inside_port", port, 1, 65535))
        if endpoint(protocol, external, port) in forwards or inside_end in forwards.values():
            each.fail("its external or its inside end has another forward already")
        forwards[endpoint(protocol, external, port)] = inside_end
    return forwards
