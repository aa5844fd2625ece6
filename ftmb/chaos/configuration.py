"""The configuration of a campaign: the named one ``single`` with another function in the middle."""

import yaml

from .. import config
from .payload import PORT

BASE = "single"
GROUP = "nat"
FUNCTIONS = ("nat", "sequencer", "shared-counter")


def text(function, workers, spare="warm"):
    """The YAML of the configuration with *function*, one of FUNCTIONS, and such a *spare*; the group keeps its name."""
    path = config.CONFIGURATIONS / f"{BASE}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    group = document["groups"][GROUP]
    group.update(workers=workers, spare=spare)
    if function != "nat":
        group.update(function=function, parameters={"stamped_port": PORT})
        # a router, not a NAT: the outside has to know the way back
        gateway = group["ports"]["outside"]["address"].split("/")[0]
        for name in group["ports"]["outside"]["hosts"]:
            document["network"]["hosts"][name]["gateway"] = gateway
    return yaml.safe_dump(document, sort_keys=False)
