"""A network with many protected functions, each between hosts of its own; loggers, store and spares are shared by all."""

import yaml

#: who serves all groups besides their masters
LOGGERS = ("il", "ol", "st")


def addresses(number):
    """Prefixes of the two sides of function *number* (from 0): "10.N.0", "10.N.1"; its ports have .254."""
    return f"10.{number + 1}.0", f"10.{number + 1}.1"


def addresses6(number):
    """The same with IPv6: "2001:db8:N:0::", "2001:db8:N:1::"; its ports have ::fe."""
    return f"2001:db8:{number + 1}:0::", f"2001:db8:{number + 1}:1::"


def macs(number):
    """The MAC addresses of its two ports."""
    return f"02:00:5e:00:{number + 1:02x}:01", f"02:00:5e:00:{number + 1:02x}:02"


def configuration(functions, spares, hosts=1):
    """The YAML of a network of *functions*: [(name, ports, parameters, whether its ports have IPv6)], *ports* two names, with so many *spares*.

    The first side of function N has the *hosts* "aN0", "aN1" ... with addresses .1, .2 ..., the second one "bN0" ...; groups are called "gN", their first
    masters "mN", the spares "pN".
    """
    masters, pool = [f"m{number}" for number in range(len(functions))], [f"p{number}" for number in range(spares)]
    network = {"switches": ["sw"], "hosts": {}, "nodes": dict.fromkeys([*LOGGERS, *masters, *pool], "sw")}
    groups = {}
    for number, (function, ports, parameters, has_6) in enumerate(functions):
        sides = {}
        for letter, port, mac, prefix, prefix6 in zip("ab", ports, macs(number), addresses(number), addresses6(number)):
            names = [f"{letter}{number}{place}" for place in range(hosts)]
            for place, name in enumerate(names, 1):
                network["hosts"][name] = {"switch": "sw", "address": f"{prefix}.{place}/24", "gateway": f"{prefix}.254"}
            sides[port] = {"mac": mac, "address": f"{prefix}.254/24", "hosts": names}
            if has_6:
                sides[port]["address6"] = f"{prefix6}fe/64"
        others = [name for name in masters if name != masters[number]]
        groups[f"g{number}"] = {"function": function, "parameters": parameters, "ports": sides, "input_logger": LOGGERS[0],
                                "output_logger": LOGGERS[1], "store": LOGGERS[2], "pool": [masters[number], *pool, *others],
                                "loggers": list(LOGGERS[:2]), "stores": [LOGGERS[2]]}
    # who dies here is seen at once; on a starved machine nobody shall be taken for dead
    return yaml.safe_dump({"network": network, "groups": groups, "controller": {"suspect_after_ms": 10_000}}, sort_keys=False)
