"""A plan resolves a configuration to interfaces, addresses and files that fit together."""

import json
from pathlib import Path

import pytest

from ftmb import config, plan
from ryu_app import deployment

from .example import GOOD


def made(text=GOOD, **options):
    return plan.make(config.read(text, "file.yaml"), "/run/x", **options)


def ends(got):
    return [end for link in got.description["links"] for end in link["ends"]]


def test_names_of_interfaces_are_ours_short_and_unique():
    got = made()
    names = [end["interface"] for end in ends(got)]
    assert all(name.startswith("ft") and len(name) <= 15 for name in names)
    assert len(set(names)) == len(names)


def test_the_longest_names_still_fit():
    text = GOOD.replace("il: s1", "n23456789: s1").replace("input_logger: il", "input_logger: n23456789")
    text = text.replace("s2", "s2345678")
    assert max(len(end["interface"]) for end in ends(made(text))) <= 15


def test_mac_addresses_never_meet_each_other_nor_the_virtual_ones_of_roles():
    macs = [end["mac"] for end in ends(made()) if "mac" in end]
    assert len(set(macs)) == len(macs)
    assert not any(mac.startswith(f"02:46:54:{role:02x}:") for mac in macs for role in (1, 2, 3))


def test_ports_of_each_switch_are_numbered_without_gaps_and_as_deployed():
    got = made()
    by_place = {(end["node"], end["port"]): end["interface"] for end in ends(got) if "port" in end}
    for switch, count in (("fts1", 7), ("fts2", 6)):
        assert sorted(port for name, port in by_place if name == switch) == list(range(1, count + 1))
    data = got.deployment["nodes"]["m2"]["data"]
    assert got.nodes["m2"].at_switch["ftm2-d"] == by_place["ft" + data["switch"], data["port"]]
    link = got.deployment["links"][0]
    assert {link["a"]["switch"], link["b"]["switch"]} == {"s1", "s2"}


def test_every_node_that_may_become_a_logger_has_the_ports():
    got = made(GOOD.replace("    store: st", "    loggers: [il, ol, m2, st]\n    store: st"))
    assert [name for name, node in got.deployment["nodes"].items() if node["ports"]] == ["il", "ol", "st", "m2"]
    assert got.node_files["m2"]["ports"] == {"nat": {"inside": "ftm2-p0", "outside": "ftm2-p1"}}
    assert got.deployment["groups"]["nat"]["loggers"] == ["il", "ol", "m2", "st"]


def test_ports_of_several_groups_at_one_node_are_told_apart():
    got = plan.make(config.load("pool"), "/run/x")
    ports = got.node_files["l1"]["ports"]
    names = [name for sides in ports.values() for name in sides.values()]
    assert list(ports) == ["nat1", "nat2", "nat3", "nat4"] and names == [f"ftl1-p{number}" for number in range(8)]


def test_floods_find_no_loop_among_the_switches():
    """The links that take floods make a tree; our own rules use all."""
    got = plan.make(config.load("tree"), "/run/x")
    trunks = [link["ends"] for link in got.description["links"] if all(end["node"] in got.bridges() for end in link["ends"])]
    assert [[end["flood"] for end in ends] for ends in trunks] == [[True, True], [True, True], [False, False]]
    assert got.trunks == {"-".join(end["node"][2:] for end in ends): [end["interface"] for end in ends] for ends in trunks}
    assert len(got.deployment["links"]) == 3 and all(link["mtu"] == 9000 for link in got.description["links"]
                                                     if link["ends"] in trunks)


def test_without_more_loggers_only_the_first_have_port_interfaces():
    got = made()
    assert [name for name, node in got.deployment["nodes"].items() if node["ports"]] == ["il", "ol"]
    assert got.node_files["il"]["ports"] == {"nat": {"inside": "ftil-p0", "outside": "ftil-p1"}}
    assert "ports" not in got.node_files["m1"]


def test_frames_between_roles_fit_and_only_edges_are_flooded():
    got = made()
    for link in got.description["links"]:
        names = [end["interface"] for end in link["ends"]]
        if "ftm1-d" in names:
            assert link["mtu"] == 9000 and link["ends"][1]["flood"] is False and link["ends"][0]["silent"]
        if "fta-d" in names:
            assert link["mtu"] == 1500 and link["ends"][1]["flood"] and link["ends"][0]["address"] == "10.0.0.1/24"


def test_root_interfaces_are_all_that_appears_in_the_root_namespace():
    got = made()
    inside = {host["name"] for host in got.description["hosts"] if not host.get("root")}
    assert sorted(got.root_interfaces()) == sorted(end["interface"] for end in ends(got) if end["node"] not in inside)
    assert "ftcontrol" in got.root_interfaces()


@pytest.mark.parametrize("recovery", [True, False])
def test_files_are_plain_json_and_agree(recovery):
    got = made(recovery=recovery)
    assert json.loads(json.dumps(got.deployment))["recovery"] is recovery
    assert got.deployment["control"] == {"address": "10.254.0.1", "port": 9777}
    assert got.deployment["groups"]["nat"]["id"] == 1 and "name" not in got.deployment["groups"]["nat"]
    services = [tuple(node["service"]) for node in got.node_files.values()]
    assert len(set(services)) == len(services) == 5
    assert all(node["controller"] == ["10.254.0.1", 9777] for node in got.node_files.values())


def test_the_same_configuration_gives_the_same_plan():
    assert made() == made()


@pytest.mark.parametrize("name", config.names())
def test_the_controllers_own_reader_accepts_the_deployment(name, tmp_path):
    got = plan.make(config.load(name), tmp_path)
    (tmp_path / "key").write_text("00" * 32)
    path = tmp_path / "deployment.json"
    path.write_text(json.dumps(got.deployment))
    loaded = deployment.load(str(path))
    assert loaded.recovery is True


def test_faults_come_into_every_node_file_each_with_a_seed_of_its_own():
    assert all("faults" not in content for content in made().node_files.values())
    got = plan.make(config.load("single"), "/run/x", faults={"seed": 7, "loss": 0.1})
    faults = [content["faults"] for content in got.node_files.values()]
    assert {fault["loss"] for fault in faults} == {0.1} and len({fault["seed"] for fault in faults}) == len(faults)


def test_every_node_knows_where_bundles_are_left_wherever_it_runs():
    assert all("bundles" not in content for content in made().node_files.values())
    configuration = config.load("single")
    configuration.bundles = config.Bundles("here", 3, 1 << 20)
    got = plan.make(configuration, "/run/x")
    told = [content["bundles"] for content in got.node_files.values()]
    assert told == [{"directory": str(Path("here").absolute()), "count_max": 3, "bytes_max": 1 << 20}] * len(configuration.nodes)


def test_every_node_knows_when_processors_stay_awake():
    assert {content["stay_awake"] for content in made().node_files.values()} == {"busy"}
    assert {content["stay_awake"] for content in made(GOOD.replace("controller:", "stay_awake: never\ncontroller:")).node_files.values()} == {"never"}


def test_ipv6_of_hosts_and_ports_and_addresses_that_functions_add():
    text = GOOD.replace("gateway: 10.0.0.254}", "gateway: 10.0.0.254, address6: 2001:db8:1::1/64, gateway6: 2001:db8:1::fe}")
    text = text.replace("address: 10.0.0.254/24,", "address: 10.0.0.254/24, address6: [2001:DB8:1::fe/64, 2001:db8:3::fe/64],")
    text = text.replace("external_addresses: [192.0.2.254]", "external_addresses: [192.0.2.254, 192.0.2.100, 198.51.100.9]")
    got = made(text)
    assert [end.get("address6") for end in ends(got) if end["node"] == "fta"] == ["2001:db8:1::1/64"]
    host, = [host for host in got.description["hosts"] if host["name"] == "fta"]
    assert host["commands"] == ["ip route add default via 10.0.0.254", "ip -6 route add default via 2001:db8:1::fe dev fta-d"]
    inside, outside = deployment.parse(json.loads(json.dumps(got.deployment))).groups["nat"].ports
    assert inside.address6 == ("2001:db8:1::fe/64", "2001:db8:3::fe/64") and not inside.announced
    assert inside.asked_for == ("10.0.0.254", "2001:db8:1::fe", "2001:db8:3::fe", "fe80::5eff:fe00:101")
    assert outside.asked_for == ("192.0.2.254", "192.0.2.100"), "what is not on the link is routed to it, nobody asks for it there"
