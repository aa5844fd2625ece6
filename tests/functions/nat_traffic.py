"""Seeded traffic for a NAT: steps (seconds to wait, port, frame), some sound, some forged, some broken.

Run as a program (python -m tests.functions.nat_traffic SEED) it prints a digest of everything that a NAT did with
3000 steps, for comparing processes.
"""

import hashlib
import random
import sys

from middleboxes.sdk import Packet
from middleboxes.sdk.build import ARP_REPLY, ARP_REQUEST, NO_MAC, arp, icmp, ipv4
from middleboxes.sdk.packet import ICMP

from ..columns import state_of
from .nat_scenario import (ACK, EXTERNAL, FIN, INSIDE, NS_PER_S, OUTSIDE, RST, SYN, Network, ip, mac, packet)

#: few ports and sessions, short timeouts, so that limits and expiry are met often
SMALL = {"first_port": 3000, "last_port": 3009, "mappings_max": 22, "tcp_sessions_max": 12, "udp_timeout_s": 5,
         "icmp_timeout_s": 3, "tcp_opening_timeout_s": 4, "tcp_closing_timeout_s": 4, "tcp_established_timeout_s": 20}
#: what has state only if it is asked for
OPTIONS = {"filtering": "address-dependent", "log_collector": "192.0.2.7", "mappings_per_host_max": 8, "contacts_max": 5}
_FLAGS = [SYN, SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST]


class Traffic:
    """Makes the next step from what has been emitted so far, so that answers fit."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self._emitted = []

    def saw(self, emitted):
        self._emitted = (self._emitted + emitted)[-40:]

    def step(self):
        """(seconds since the last step, port, frame); port "" is a tick."""
        rng = self.rng
        wait_s = rng.choice([0, 0, 0, 0.0005, 0.01, 0.02, rng.choice([0, 0.05, 0.4])])
        kind = rng.random()
        if kind < 0.12:
            return wait_s, "", b""
        if kind < 0.24:
            return (wait_s, *self._arp())
        if kind < 0.30:
            return (wait_s, *self._icmp_error())
        port, frame = self._answer() if kind < 0.60 and self._emitted else self._request()
        return wait_s, port, self._damaged(frame) if rng.random() < 0.08 else frame

    def _endpoint(self, side):
        rng = self.rng
        hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"] if side == "inside" else [
            "198.51.100.1", "198.51.100.2", "192.0.2.7", "192.0.2.8", "192.0.2.9", EXTERNAL, "10.0.0.254"]
        return f"{rng.choice(hosts)}:{rng.randrange(3000, 3010)}"

    def _request(self):
        rng = self.rng
        protocol = rng.choice(["udp", "tcp", "tcp", "icmp"])
        options = {"flags": rng.choice(_FLAGS), "data": rng.randbytes(rng.randrange(20)),
                   "ttl": rng.choice([64, 64, 9, 1]), "fragment": rng.choice([0] * 12 + [0x2000, 0x2003, 3]),
                   "identification": rng.randrange(2)}
        if rng.random() < 0.8:
            return "inside", packet(protocol, self._endpoint("inside"), self._endpoint("outside"), INSIDE.mac, **options)
        target = f"{EXTERNAL}:{rng.randrange(3000, 3010)}"
        return "outside", packet(protocol, self._endpoint("outside"), target, OUTSIDE.mac, kind=rng.choice([0, 8]), **options)

    def _answer(self):
        """An answer to an emitted packet, as its receiver would send it."""
        rng = self.rng
        port, frame = rng.choice(self._emitted)
        flow = Packet(frame).five_tuple()
        if flow is None:
            return self._request()
        number, source, sport, destination, dport = flow
        ends = [".".join(map(str, address.to_bytes(4, "big"))) + f":{number}"
                for address, number in ((destination, dport), (source, sport))]
        protocol = {1: "icmp", 6: "tcp", 17: "udp"}[number]
        to = INSIDE if port == "inside" else OUTSIDE
        return port, packet(protocol, *ends, to.mac, flags=rng.choice([SYN | ACK, ACK, ACK, FIN | ACK, RST]), kind=0)

    def _arp(self):
        rng = self.rng
        if rng.random() < 0.5:
            own, host = INSIDE, rng.choice(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        else:
            own, host = OUTSIDE, rng.choice(["192.0.2.1", "192.0.2.7", "192.0.2.8"])
        operation = rng.choice([ARP_REQUEST, ARP_REPLY])
        return own.name, arp(operation, mac(host), ip(host), NO_MAC, rng.choice([own.address, ip(EXTERNAL)]))

    def _icmp_error(self):
        rng = self.rng
        sent = [item for item in self._emitted if len(item[1]) >= 42]
        if not sent:
            return self._request()
        port, frame = rng.choice(sent)
        own = INSIDE if port == "inside" else OUTSIDE
        quoted = frame[14:][:rng.choice([28, 36, 2000])]
        source = ip("203.0.113.1") if port == "outside" else int.from_bytes(frame[30:34], "big")
        return port, ipv4(own.mac, mac("192.0.2.1"), ICMP, source, int.from_bytes(frame[26:30], "big"),
                          icmp(rng.choice([3, 11, 5]), 1, 0, quoted))

    def _damaged(self, frame):
        rng = self.rng
        frame = bytearray(frame)
        for _ in range(rng.randrange(1, 4)):
            frame[rng.randrange(len(frame))] = rng.getrandbits(8)
        return bytes(frame[:rng.choice([len(frame), rng.randrange(len(frame) + 1)])])


def apply_step(net, step):
    """Give a step to *net*; return what it emitted."""
    wait_s, port, frame = step
    net.ctx.now_ns += int(wait_s * NS_PER_S)
    return net.frame_in(port, frame) if port else net.wait(0)


def digest(seed, steps):
    """A hash of all outputs and of the state after that many steps."""
    net, traffic, total = Network(seed, **SMALL), Traffic(seed), hashlib.sha256()
    for _ in range(steps):
        emitted = apply_step(net, traffic.step())
        traffic.saw(emitted)
        total.update(repr(emitted).encode())
    total.update(repr(state(net)).encode())
    return total.hexdigest()


def state(net):
    """All state of a network's NAT, in its order."""
    return state_of(net.nat.variables)


if __name__ == "__main__":
    print(digest(int(sys.argv[1]), 3000))
