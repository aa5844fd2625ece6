"""The deployment file is read strictly: what is wrong is named by file and key path."""

import json

import pytest
from deployments import chain, pool, single, tree, with_candidates

from ryu_app.deployment import DeploymentError, load, parse, read_key


def test_an_example_is_read_into_types():
    deployment = parse(single())
    assert deployment.groups["nat"].ports[0].hosts == ("c1",)
    assert deployment.nodes["il"].ports["nat"]["inside"].switch == "s1"
    assert deployment.recovery is True


@pytest.mark.parametrize("make", [pool, tree, chain])
def test_larger_examples_are_read(make):
    parse(make())


def test_who_may_serve_a_group_is_by_default_who_begins():
    group = parse(single()).groups["nat"]
    assert (group.loggers, group.stores) == (("il", "ol"), ("st", "il", "ol"))
    assert (group.on_loss, group.spare) == ("block", "warm")
    value = single()
    value["groups"]["nat"].update(output_logger="il", store="il")
    group = parse(value).groups["nat"]
    assert (group.loggers, group.stores) == (("il",), ("il",))


def test_an_idle_node_may_be_in_the_pool_and_a_logger_and_a_store():
    value = with_candidates(single(), ("m3",))
    value["groups"]["nat"].update(on_loss="empty", spare="cold", pool=["m1", "st", "m3"])
    group = parse(value).groups["nat"]
    assert (group.loggers, group.stores, group.pool) == (("il", "ol", "m3"), ("st", "m3"), ("m1", "st", "m3"))
    assert (group.on_loss, group.spare) == ("empty", "cold")


def test_peers_face_each_other_and_need_no_hosts():
    groups = parse(chain()).groups
    assert groups["fw"].ports[1].peer == ("nat", "inside") and groups["nat"].ports[0].peer == ("fw", "outside")
    assert groups["fw"].ports[1].hosts == () and groups["fw"].ports[0].peer is None
    value = chain()
    del value["groups"]["fw"]["ports"][1]["hosts"]
    value["groups"]["fw"]["ports"][0]["peer"] = None
    assert parse(value).groups == groups


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
    (_set(["groups", "nat", "pool"], ["st", "m1"]), "nat.pool: the first master 'st' is already a logger or store"),
    (_set(["groups", "nat", "pool"], ["m1", "m1"]), "groups.nat.pool: node 'm1' is used twice"),
    (_set(["groups", "nat", "ports", 0, "hosts"], ["c9"]), "groups.nat.ports[0].hosts[0]: there is no host 'c9'"),
    (_set(["groups", "nat", "ports", 0, "address"], "10.0.0.300/24"), "groups.nat.ports[0].address"),
    (_set(["groups", "nat", "ports", 0, "address6"], "2001:db8::1/64"), "groups.nat.ports[0].address6: must be a list"),
    (_set(["groups", "nat", "ports", 0, "address6"], ["2001:db8::1"]), "'2001:db8::1' is not an IPv6 address with its prefix length"),
    (_set(["groups", "nat", "ports", 0, "address6"], ["2001:db8::1%a/64"]), "has a zone, which is not possible here"),
    (_set(["groups", "nat", "ports", 0, "announced"], ["10.0.0.1/24"]), "'10.0.0.1/24' is not an IP address"),
    (_set(["nodes", "il", "ports", "fw"], {}), "nodes: il.ports: there is no group 'fw'"),
    (_set(["groups", "nat", "loggers"], ["il"]), "groups.nat.loggers: node 'ol' begins with the role, and is not listed"),
    (_set(["groups", "nat", "loggers"], ["il", "ol", "m3"]), "groups.nat.loggers: node 'm3' has no interface"),
    (_set(["groups", "nat", "loggers"], ["il", "ol", "il"]), "groups.nat.loggers: node 'il' is used twice"),
    (_set(["groups", "nat", "stores"], []), "groups.nat.stores: node 'st' begins with the role, and is not listed"),
    (_set(["groups", "nat", "stores"], ["st", "x"]), "groups.nat.stores[1]: there is no node 'x'"),
    (_set(["groups", "nat", "on_loss"], "panic"), "groups.nat.on_loss: must be one of block, last-checkpoint, empty"),
    (_set(["groups", "nat", "spare"], True), "groups.nat.spare: must be a text"),
    (_set(["groups", "nat", "ports", 0, "hosts"], []), "groups.nat.ports[0]: a port needs hosts or a peer"),
    (_set(["groups", "nat", "ports", 0, "peer"], {"group": "fw"}), "groups.nat.ports[0].peer: key 'port' is missing"),
    (_set(["groups", "nat", "ports", 0, "peer"], {"group": "fw", "port": "x"}), "'inside': there is no port fw.x"),
    (_set(["groups", "nat", "ports", 0, "peer"], {"group": "nat", "port": "outside"}), "must be of another group"),
    (_set(["groups", "nat", "ports", 0, "mac"], "02:00:5e:00:01:02"), "MAC address '02:00:5e:00:01:02' is used twice"),
])
def test_what_is_wrong_is_named(change, complaint):
    _check_complaint(single(), change, complaint)


@pytest.mark.parametrize("change, complaint", [
    (_set(["groups", "nat", "ports", 0, "peer"], None), "nat.ports[0]: a port needs hosts or a peer"),
    (_set(["groups", "nat", "ports", 0], {**chain()["groups"]["nat"]["ports"][0], "peer": None, "hosts": ["c1"]}),
     "fw.ports: 'outside': its peer nat.inside does not name it in turn"),
    (lambda value: value["groups"]["nat"]["ports"][1].update(hosts=["c1"], address="10.0.0.254/16"),
     "for a host, the address ('c1', '10.0.0.254') is used twice (fw.inside and nat.outside)"),
])
def test_what_is_wrong_with_several_groups_is_named(change, complaint):
    _check_complaint(chain(), change, complaint)


def _check_complaint(value, change, complaint):
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
