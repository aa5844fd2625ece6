"""Deployments for the tests of the controller, as the JSON value that a file would hold."""

import copy

_SINGLE = {
    "key_file": "key",
    "control": {"address": "127.0.0.1", "port": 9777},
    "openflow": {"table": 0, "priority": 40000, "cookie": 0x46544d42},
    "liveness": {"heartbeat_interval_ms": 50, "suspect_after_ms": 1000},
    "switches": {"s1": 1},
    "links": [],
    "hosts": {"c1": {"switch": "s1", "port": 1, "mac": "02:46:54:00:00:01"},
              "h1": {"switch": "s1", "port": 2, "mac": "02:46:54:00:00:02"}},
    "nodes": {},
    "groups": {},
}


def group(number, pool, nodes=("il", "ol", "st"), hosts=(("c1",), ("h1",))):
    """A group's JSON value."""
    return {"id": number, "function": "nat", "parameters": {}, "workers": 1,
            "ports": [{"name": "inside", "mac": f"02:00:5e:00:{number:02x}:01", "address": f"10.0.{number - 1}.254/24",
                       "hosts": list(hosts[0])},
                      {"name": "outside", "mac": f"02:00:5e:00:{number:02x}:02", "address": f"192.0.{number + 1}.254/24",
                       "hosts": list(hosts[1])}],
            "input_logger": nodes[0], "output_logger": nodes[1], "store": nodes[2], "pool": list(pool),
            "checkpoint_interval_ms": 100, "tick_interval_ms": 100, "log_bytes_max": 1 << 26}


def single(pool=("m1", "m2", "m3")):
    """One switch, one NAT group "nat"."""
    value = copy.deepcopy(_SINGLE)
    value["groups"]["nat"] = group(1, pool)
    _add_nodes(value, {name: "s1" for name in ("il", "ol", "st", *pool)})
    return value


def pool(groups=2, size=4):
    """One switch, several groups with loggers and stores of their own, one pool for all."""
    value = copy.deepcopy(_SINGLE)
    names = [f"m{number}" for number in range(1, size + 1)]
    fixed = []
    for number in range(1, groups + 1):
        nodes = tuple(f"{role}{number}" for role in ("il", "ol", "st"))
        fixed += nodes
        value["groups"][f"nat{number}"] = group(number, names[number - 1:] + names[:number - 1], nodes)
    _add_nodes(value, {name: "s1" for name in (*fixed, *names)})
    return value


def tree():
    """Three switches in a row, s1 - s2 - s3: clients and input logger at s1, master at s2, the rest at s3."""
    value = copy.deepcopy(_SINGLE)
    value["switches"] = {"s1": 1, "s2": 2, "s3": 3}
    value["links"] = [{"a": {"switch": "s1", "port": 51}, "b": {"switch": "s2", "port": 51}},
                      {"a": {"switch": "s2", "port": 52}, "b": {"switch": "s3", "port": 52}}]
    value["hosts"]["h1"]["switch"] = "s3"
    value["hosts"]["h2"] = {"switch": "s2", "port": 3, "mac": "02:46:54:00:00:03"}
    value["groups"]["nat"] = group(1, ("m1", "m2"), hosts=(("c1",), ("h1", "h2")))
    _add_nodes(value, {"il": "s1", "ol": "s3", "st": "s3", "m1": "s2", "m2": "s3"})
    return value


def chain():
    """One switch, two middleboxes in a row: c1 - fw - nat - h1; logger "lb" is between them."""
    value = copy.deepcopy(_SINGLE)
    value["groups"] = {"fw": group(1, ("m1", "m2"), ("la", "lb", "st"), (("c1",), ())),
                       "nat": group(2, ("m2", "m1"), ("lb", "lc", "st"), ((), ("h1",)))}
    value["groups"]["fw"]["ports"][1]["peer"] = {"group": "nat", "port": "inside"}
    value["groups"]["nat"]["ports"][0]["peer"] = {"group": "fw", "port": "outside"}
    _add_nodes(value, {name: "s1" for name in ("la", "lb", "lc", "st", "m1", "m2")})
    return value


def with_candidates(value, names, groups=None):
    """*value* in which every node of *names* may have each log role of *groups* (all): it gets interfaces for it."""
    port = 1 + max(place["port"] for node in value["nodes"].values() for place in
                   (node["data"], *(place for sides in node["ports"].values() for place in sides.values())))
    for group_name in groups or value["groups"]:
        item = value["groups"][group_name]
        for key, begin in (("loggers", ("input_logger", "output_logger")), ("stores", ("store",))):
            item[key] = list(dict.fromkeys([*(item[role] for role in begin), *item.get(key, ()), *names]))
        for name in names:
            node = value["nodes"][name]
            if group_name not in node["ports"]:
                node["ports"][group_name] = {
                    side["name"]: {"switch": node["data"]["switch"], "port": port + position}
                    for position, side in enumerate(item["ports"])}
                port += len(item["ports"])
    return value


def _add_nodes(value, places):
    """Nodes at switches, with port interfaces where a group needs them; ports from 10 on."""
    port = 10
    for number, (name, switch) in enumerate(places.items(), 1):
        node = {"data": {"switch": switch, "port": port, "mac": f"02:46:54:11:00:{number:02x}"}, "ports": {}}
        port += 1
        for group_name, item in value["groups"].items():
            if name in (item["input_logger"], item["output_logger"]):
                node["ports"][group_name] = {"inside": {"switch": switch, "port": port},
                                             "outside": {"switch": switch, "port": port + 1}}
                port += 2
        value["nodes"][name] = node
