"""What the emulated switches lose because their queues overrun: on a busy machine that is a lossy network, not a fault of ours.

The user-space switch reads each port by a packet socket, whose kernel queue holds some hundreds of frames. ``ss``
tells how many did not fit. The kernel's own datapath has no such queue: nothing is listed then.
"""

import re
import subprocess

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


def input_interfaces(configuration_text, group):
    """The switch's interfaces where the inputs of *group* enter the data network, whoever is its input logger."""
    configuration = config.read(configuration_text, "the campaign's configuration")
    nodes = plan.make(configuration, "/").nodes
    return [nodes[name].at_switch[nodes[name].data] for name in configuration.groups[group].loggers]
