"""Which networks and kills a run has, what an earlier run leaves to be done, and that each setting is a network that can come up."""

import pytest

from ftmb import config
from ftmb.bench.gap import configuration, settings

LOAD = {"flows": 100_000, "rate_pps": 10_000, "checkpoint_interval_ms": 100}


def test_without_sweeps_there_is_one_network_for_each_readiness():
    plan = settings.plan(["warm", "cold"], ["process", "hang"], 50, LOAD, False)
    assert [(setting.readiness, setting.hows, setting.kills) for setting in plan] == [
        ("warm", ("process", "hang"), 50), ("cold", ("process", "hang"), 50)]


def test_a_sweep_changes_one_thing_and_makes_few_kills():
    first, *sweeps = settings.plan(["warm"], ["host"], 50, LOAD, True)
    assert len(sweeps) == sum(map(len, settings.SWEEPS.values()))
    for setting in sweeps:
        changed = [name for name, value in LOAD.items() if getattr(setting, name) != value]
        assert len(changed) == 1 and getattr(setting, changed[0]) in settings.SWEEPS[changed[0]]
        assert (setting.hows, setting.kills) == (("process",), settings.SWEEP_KILLS_MAX)


def test_of_an_earlier_run_only_what_is_missing_is_left():
    (setting,) = settings.plan(["warm"], ["process", "host", "hang"], 3, LOAD, False)
    rows = [{**setting.key("process"), "kills": [{}] * 3}, {**setting.key("host"), "kills": [{}]},
            {**setting.key("hang"), "flows": 1, "kills": [{}] * 3}]
    assert settings.left(setting, rows) == {"host": 2, "hang": 3}


@pytest.mark.parametrize("flows, groups", [(1, 1), (100_000, 1), (settings.FLOWS_MAX, 1), (1000, 4)])
@pytest.mark.parametrize("readiness", config.readiness())
def test_every_network_is_a_configuration_with_room_for_all_flows(readiness, flows, groups):
    read = config.read(configuration.text(readiness, flows, 100, groups), "test")
    assert len(read.groups) == groups and len(read.nodes) == 3 + groups + configuration.SPARES
    for number, group in enumerate(read.groups.values(), 1):
        names = configuration.group(number)
        assert (group.name, group.spare, group.checkpoint_interval_ms) == (names["name"], readiness, 100)
        assert read.hosts[names["client"]].address.network == group.ports[0].address.network
        addresses = len(group.parameters["external_addresses"])
        assert addresses * configuration.FLOWS_PER_ADDRESS >= flows and group.parameters["mappings_max"] > flows


def test_every_kind_of_readiness_of_the_product_has_a_place_in_the_tables():
    assert sorted(config.readiness(), key=settings.order)
