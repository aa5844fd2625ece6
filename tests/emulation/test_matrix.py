"""Every role of every configuration dies in every way, and then another one dies: connections live, mappings stay.

By default a fixed part of the matrix; ``--matrix full`` runs all of it (some ten minutes), ``--matrix-seed N`` with other
second failures. Each case kills a role under established traffic, waits until the network is settled, and checks the
traffic; then, in configurations where the first one must be mended before the second (chain, pool), mends it; kills a role
drawn from the seed, waits and checks again; and mends everything for the next case.
"""

import random

import pytest

from ftmb.emulator import client
from ftmb.emulator.report import ROLES, WAYS

from .network import PAIRS, OneAtATime

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]

#: networks where there are nodes enough to survive a second failure before the first is mended
_SURVIVE_TWO = ("single", "tree")
_PART = [*(("single", role, "process") for role in ROLES),
         ("single", "master", "hang"), ("single", "output-logger", "link"), ("single", "input-logger", "host"),
         ("tree", "master", "host"), ("tree", "input-logger", "process"), ("tree", "store", "link"),
         ("chain", "master", "process"), ("chain", "input-logger", "host"), ("chain", "output-logger", "process"),
         ("pool", "master", "link"), ("pool", "output-logger", "host"), ("pool", "spare", "process")]
_FULL = [(name, role, how) for name in PAIRS for role in ROLES for how in WAYS]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Networks, one at a time."""
    kept = OneAtATime(lambda: tmp_path_factory.mktemp("network"))
    yield kept
    kept.close()


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        cases = _FULL if metafunc.config.getoption("--matrix") == "full" else _PART
        metafunc.parametrize("case", cases, ids=["-".join(case) for case in cases])


def test_any_role_may_die_and_then_another(case, networks, request):
    name, role, how = case
    draw = random.Random(f"{request.config.getoption('--matrix-seed')} {case}")
    with networks.use(name) as network:
        kill(network, draw, role, how)
        if name not in _SURVIVE_TWO:
            network.heal()
        kill(network, draw, draw.choice(ROLES), draw.choice(WAYS))
        network.heal()
        network.check()


def kill(network, draw, role, how):
    """Kill *role* in one of the groups; the traffic must go on."""
    groups = [group["name"] for group in client.status()["groups"] if role != "spare" or group["spares"]]
    done = client.kill(draw.choice(groups), role, how)
    print(f"killed {done['node']}, the {role} of {done['group']} ({how})")
    network.settle()
    network.check()
