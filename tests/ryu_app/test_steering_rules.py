"""Steering and paths: the rule table of docs/architecture.md, on one switch and on three in a row."""

import pytest
from deployments import pool, single, tree

from ryu_app.deployment import Place, parse
from ryu_app.paths import Paths
from ryu_app.steering import ARP, NSH, Steering, openflow_group_id, virtual_mac, wanted

ACTIVE = {("nat", "input-logger"): "il", ("nat", "output-logger"): "ol", ("nat", "master"): "m1"}


def _packet(flows, switch, **packet):
    """The actions that a packet with these fields meets at *switch*: those of the highest rule that matches."""
    found = [flow for flow in flows if flow.switch == switch
             and all(packet.get(name) == value for name, value in flow.match)]
    if not found:
        return None
    highest = max(flow.priority for flow in found)
    actions = {flow.actions for flow in found if flow.priority == highest}
    assert len(actions) == 1, "two rules of one priority that disagree"
    return actions.pop()


def _walk(deployment, flows, place, **packet):
    """Where a packet that enters at *place* comes out: the set of Places, following links."""
    ends = dict([*deployment.links, *((b, a) for a, b in deployment.links)])
    out = set()
    for kind, port in _packet(flows, place.switch, in_port=place.port, **packet) or ():
        assert kind == "output"
        there = Place(place.switch, port)
        out |= _walk(deployment, flows, ends[there], **packet) if there in ends else {there}
    return out


def test_a_single_switch_has_the_rules_of_the_table():
    deployment = parse(single())
    flows, groups = wanted(deployment, Steering(ACTIVE, fenced=frozenset({"m2"})))
    nodes = deployment.nodes
    assert _packet(flows, "s1", in_port=nodes["m2"].data.place.port, eth_type=NSH,
                   eth_dst=virtual_mac("output-logger", 1)) == ()
    number = openflow_group_id(deployment.cookie, 1, "master")
    assert _packet(flows, "s1", in_port=nodes["il"].data.place.port, eth_type=NSH,
                   eth_dst=virtual_mac("master", 1)) == (("group", number),)
    bucket = {group.group_id: group.bucket for group in groups}[number]
    assert bucket == (("eth_dst", nodes["m1"].data.mac), ("output", nodes["m1"].data.place.port))
    inside = nodes["ol"].ports["nat"]["inside"].port
    assert _packet(flows, "s1", in_port=inside, eth_dst="02:46:54:00:00:01") == (("output", 1),)
    assert _packet(flows, "s1", in_port=inside, eth_dst="ff:ff:ff:ff:ff:ff") == (("output", 1),)
    to = (("output", nodes["il"].ports["nat"]["inside"].port),)
    assert _packet(flows, "s1", in_port=1, eth_dst="02:00:5e:00:01:01") == to
    assert _packet(flows, "s1", in_port=1, eth_dst="ff:ff:ff:ff:ff:ff", eth_type=ARP, arp_tpa="10.0.0.254") == to


def test_unsteered_traffic_meets_no_rule_of_ours():
    flows, _ = wanted(parse(single()), Steering(ACTIVE))
    assert _packet(flows, "s1", in_port=1, eth_dst="02:46:54:00:00:02") is None
    assert _packet(flows, "s1", in_port=1, eth_dst="ff:ff:ff:ff:ff:ff", eth_type=ARP, arp_tpa="10.0.0.2") is None
    assert _packet(flows, "s1", in_port=2, eth_dst="02:00:5e:00:01:01") is None, "a host of another port"


def test_a_redirect_changes_one_group_entry_and_nothing_else():
    deployment = parse(single())
    before, after = wanted(deployment, Steering(ACTIVE)), wanted(deployment, Steering({**ACTIVE, ("nat", "master"): "m2"}))
    assert before[0] == after[0]
    assert len(before[1] - after[1]) == len(after[1] - before[1]) == 1


def test_without_an_active_instance_frames_are_dropped_not_left_to_others():
    deployment = parse(single())
    _, groups = wanted(deployment, Steering({**ACTIVE, ("nat", "master"): None}))
    assert [group.bucket for group in groups if group.group_id == openflow_group_id(deployment.cookie, 1, "master")] == [()]


def test_across_switches_traffic_reaches_the_input_logger_and_returns_to_every_host():
    deployment = parse(tree())
    flows, _ = wanted(deployment, Steering(ACTIVE))
    hosts, nodes, port = deployment.hosts, deployment.nodes, deployment.groups["nat"].ports[1]
    for name in ("h1", "h2"):
        to = _walk(deployment, flows, hosts[name].place, eth_src=hosts[name].mac, eth_dst=port.mac)
        assert to == {nodes["il"].ports["nat"]["outside"]}
        asked = _walk(deployment, flows, hosts[name].place, eth_src=hosts[name].mac, eth_dst="ff:ff:ff:ff:ff:ff",
                      eth_type=ARP, arp_tpa="192.0.2.254")
        assert asked == to
        back = _walk(deployment, flows, nodes["ol"].ports["nat"]["outside"], eth_src=port.mac, eth_dst=hosts[name].mac)
        assert back == {hosts[name].place}
    everyone = _walk(deployment, flows, nodes["ol"].ports["nat"]["outside"], eth_src=port.mac,
                     eth_dst="ff:ff:ff:ff:ff:ff")
    assert everyone == {hosts["h1"].place, hosts["h2"].place}


def test_across_switches_the_group_entry_sits_where_senders_sit_and_leads_to_the_active_one():
    deployment = parse(tree())
    flows, groups = wanted(deployment, Steering(ACTIVE))
    places = {role: {group.switch for group in groups
                     if group.group_id == openflow_group_id(deployment.cookie, 1, role)}
              for role in ("input-logger", "master", "output-logger")}
    assert places == {"master": {"s1", "s3"}, "output-logger": {"s2", "s3"}, "input-logger": {"s2", "s3"}}
    master = deployment.nodes["m1"].data
    start = [group for group in groups if group.switch == "s1"][0]
    assert start.bucket[0] == ("eth_dst", master.mac)
    assert start.bucket[1] == ("output", 51)
    # rewritten, it comes in over the trunk
    assert _walk(deployment, flows, Place("s2", 51), eth_type=NSH, eth_dst=master.mac) == {master.place}


@pytest.mark.parametrize("make", [single, tree])
def test_nsh_comes_in_from_those_who_send_it_and_from_nobody_else(make):
    """A host, a logger's port interface, a node that has no business with it and a port that nobody knows are strangers."""
    deployment = parse(make())
    flows, _ = wanted(deployment, Steering(ACTIVE))
    nodes, spec = deployment.nodes, deployment.groups["nat"]
    senders = {"input-logger": spec.pool, "master": ("il", "ol"), "output-logger": spec.pool}
    strangers = [host.place for host in deployment.hosts.values()]
    strangers += [place for node in nodes.values() for place in node.ports.get("nat", {}).values()]
    strangers += [Place(switch, 999) for switch in deployment.switches]
    targets = [*(virtual_mac(role, 1) for role in senders), *(node.data.mac for node in nodes.values()),
               "ff:ff:ff:ff:ff:ff"]
    for place in strangers:
        for target in targets:
            assert _packet(flows, place.switch, in_port=place.port, eth_type=NSH, eth_dst=target) == ()
    for role, allowed in senders.items():
        for name, node in nodes.items():
            place = node.data.place
            actions = _packet(flows, place.switch, in_port=place.port, eth_type=NSH, eth_dst=virtual_mac(role, 1))
            assert bool(actions) == (name in allowed), (role, name)


def test_the_virtual_addresses_are_those_of_the_frames():
    assert virtual_mac("output-logger", 0x1234) == "02:46:54:03:12:34"


def test_group_ids_differ_and_stay_below_the_reserved_range():
    ids = {openflow_group_id(cookie, number, role) for cookie in (1, 2, 0x46544d42, 2**32 - 2)
           for number in (1, 2, 0xffff) for role in ("input-logger", "master", "output-logger")}
    assert len(ids) == 36 and max(ids) < 0xffffff00


def test_cookies_are_the_deployments_and_two_groups_rules_are_distinct():
    deployment = parse(pool())
    active = {(f"nat{n}", role): f"{short}{n}" for n in (1, 2)
              for role, short in (("input-logger", "il"), ("output-logger", "ol"), ("master", "m"))}
    value = pool()
    for number in (1, 2):
        value["groups"][f"nat{number}"]["ports"][0]["address"] = f"10.0.{number}.254/24"
        value["groups"][f"nat{number}"]["ports"][1]["address"] = f"192.0.{number}.254/24"
    flows, _ = wanted(parse(value), Steering(active))
    assert {flow.cookie >> 32 for flow in flows} == {deployment.cookie}
    keys = [(flow.switch, flow.key) for flow in flows]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("down, expected", [
    (frozenset(), 1), ({Place("s1", 1)}, 2), ({Place("s2", 1), Place("s4", 9)}, None)])
def test_next_hops_are_shortest_and_avoid_links_that_are_down(down, expected):
    """A square: s1-s2-s4 and s1-s3-s4."""
    links = [(Place("s1", 1), Place("s2", 1)), (Place("s1", 2), Place("s3", 1)),
             (Place("s2", 2), Place("s4", 8)), (Place("s3", 2), Place("s4", 9))]
    paths = Paths(["s1", "s2", "s3", "s4"], links, down)
    assert paths.out_port("s1", Place("s4", 5)) == expected
    assert paths.out_port("s4", Place("s4", 5)) == 5
    assert bool(paths.path(Place("s1", 7), Place("s4", 5))) == (expected is not None)
