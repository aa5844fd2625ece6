"""What the emulated switches lose because their queues overrun: on a busy machine that is a lossy network, not a fault of ours.

The user-space switch reads each port by a packet socket, whose kernel queue holds some hundreds of frames. ``ss``
tells how many did not fit. The kernel's own datapath has no such queue: nothing is listed then.
"""

import re
import subprocess

from middleboxes.core.aggregates import FRAMES_MAX

from .. import config, plan

_LINE = re.compile(r"^p_\w+\s.*?\*:(?P<interface>[^\s]+)\s.*skmem:\([^)]*\bd(?P<dropped>\d+)\)", re.MULTILINE)


def overruns():
    """{interface of a switch: frames that did not fit into its queue} of this network namespace."""
    told = subprocess.run(["ss", "-0", "--numeric", "--memory", "--no-header"], capture_output=True, text=True, check=True)
    return parse(told.stdout)


def parse(text):
    """As ``overruns``, from what ``ss`` printed."""
    found = {}
    for match in _LINE.finditer(text):
        interface = match["interface"]
        found[interface] = found.get(interface, 0) + int(match["dropped"])
    return found


def frames_at_most(overruns, data_interfaces):
    """Frames of the roles in *overruns*: on the data network one message may be an aggregate of many."""
    return sum(count * (FRAMES_MAX if name in data_interfaces else 1) for name, count in overruns.items())


def data_interfaces(configuration_text):
    """The switch's interfaces of the data network."""
    return {links.at_switch[links.data] for links in _planned(configuration_text)[1].values()}


def input_interfaces(configuration_text, group):
    """The switch's interfaces where the inputs of *group* enter the data network, whoever is its input logger."""
    configuration, nodes = _planned(configuration_text)
    return [nodes[name].at_switch[nodes[name].data] for name in configuration.groups[group].loggers]


def interfaces(configuration_text):
    """{node: all its interfaces at the switch}."""
    return {name: list(links.at_switch.values()) for name, links in _planned(configuration_text)[1].items()}


def _planned(configuration_text):
    configuration = config.read(configuration_text, "the campaign's configuration")
    return configuration, plan.make(configuration, "/").nodes


class InVain:
    """Frames that a queue did not take and nobody would have taken: a node that comes back as a zombie sends all that it has kept.

    *interfaces*: see there. They are no excuse for anything else that is missing.
    """

    def __init__(self, interfaces):
        self._interfaces = interfaces
        self._frames = {}

    def note(self, nodes, before, after):
        """*nodes* came back between two answers of ``overruns``."""
        for interface in {interface for node in nodes for interface in self._interfaces.get(node, ())}:
            more = after.get(interface, 0) - before.get(interface, 0)
            self._frames[interface] = self._frames.get(interface, 0) + max(0, more)

    def without(self, overruns):
        """*overruns* less what was in vain."""
        return {interface: count - self._frames.get(interface, 0) for interface, count in overruns.items()}
