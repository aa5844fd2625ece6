"""The services of a load balancer: a virtual address and port, and the backends behind it.

The parameter ``services`` is a list of maps:

============  =======  ===================================================================================
address       -        virtual address (IPv4 or IPv6), in a prefix of the port ``clients`` or another host's; answered with
                       ARP or Neighbor Discovery
protocol      tcp      ``tcp`` or ``udp``
port          -        port, 1 to 65535
sticky_s      0        so long after its last new flow a client's next one goes to the same backend; 0: by the flow alone
backends      -        list of maps: ``address``, of the same kind, in a prefix of ``backends`` or routed there; ``port`` (default: the
                       service's); ``weight``, 0 to 100 (default 1; 0 drains: no new flows, those that are open go on)
============  =======  ===================================================================================
"""

from typing import NamedTuple

from ..sdk import Parameters
from ..sdk.packet import TCP, UDP
from .maglev import BACKENDS_MAX, WEIGHT_MAX, table_of

SERVICES_MAX = 256
_PROTOCOLS = {"tcp": TCP, "udp": UDP}


class Service(NamedTuple):
    """A service: *key* is (protocol, virtual address, port), *backends* [(address, port)], *table* indices of them."""

    key: tuple
    sticky_ns: int
    backends: tuple
    table: tuple


def take_services(taken, router):
    """Take ``services`` out of *taken* (Parameters): {key: Service}. Raises ConfigurationError."""
    services = {}
    for number, given in enumerate(taken.list("services", (), SERVICES_MAX), 1):
        service = _service(f"{taken.name}: service {number}", given, router)
        if service.key in services:
            taken.fail(f"service {number}: this address, protocol and port are another service's, too")
        services[service.key] = service
    if not services:
        taken.fail("services: at least one is needed")
    return services


def _service(name, given, router):
    taken = Parameters(name, given, ("address", "protocol", "port", "sticky_s", "backends"))
    address = taken.any_address("address")
    on_link = router.on_link(address)
    if router.own.get(address) != "clients" and (on_link == "backends" or not router.is_host(address)):
        taken.fail("address must be one that clients reach, and no backend's side's")
    key = (_PROTOCOLS[taken.choice("protocol", "tcp", tuple(_PROTOCOLS))], address, taken.integer("port", None, 1, 65535))
    sticky_s = taken.integer("sticky_s", 0, 0, 1_000_000)
    backends = [_backend(f"{name}: backend {number}", each, key, router)
                for number, each in enumerate(taken.list("backends", (), BACKENDS_MAX), 1)]
    ends = tuple(end for end, _ in backends)
    if not ends or len(set(ends)) < len(ends):
        taken.fail("backends must be at least one, and none twice")
    table = table_of(tuple((_name_of(*end), weight) for end, weight in backends))
    return Service(key, sticky_s * 1_000_000_000, ends, table)


def _name_of(address, port):
    """What the places of a backend in the table depend on."""
    return b"%d:%d" % (address, port) if isinstance(address, int) else address + b":%d" % port


def _backend(name, given, key, router):
    _, virtual, port = key
    taken = Parameters(name, given, ("address", "port", "weight"))
    address = taken.any_address("address")
    hop = router.route(address)
    if hop is None or hop[0] != "backends" or isinstance(address, bytes) != isinstance(virtual, bytes):
        taken.fail("address must be a host behind the port backends, and of the same kind as the service's")
    return (address, taken.integer("port", port, 1, 65535)), taken.integer("weight", 1, 0, WEIGHT_MAX)
