"""The network of a setting: NATs on one switch, the same three nodes for all their logs and checkpoints. Pure.

Group g (1 and on) is ``natG`` with ``clientG``, ``serverG`` and master ``mG``; inside is 10.G.0.0/16, whose addresses from
10.G.1.0 the load pretends to have; outside is 198.18.G.0/24. Two more nodes stand by for all groups.
"""

import yaml

SPARES = 2
#: the load has at most so many flows from one address (load.c): a NAT has 64,512 ports for each external address
FLOWS_PER_ADDRESS = 50_000
_FIRST_EXTERNAL = 100


def group(number):
    """Names and addresses of group *number*: what the load and its receiver need."""
    return {"name": f"nat{number}", "client": f"client{number}", "server": f"server{number}",
            "gateway_mac": f"02:00:5e:00:{number:02x}:01", "to": f"198.18.{number}.1", "from": f"10.{number}.1.0"}


def text(readiness, flows, checkpoint_interval_ms, groups=1):
    """The YAML; each NAT has room for *flows* flows of the load and one more."""
    masters = [f"m{number}" for number in range(1, groups + SPARES + 1)]
    hosts, entries = {}, {}
    for number in range(1, groups + 1):
        names = group(number)
        hosts[names["client"]] = {"switch": "s1", "address": f"10.{number}.0.1/16", "gateway": f"10.{number}.0.254"}
        hosts[names["server"]] = {"switch": "s1", "address": f"{names['to']}/24"}
        addresses = -(-flows // FLOWS_PER_ADDRESS)
        entries[names["name"]] = {
            "function": "nat",
            "parameters": {"external_addresses": [f"198.18.{number}.{_FIRST_EXTERNAL + n}" for n in range(addresses)],
                           "mappings_max": flows + 1},
            "ports": {"inside": {"mac": names["gateway_mac"], "address": f"10.{number}.0.254/16", "hosts": [names["client"]]},
                      "outside": {"mac": f"02:00:5e:00:{number:02x}:02", "address": f"198.18.{number}.254/24",
                                  "hosts": [names["server"]]}},
            "input_logger": "il", "output_logger": "ol", "store": "st", "pool": [masters[number - 1], *masters[groups:]],
            "spare": readiness, "checkpoint_interval_ms": checkpoint_interval_ms}
    nodes = dict.fromkeys(["il", "ol", "st", *masters], "s1")
    document = {"network": {"switches": ["s1"], "hosts": hosts, "nodes": nodes}, "groups": entries}
    return yaml.safe_dump(document, sort_keys=False)


def by_role(numbers, groups):
    """{role: sum} of {node: number}, in a network of *groups* in which nobody died."""
    nodes = {"input-logger": ["il"], "output-logger": ["ol"], "store": ["st"], "master": [f"m{n}" for n in range(1, groups + 1)],
             "spare": [f"m{n}" for n in range(groups + 1, groups + SPARES + 1)], "controller": ["controller"]}
    return {role: sum(numbers[name] for name in names) for role, names in nodes.items()}
