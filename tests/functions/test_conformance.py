"""Every built-in function passes the conformance suite."""

import pytest

from middleboxes.functions import FUNCTIONS, load
from middleboxes.sdk.conformance import CHECKS, Subject

from .nat_scenario import EXTERNAL, ip

ROUTES = {"routes": [["198.51.100.0/24", "192.0.2.1"]]}
OUTWARD = {"rules": [{"action": "accept", "from": "inside"}, {"action": "reject", "protocol": "udp"}], **ROUTES}
SUBJECTS = {
    "nat": dict(parameters={"external_addresses": [EXTERNAL], "outside_gateway": "192.0.2.1"}, addresses=[ip(EXTERNAL)],
                bounds={"mappings_max": 500, "tcp_sessions_max": 300, "first_port": 1024, "last_port": 1523}),
    "firewall": dict(parameters=OUTWARD, bounds={"connections_max": 500}),
    "monitor": dict(parameters=ROUTES, bounds={"flows_max": 500, "hosts_max": 100}),
    "sequencer": dict(parameters=ROUTES),
    "shared-counter": dict(parameters=ROUTES, bounds={"sources_max": 500}),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("check", CHECKS)
def test_it_conforms(name, check):
    check(Subject(load(name), **SUBJECTS[name]))
