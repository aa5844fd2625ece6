"""Steering and paths: the rule table of docs/architecture.md, on one switch and on three in a row."""

import random

import pytest
from deployments import chain, pool, single, tree, with_candidates
from forwarding import NSH, asking, matches
from random_networks import random_deployment, random_steering

from ryu_app.deployment import Place, parse
from ryu_app.paths import Paths, cut_off, unreachable
from ryu_app.steering import ARP, FORGET_IN_PORT, Steering, kept, openflow_group_id, virtual_mac, wanted

ACTIVE = {("nat", "input-logger"): "il", ("nat", "output-logger"): "ol", ("nat", "master"): "m1"}


def _packet(flows, switch, **packet):
    """The actions that a packet with these fields meets at *switch*: those of the highest rule that matches."""
    found = [flow for flow in flows if flow.switch == switch and matches(packet, flow.match)]
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


def dual():
    """The single group with IPv6 inside and further addresses at both sides."""
    value = single()
    inside, outside = value["groups"]["nat"]["ports"]
    inside.update(address6=["2001:DB8:1::fe/64"], announced=["10.0.0.100"])
    outside["announced"] = ["192.0.2.100", "2001:db8:2::100"]
    return value


def test_who_asks_for_an_address_of_a_port_is_led_to_it_and_who_asks_for_another_is_not():
    """By ARP and by neighbor solicitations; the multicast address of these says too little, and other ICMPv6 is no business of ours."""
    deployment = parse(dual())
    flows, _ = wanted(deployment, Steering(ACTIVE))
    for number, port, own in ((1, "inside", ["10.0.0.254", "10.0.0.100", "2001:db8:1::fe", "fe80::5eff:fe00:101"]),
                              (2, "outside", ["192.0.2.254", "192.0.2.100", "2001:db8:2::100"])):
        to = (("output", deployment.nodes["il"].ports["nat"][port].port),)
        for address in own:
            assert _packet(flows, "s1", in_port=number, **asking(address)) == to
        for other in ("10.0.0.7", "2001:db8:1::aa:fe", "2001:db8:9::100"):
            assert _packet(flows, "s1", in_port=number, **asking(other)) is None
    question = asking("2001:db8:1::fe")
    assert question["eth_dst"] == "33:33:ff:00:00:fe"
    for change in ({"icmpv6_type": 136}, {"icmpv6_type": 143}, {"ip_proto": 17}, {"eth_dst": "33:33:00:00:00:01"}, {"in_port": 2}):
        assert _packet(flows, "s1", **{"in_port": 1, **question, **change}) is None
    assert _packet(flows, "s1", in_port=1, **{**question, "eth_dst": deployment.groups["nat"].ports[0].mac}) == (
        ("output", deployment.nodes["il"].ports["nat"]["inside"].port),), "one that has the answer asks whether it still holds"


def _difference(deployment, before, after):
    """What the entries of two steerings do not have in common: (flows, groups)."""
    old, new = wanted(deployment, before), wanted(deployment, after)
    return old[0] ^ new[0], old[1] ^ new[1]


@pytest.mark.parametrize("seed", range(40))
def test_a_redirect_changes_one_group_entry_at_one_switch_and_nothing_besides_the_fence(seed):
    """Over any network, with any links down."""
    rng = random.Random(seed)
    deployment = random_deployment(rng)
    steering = random_steering(rng, deployment)
    for spec in deployment.groups.values():
        anchor = deployment.nodes[steering.active[spec.name, "input-logger"] or spec.input_logger].data.place.switch
        before, after = (Steering({**steering.active, (spec.name, "master"): node}, fenced, steering.down)
                         for node, fenced in ((spec.pool[0], ()), (spec.pool[1], frozenset(spec.pool[:1]))))
        flows, groups = _difference(deployment, before, after)
        assert [(flow.switch, dict(flow.match)["in_port"], flow.actions) for flow in flows] == [
            (*_pair(deployment.nodes[spec.pool[0]].data.place), ())]
        assert {(group.switch, group.group_id) for group in groups} <= {
            (anchor, openflow_group_id(deployment.cookie, spec.id, "master"))}
        assert len(groups) == 2 or unreachable(deployment, steering.down)


def _pair(place):
    return place.switch, place.port


def test_another_output_logger_changes_its_group_entry_and_what_leaves_the_middlebox():
    deployment = parse(with_candidates(single(), ("m3",)))
    flows, groups = _difference(deployment, Steering(ACTIVE), Steering({**ACTIVE, ("nat", "output-logger"): "m3"}))
    assert {group.group_id for group in groups} == {openflow_group_id(deployment.cookie, 1, "output-logger")}
    sides = {place.port for name in ("ol", "m3") for place in deployment.nodes[name].ports["nat"].values()}
    assert {dict(flow.match)["in_port"] for flow in flows} == sides
    assert all(flow.priority in (40700, 40701) for flow in flows)


def test_another_input_logger_changes_its_group_entry_and_what_comes_to_the_middlebox():
    deployment = parse(with_candidates(single(), ("m3",)))
    flows, groups = _difference(deployment, Steering(ACTIVE), Steering({**ACTIVE, ("nat", "input-logger"): "m3"}))
    assert {group.group_id for group in groups} == {openflow_group_id(deployment.cookie, 1, "input-logger")}
    assert {dict(flow.match)["in_port"] for flow in flows} == {host.place.port for host in deployment.hosts.values()}
    assert {flow.priority for flow in flows} == {40600, 40999}


def test_what_comes_out_of_a_logger_that_is_not_the_active_one_reaches_nobody():
    """Neither a former logger's backlog nor a candidate's frames meet others' rules."""
    deployment = parse(with_candidates(single(), ("m3",)))
    flows, _ = wanted(deployment, Steering({**ACTIVE, ("nat", "output-logger"): "m3"}))
    for name in ("il", "ol"):
        for place in deployment.nodes[name].ports["nat"].values():
            for target in ("02:46:54:00:00:01", "ff:ff:ff:ff:ff:ff"):
                assert _packet(flows, "s1", in_port=place.port, eth_dst=target) == ()


def test_without_an_input_logger_what_is_for_the_middlebox_is_dropped_not_left_to_others():
    flows, _ = wanted(parse(single()), Steering({**ACTIVE, ("nat", "input-logger"): None}))
    assert _packet(flows, "s1", in_port=1, eth_dst="02:00:5e:00:01:01") == ()
    assert _packet(flows, "s1", in_port=1, eth_dst="ff:ff:ff:ff:ff:ff", eth_type=ARP, arp_tpa="10.0.0.254") == ()


CHAINED = {("fw", "input-logger"): "la", ("fw", "output-logger"): "lb", ("fw", "master"): "m1",
           ("nat", "input-logger"): "lb", ("nat", "output-logger"): "lc", ("nat", "master"): "m2"}


def test_what_leaves_a_port_that_faces_another_comes_to_that_ones_input_logger():
    """Both ways, whatever its address; to hosts of the port, if it has some too, by theirs."""
    value = chain()
    value["groups"]["fw"]["ports"][1]["hosts"] = ["h1"]
    deployment = parse(value)
    flows, _ = wanted(deployment, Steering(CHAINED))
    nodes = deployment.nodes
    for mac in ("02:00:5e:00:02:01", "ff:ff:ff:ff:ff:ff"):
        back = _walk(deployment, flows, nodes["lc"].ports["nat"]["inside"], eth_src="02:00:5e:00:02:01", eth_dst=mac)
        assert back == {nodes["la"].ports["fw"]["outside"]}
    forth = nodes["lb"].ports["fw"]["outside"]
    assert _walk(deployment, flows, forth, eth_dst="02:46:54:00:00:02") == {deployment.hosts["h1"].place}
    assert _walk(deployment, flows, forth, eth_dst="ff:ff:ff:ff:ff:ff") == {
        deployment.hosts["h1"].place, nodes["lb"].ports["nat"]["inside"]}


def test_what_leads_to_a_port_of_a_group_that_is_not_decided_stays_as_it_is():
    """A controller that is back has heard the loggers of fw, and not yet those of nat."""
    deployment = parse(chain())
    steering = Steering({key: node for key, node in CHAINED.items() if key[0] == "fw"}, undecided=frozenset({"nat"}))
    held, all_flows = kept(deployment, steering), wanted(deployment, Steering(CHAINED))[0]
    left = {flow for flow in all_flows if held.holds(flow)}
    assert all_flows == left | wanted(deployment, steering)[0]
    outside = deployment.nodes["lb"].ports["fw"]["outside"].port
    assert {flow.priority for flow in left if dict(flow.match).get("in_port") == outside} >= {40700}


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


def test_across_switches_the_group_entry_sits_at_the_input_loggers_switch_and_leads_to_the_active_one():
    deployment = parse(tree())
    flows, groups = wanted(deployment, Steering(ACTIVE))
    assert {(group.switch, group.group_id) for group in groups} == {
        ("s1", openflow_group_id(deployment.cookie, 1, role)) for role in ("input-logger", "master", "output-logger")}
    master = deployment.nodes["m1"].data
    bucket = {group.group_id: group.bucket for group in groups}[openflow_group_id(deployment.cookie, 1, "master")]
    assert bucket == (("eth_dst", master.mac), ("output", 51))
    # rewritten, it comes in over the trunk
    assert _walk(deployment, flows, Place("s2", 51), eth_type=NSH, eth_dst=master.mac) == {master.place}
    # what comes from the master to the output logger meets its group entry there, which may send it back over that trunk
    there = _packet(flows, "s1", in_port=51, eth_type=NSH, eth_dst=virtual_mac("output-logger", 1))
    assert there == (FORGET_IN_PORT, ("group", openflow_group_id(deployment.cookie, 1, "output-logger")))


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
    targets = [*(virtual_mac(role, 1) for role in senders), *(node.data.mac for node in nodes.values())]
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
    flows, _ = wanted(deployment, Steering(active))
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
    hop = paths.toward("s1", Place("s4", 5))
    assert (hop and hop.out_port) == expected
    assert paths.toward("s4", Place("s4", 5)) == (5, 0)
    assert bool(paths.path(Place("s1", 7), Place("s4", 5))) == (expected is not None)


@pytest.mark.parametrize("down, alone, lost", [
    (set(), set(), set()),
    ({Place("s1", 51)}, {"s1"}, {"il"}),
    ({Place("s2", 51)}, {"s1"}, {"il"}),
    ({Place("s2", 51), Place("s3", 52)}, {"s1", "s2", "s3"}, {"il", "m1"}),
])
def test_nodes_without_a_path_to_the_largest_part_are_unreachable(down, alone, lost):
    deployment = parse(tree())
    assert unreachable(deployment, frozenset(down)) == lost and cut_off(deployment, frozenset(down)) == alone


def test_of_parts_that_are_equal_in_all_the_first_by_name_counts_as_the_largest():
    value = tree()
    value["hosts"] = {}
    value["groups"] = {}
    value["nodes"] = {name: {"data": value["nodes"][name]["data"]} for name in ("il", "m1", "ol")}
    deployment = parse(value)
    assert unreachable(deployment, {Place("s1", 51), Place("s3", 52)}) == {"m1", "ol"}


def test_of_parallel_links_one_is_enough():
    value = tree()
    value["links"].append({"a": {"switch": "s1", "port": 61}, "b": {"switch": "s2", "port": 61}})
    deployment = parse(value)
    down = frozenset({Place("s2", 51)})
    assert unreachable(deployment, down) == cut_off(deployment, down) == frozenset()
    flows, _ = wanted(deployment, Steering(ACTIVE, down=down))
    host, port = deployment.hosts["h2"], deployment.groups["nat"].ports[1]
    assert _packet(flows, "s2", in_port=host.place.port, eth_src=host.mac, eth_dst=port.mac) == (("output", 61),)
