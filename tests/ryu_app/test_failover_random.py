"""Failovers under seeded random orders of arrivals, deaths, broken connections and hangs.

While it runs, the fabric checks: one master per group and epoch; ``recover`` only after all fences and the
redirect of its epoch, with every older master that still runs fenced at the switch; epochs only grow.
In the end every group is protected if the nodes suffice. A failing seed is printed; it repeats exactly.
"""

import random

import pytest
from deployments import pool, single
from fake_fabric import Fabric


def _disturb(fabric, pick, members):
    """One misfortune for a node of the pool, or the end of one; loggers and stores only lose their connection."""
    if pick.random() < 0.2:
        fabric.cut(pick.choice([name for name in sorted(fabric.agents) if name not in members]))
        return
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
    """Every misfortune ends, and everything arrives."""
    for name in members:
        agent, place = fabric.agents[name], fabric.deployment.nodes[name].data.place
        agent.hung = False
        if place in fabric.core.context.down:
            fabric.do(fabric.core.port(place, True, fabric.now_ns))
        if not agent.running:
            fabric.boot(name)
    for _ in range(60):
        fabric.run()
        fabric.tick()


def _campaign(deployment, seed):
    print(f"seed {seed}")
    pick = random.Random(seed)
    fabric = Fabric(deployment)
    fabric.start(names=[])
    names = sorted(fabric.deployment.nodes)
    pick.shuffle(names)
    for name in names:
        fabric.boot(name)
    members = sorted({name for spec in fabric.deployment.groups.values() for name in spec.pool})
    for _ in range(pick.randrange(100, 400)):
        choices = fabric.choices()
        if choices and pick.random() < 0.85:
            fabric.step(pick.choice(choices))
        elif pick.random() < 0.5:
            fabric.tick(pick.choice((20_000_000, 20_000_000, 900_000_000)))
        else:
            _disturb(fabric, pick, members)
    _heal(fabric, members)
    return fabric


def _check_end(fabric):
    for name in fabric.deployment.groups:
        assert fabric.state(name) == "protected", fabric.texts()[-20:]
        holders = [agent.name for agent in fabric.agents.values() if (name, "master") in agent.roles]
        assert holders == [fabric.master(name)], "an old master that was never retired"
    assert fabric.steering.fenced == frozenset()
    assert fabric.core.context.pending == {}


@pytest.mark.parametrize("seed", range(150))
def test_one_group(seed):
    _check_end(_campaign(single(), seed))


@pytest.mark.parametrize("seed", range(1000, 1100))
def test_groups_that_share_a_pool(seed):
    _check_end(_campaign(pool(groups=3, size=5), seed))
