"""Every built-in function passes the conformance suite; ``--hostile-packets 100000``: with as many hostile packets for each."""

import pytest

from middleboxes.functions import FUNCTIONS, load
from middleboxes.sdk.conformance import CHECKS, Subject

from middleboxes.sdk import Port
from .nat_scenario import EXTERNAL, INSIDE, OUTSIDE, ip

ROUTES = {"routes": [["198.51.100.0/24", "192.0.2.1"]]}
OUTWARD = {"rules": [{"action": "accept", "from": "inside"}, {"action": "reject", "protocol": "udp"}], **ROUTES}
LB_PORTS = (Port("clients", *INSIDE[1:]), Port("backends", *OUTSIDE[1:]))
SERVICES = [{"address": "10.0.0.100", "port": port, "protocol": protocol, "sticky_s": sticky_s,
             "backends": [{"address": "192.0.2.1", "weight": 2}, {"address": "192.0.2.2", "port": 8080}, {"address": "192.0.2.3"}]}
            for port, protocol, sticky_s in ((80, "tcp", 0), (53, "udp", 0), (7100, "tcp", 60))]
SUBJECTS = {
    "load-balancer": dict(parameters={"services": SERVICES}, ports=LB_PORTS, addresses=[ip("10.0.0.100")] * 8,
                          bounds={"connections_max": 500, "sticky_max": 100}, steps=600),
    "nat": dict(parameters={"external_addresses": [EXTERNAL], "outside_gateway": "192.0.2.1"}, addresses=[ip(EXTERNAL)],
                bounds={"mappings_max": 500, "tcp_sessions_max": 300, "first_port": 1024, "last_port": 1523}),
    "nat with all its options": dict(parameters={
        "external_addresses": [EXTERNAL, "192.0.2.101"], "outside_gateway": "192.0.2.1", "filtering": "address-dependent", "log_collector": "192.0.2.2",
        "mappings_per_host_max": 20, "forwards": [{"protocol": "tcp", "external_address": EXTERNAL, "external_port": 80,
                                                   "inside_address": "10.0.0.1"}]}, addresses=[ip(EXTERNAL)] * 2,
        bounds={"mappings_max": 500, "tcp_sessions_max": 300, "contacts_max": 100}),
    "firewall": dict(parameters=OUTWARD, bounds={"connections_max": 500}),
    "monitor": dict(parameters=ROUTES, bounds={"flows_max": 500, "hosts_max": 100}),
    "ids": dict(parameters={"signatures": [{"name": "a", "pattern": "hex:61"}, {"name": "drop b", "pattern": "bb", "action": "drop"},
                                           {"name": "u", "pattern": "z", "protocol": "udp"}], "scan_targets_max": 3, "flood_syns_max": 2, **ROUTES},
                bounds={"connections_max": 500, "watched_max": 100}),
    "rate-limiter": dict(parameters={"bytes_per_s": 400, "burst_bytes": 1500, **ROUTES}, bounds={"hosts_max": 100}),
    "monitor with export": dict(parameters={"collector": "192.0.2.1", "flow_active_timeout_s": 2, "flow_idle_timeout_s": 5, **ROUTES},
                                bounds={"flows_max": 500, "hosts_max": 100}),
    "sequencer": dict(parameters=ROUTES),
    "shared-counter": dict(parameters=ROUTES, bounds={"sources_max": 500}),
}


@pytest.mark.parametrize("name", sorted(SUBJECTS))
@pytest.mark.parametrize("check", CHECKS)
def test_it_conforms(name, check, request):
    check(Subject(load(name.partition(" ")[0]), fuzzed=request.config.getoption("--hostile-packets"), **SUBJECTS[name]))


def test_every_function_is_checked():
    assert {name.partition(" ")[0] for name in SUBJECTS} == set(FUNCTIONS)
