"""NeighborDiscovery: addresses of neighbours on the link, asked for and answered (RFC 4861), as ``router`` does it with ARP for IPv4.

It answers solicitations for the own addresses of the port where they come in, its link-local one among them, also those of Duplicate Address
Detection; resolves next hops; and keeps frames that wait. Messages with a hop limit below 255, a wrong checksum or unsound options are
dropped (``nd_malformed``; RFC 4861, 7.1). Who claims one of our addresses is not believed (``nd_address_conflict``).

Whom it believes: an entry is made only from an advertisement that was asked for, or from a solicitation for one of our addresses, and
only for an address of the port's own prefixes or a link-local one; a known entry follows solicitations of its address and advertisements
that may override. Entries not confirmed for a minute are asked again, at their known address first (Neighbor Unreachability Detection, with ARP's
intervals). When a next hop does not answer, who sent the frames that waited for it is told: address unreachable (RFC 4443, 3.1).

Limits, and what happens at them: those of ARP, apart from it (``nd_queue_full``, ``nd_unanswered``). A scan of a prefix fills the queue (RFC 6583): meanwhile known
neighbours stay known, and who asks for our address is learned; another neighbour that nobody has heard must wait. No router advertisements are sent or
taken: hosts have their gateway by configuration. Own addresses are not probed for duplicates before their use: a spare that takes over has no time for it.
"""

from ..sdk.build import NO_MAC
from ..sdk.build6 import (NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, OVERRIDE, ROUTER, SOLICITED, SOURCE_LINK_ADDRESS, TARGET_LINK_ADDRESS,
                          ND_HOP_LIMIT, neighbor_advertisement, neighbor_solicitation)
from ..sdk.packet6 import ALL_NODES, UNSPECIFIED, is_link_local, is_multicast, multicast_mac, solicited_node
from .router import ARP_REFRESH_S, ARP_REQUESTS_MAX, ARP_RETRY_S, FRAMES_PER_HOP_MAX, NEIGHBOURS_MAX, NS_PER_S, REFRESH_BATCH, UNRESOLVED_MAX

#: router solicitation to redirect: what never leaves a link
ND_TYPES = range(133, 138)
_TARGET_END = 24


class NeighborDiscovery:
    """Neighbours of *router* (an Ipv6Router, whose ``neighbours6``, ``confirmed6`` and ``unresolved6`` it keeps). Keys are (port, address)."""

    def __init__(self, router):
        self._router = router
        self._known, self._confirmed, self._unresolved = router.neighbours6, router.confirmed6, router.unresolved6

    def transmit_to(self, frame, port, next_hop, ctx):
        """Send *frame* to *next_hop* (an address on the link of *port*), or keep it until that is resolved."""
        key = port, next_hop
        mac = self._known.get(key)
        if mac is not None:
            ctx.emit(port, mac + self._router.port[port].mac + frame[12:])
            return
        waiting = self._unresolved.get(key)
        if waiting is None:
            if len(self._unresolved) >= UNRESOLVED_MAX:
                self._router.drop("nd_queue_full")
                return
            waiting = self._ask(key, 0, (), ctx)
        solicitations, asked_ns, frames = waiting
        if len(frames) >= FRAMES_PER_HOP_MAX:
            self._router.drop("nd_queue_full")
        else:
            self._unresolved[key] = (solicitations, asked_ns, frames + (frame,))

    def _ask(self, key, solicitations, frames, ctx):
        """Send the next solicitation for *key* and note it."""
        port, address = key
        own = self._router.port[port]
        ctx.emit(port, neighbor_solicitation(own.mac, self._router.source_for(port, address), address, self._known.get(key)))
        self._unresolved[key] = waiting = (solicitations + 1, ctx.now_ns, frames)
        return waiting

    def process(self, packet, header, ctx):
        """Take a message of Neighbor Discovery that came to an address of ours or a multicast one of the link."""
        message = packet.data[header.payload_start:header.payload_end]
        options = _options(message[_TARGET_END:])
        target = message[8:_TARGET_END]
        if message[0] not in (NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT):
            self._router.drop("nd_ignored")
        elif (len(target) < 16 or header.ttl != ND_HOP_LIMIT or message[1] or is_multicast(target) or options is None
                or header.fragment_offset or header.more_fragments or not packet.transport_checksum_ok()):
            self._router.drop("nd_malformed")
        elif message[0] == NEIGHBOR_SOLICITATION:
            self._solicited(header, target, options.get(SOURCE_LINK_ADDRESS), ctx)
        else:
            self._advertised(header, target, options.get(TARGET_LINK_ADDRESS), int.from_bytes(message[4:8], "big"), ctx)

    def _solicited(self, header, target, mac, ctx):
        port, source = self._router.port[ctx.port], header.source
        for_us = self._router.is_own(target, ctx.port)
        if source == UNSPECIFIED:
            # somebody wants to use the address (RFC 4862, 5.4): answered, teaches nothing
            if mac is not None or header.destination != solicited_node(target):
                self._router.drop("nd_malformed")
            elif for_us:
                ctx.emit(ctx.port, neighbor_advertisement(multicast_mac(ALL_NODES), ALL_NODES, port.mac, target, ROUTER | OVERRIDE))
            return
        if self._router.is_own(source, ctx.port):
            self._conflict(mac, port)
            return
        if not self._router.is_neighbour(source, ctx.port):
            self._router.drop("nd_sender")
            return
        if mac is not None:
            self._learn((ctx.port, source), mac, for_us, True, ctx)
        if for_us:
            self.transmit_to(neighbor_advertisement(NO_MAC, source, port.mac, target, ROUTER | SOLICITED | OVERRIDE), ctx.port, source, ctx)

    def _advertised(self, header, target, mac, flags, ctx):
        if flags & SOLICITED and is_multicast(header.destination):
            self._router.drop("nd_malformed")
        elif self._router.is_own(target, ctx.port):
            self._conflict(mac, self._router.port[ctx.port])
        elif self._router.is_neighbour(target, ctx.port):
            key = ctx.port, target
            known = self._known.get(key)
            if mac is None:
                mac = known         # one asked at its own address need not tell it (RFC 4861, 4.4)
            if mac is not None and (known in (None, mac) or flags & OVERRIDE):
                self._learn(key, mac, False, bool(flags & SOLICITED), ctx)
        else:
            self._router.drop("nd_sender")

    def _conflict(self, mac, port):
        """Somebody else speaks as one of our addresses; our own voice may come back to us."""
        if mac != port.mac:
            self._router.drop("nd_address_conflict")

    def _learn(self, key, mac, may_be_new, confirms, ctx):
        """Note that *key* has *mac*, and send what waits for it."""
        known, waiting = self._known.get(key), self._unresolved.get(key)
        if known is None and waiting is None and not may_be_new:
            return
        if known != mac:
            if known is None and len(self._known) >= NEIGHBOURS_MAX:
                oldest = next(iter(self._confirmed))
                del self._confirmed[oldest], self._known[oldest]
            self._known[key] = mac
        if known != mac or confirms and ctx.now_ns - self._confirmed[key] >= NS_PER_S:
            self._confirmed.touch(key, ctx.now_ns)
        if waiting is not None and (known != mac or confirms):
            del self._unresolved[key]
            for frame in waiting[2]:
                ctx.emit(key[0], mac + self._router.port[key[0]].mac + frame[12:])

    def tick(self, ctx):
        """Ask again for what is unanswered or old; forget who does not answer."""
        now_ns = ctx.now_ns
        for key in self._confirmed.expired(now_ns, ARP_REFRESH_S * NS_PER_S, REFRESH_BATCH):
            if key not in self._unresolved and len(self._unresolved) < UNRESOLVED_MAX:
                self._ask(key, 0, (), ctx)
        for key, (solicitations, asked_ns, frames) in list(self._unresolved.items()):
            if now_ns - asked_ns < ARP_RETRY_S * NS_PER_S:
                continue
            if solicitations < ARP_REQUESTS_MAX:
                self._ask(key, solicitations, frames, ctx)
                continue
            del self._unresolved[key]
            if key in self._known:
                del self._known[key], self._confirmed[key]
            for frame in frames:
                self._router.drop("nd_unanswered")
                if not is_link_local(key[1]):
                    self._router.address_unreachable(frame, ctx)


def _options(data):
    """{kind: MAC address} of the options with link-layer addresses in *data*, the first of each kind; None if they are unsound.

    An address that can be no host's (multicast, all zero) is unsound, too.
    """
    found = {}
    at = 0
    while at < len(data):
        size = data[at + 1] * 8 if at + 1 < len(data) else 0
        if not size or at + size > len(data):
            return None
        if data[at] in (SOURCE_LINK_ADDRESS, TARGET_LINK_ADDRESS):
            mac = data[at + 2:at + 8]
            if size != 8 or mac[0] & 1 or mac == NO_MAC:
                return None
            found.setdefault(data[at], mac)
        at += size
    return found
