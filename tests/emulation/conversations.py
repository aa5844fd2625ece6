"""Conversations between hosts on two sides of a middlebox, as frames to be replayed: all from a seed, none from a live kernel.

What is sent does not depend on what arrives, so a middlebox that dies changes nothing in it. Only the addresses do: a packet that
goes back to a NAT has to be sent to what the NAT made of the source. So a trace has two parts. Part one begins the conversations; from how
its packets look on the other side (*seen*) part two is made, with all the rest in both directions.

Every packet has an IP identification of its own (fragments of one datagram share it), by which it is known again behind the middlebox; all but fragments
forbid fragmentation, so that an address translator leaves it as it is, and numbers begin where its own don't get. With IPv6 it is the flow label. The length of every packet of hosts 1 to 3 is a multiple of UNIT_BYTES; host 4 also sends and gets fragments and hostile packets.
"""

import random
from typing import NamedTuple

from middleboxes.sdk import Packet, Packet6
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, icmp, ipv4, tcp, udp
from middleboxes.sdk.build6 import icmp6, ipv6, neighbor_solicitation
from middleboxes.sdk.conformance.hostile import hostile
from middleboxes.sdk.packet import ICMP, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, TCP, UDP
from middleboxes.sdk.packet6 import ICMPV6

UNIT_BYTES = 64
HOSTS = 4
INSIDE, OUTSIDE = 0, 1
#: packets of others between two of one conversation, as far as there are others: so their order survives a switch that reads port by port
_APART = 20
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_MORE_FRAGMENTS, DO_NOT_FRAGMENT = 0x2000, 0x4000
_FIRST_IDENT, _IPV6 = 0x4000, b"\x86\xdd"
_FRAGMENT_BYTES = 400
_PORT_UNREACHABLE, _TIME_EXCEEDED = (3, 3), (11, 0)


class Side(NamedTuple):
    """One side of a middlebox: the MAC of its hosts and of the port, their addresses (ints; IPv6: bytes), and what they begin conversations with.

    *targets*: {(protocol, whether IPv6): [(address, port), ...]}; without IPv6 *port_address6* is None and *hosts6* empty.
    """

    mac: bytes
    port_mac: bytes
    port_address: int
    hosts: list
    port_address6: bytes
    hosts6: list
    targets: dict


class Conversation:
    """One flow: the side that begins it, and how each side sees its endpoints, (opener's, answerer's)."""

    def __init__(self, protocol, opener, source, target):
        self.protocol, self.opener = protocol, opener
        self.views = {opener: (source, target)}
        self.ident = self.seen = None       # of its first packet, and that packet behind the middlebox
        self.sequences = {}                 # {whether of the opener: the next sequence number}


class Trace:
    """The frames of one replay between two Sides; the same *seed* gives the same."""

    def __init__(self, seed, sides, conversations=36, hostile_packets=40):
        self._rng = random.Random(seed)
        self._sides = sides
        self._ident = _FIRST_IDENT
        self._hostile_packets = hostile_packets
        self.conversations = [self._conversation(number) for number in range(conversations)]
        #: {identification: its Conversation} of those that belong to one
        self.owners = {}

    # --- the two parts

    def openers(self):
        """[(side, frame)]: ARP of all hosts, then the first packet of each conversation but every fourth, then ``end``."""
        frames = [(side, arp(ARP_REQUEST, here.mac, host, NO_MAC, here.port_address))
                  for side, here in enumerate(self._sides) for host in here.hosts]
        frames += [(side, neighbor_solicitation(here.mac, host, here.port_address6))
                   for side, here in enumerate(self._sides) for host in here.hosts6]
        for conversation in self._early():
            frames.append(self._opening(conversation))
        return frames + self._ends(1)

    def rest(self, seen):
        """[(side, frame)] of all that follows. *seen*: {identification: frame} of what came out of the middlebox after ``openers``."""
        queues = []
        for number, conversation in enumerate(self.conversations):
            late = conversation not in self._early()
            queue = [self._opening(conversation)] if late else []
            first = seen.get(conversation.ident)
            if first is not None:
                conversation.views[1 - conversation.opener], conversation.seen = _endpoints(first), first
            queues.append(queue + self._frames(conversation, self._script(conversation, number, first is None)))
        known = [frame for queue in queues for frame in queue]
        queues += [[self._damaged(known)] for _ in range(self._hostile_packets)]
        return _interleaved(queues, self._rng) + self._ends(2)

    def _early(self):
        return [each for number, each in enumerate(self.conversations) if number % 4 != 3]

    def _ends(self, part):
        """A ping from each side to the port's own address: when it is answered, all before it was processed."""
        return [(side, ipv4(here.port_mac, here.mac, ICMP, here.hosts[3], here.port_address,
                            icmp(ICMP_ECHO_REQUEST, 0, 0xE0D0000 | part, b"end"), identification=self._next(None), fragment=DO_NOT_FRAGMENT))
                for side, here in enumerate(self._sides)]

    def _next(self, owner):
        self._ident += 1
        if owner is not None:
            self.owners[self._ident] = owner
        return self._ident

    # --- conversations

    def _conversation(self, number):
        """TCP, UDP or echo between any two hosts, or fragments and errors with the fourth."""
        rng = self._rng
        protocol = (TCP, TCP, UDP, TCP, ICMP, UDP)[number % 6]
        opener = OUTSIDE if number % 5 == 4 else INSIDE
        here = self._sides[opener]
        is_6 = bool(here.hosts6) and number % 7 < 3
        host = (here.hosts6 if is_6 else here.hosts)[3 if number % 6 == 5 else rng.randrange(HOSTS - 1)]
        target = rng.choice(here.targets[protocol, is_6])
        # no two conversations have one port, so that each has its own mapping
        return Conversation(protocol, opener, (host, 20_000 + number), (target[0], 20_000 + number if protocol == ICMP else target[1]))

    def _opening(self, conversation):
        """(side, frame) of its first packet."""
        rng = self._rng
        conversation.ident = self._next(conversation)
        conversation.sequences = {True: rng.getrandbits(32), False: rng.getrandbits(32)}
        if conversation.protocol == TCP:
            frame = self._segment(conversation, True, _SYN, 0, conversation.ident)
        else:
            frame = self._datagram(conversation, True, 0, conversation.ident)
        return conversation.opener, frame

    def _script(self, conversation, number, one_way):
        """[(method, whether by the opener, what else it takes)] of what is still to come; *one_way*: nothing comes back."""
        rng, protocol = self._rng, conversation.protocol
        if protocol == TCP:
            steps = [(self._segment, *step) for step in _tcp_script(rng, number)]
        elif protocol == ICMP:
            steps = [(self._datagram, False, 0)] + [(self._datagram, by, turn) for turn in (1, 2, 3) for by in (True, False)]
        else:
            steps = [(self._datagram, False, 0)] + [(self._datagram, rng.random() < 0.5, turn) for turn in range(1, rng.randrange(3, 9))]
            # IPv6 is fragmented by hosts alone, and quoted otherwise: the functions' own tests have that
            if conversation.views[conversation.opener][0][0] == self._sides[conversation.opener].hosts[3]:
                steps += [(self._fragments, True), (self._fragments, False), (self._error, False), (self._datagram, True, 9)]
        return [step for step in steps if step[1] or not one_way]

    def _frames(self, conversation, steps):
        """[(side, frame)] of *steps*."""
        frames = []
        for method, by_opener, *more in steps:
            made = method(conversation, by_opener, *more, self._next(conversation))
            side = conversation.opener if by_opener else 1 - conversation.opener
            frames += [(side, frame) for frame in (made if isinstance(made, list) else [made])]
        return frames

    def _ends_of(self, conversation, by_opener):
        """(side, source endpoint, destination endpoint) of a packet."""
        side = conversation.opener if by_opener else 1 - conversation.opener
        view = conversation.views[side]
        return (side, *(view if by_opener else view[::-1]))

    def _ip(self, side, protocol, source, destination, payload, ident, fragment=DO_NOT_FRAGMENT):
        here = self._sides[side]
        if type(source) is bytes:
            return ipv6(here.port_mac, here.mac, protocol, source, destination, payload, flow_label=ident)
        return ipv4(here.port_mac, here.mac, protocol, source, destination, payload, identification=ident, fragment=fragment)

    def _segment(self, conversation, by_opener, flags, data_units, ident):
        side, source, destination = self._ends_of(conversation, by_opener)
        sequences = conversation.sequences
        data = self._rng.randbytes(data_units * UNIT_BYTES)
        # with IPv6 a segment has room for the first option only
        room = UNIT_BYTES - (60 if type(source[0]) is bytes else 40)
        options = (b"\x02\x04\x05\xb4\x01\x03\x03\x05" if flags & _SYN else b"")[:room].ljust(room, b"\1")
        payload = tcp(*source, *destination, flags, data, sequences[by_opener], sequences[not by_opener] if flags & _ACK else 0, 8000, options)
        sequences[by_opener] = sequences[by_opener] + len(data) + bool(flags & (_SYN | _FIN)) & 0xFFFFFFFF
        return self._ip(side, TCP, source[0], destination[0], payload, ident)

    def _datagram(self, conversation, by_opener, turn, ident):
        side, source, destination = self._ends_of(conversation, by_opener)
        is_6 = type(source[0]) is bytes
        data = (b"%d " % turn).ljust(UNIT_BYTES * self._rng.randrange(1, 6) - (48 if is_6 else 28), b"u")
        if conversation.protocol == UDP:
            payload = udp(*source, *destination, data)
        else:
            # the identifier is the opener's port, as each side sees it
            identifier = source[1] if by_opener else destination[1]
            if is_6:
                payload = icmp6(source[0], destination[0], 128 if by_opener else 129, 0, identifier << 16 | turn, data)
                return self._ip(side, ICMPV6, source[0], destination[0], payload, ident)
            payload = icmp(ICMP_ECHO_REQUEST if by_opener else ICMP_ECHO_REPLY, 0, identifier << 16 | turn, data)
        return self._ip(side, conversation.protocol, source[0], destination[0], payload, ident)

    def _fragments(self, conversation, by_opener, ident):
        """One datagram in three fragments, in their order."""
        side, source, destination = self._ends_of(conversation, by_opener)
        whole = udp(*source, *destination, self._rng.randbytes(2 * _FRAGMENT_BYTES + 100))
        return [self._ip(side, UDP, source[0], destination[0], whole[at:at + _FRAGMENT_BYTES], ident,
                         at // 8 | (_MORE_FRAGMENTS if at + _FRAGMENT_BYTES < len(whole) else 0)) for at in range(0, len(whole), _FRAGMENT_BYTES)]

    def _error(self, conversation, by_opener, ident):
        """An ICMP error about the conversation's first packet, which it quotes as it was seen behind the middlebox."""
        side, source, destination = self._ends_of(conversation, by_opener)
        kind, code = self._rng.choice((_PORT_UNREACHABLE, _TIME_EXCEEDED))
        return self._ip(side, ICMP, source[0], destination[0], icmp(kind, code, 0, conversation.seen[14:14 + 28]), ident)

    def _damaged(self, known):
        """(side, frame): a packet of the fourth host, or to it, with something wrong; it can still be known by its identification."""
        rng = self._rng
        fourth = {here.hosts[3] for here in self._sides} | {host for here in self._sides for host in here.hosts6[3:]}
        side, frame = rng.choice([each for each in known if set(_addresses(each[1])) & fourth])
        ident, is_6 = self._next(None), frame[12:14] == _IPV6
        if is_6:
            fresh = frame[:14] + (6 << 28 | ident).to_bytes(4, "big") + frame[18:]
        else:
            header = Packet(frame).ipv4()
            fresh = ipv4(frame[:6], frame[6:12], header.protocol, header.source, header.destination, frame[header.payload_start:],
                         identification=ident, fragment=DO_NOT_FRAGMENT)
        # where it is known by, and its addresses, stay
        kept = (slice(12, 18), slice(22, 54)) if is_6 else (slice(12, 14), slice(18, 20), slice(26, 34))
        while True:
            damaged, _ = hostile(fresh, rng)
            if all(damaged[part] == fresh[part] for part in kept):
                return side, damaged


def _tcp_script(rng, number):
    """[(whether by the opener, flags, units of data)] after a SYN: mostly a whole connection, now and then a refusal or a reset."""
    if number % 12 == 6:
        return [(False, _RST | _ACK, 0)]
    steps = [(False, _SYN | _ACK, 0), (True, _ACK, 0)]
    for _ in range(rng.randrange(1, 4)):
        steps += [(True, _ACK | _PSH, rng.randrange(1, 8)), (False, _ACK, 0),
                  (False, _ACK | _PSH, rng.randrange(1, 15)), (True, _ACK, 0)]
    if number % 12 == 1:
        return [*steps, (True, _RST | _ACK, 0)]
    if number % 12 == 7:
        return steps        # it stays open
    return [*steps, (True, _FIN | _ACK, 0), (False, _ACK, 0), (False, _FIN | _ACK, 0), (True, _ACK, 0)]


def _interleaved(queues, rng):
    """All of *queues*, each in its order and its packets _APART from each other, as far as there are others."""
    queues, last, mixed = [list(queue) for queue in queues], {}, []
    while any(queues):
        waiting = [number for number, queue in enumerate(queues) if queue]
        rested = [number for number in waiting if len(mixed) - last.get(number, -_APART) >= _APART]
        number = rng.choice(rested) if rested else min(waiting, key=last.get)
        last[number] = len(mixed)
        mixed.append(queues[number].pop(0))
    return mixed


def _endpoints(frame):
    """(source, destination) endpoints of a TCP, UDP or echo packet."""
    _, source, source_port, destination, destination_port = (Packet6 if frame[12:14] == _IPV6 else Packet)(frame).five_tuple()
    return (source, source_port), (destination, destination_port)


def _addresses(frame):
    """(source, destination) of an IP packet."""
    if frame[12:14] == _IPV6:
        return frame[22:38], frame[38:54]
    return int.from_bytes(frame[26:30], "big"), int.from_bytes(frame[30:34], "big")
