"""Paths between switches: the next hop toward a place, whole paths hop by hop, and what has no path left. Pure.

Shortest in hops; among equals the neighbour's name, then the port number decides, so that every run
finds the same paths. A link with an end in *down* (either one) is left out; the others between the same switches stay.
"""

from typing import NamedTuple

import networkx

from .deployment import Place


class Hop(NamedTuple):
    """Where a path comes into a switch and goes out of it, and how many hops follow."""
    in_place: Place
    out_port: int
    depth: int


class Toward(NamedTuple):
    """The port of a switch toward a place, and how many hops follow."""
    out_port: int
    depth: int


class Paths:
    """Next hops over *switches* (names) and *links* (pairs of Place), without those in *down* (Places)."""

    def __init__(self, switches, links, down=frozenset()):
        self._graph = _graph(switches, links, down)
        self._next = {}         # destination -> {switch: (next switch, out port, its in port, hops that follow)}

    def _tree(self, destination):
        if destination not in self._next:
            distance = networkx.single_source_shortest_path_length(self._graph, destination)
            self._next[destination] = {switch: (*min(self._closer(switch, distance)), distance[switch])
                                       for switch in distance if switch != destination}
        return self._next[destination]

    def _closer(self, switch, distance):
        for _, neighbour, ends in self._graph.edges(switch, data="ends"):
            if distance.get(neighbour) == distance[switch] - 1:
                yield neighbour, ends[switch], ends[neighbour]

    def toward(self, switch, destination):
        """The hop (Toward) of *switch* to *destination* (a Place), or None if there is no way."""
        if switch == destination.switch:
            return Toward(destination.port, 0)
        step = self._tree(destination.switch).get(switch)
        return None if step is None else Toward(step[1], step[3])

    def path(self, source, destination):
        """The Hops from *source* to *destination* (both Places); empty if there is no way."""
        hops, here = [], source
        while here.switch != destination.switch:
            step = self._tree(destination.switch).get(here.switch)
            if step is None:
                return ()
            neighbour, out_port, in_port, depth = step
            hops.append(Hop(here, out_port, depth))
            here = Place(neighbour, in_port)
        hops.append(Hop(here, destination.port, 0))
        return tuple(hops)


def unreachable(deployment, down):
    """Names of the nodes whose switch has no path to the largest part of the network, with *down* (Places) down.

    The largest part is that with the most nodes, then hosts, then switches, then the first switch by name.
    A node's own port does not matter here.
    """
    parts = list(networkx.connected_components(_graph(deployment.switches, deployment.links, down)))

    def size(part):
        return (-sum(node.data.place.switch in part for node in deployment.nodes.values()),
                -sum(host.place.switch in part for host in deployment.hosts.values()), -len(part), min(part))

    largest = min(parts, key=size)
    return frozenset(name for name, node in deployment.nodes.items() if node.data.place.switch not in largest)


def cut_off(deployment, down):
    """Names of the switches that have links, all of them down (with an end in *down*)."""
    linked = {end.switch for link in deployment.links for end in link}
    graph = _graph(deployment.switches, deployment.links, down)
    return frozenset(name for name in linked if not graph.degree(name))


def _graph(switches, links, down):
    graph = networkx.MultiGraph()
    graph.add_nodes_from(sorted(switches))
    for a, b in links:
        if a not in down and b not in down:
            graph.add_edge(a.switch, b.switch, ends={a.switch: a.port, b.switch: b.port})
    return graph
