"""What interfaces and queues of the emulated network count around the three hops of a group."""

import json
import subprocess

from .. import config, plan
from ..chaos import queues


class Network:
    """Reads the counters of the network that *configuration_text* describes, around *group*."""

    def __init__(self, emulator, configuration_text, group):
        self._emulator, self._group = emulator, group
        self._nodes = plan.make(config.read(configuration_text, "the soak's configuration"), "/").nodes

    def sample(self, holders):
        """Frames so far; *holders*: {hop: node}.

        ``edge``: handed to the input logger's ports. ``HOP_lost``: lost on the way from that node's data interface into the
        switch. ``HOP_refused``: not taken at that node's data interface.
        """
        here, overruns = self._interfaces(), queues.overruns()
        links = self._nodes[holders["input_logger"]]
        ends = [links.at_switch[interface] for interface in links.ports[self._group].values()]
        found = {"edge": sum(here[end]["tx"]["packets"] for end in ends)}
        for hop, node in holders.items():
            links = self._nodes[node]
            end, there = links.at_switch[links.data], self._interfaces(node)
            found[f"{hop}_lost"] = there[links.data]["tx"]["dropped"] + overruns.get(end, 0)
            found[f"{hop}_refused"] = here[end]["tx"]["dropped"]
        return found

    def _interfaces(self, node=None):
        """{interface: its counters, as ``ip`` tells them}, of a node's namespace or of ours."""
        command = ["ip", "-s", "-j", "link"]
        if node is None:
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        else:
            with self._emulator.popen(node, command, stdout=subprocess.PIPE, text=True) as process:
                told = process.communicate()[0]
        return {link["ifname"]: link["stats64"] for link in json.loads(told)}
