"""The deployment file is read strictly: what is wrong is named by file and key path."""

import json

import pytest
from deployments import pool, single, tree

from ryu_app.deployment import DeploymentError, load, parse, read_key


def test_an_example_is_read_into_types():
    deployment = parse(single())
    assert deployment.groups["nat"].ports[0].hosts == ("c1",)
    assert deployment.nodes["il"].ports["nat"]["inside"].switch == "s1"
    assert deployment.recovery is True


@pytest.mark.parametrize("make", [pool, tree])
def test_larger_examples_are_read(make):
    parse(make())


def _set(path, value):
    def change(tree):
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = value
    return change


def _without(path):
    def change(tree):
        for key in path[:-1]:
            tree = tree[key]
        del tree[path[-1]]
    return change


@pytest.mark.parametrize("change, complaint", [
    (_set(["speed"], 1), "the top level: unknown key 'speed'"),
    (_without(["control"]), "the top level: key 'control' is missing"),
    (_set(["control", "port"], "9777"), "control.port: must be an integer"),
    (_set(["control", "port"], True), "control.port: must be an integer"),
    (_set(["control", "port"], 70000), "control.port: must be 1 .. 65535"),
    (_set(["control", "address"], "somewhere"), "control.address: 'somewhere' is not an IP address"),
    (_set(["openflow", "priority"], 65000), "openflow.priority: must be"),
    (_set(["recovery"], "no"), "recovery: must be true or false"),
    (_set(["liveness", "suspect_after_ms"], 60), "liveness.suspect_after_ms: must be 100"),
    (_set(["hosts", "c1", "switch"], "s9"), "hosts.c1.switch: there is no switch 's9'"),
    (_set(["hosts", "c1", "mac"], "03:00:00:00:00:01"), "hosts.c1.mac: '03:00:00:00:00:01' is not a unicast MAC"),
    (_set(["nodes", "m1", "data", "mac"], "02:46:54:02:00:01"), "in the range of virtual MAC addresses"),
    (_set(["hosts", "c1", "port"], 2), "switch port"),
    (_set(["nodes", "m1", "data", "mac"], "02:46:54:00:00:01"), "MAC address '02:46:54:00:00:01' is used twice"),
    (_set(["groups", "nat", "store"], "st9"), "groups.nat.store: there is no node 'st9'"),
    (_set(["groups", "nat", "input_logger"], "m3"), "groups.nat.input_logger: node 'm3' has no interface"),
    (_set(["groups", "nat", "workers"], 13), "groups.nat.workers: must be 1 .. 12"),
    (_set(["groups", "nat", "pool"], []), "groups.nat.pool: needs at least 1"),
    (_set(["groups", "nat", "pool"], ["m1", "st"]), "node 'st' is already a logger or store"),
    (_set(["groups", "nat", "pool"], ["m1", "m1"]), "groups.nat.pool: node 'm1' is used twice"),
    (_set(["groups", "nat", "ports", 0, "hosts"], ["c9"]), "groups.nat.ports[0].hosts[0]: there is no host 'c9'"),
    (_set(["groups", "nat", "ports", 0, "address"], "10.0.0.300/24"), "groups.nat.ports[0].address"),
    (_set(["nodes", "il", "ports", "fw"], {}), "nodes: il.ports: there is no group 'fw'"),
])
def test_what_is_wrong_is_named(change, complaint):
    value = single()
    change(value)
    with pytest.raises(DeploymentError) as caught:
        parse(value, "lab.json")
    assert str(caught.value).startswith("lab.json: ")
    assert complaint in str(caught.value)


def test_two_groups_do_not_share_a_first_master():
    value = pool()
    value["groups"]["nat2"]["pool"] = ["m1", "m2"]
    with pytest.raises(DeploymentError, match="first master 'm1' is used twice"):
        parse(value)


def test_files_that_are_no_json_are_refused(tmp_path):
    path = tmp_path / "deployment.json"
    path.write_text("{")
    with pytest.raises(DeploymentError, match="not JSON"):
        load(str(path))
    path.write_text('{"links": [], "links": []}')
    with pytest.raises(DeploymentError, match="'links' appears twice"):
        load(str(path))
    with pytest.raises(DeploymentError, match="No such file"):
        load(str(tmp_path / "none.json"))
    path.write_text(json.dumps(single()))
    assert load(str(path)) == parse(single())


def test_the_key_is_32_bytes_of_hex(tmp_path):
    path = tmp_path / "key"
    path.write_text("ab" * 32 + "\n")
    assert read_key(str(path)) == b"\xab" * 32
    for wrong in ("ab" * 31, "xy" * 32, ""):
        path.write_text(wrong)
        with pytest.raises(DeploymentError, match="32 bytes"):
            read_key(str(path))
