"""Failovers of all roles under seeded random orders of arrivals, deaths, broken connections, hangs and controller restarts.

While it runs, the fabric checks: one master per group and epoch; ``recover`` only after all fences and the redirect of its
epoch, with every older master that still runs fenced at the switch, and only if store (or spare) and loggers hold
all that a recovery needs; epochs only grow; nobody is asked who is not there. In the end every group is protected if
the nodes suffice, and each role is held by one process. A failing seed is printed; it repeats exactly.
"""

import random

import pytest
from deployments import pool, single, with_candidates
from fake_fabric import Fabric

ROLES = ("store", "output-logger", "input-logger", "master")


def _disturb(fabric, pick, members):
    """One misfortune for a node of *members*, or the end of one."""
    name = pick.choice(members)
    agent = fabric.agents[name]
    what = pick.choice(("kill", "cut", "hang", "boot", "boot", "link"))
    place = fabric.deployment.nodes[name].data.place
    if what == "kill" and agent.running:
        fabric.kill(name)
    elif what == "cut" and agent.running:
        fabric.cut(name)
    elif what == "hang":
        agent.hung = not agent.hung
    elif what == "boot" and not agent.running:
        fabric.boot(name)
    elif what == "link":
        fabric.do(fabric.core.port(place, place in fabric.core.context.down, fabric.now_ns))


def _heal(fabric, members):
    """Every misfortune ends, everything arrives, and there is time for whoever waits for late nodes."""
    for name in members:
        agent, place = fabric.agents[name], fabric.deployment.nodes[name].data.place
        agent.hung = False
        if place in fabric.core.context.down:
            fabric.do(fabric.core.port(place, True, fabric.now_ns))
        if not agent.running:
            fabric.boot(name)
    for number in range(60):
        fabric.run()
        fabric.tick(1_900_000_000 if number % 3 else 20_000_000)


def _started(deployment, pick):
    fabric = Fabric(deployment)
    fabric.start(names=[])
    names = sorted(fabric.deployment.nodes)
    pick.shuffle(names)
    for name in names:
        fabric.boot(name)
    return fabric


def _campaign(deployment, seed, members=None, restarts=False):
    print(f"seed {seed}")
    pick = random.Random(seed)
    fabric = _started(deployment, pick)
    members = members or sorted(fabric.deployment.nodes)
    for _ in range(pick.randrange(100, 400)):
        choices = fabric.choices()
        if choices and pick.random() < 0.85:
            fabric.step(pick.choice(choices))
        elif pick.random() < 0.5:
            fabric.tick(pick.choice((20_000_000, 20_000_000, 900_000_000)))
        elif restarts and pick.random() < 0.1:
            fabric = fabric.with_new_controller()
        else:
            _disturb(fabric, pick, members)
    _heal(fabric, members)
    return fabric


def _check_end(fabric):
    for name in fabric.deployment.groups:
        assert fabric.state(name) == "protected", fabric.texts()[-20:]
        for role in ROLES:
            holders = [agent.name for agent in fabric.agents.values() if (name, role) in agent.roles]
            assert holders == [fabric.group(name).holders[role].node], f"an old {role} that was never retired"
        logs = {holder.node for role, holder in fabric.group(name).holders.items() if role != "master"}
        assert fabric.master(name) not in logs
    assert fabric.steering.fenced == frozenset()
    assert fabric.core.context.pending == {}


def _members(deployment):
    return sorted({name for group in deployment["groups"].values() for name in group["pool"]})


@pytest.mark.parametrize("seed", range(100))
def test_masters_and_spares_of_one_group_never_lose_state(seed):
    fabric = _campaign(single(), seed, _members(single()))
    _check_end(fabric)
    assert not any("can't be recovered" in text for text in fabric.texts() if "no node" not in text)


@pytest.mark.parametrize("seed", range(1000, 1080))
def test_masters_and_spares_of_groups_that_share_a_pool(seed):
    _check_end(_campaign(pool(groups=3, size=5), seed, _members(pool(groups=3, size=5))))


def _any_role(value, on_loss):
    for group in value["groups"].values():
        group["on_loss"] = on_loss
    return value


@pytest.mark.parametrize("seed", range(2000, 2150))
def test_any_role_of_one_group(seed):
    _check_end(_campaign(_any_role(with_candidates(single(), ["st", "m3"]), "empty"), seed))


@pytest.mark.parametrize("seed", range(3000, 3060))
def test_any_role_of_groups_that_share_loggers_and_pool(seed):
    value = with_candidates(pool(groups=2, size=4), ["il1", "ol1", "il2", "st2"])
    _check_end(_campaign(_any_role(value, "empty"), seed))


@pytest.mark.parametrize("seed", range(4000, 4100))
def test_any_role_going_on_from_the_last_checkpoint_if_need_be(seed):
    """Where no checkpoint is left either, the group stays lost, and says so."""
    fabric = _campaign(_any_role(with_candidates(single(), ["st", "m3"]), "last-checkpoint"), seed)
    if fabric.state() == "lost":
        recovery = fabric.group().recovery
        assert recovery.refilled or "checkpoint" in recovery.lost or "store" in recovery.lost
    else:
        _check_end(fabric)


@pytest.mark.parametrize("seed", range(5000, 5100))
def test_any_role_and_the_controller(seed):
    _check_end(_campaign(_any_role(with_candidates(single(), ["st", "m3"]), "empty"), seed, restarts=True))
