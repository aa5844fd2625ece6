"""A node that dies again and again gets no new role for a while, unless there is nobody else."""

from deployments import single
from fake_fabric import Fabric

from ryu_app.flapping import DEATHS_MAX, FORGIVEN_NS, PENALTY_MAX_NS, PENALTY_MIN_NS, WINDOW_NS, Flapping

SECOND_NS = 1_000_000_000


def test_two_deaths_are_bad_luck_and_the_third_within_a_minute_is_not():
    node = Flapping()
    assert [node.died(number * SECOND_NS) for number in range(DEATHS_MAX)] == [0, 0, PENALTY_MIN_NS]
    assert node.damped(2 * SECOND_NS + PENALTY_MIN_NS - 1) and not node.damped(2 * SECOND_NS + PENALTY_MIN_NS)


def test_deaths_far_apart_are_never_damped():
    node = Flapping()
    assert {node.died(number * WINDOW_NS) for number in range(20)} == {0}


def test_the_time_doubles_up_to_a_bound_and_is_forgotten_in_the_end():
    node = Flapping()
    found = [node.died(number * SECOND_NS) for number in range(20)][2:]
    assert found[:3] == [PENALTY_MIN_NS, 2 * PENALTY_MIN_NS, 4 * PENALTY_MIN_NS] and found[-1] == PENALTY_MAX_NS
    later_ns = 20 * SECOND_NS + FORGIVEN_NS
    assert [node.died(later_ns + number * SECOND_NS) for number in range(3)][2] == PENALTY_MIN_NS


def test_a_flapping_node_stands_by_only_if_there_is_nobody_else():
    fabric = Fabric(single(pool=("m1", "m2", "m3")))
    fabric.start()
    fabric.run()
    for _ in range(3):
        fabric.kill("m2")
        fabric.run()
        fabric.boot("m2")
        fabric.run()
    assert fabric.group().spare.node == "m3"
    fabric.kill("m1")
    fabric.run()
    assert fabric.master() == "m3" and fabric.group().spare.node == "m2", "there is nobody else"
    fabric.boot("m1")
    fabric.run()
    fabric.kill("m2")
    fabric.run()
    fabric.boot("m2")
    fabric.run()
    assert fabric.group().spare.node == "m1" and fabric.state() == "protected"
