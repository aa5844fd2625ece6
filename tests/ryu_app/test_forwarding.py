"""What frames meet on their way, over random networks: they arrive if there is a way, and never anywhere else.

Also on the way from one set of entries to another, after every single change of a switch.
"""

import random

import pytest
from forwarding import NSH, Plane, expectations, strangers
from random_networks import random_deployment, random_steering

from ryu_app.steering import BROADCAST, virtual_mac, wanted
from ryu_app.switches import AskEntries, Barrier, Done, Send, Switches


@pytest.mark.parametrize("seed", range(80))
def test_every_frame_arrives_once_if_there_is_a_way_and_nowhere_else(seed):
    rng = random.Random(seed)
    deployment = random_deployment(rng)
    plane, memory = Plane(deployment), {}
    for _ in range(4):
        steering = random_steering(rng, deployment)
        plane.down = steering.down
        plane.hold(*wanted(deployment, steering))
        assert wanted(deployment, steering) == wanted(deployment, steering, memory), "whatever is remembered of before"
        for (place, frame), targets in expectations(deployment, steering).items():
            out, stray = plane.walk(place, dict(frame))
            assert sorted(out) == sorted(targets), (steering, place, frame)
            assert not stray, f"{frame} from {place} is left to others' rules"
        _check_strangers(plane, rng, 300)
        macs = [port.mac for spec in deployment.groups.values() for port in spec.ports]
        for node in deployment.nodes.values():
            for target in (BROADCAST, deployment.hosts["c1"].mac, macs[0], "02:11:22:33:44:55"):
                assert plane.walk(node.data.place, {"eth_type": NSH, "eth_src": node.data.mac, "eth_dst": target}) == ([], False)


def _check_strangers(plane, rng, count):
    """What a stranger sends to a role or node is dropped, with no other app asked."""
    for place, frame in strangers(plane.deployment, rng, count):
        assert plane.walk(place, dict(frame)) == ([], False), (place, frame)


class Network:
    """The reconcilers with switches that take messages one by one, in an order that *rng* decides."""

    def __init__(self, deployment, rng):
        self.plane, self.rng, self.deployment = Plane(deployment), rng, deployment
        self.switches = Switches(deployment)
        self.inboxes = {name: [] for name in deployment.switches}
        self.done = set()
        self.away = set()
        for name in deployment.switches:
            self.do(self.switches.switch_connected(name))

    def do(self, commands):
        for command in commands:
            if isinstance(command, Send):
                self.inboxes[command.switch] += command.changes
            elif isinstance(command, (AskEntries, Barrier)):
                self.inboxes[command.switch].append(command)
            else:
                assert isinstance(command, Done), command
                self.done.add(command.token)

    def step(self):
        """One switch takes one message; False if there is none."""
        ready = sorted(name for name, inbox in self.inboxes.items() if inbox)
        if not ready:
            return False
        name = self.rng.choice(ready)
        message = self.inboxes[name].pop(0)
        if isinstance(message, Barrier):
            self.do(self.switches.barrier_reply(name, message.number))
        elif isinstance(message, AskEntries):
            self.do(self.switches.entries(name, "groups", list(self.plane.groups[name].values()), False))
            self.do(self.switches.entries(name, "flows", list(self.plane.flows[name].values()), False))
        else:
            self.plane.apply(message)
        return True

    def settle(self):
        while self.step():
            pass

    def lose(self, name):
        """The connection of a switch ends with what is on its way; it forwards on."""
        self.inboxes[name].clear()
        self.away.add(name)
        self.do(self.switches.switch_lost(name))

    def reconnect(self):
        for name in sorted(self.away):
            self.do(self.switches.switch_connected(name))
        self.away.clear()


def _check_transition(network, before, after, roles, unbroken):
    """No loop, no stray, nothing at a place where it belongs neither before nor after; what had a way never loses it.

    *roles*: {virtual MAC: places of who has or had the role}; who may send to them changes on its own. So does who speaks
    for a middlebox: a former one that is not stopped yet may be led as the present one is.
    """
    present = {}
    for (_, frame), targets in after.items():
        present.setdefault(frame, set()).update(targets)

    for (place, frame), targets in after.items():
        out, stray = network.plane.walk(place, dict(frame))
        assert not stray, f"{frame} from {place} is left to others' rules"
        former = before.get((place, frame), set())
        receivers = roles.get(dict(frame)["eth_dst"], set()) | (present[frame] if former and not targets else set())
        assert set(out) <= targets | former | receivers, (place, frame)
        if (place, frame) in unbroken and len(targets) == len(former) == 1:
            assert len(out) == 1, f"{frame} from {place} goes nowhere though it could"


def _note_roles(deployment, steering, roles):
    for (group, role), node in steering.active.items():
        if node is not None:
            mac = virtual_mac(role, deployment.groups[group].id)
            roles.setdefault(mac, set()).add(deployment.nodes[node].data.place)

# 145 and 20 (IPv6): anchor, master and links change at once; 105: both ends of the way from one middlebox to the next
@pytest.mark.parametrize("seed, ipv6", [*((seed, False) for seed in (*range(30), 105, 145)), (20, True)])
def test_no_change_of_a_switch_makes_a_loop_a_gap_or_a_stray(seed, ipv6):
    rng = random.Random(seed)
    deployment = random_deployment(rng, ipv6)
    network = Network(deployment, rng)
    before, steering = {}, random_steering(rng, deployment)
    network.do(network.switches.steer(steering, 0))
    network.settle()
    for token in range(1, 5):
        roles = {}
        _note_roles(deployment, steering, roles)
        before, steering = expectations(deployment, steering), random_steering(rng, deployment)
        after = expectations(deployment, steering)
        _note_roles(deployment, steering, roles)
        network.plane.down = steering.down
        unbroken = {key for key, targets in before.items() if targets
                    and set(network.plane.walk(key[0], dict(key[1]))[0]) == targets}
        network.do(network.switches.steer(steering, token))
        while network.step():
            _check_transition(network, before, after, roles, unbroken)
            _check_strangers(network.plane, rng, 10)
        assert token in network.done
        for (place, frame), targets in after.items():
            assert set(network.plane.walk(place, dict(frame))[0]) == targets


@pytest.mark.parametrize("seed", range(10))
def test_questions_for_all_addresses_of_a_port_find_their_way(seed):
    rng = random.Random(seed)
    deployment = random_deployment(rng, ipv6=True)
    network, steering = Network(deployment, rng), random_steering(rng, deployment)
    network.plane.down = steering.down
    network.do(network.switches.steer(steering, 0))
    network.settle()
    expected = expectations(deployment, steering)
    assert sum("ipv6_nd_target" in dict(frame) for _, frame in expected) >= 4
    for (place, frame), targets in expected.items():
        out, stray = network.plane.walk(place, dict(frame))
        assert (sorted(out), stray) == (sorted(targets), False)


# 91 and 2 (IPv6): deletions are lost with a switch's connection; 123: a switch is away while its last link goes and returns
@pytest.mark.parametrize("seed, ipv6", [*((seed, False) for seed in (*range(30), 91, 123)), (2, True)])
def test_changes_that_overtake_each_other_and_connections_that_break_make_no_loop_and_no_stray(seed, ipv6):
    rng = random.Random(seed)
    deployment = random_deployment(rng, ipv6)
    network = Network(deployment, rng)
    network.do(network.switches.steer(random_steering(rng, deployment)))
    network.settle()
    for token in range(1, 8):
        steering = random_steering(rng, deployment)
        network.plane.down = steering.down
        network.do(network.switches.steer(steering, token))
        if rng.random() < 0.3:
            network.lose(rng.choice(sorted(deployment.switches)))
        for _ in range(rng.randint(0, 30)):
            network.step()
            for place, frame in expectations(deployment, steering):
                _, stray = network.plane.walk(place, dict(frame))
                assert not stray
        if rng.random() < 0.5:
            network.reconnect()
    network.reconnect()
    network.settle()
    assert network.done == set(range(1, 8))
    assert {flow for table in network.plane.flows.values() for flow in table.values()} == wanted(deployment, steering)[0]
    for (place, frame), targets in expectations(deployment, steering).items():
        assert set(network.plane.walk(place, dict(frame))[0]) == targets
