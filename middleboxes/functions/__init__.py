"""The built-in network functions, one per file; each file's docstring is its manual.

- ``nat``             network address and port translation (NAPT) for TCP, UDP, ICMP
- ``firewall``        stateful packet filter between zones
- ``ids``             finds signatures that span segments, port scans, SYN floods
- ``load_balancer``   spreads flows to virtual addresses over backends (layer 4)
- ``monitor``         accounting per host and per flow
- ``rate_limiter``    token buckets per host
- ``wan_optimiser``   one of a pair that sends as references what the other one has seen before
- ``sequencer``       a router that numbers datagrams: a witness, whose every packet shows whether state went back
- ``shared_counter``  a router that counts datagrams per source and in total: another witness
- ``router``          not a function: what functions with IPv4 addresses of their own share (ARP, next hops, ICMP errors)
- ``router6``         not a function: the same for both kinds of IP, with ``neighbor_discovery``
- ``hop``             not a function: a router that asks its subclass what to do with each packet that may go on
- ``stamping_router`` not a function: what the witnesses share

What these are made of: ``routes`` and ``route_table`` (static routes), ``port_pool`` (which external port next), ``nat_options``, ``nat_sessions``, ``nat_fragments``, ``nat_log``, ``tcp_sessions`` (when a connection is over),
``tcp_window`` (whether a segment fits), ``connections`` (bounded table of flows), ``firewall_rules``, ``firewall_fragments``, ``families`` (what differs between IPv4 and IPv6), ``quoted`` and ``icmp_errors``
(errors and the packets that they quote), ``accounting`` (bounded counts), ``ipfix`` and ``exporter`` (flow records to a collector); ``signatures``, ``streams`` (of the IDS); of the load balancer: ``services``, ``maglev``, ``backend_health``,
``balanced_errors``; of the WAN optimiser: ``fingerprints``, ``content_store``, ``redundancy`` (what is known already), ``wan_messages`` (on the wire), ``wan_packets``,
``wan_session`` (what the pair knows of each other).
"""

import importlib
import importlib.metadata

from ..sdk import ConfigurationError, Middlebox

#: name in a configuration -> where it is
FUNCTIONS = {"firewall": "middleboxes.functions.firewall:Firewall",
             "ids": "middleboxes.functions.ids:Ids",
             "load-balancer": "middleboxes.functions.load_balancer:LoadBalancer",
             "monitor": "middleboxes.functions.monitor:Monitor",
             "nat": "middleboxes.functions.nat:Nat",
             "rate-limiter": "middleboxes.functions.rate_limiter:RateLimiter",
             "sequencer": "middleboxes.functions.sequencer:Sequencer",
             "shared-counter": "middleboxes.functions.shared_counter:SharedCounter",
             "wan-optimiser": "middleboxes.functions.wan_optimiser:WanOptimiser"}


#: entry points of other packages: "name = package.module:Class"
ENTRY_POINTS = "ftmb.functions"


def _installed():
    """{name: "package.module:Class"} of the functions that installed packages offer; built-in names are ours."""
    found = importlib.metadata.entry_points()
    # Python 3.9 gives a map of groups
    group = found.select(group=ENTRY_POINTS) if hasattr(found, "select") else found.get(ENTRY_POINTS, ())
    return {entry.name: entry.value for entry in sorted(group, key=lambda entry: (entry.name, entry.value))}


def load(name):
    """The Middlebox class of that *name*. Raises ConfigurationError.

    A name is a key of FUNCTIONS, one that an installed package offers by an entry point of the group ENTRY_POINTS, or
    "package.module:Class". "debug:" before it gives the class in debug mode (middleboxes.sdk.conformance.debug).
    """
    if name.startswith("debug:"):
        return importlib.import_module("middleboxes.sdk.conformance").debugged(load(name[len("debug:"):]))
    functions = FUNCTIONS if name in FUNCTIONS or ":" in name else {**_installed(), **FUNCTIONS}
    known = f"known functions: {', '.join(sorted(functions))}, or package.module:Class"
    module_name, colon, class_name = functions.get(name, name).partition(":")
    if not (colon and class_name and all(part.isidentifier() for part in module_name.split("."))):
        raise ConfigurationError(f"unknown function {name!r}; {known}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:      # an author's module may fail in any way, which is then a wrong configuration
        raise ConfigurationError(f"function {name!r}: {type(error).__name__}: {error}; {known}") from error
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, Middlebox)):
        raise ConfigurationError(f"function {name!r}: {module_name} has no Middlebox class {class_name!r}; {known}")
    return cls
