"""Random deployments and steerings, from a seeded generator."""

from ryu_app.deployment import Place, parse
from ryu_app.steering import Steering

HOSTS = ("c1", "c2", "h1", "h2")
NODES = ("n1", "n2", "n3", "n4", "n5", "n6", "n7")


def random_deployment(rng, ipv6=False):
    """Up to seven switches with redundant and parallel links, and one group or a chain of two; *ipv6*: their ports have it, and further addresses."""
    switches = [f"s{number}" for number in range(1, rng.randint(2, 7) + 1)]
    ports = dict.fromkeys(switches, 0)

    def place(switch):
        ports[switch] += 1
        return {"switch": switch, "port": ports[switch]}

    pairs = [(name, rng.choice(switches[:position])) for position, name in enumerate(switches) if position]
    pairs += [tuple(rng.sample(switches, 2)) for _ in range(rng.randint(0, len(switches)))]
    value = {
        "key_file": "key", "control": {"address": "127.0.0.1", "port": 9777},
        "openflow": {"table": 0, "priority": 40000, "cookie": 0x46544d42},
        "liveness": {"heartbeat_interval_ms": 50, "suspect_after_ms": 1000},
        "switches": {name: number for number, name in enumerate(switches, 1)},
        "links": [{"a": place(a), "b": place(b)} for a, b in pairs],
        "hosts": {name: {**place(rng.choice(switches)), "mac": f"02:46:54:10:00:{number:02x}"}
                  for number, name in enumerate(HOSTS)},
        "nodes": {}, "groups": {}}
    names = ["fw", "nat"][:rng.randint(1, 2)]
    for number, name in enumerate(NODES):
        at = rng.choice(switches)
        value["nodes"][name] = {"data": {**place(at), "mac": f"02:46:54:11:00:{number:02x}"},
                                "ports": {group: {side: place(at) for side in ("inside", "outside")} for group in names}}
    for number, name in enumerate(names, 1):
        value["groups"][name] = _group(rng, number, HOSTS[:2] if number == 1 else (),
                                       HOSTS[2:] if number == len(names) else ())
    if len(names) == 2:
        value["groups"]["fw"]["ports"][1]["peer"] = {"group": "nat", "port": "inside"}
        value["groups"]["nat"]["ports"][0]["peer"] = {"group": "fw", "port": "outside"}
    if ipv6:
        for number, group in enumerate(value["groups"].values(), 1):
            group["ports"][0].update(address6=[f"2001:db8:{number}::fe/64", f"2001:db8:{number}:0:1:0:2:c001/64"],
                                     announced=[f"10.0.{number}.100", f"2001:db8:{number}::100"])
    return parse(value)


def _group(rng, number, inside, outside):
    free = [name for name in NODES if name != f"n{3 - number}"]     # the other group's first master
    free.remove(f"n{number}")
    rng.shuffle(free)
    loggers = free[:rng.randint(1, 4)]
    return {"id": number, "function": "nat", "parameters": {}, "workers": 1,
            "ports": [{"name": "inside", "mac": f"02:00:5e:00:{number:02x}:01", "address": f"10.0.{number}.254/24",
                       "hosts": list(inside), "peer": None},
                      {"name": "outside", "mac": f"02:00:5e:00:{number:02x}:02", "address": f"192.0.{number}.254/24",
                       "hosts": list(outside), "peer": None}],
            "input_logger": loggers[0], "output_logger": loggers[-1], "store": free[-1], "loggers": loggers,
            "pool": [f"n{number}", *rng.sample(free, 3)],
            "checkpoint_interval_ms": 100, "tick_interval_ms": 100, "log_bytes_max": 1 << 26}


def random_steering(rng, deployment):
    """Who is active, at times nobody; some nodes fenced, some links down at one end or both."""
    active = {}
    for spec in deployment.groups.values():
        for role, candidates in (("input-logger", spec.loggers), ("output-logger", spec.loggers)):
            active[spec.name, role] = rng.choice([*candidates, *candidates, None])
        masters = [name for name in spec.pool if name not in active.values()]
        active[spec.name, "master"] = rng.choice([*masters, None])
    down = set()
    for link in deployment.links:
        if rng.random() < 0.25:
            down |= set(rng.sample(link, rng.randint(1, 2)))
    fenced = frozenset(rng.sample(sorted(deployment.nodes), rng.choice((0, 0, 1))))
    return Steering(active, fenced, frozenset(Place(*end) if isinstance(end, tuple) else end for end in down))
