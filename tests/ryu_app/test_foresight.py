"""What a failure would ask of the switches is worked out before it happens, and is the very same then."""

import random
from dataclasses import replace

import pytest
from deployments import pool, single
from fake_fabric import Fabric
from random_networks import random_deployment, random_steering
from test_forwarding import Network

from ryu_app.actions import Steer
from ryu_app.steering import Steering
from ryu_app.switches import Send, Switches


class Twins:
    """Two reconcilers that are told the same; one of them foresees. They must give the same, always."""

    def __init__(self, deployment):
        self._foreseeing, self._other = Switches(deployment), Switches(deployment)
        self.foresee = self._foreseeing.foresee
        self.taken = 0                  # steerings that were foreseen

    def __getattr__(self, name):
        def both(*args):
            was = self._foreseeing._switches
            given = getattr(self._foreseeing, name)(*args)
            assert given == getattr(self._other, name)(*args)
            self.taken += self._foreseeing._switches is not was
            return given
        return both


def test_what_was_foreseen_is_what_would_be_asked_whatever_happened_since():
    taken = asked = 0
    for seed in range(60):
        rng = random.Random(seed)
        deployment = random_deployment(rng)
        network = Network(deployment, rng)
        network.switches = Twins(deployment)
        for name in sorted(deployment.switches):
            network.do(network.switches.switch_connected(name))
        for token in range(1, 12):
            steering = random_steering(rng, deployment)
            network.plane.down = steering.down
            if rng.random() < 0.7:
                network.switches.foresee("what comes", steering)
            for about in range(rng.randrange(3)):
                network.switches.foresee(about, random_steering(rng, deployment))
            _disturb(network, rng)
            # not the same object: it is told anew
            network.do(network.switches.steer(replace(steering, active=dict(steering.active)), token))
            for _ in range(rng.randrange(8)):
                network.step()
            if rng.random() < 0.8:
                network.reconnect()
                network.settle()
                assert token in network.done
        taken, asked = taken + network.switches.taken, asked + 11
    assert asked > taken > asked / 10, "often enough it was still true, and sometimes it was not"


def _disturb(network, rng):
    """Something that may make what was foreseen untrue."""
    what, name = rng.choice(("nothing", "nothing", "audit", "lost", "doubt")), rng.choice(sorted(network.deployment.switches))
    if what == "audit":
        network.do(network.switches.audit())
        for _ in range(rng.randrange(4)):
            network.step()
    elif what == "lost":
        network.lose(name)
    elif what == "doubt" and network.plane.flows[name]:
        key = rng.choice(sorted(network.plane.flows[name], key=repr))
        network.do(network.switches.removed(name, network.plane.flows[name][key]))     # they will be asked


@pytest.mark.parametrize("deployment, victims", [(single(), ["m1"]), (pool(), ["m1", "m2"])])
def test_a_masters_death_asks_for_what_its_outlook_said(deployment, victims):
    """Also if its host dies with it."""
    for how in ("process", "host"):
        for victim in victims:
            fabric = Fabric(deployment)
            fabric.start()
            fabric.run()
            outlooks = dict(fabric.core.outlook() for _ in fabric.deployment.groups)
            dead = fabric.agents[victim]
            group = next(name for name, role in dead.roles if role == "master")
            place = fabric.deployment.nodes[victim].data.place
            actions = fabric.core.port(place, False, fabric.now_ns) if how == "host" else fabric.core.closed(victim, fabric.now_ns)
            asked = [action.steering for action in actions if isinstance(action, Steer)]
            assert asked == [outlooks[group]] and victim in asked[0].fenced


def test_of_a_group_that_nobody_could_take_over_nothing_is_foreseen():
    fabric = Fabric(single())
    assert fabric.core.outlook() == ("nat", None), "it has not begun"
    fabric.start(names=["il", "ol", "st", "m1"])
    fabric.tick(11_000_000_000)
    fabric.run()
    assert fabric.group().phase == "running" and fabric.core.outlook() == ("nat", None)


def test_what_is_foreseen_of_one_takes_the_place_of_what_was_and_none_takes_it_away():
    rng = random.Random(1)
    deployment = random_deployment(rng)
    network = Network(deployment, rng)
    first, second = random_steering(rng, deployment), random_steering(rng, deployment)
    assert network.switches.foresee("g", second) == [], "nothing is known yet"
    network.do(network.switches.steer(Steering({}), 1))
    assert network.switches.foresee("g", first) == [], "too much is under way"
    network.settle()
    sent = network.switches.foresee("g", first)
    assert any(isinstance(command, Send) for command in sent)
    assert network.switches.foresee("g", first) is sent, "not computed anew"
    assert network.switches.foresee("g", second) != sent and len(network.switches._foreseen) == 1
    assert network.switches.foresee("g", None) == [] and not network.switches._foreseen
