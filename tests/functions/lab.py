"""A network for tests: boxes under the real core, hosts that speak ARP or Neighbor Discovery, and segments between them; one thread, no clock.

Frames go one at a time from a queue to all other members of their segment; each delivery takes a millisecond.
"""

import ipaddress
from collections import deque

from middleboxes.functions import load
from middleboxes.sdk import Packet, Packet6, Port
from middleboxes.sdk.build import ARP_REPLY, ARP_REQUEST, BROADCAST, NO_MAC, arp, ipv4
from middleboxes.sdk.build6 import NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, neighbor_advertisement, neighbor_solicitation
from middleboxes.sdk.conformance import Machine
from middleboxes.sdk.packet6 import ICMPV6, multicast_mac, solicited_node

from .hop6_scenario import ip6, mac6
from .nat_scenario import NS_PER_S, START_NS, ip, mac

_DELIVERIES_MAX = 100_000


class Box:
    """A function with its ports: {name: (segment, "address/length"[, "IPv6 address/length"])}."""

    def __init__(self, lab, name, function, parameters, workers=1, **ports):
        self.lab, self.name = lab, name
        # the box's number and the port's are in the MAC address
        listed = [Port.parse(port, f"02:00:5e:00:{len(lab.boxes) + 1:02x}:{number:02x}", address, address6)
                  for number, (port, (_, address, *address6)) in enumerate(ports.items(), 1)]
        self.ports = {port.name: port for port in listed}
        self.segments = {port: segment for port, (segment, *_) in ports.items()}
        self.machine = Machine(load(function), parameters, listed, workers)
        self.given = 0

    def receive(self, segment, frame):
        for port, own in self.segments.items():
            if own == segment and (frame[:6] == self.ports[port].mac or frame[0] & 1):
                self.given += 1
                self.send(self.machine.give(port, frame, self.lab.now_ns))

    def send(self, emitted):
        for port, frame in emitted:
            self.lab.put(self, self.segments[port], frame)


class Host:
    """A host: answers ARP, asks for its next hop, keeps what it receives (IPv4 frames)."""

    def __init__(self, lab, segment, address, gateway):
        self.lab, self.segment, self.address = lab, segment, ip(address)
        self.network = ipaddress.IPv4Network(f"{address}/24", strict=False)
        self.mac, self.gateway = mac(address), ip(gateway)
        self.received, self._neighbours, self._waiting = [], {}, []

    def send(self, frame):
        """Send an IPv4 *frame*, whose Ethernet addresses are filled in."""
        destination = Packet(frame).ipv4().destination
        hop = destination if ipaddress.IPv4Address(destination) in self.network else self.gateway
        if hop in self._neighbours:
            self.lab.put(self, self.segment, self._neighbours[hop] + self.mac + frame[12:])
        else:
            self._waiting.append(frame)
            self.lab.put(self, self.segment, arp(ARP_REQUEST, self.mac, self.address, NO_MAC, hop))

    def receive(self, segment, frame):
        if frame[:6] not in (self.mac, BROADCAST):
            return
        message = Packet(frame).arp()
        if message is None:
            self.received.append(frame)
        elif message.target == self.address:
            if message.operation == ARP_REQUEST:
                self.lab.put(self, segment, arp(ARP_REPLY, self.mac, self.address, message.sender_mac, message.sender))
            self._neighbours[message.sender] = message.sender_mac
            waiting, self._waiting = self._waiting, []
            for waited in waiting:
                self.send(waited)

    def take(self):
        """What was received since the last take."""
        received, self.received = self.received, []
        return received


class Host6(Host):
    """The same with IPv6: it is found and finds by Neighbor Discovery."""

    def __init__(self, lab, segment, address, gateway):
        self.lab, self.segment, self.address, self.gateway = lab, segment, ip6(address), ip6(gateway)
        self.network = ipaddress.IPv6Network(f"{address}/64", strict=False)
        self.mac = mac6(address)
        self.received, self._neighbours, self._waiting = [], {}, []

    def send(self, frame):
        """Send an IPv6 *frame*, whose Ethernet addresses are filled in."""
        destination = Packet6(frame).ipv6().destination
        hop = destination if ipaddress.IPv6Address(destination) in self.network else self.gateway
        if hop in self._neighbours:
            self.lab.put(self, self.segment, self._neighbours[hop] + self.mac + frame[12:])
        else:
            self._waiting.append(frame)
            self.lab.put(self, self.segment, neighbor_solicitation(self.mac, self.address, hop))

    def receive(self, segment, frame):
        if frame[:6] not in (self.mac, multicast_mac(solicited_node(self.address))):
            return
        packet = Packet6(frame)
        header = packet.ipv6()
        kind, target = frame[header.payload_start], frame[header.payload_start + 8:header.payload_start + 24]
        if header.protocol != ICMPV6 or kind not in (NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT):
            self.received.append(frame)
            return
        assert header.ttl == 255 and packet.transport_checksum_ok()
        if kind == NEIGHBOR_SOLICITATION:
            self._neighbours[header.source] = frame[-6:]
            if target == self.address:
                self.lab.put(self, segment, neighbor_advertisement(packet.source_mac, header.source, self.mac, target, 0x60000000))
        else:
            self._neighbours[target] = frame[-6:]
        waiting, self._waiting = self._waiting, []
        for waited in waiting:
            self.send(waited)


class Lab:
    """The network; ``run`` delivers until nothing is under way."""

    def __init__(self):
        self.now_ns = START_NS
        self.boxes, self.hosts = {}, {}
        self._queue = deque()

    def box(self, name, function, parameters, workers=1, **ports):
        self.boxes[name] = box = Box(self, name, function, parameters, workers, **ports)
        return box

    def host(self, name, segment, address, gateway):
        self.hosts[name] = host = (Host6 if ":" in address else Host)(self, segment, address, gateway)
        return host

    def put(self, sender, segment, frame):
        self._queue.append((sender, segment, frame))

    def run(self, after_each=lambda: None):
        for _ in range(_DELIVERIES_MAX):
            if not self._queue:
                return
            sender, segment, frame = self._queue.popleft()
            self.now_ns += NS_PER_S // 1000
            for member in (*self.boxes.values(), *self.hosts.values()):
                if member is not sender:
                    member.receive(segment, frame)
            after_each()
        raise AssertionError("the network does not come to rest")

    def wait(self, seconds):
        """Let time pass with a tick every second."""
        for _ in range(seconds):
            self.now_ns += NS_PER_S
            for box in self.boxes.values():
                box.send(box.machine.tick(self.now_ns))
            self.run()


def frame_of(protocol, source, destination, payload, **header):
    """An IPv4 frame without Ethernet addresses, for Host.send."""
    return ipv4(NO_MAC, NO_MAC, protocol, source, destination, payload, **header)
