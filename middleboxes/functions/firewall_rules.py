"""The rules of a firewall: which new flow may begin, by zone, protocol, addresses and ports; the first rule that fits decides.

A rule is a map; what it leaves out fits everything:

====================  ==========================================================================================
action                ``accept``, ``drop`` (silently) or ``reject`` (the sender is told: TCP by RST, else ICMP
                      "administratively prohibited"); the only key that is needed
name                  for the counters; by default ``rule 1``, ``rule 2`` ... by position
from, to              name of a port (zone), or a list of names
protocol              ``tcp``, ``udp``, ``icmp`` (echo of IPv4), ``icmp6`` (echo of IPv6), a protocol number, or a list; of
                      IPv6 it is what comes after the extension headers
source, destination   an IPv4 or IPv6 prefix, or a list of prefixes of both; without one a rule is for both
source_ports,         a port, a range as text (``"8000-8099"``), or a list; such a rule fits TCP and UDP only
destination_ports
====================  ==========================================================================================
"""

from typing import NamedTuple

from ..sdk import Parameters
from ..sdk.packet import ICMP, TCP, UDP
from ..sdk.packet6 import ICMPV6

ACTIONS = ("accept", "drop", "reject")
RULES_MAX = 1024
_ITEMS_MAX = 256
_KEYS = ("action", "name", "from", "to", "protocol", "source", "destination", "source_ports", "destination_ports")
_PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmp6": ICMPV6}
#: the rule that decides where no other fits
DEFAULT_RULE = "default"


class Rule(NamedTuple):
    """A rule; None fits everything. Addresses are Prefixes, ports (first, last)."""

    name: str
    action: str
    zones_from: frozenset = None
    zones_to: frozenset = None
    protocols: frozenset = None
    sources: tuple = None
    destinations: tuple = None
    source_ports: tuple = None
    destination_ports: tuple = None

    def fits(self, flow, zone_from, zone_to):
        """Whether the rule is about *flow* (a five tuple) between these ports."""
        protocol, source, source_port, destination, destination_port = flow
        return ((self.zones_from is None or zone_from in self.zones_from)
                and (self.zones_to is None or zone_to in self.zones_to)
                and (self.protocols is None or protocol in self.protocols)
                and _in_networks(source, self.sources) and _in_networks(destination, self.destinations)
                and _in_ranges(protocol, source_port, self.source_ports)
                and _in_ranges(protocol, destination_port, self.destination_ports))


def _in_networks(address, networks):
    return networks is None or any(prefix.has(address) for prefix in networks)


def _in_ranges(protocol, port, ranges):
    return ranges is None or protocol in (TCP, UDP) and any(first <= port <= last for first, last in ranges)


def take_rules(taken, zones, default_action):
    """Take the parameters ``rules`` and ``default`` out of *taken*: a tuple of Rules, the last one fits everything.

    *zones*: the names of the ports. Raises ConfigurationError.
    """
    rules = [_rule(taken.name, number, given, zones) for number, given in enumerate(taken.list("rules", (), RULES_MAX), 1)]
    rules.append(Rule(DEFAULT_RULE, taken.choice("default", default_action, ACTIONS)))
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            taken.fail(f"rules: two have the name {name!r}")
    return tuple(rules)


def _rule(function, number, given, zones):
    taken = Parameters(f"{function}: rule {number}", given, _KEYS)
    name = taken.any("name", f"rule {number}")
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= 64:
        taken.fail("name must be a printable text of at most 64 characters")
    return Rule(name, taken.choice("action", None, ACTIONS), _zones(taken, "from", zones), _zones(taken, "to", zones),
                _protocols(taken), _networks(taken, "source"), _networks(taken, "destination"),
                _ranges(taken, "source_ports"), _ranges(taken, "destination_ports"))


def _items(taken, name):
    """One or many of a parameter as a tuple; None if it is absent."""
    value = taken.any(name, None)
    if value is None:
        return None
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not 1 <= len(items) <= _ITEMS_MAX:
        taken.fail(f"{name} must have 1 to {_ITEMS_MAX} items")
    return items


def _zones(taken, name, zones):
    items = _items(taken, name)
    for item in items or ():
        if item not in zones:
            taken.fail(f"{name}: there is no port {item!r}; the ports are {', '.join(zones)}")
    return None if items is None else frozenset(items)


def _protocols(taken):
    items = _items(taken, "protocol")
    numbers = []
    for item in items or ():
        number = _PROTOCOLS.get(item) if isinstance(item, str) else item
        if type(number) is not int or not 0 <= number <= 255:
            taken.fail(f"protocol must be {', '.join(_PROTOCOLS)} or a number from 0 to 255, not {item!r}")
        numbers.append(number)
    return None if items is None else frozenset(numbers)


def _networks(taken, name):
    items = _items(taken, name)
    return None if items is None else tuple(taken.parse_prefix(name, item) for item in items)


def _ranges(taken, name):
    items = _items(taken, name)
    return None if items is None else tuple(_range(taken, name, item) for item in items)


def _range(taken, name, item):
    first, last = item, item
    if isinstance(item, str):
        parts = item.split("-")
        if len(parts) <= 2 and all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
            first, last = int(parts[0]), int(parts[-1])
    if type(first) is not int or type(last) is not int or not 0 <= first <= last <= 65535:
        taken.fail(f"{name} must be a port from 0 to 65535 or a range like '8000-8099', not {item!r}")
    return first, last
