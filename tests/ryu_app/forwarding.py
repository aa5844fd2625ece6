"""Switches that forward as OpenFlow says, without packets: a frame is a map of fields, put in at a place.

``Plane`` holds the entries and follows a frame through them; ``expectations`` says what a deployment and its
steering promise of every frame of ours, by the graph alone.
"""

import ipaddress

import networkx

from ryu_app.reconcile import DELETE
from ryu_app.deployment import Place
from ryu_app.steering import ARP, BROADCAST, ICMPV6, IPV6, NEIGHBOR_SOLICITATION, ROLES, Group, virtual_mac

NSH = 0x894F
IPV4 = 0x0800


def matches(fields, match):
    """Whether a frame with these *fields* meets a flow's *match*."""
    return all(_meets(fields.get(name), value) for name, value in match)


def _meets(value, wanted):
    if not isinstance(wanted, tuple) or value is None:
        return value == wanted
    bits, wanted_bits, mask = (int(mac.replace(":", ""), 16) for mac in (value, *wanted))
    return bits & mask == wanted_bits & mask


class Plane:
    """The data plane of *deployment*: flows and groups per switch; ``down`` are ports without carrier."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.ends = dict([*deployment.links, *((b, a) for a, b in deployment.links)])
        self.down = frozenset()
        self.flows = {name: {} for name in deployment.switches}
        self.groups = {name: {} for name in deployment.switches}
        self._index = {}            # switch -> {in port, or None: flows that may match there}; made anew when asked for
        self._walks = {}            # what was asked -> (when, what was met on the way, the answer)
        self._changed = {}          # Place or switch -> when an entry for what comes in there was changed last
        self._count = 0             # of changes: what "when" is told by

    def hold(self, flows, groups):
        """Hold exactly these entries."""
        self._index.clear()
        self._walks.clear()
        for tables, entries in ((self.flows, flows), (self.groups, groups)):
            for table in tables.values():
                table.clear()
            for entry in entries:
                tables[entry.switch][entry.key] = entry

    def apply(self, change):
        """Make one change; the entries that it needs must be there."""
        switch = change.entry.switch
        in_port = None if isinstance(change.entry, Group) else dict(change.entry.match).get("in_port")
        self._index.pop(switch, None)
        self._count += 1
        self._changed[switch if in_port is None else Place(switch, in_port)] = self._count
        table = (self.groups if isinstance(change.entry, Group) else self.flows)[switch]
        if change.what == DELETE:
            del table[change.entry.key]
        else:
            for name, value in () if isinstance(change.entry, Group) else change.entry.actions:
                assert name != "group" or value in self.groups[switch], "a flow before its group"
            table[change.entry.key] = change.entry

    def walk(self, place, frame):
        """Where *frame* comes out that goes in at *place*: (list of Places, whether a switch had no rule for it).

        It is followed anew only if an entry for what comes in on its way has changed.
        """
        asked = (place, tuple(sorted(frame.items())), self.down)
        known = self._walks.get(asked)
        if known is None or any(self._changed.get(part, 0) > known[0] for part in known[1]):
            out, strays, seen = self._follow(place, frame)
            met = {part for here, _ in seen for part in (here, here.switch)}
            self._walks[asked] = known = (self._count, met, (out, strays))
        return known[2]

    def _follow(self, place, frame):
        out, strays, waiting, seen = [], False, [(place, frame)], set()
        while waiting:
            here, frame = waiting.pop()
            state = (here, tuple(sorted(frame.items())))
            assert state not in seen, f"a loop: {frame} comes to {here} again"
            seen.add(state)
            flow = self._flow(here, frame)
            strays |= flow is None
            for port, leaving in self._outputs(here, flow.actions if flow else (), dict(frame)):
                there = Place(here.switch, port)
                if there not in self.ends:
                    out.append(there)
                elif there not in self.down and self.ends[there] not in self.down:
                    waiting.append((self.ends[there], leaving))
        return out, strays, seen

    def _flow(self, here, frame):
        if here.switch not in self._index:
            index = self._index[here.switch] = {}
            for flow in self.flows[here.switch].values():
                index.setdefault(dict(flow.match).get("in_port"), []).append(flow)
        fields = {**frame, "in_port": here.port}
        found = [flow for port in (here.port, None) for flow in self._index[here.switch].get(port, ())
                 if matches(fields, flow.match)]
        if not found:
            return None
        highest = max(flow.priority for flow in found)
        best = [flow for flow in found if flow.priority == highest]
        assert len({flow.actions for flow in best}) == 1, f"two rules of one priority that disagree: {best}"
        return best[0]

    def _outputs(self, here, actions, frame):
        in_port = here.port
        for name, value in actions:
            if name == "in_port":
                in_port = value
            elif name == "eth_dst":
                frame["eth_dst"] = value
            elif name == "group":
                yield from self._outputs(Place(here.switch, in_port), self.groups[here.switch][value].bucket, dict(frame))
            elif value != in_port:      # a switch does not send a frame back where it came from
                yield value, dict(frame)


def connected(deployment, down, a, b):
    """Whether there is a way between the switches of two Places."""
    graph = networkx.Graph()
    graph.add_nodes_from(deployment.switches)
    graph.add_edges_from((x.switch, y.switch) for x, y in deployment.links if x not in down and y not in down)
    return networkx.has_path(graph, a.switch, b.switch)


def expectations(deployment, steering):
    """{(place, frame as sorted pairs): set of Places where it comes out} for every frame of ours, sent by whom it may."""
    found = {}

    def expect(place, targets, **frame):
        found[place, tuple(sorted(frame.items()))] = targets

    def reached(here, *targets):
        return {there for there in targets if there is not None and connected(deployment, steering.down, here, there)}

    for spec in deployment.groups.values():
        _expect_roles(deployment, steering, spec, expect, reached)
        for port in spec.ports:
            inward = _side(deployment, steering, spec.name, "input-logger", port.name)
            outward = _side(deployment, steering, spec.name, "output-logger", port.name)
            faced = _side(deployment, steering, port.peer[0], "input-logger", port.peer[1]) if port.peer else None
            hosts = [deployment.hosts[name] for name in port.hosts]
            for host in hosts:
                expect(host.place, reached(host.place, inward), eth_src=host.mac, eth_dst=port.mac)
                for address in port.asked_for:
                    expect(host.place, reached(host.place, inward), eth_src=host.mac, **asking(address))
            for name, node in deployment.nodes.items():
                here = node.ports.get(spec.name, {}).get(port.name)
                if here is None:
                    continue
                speaks = here == outward
                for host in hosts:
                    expect(here, reached(here, host.place) if speaks else set(), eth_src=port.mac, eth_dst=host.mac)
                everyone = reached(here, faced, *(host.place for host in hosts)) if speaks else set()
                expect(here, everyone, eth_src=port.mac, eth_dst=BROADCAST)
    return found


def asking(address):
    """Fields of the frame with which a neighbour that does not know *address* asks for it."""
    if ":" not in address:
        return {"eth_dst": BROADCAST, "eth_type": ARP, "arp_tpa": address}
    last = ipaddress.IPv6Address(address).packed[13:]
    return {"eth_dst": "33:33:ff:" + last.hex(":"), "eth_type": IPV6, "ip_proto": ICMPV6, "icmpv6_type": NEIGHBOR_SOLICITATION,
            "ipv6_nd_target": address}


def _expect_roles(deployment, steering, spec, expect, reached):
    for role in ROLES:
        anchor = deployment.nodes[steering.active.get((spec.name, "input-logger")) or spec.input_logger].data.place
        target = steering.active.get((spec.name, role))
        target = deployment.nodes[target].data.place if target else None
        senders = spec.loggers if role == "master" else spec.pool
        for name, node in deployment.nodes.items():
            here = node.data.place
            if here == target:
                continue
            heard = name in senders and name not in steering.fenced and reached(here, anchor)
            expect(here, reached(anchor, target) if heard else set(), eth_type=NSH, eth_dst=virtual_mac(role, spec.id))


def _side(deployment, steering, group, role, port):
    node = steering.active.get((group, role))
    return deployment.nodes[node].ports[group][port] if node else None


def strangers(deployment, rng, count):
    """*count* of the (place, frame as sorted pairs) that nobody may send: NSH and other frames to roles and nodes.

    They come from hosts, port interfaces, ports that nobody knows, and data ports of nodes that have no business with
    the address; under anybody's address.
    """
    nodes, hosts = deployment.nodes.values(), deployment.hosts.values()
    edge = [host.place for host in hosts]
    edge += [place for node in nodes for sides in node.ports.values() for place in sides.values()]
    edge += [Place(switch, 9999) for switch in deployment.switches]
    senders = {virtual_mac(role, 0x7777): () for role in ROLES}      # of no group that there is
    senders.update({node.data.mac: () for node in nodes})
    for spec in deployment.groups.values():
        for role in ROLES:
            senders[virtual_mac(role, spec.id)] = spec.loggers if role == "master" else spec.pool
    known = [port for spec in deployment.groups.values() for port in spec.ports]
    sources = [*(host.mac for host in hosts), *(node.data.mac for node in nodes), *(port.mac for port in known)]
    for _ in range(count):
        target = rng.choice(sorted(senders))
        places = edge + [node.data.place for name, node in deployment.nodes.items() if name not in senders[target]]
        frame = rng.choice(({"eth_type": NSH}, {"eth_type": IPV4},
                            {"eth_type": ARP, "arp_tpa": rng.choice(known).address.split("/")[0]}))
        yield rng.choice(places), tuple(sorted({**frame, "eth_src": rng.choice(sources), "eth_dst": target}.items()))
