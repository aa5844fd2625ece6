"""Paths between switches: the next hop toward a switch, and whole paths hop by hop.

Shortest in hops; among equals the neighbour's name, then the port number decides, so that every run
finds the same paths. Links with an end in *down* are left out.
"""

from dataclasses import dataclass

import networkx

from .deployment import Place


@dataclass(frozen=True)
class Hop:
    """A switch on a path, with the ports where the path comes in and goes out."""
    switch: str
    in_port: int
    out_port: int


class Paths:
    """Next hops over *switches* (names) and *links* (pairs of Place), without those in *down* (Places)."""

    def __init__(self, switches, links, down=frozenset()):
        self._graph = networkx.MultiGraph()
        self._graph.add_nodes_from(sorted(switches))
        for a, b in links:
            if a not in down and b not in down:
                self._graph.add_edge(a.switch, b.switch, ends={a.switch: a.port, b.switch: b.port})
        self._next = {}         # destination -> {switch: (out port, next switch, its in port)}

    def _toward(self, destination):
        if destination not in self._next:
            distance = networkx.single_source_shortest_path_length(self._graph, destination)
            table = {}
            for switch in distance:
                if switch != destination:
                    table[switch] = min(self._closer(switch, distance))[1:]
            self._next[destination] = table
        return self._next[destination]

    def _closer(self, switch, distance):
        for _, neighbour, ends in self._graph.edges(switch, data="ends"):
            if distance.get(neighbour) == distance[switch] - 1:
                yield neighbour, ends[switch], neighbour, ends[neighbour]

    def out_port(self, switch, destination):
        """The port of *switch* that leads to *destination* (a Place), or None if there is no way."""
        if switch == destination.switch:
            return destination.port
        hop = self._toward(destination.switch).get(switch)
        return hop[0] if hop else None

    def path(self, source, destination):
        """The Hops from *source* to *destination* (both Places); empty if there is no way."""
        hops, here = [], source
        while here.switch != destination.switch:
            hop = self._toward(destination.switch).get(here.switch)
            if hop is None:
                return ()
            hops.append(Hop(here.switch, here.port, hop[0]))
            here = Place(hop[1], hop[2])
        hops.append(Hop(here.switch, here.port, destination.port))
        return tuple(hops)
