"""Every built-in function passes the conformance suite; ``--hostile-packets 100000``: with as many hostile packets for each."""

import pytest

from middleboxes.functions import FUNCTIONS, load
from middleboxes.functions.connections import ANSWERED, ECHO, ESTABLISHED
from middleboxes.sdk import Port
from middleboxes.sdk.conformance import CHECKS, Subject
from middleboxes.sdk.conformance.traffic import apply

from .hop6_scenario import INSIDE6, OUTSIDE6, ROUTES6, ip6
from .nat_scenario import EXTERNAL, ip
from .wan_pair import NEAR, NEAR_PARAMETERS, Pair, Source, exchange

PORTS = (INSIDE6, OUTSIDE6)     # routed hops speak both
ROUTES = {"routes": ROUTES6}
OUTWARD = {"rules": [{"action": "accept", "from": "inside"}, {"action": "reject", "protocol": "udp"}], **ROUTES}
LB_PORTS = (Port("clients", *INSIDE6[1:]), Port("backends", *OUTSIDE6[1:]))
SERVICES = [{"address": "10.0.0.100", "port": port, "protocol": protocol, "sticky_s": sticky_s,
             "backends": [{"address": "192.0.2.1", "weight": 2}, {"address": "192.0.2.2", "port": 8080}, {"address": "192.0.2.3"}]}
            for port, protocol, sticky_s in ((80, "tcp", 0), (53, "udp", 0), (7100, "tcp", 60))]
SERVICES += [{"address": "2001:db8:1::100", "port": 80, "sticky_s": 60, "backends": [{"address": "2001:db8:2::1"}, {"address": "2001:db8:2::2", "port": 8080}]},
             {"address": "2001:db8:1::100", "port": 53, "protocol": "udp", "backends": [{"address": "2001:db8:2::3"}]}]


def wan_trace():
    """What the near one of two WAN optimisers got, on a bad network: packets, references, and what the other one told."""
    pair = Pair(lose=0.05, repeat=0.05, reorder=0.2)
    exchange(pair, Source(1), 250)
    (packets, octets, on_wan), drops = pair.near.traffic["in"], pair.near.drops
    assert packets > 50 and on_wan < octets * 0.8 and not drops.get("resync"), "much of it came as references that it knows"
    return pair.near.inputs


SUBJECTS = {
    "load-balancer": dict(parameters={"services": SERVICES}, ports=LB_PORTS, addresses=[ip("10.0.0.100"), ip6("2001:db8:1::100")] * 8,
                          bounds={"connections_max": 500, "sticky_max": 100}, steps=600),
    "nat": dict(parameters={"external_addresses": [EXTERNAL], "outside_gateway": "192.0.2.1"}, addresses=[ip(EXTERNAL)],
                bounds={"mappings_max": 500, "tcp_sessions_max": 300, "first_port": 1024, "last_port": 1523}),
    "nat with all its options": dict(parameters={
        "external_addresses": [EXTERNAL, "192.0.2.101"], "outside_gateway": "192.0.2.1", "filtering": "address-dependent", "log_collector": "192.0.2.2",
        "mappings_per_host_max": 20, "forwards": [{"protocol": "tcp", "external_address": EXTERNAL, "external_port": 80,
                                                   "inside_address": "10.0.0.1"}]}, addresses=[ip(EXTERNAL)] * 2,
        bounds={"mappings_max": 500, "tcp_sessions_max": 300, "contacts_max": 100}),
    "firewall": dict(ports=PORTS, parameters=OUTWARD, bounds={"connections_max": 500}),
    "monitor": dict(ports=PORTS, parameters=ROUTES, bounds={"flows_max": 500, "hosts_max": 100}),
    "ids": dict(ports=PORTS, parameters={"signatures": [{"name": "a", "pattern": "hex:61"}, {"name": "drop b", "pattern": "bb", "action": "drop"},
                                           {"name": "u", "pattern": "z", "protocol": "udp"}], "scan_targets_max": 3, "flood_syns_max": 2, **ROUTES},
                bounds={"connections_max": 500, "watched_max": 100}),
    "rate-limiter": dict(ports=PORTS, parameters={"bytes_per_s": 400, "burst_bytes": 1500, **ROUTES}, bounds={"hosts_max": 100}),
    "monitor with export": dict(ports=PORTS, parameters={"collector": "192.0.2.1", "flow_active_timeout_s": 2, "flow_idle_timeout_s": 5, **ROUTES},
                                bounds={"flows_max": 500, "hosts_max": 100}),
    "sequencer": dict(ports=PORTS, parameters=ROUTES),
    "shared-counter": dict(ports=PORTS, parameters=ROUTES, bounds={"sources_max": 500}),
    "wan-optimiser": dict(parameters=NEAR_PARAMETERS, ports=NEAR, trace=wan_trace(),
                          bounds={"cache_entries": 64, "content_bytes_min": 1, "remote": ["10.9.0.0/24"]}),
}


@pytest.mark.parametrize("name", sorted(SUBJECTS))
@pytest.mark.parametrize("check", CHECKS)
def test_it_conforms(name, check, request):
    check(Subject(load(name.partition(" ")[0]), fuzzed=request.config.getoption("--hostile-packets"), **SUBJECTS[name]))


def test_every_function_is_checked():
    assert {name.partition(" ")[0] for name in SUBJECTS} == set(FUNCTIONS)


def test_the_traffic_gets_deep_into_both_kinds_of_ip():
    subject = Subject(load("firewall"), **SUBJECTS["firewall"])
    machine, seen = subject.machine(1), set()
    for step in subject.trace:
        apply(machine, step)
        seen |= {(isinstance(key[1], bytes), value[0]) for key, value in machine.function.connections.items()}
    assert {(kind, reached) for kind in (True, False) for reached in (ECHO, ANSWERED, ESTABLISHED)} <= seen
