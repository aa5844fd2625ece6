"""WAN optimiser: two of them, at the ends of a WAN, send as references what the other one has seen before; a routed hop (see ``hop``).

Ports: ``lan`` and ``wan``. Each of the pair encodes what goes out of ``wan`` to networks behind its peer, and decodes what comes from it: both
directions, any protocol, IPv4 and IPv6 with one store for both. Hosts see two routers.

Parameters (all but ``peer`` have defaults; with another ``key`` or ``mtu_bytes`` than the peer's everything stays plain):

=============================  =========  =======================================================================
peer                           (needed)   address (IPv4 or IPv6) of the other one's ``wan`` port, which is reached through ``wan``
remote                         by routes  list of prefixes behind the peer, of IPv4 and IPv6; by default what is routed to ``peer`` as next hop
cache_bytes                    4194304    content that is kept, for each direction; of what is received an eighth more
cache_entries                  4096       contents that are kept, likewise
content_bytes_min              128        contents that are shorter are neither kept nor encoded
mtu_bytes                      1500       the largest packet that crosses the WAN whole; larger ones are left as they are
peer_timeout_s                 3          a peer that was not heard for so long gets nothing encoded
key                            ""         text that only the pair has: without it nobody can make either believe anything
routes                         none       list of [prefix, next hop] (``routes``)
=============================  =========  =======================================================================

Behaviour: the content of a packet is what follows its TCP, UDP or ICMP echo header, else its IP headers. The sender keeps the contents that it sends, the
receiver those that it gets, each under a hash of its own (48 bits), and the receiver tells which it has, 16 at a time or at the next tick. Only what was
told is referred to. A packet of which something is known leaves as a UDP datagram (``wan_messages``) from box to box if that is shorter, else as it is:
nothing gets longer, and no round trip is added. A datagram has a check over the whole packet: what the receiver delivers is what the sender got, with a
TTL that is two lower, or nothing.

What may happen, and what is done (a drop is a loss like any on the WAN; the transport repeats, and the repetition comes through):

- Something is lost, comes twice, or late: what was not told is not referred to, and names do not depend on order.
- The receiver lacks what it is referred to, since it made room: the packet is dropped (``missing``) and the names are told; the sender forgets them and
  what it used before them.
- A packet fails its check: it is dropped (``check_failed``), and both forget what it was made of.
- A box fails over: its state explains all that it let out, so what it told still holds. What was on the way is lost.
- A box loses its state (``on_loss``): its store has a new random generation. A message to the former one is dropped (``resync``) and answered, and the
  peer begins anew (event ``wan-resync``); without such a message it learns that within a second.
- The peer is silent: everything goes plain, and is not kept. Each box speaks at least once a second.

All packets of a flow go to one worker at both boxes, plain or encoded. DSCP is copied to the datagram, ECN is not (RFC 6040, compatibility mode: a
congested WAN drops).

State: ``sent``, ``sent_used``, ``sent_bytes``: contents sent by name, their last use (to 1 s), their bytes; ``acknowledged``: name -> generation of the
store that has it; ``index``: slot -> name and offset of a window in a content; ``received``, ``received_used``, ``received_bytes``; ``session``
(``wan_session``); ``traffic``, per worker: name -> (how many, octets, octets on the WAN): "out" and "in" (packets), "control" (own messages),
"sent_made_room", "received_made_room" (contents); ``drops`` by reason: besides those above ``malformed_message``, and ``not_remote`` (a packet in
a datagram that is not from behind the peer); ARP and neighbours (``router``, ``router6``). A checkpoint has each content once, when it is new, at either
box, some 20 bytes for each of its windows, about seven in a full packet, and a few bytes for a use.

Limits: the path between the boxes must bring UDP port 1021 and carry ``mtu_bytes``; ICMP errors about datagrams are not passed on to hosts. Without
``key``, whoever can send from the peer's address may empty the stores, and send as if from ``remote``, as with any plain tunnel. With it, what is
recorded and sent again comes twice, as on any network. Encrypted content has nothing to find.
"""

from ..sdk import Counter, IdleTimers, Map
from ..sdk.build import NO_MAC
from ..sdk.packet import UDP
from . import wan_messages
from .accounting import NS_PER_S
from .content_store import ContentStore
from .fingerprints import content_id
from .hop import RoutedHop
from .redundancy import Finder, Rebuilder
from .wan_messages import DATA, MISSING, WAN_PORT, WRONG, MessageError
from .wan_packets import (IP_START, Rebuilt, Rebuilt6, content_start, datagram, flow_of, header_of, partition_by_inner_flow, rebuilt,
                          traffic_class)
from .wan_session import WanSession

LAN, WAN = "lan", "wan"
_REMOTE_MAX = 256
#: slots of the index for each content: a full packet has about seven windows
_SLOTS_PER_ENTRY = 16
_NOTHING = (0, 0, 0)


class WanOptimiser(RoutedHop):
    """One end of a WAN; ``peer`` is the other."""

    name = "wan-optimiser"
    ports = (LAN, WAN)
    partition = staticmethod(partition_by_inner_flow)
    victims = {**RoutedHop.victims,
               **dict.fromkeys(("sent", "sent_used", "acknowledged", "received", "received_used"), "the content used longest ago makes room"),
               "index": "the newest window takes its slot"}

    sent = Map()                # name -> content
    sent_used = IdleTimers()
    sent_bytes = Counter()
    acknowledged = Map()        # name -> generation of the peer's store that has it
    index = Map()               # slot -> name and offset of a window in it
    received = Map()            # name -> content
    received_used = IdleTimers()
    received_bytes = Counter()
    session = Map()             # see wan_session
    traffic = Map(scope="worker")

    def configure_hop(self, taken):
        self.peer = taken.any_address("peer")
        hop = self.route(self.peer)
        if hop is None or hop[0] != WAN:
            taken.fail("peer must be the address of another host, and the route to it must lead out of wan")
        self.address = self.source_for(WAN, self.peer) if isinstance(self.peer, bytes) else self.port[WAN].address
        self.remote = [taken.parse_prefix("remote", text) for text in taken.list("remote", (), _REMOTE_MAX)]
        self.content_bytes_min = taken.integer("content_bytes_min", 128, 1, 1500)
        self.mtu_bytes = taken.integer("mtu_bytes", 1500, 576, 9000)
        timeout_ns = taken.integer("peer_timeout_s", 3, 2, 3600) * NS_PER_S
        key = taken.any("key", "")
        if not isinstance(key, str):
            taken.fail("key must be a text")
        self.key = wan_messages.secret(key, self.mtu_bytes)
        self._configure_stores(taken.integer("cache_bytes", 4 << 20, 1 << 16, 1 << 32), taken.integer("cache_entries", 4096, 16, 1 << 22))
        self.wan_session = WanSession(self.session, self.key, timeout_ns, self.finder, self._send_control)

    def _configure_stores(self, bytes_max, entries_max):
        sent = ContentStore(self.sent, self.sent_used, self.sent_bytes, bytes_max, entries_max, self._sent_made_room)
        self.finder = Finder(sent, self.index, self.acknowledged, entries_max * _SLOTS_PER_ENTRY)
        # an eighth more: what the sender still refers to should be there, though the two did not see quite the same
        self.contents = ContentStore(self.received, self.received_used, self.received_bytes, bytes_max + bytes_max // 8,
                                     entries_max + entries_max // 8, self._received_made_room)
        self.rebuilder = Rebuilder(self.contents)

    def _sent_made_room(self, name):
        self.acknowledged.pop(name, None)
        self._count("sent_made_room")

    def _received_made_room(self, name):
        self._count("received_made_room")

    def _count(self, what, octets=0, on_wan=0):
        """Count one more in ``traffic``, with its octets and those on the WAN."""
        count, all_octets, all_on_wan = self.traffic.get(what, _NOTHING)
        self.traffic[what] = (count + 1, all_octets + octets, all_on_wan + on_wan)

    # -- packets

    def pass_on(self, packet, header, flow, hop, ctx):
        octets, start = header.payload_end - IP_START, content_start(packet, header, flow)
        worth = octets <= self.mtu_bytes and header.payload_end - start >= self.content_bytes_min
        if ctx.port == LAN:
            if worth and self._is_remote(header.destination, hop) and self.wan_session.lives(ctx.now_ns):
                self._send_encoded(packet, start, header.payload_end, hop, ctx)
                return
            self._count("out", octets, octets)
        elif not isinstance(packet, (Rebuilt, Rebuilt6)):
            self._count("in", octets, octets)
            if worth and self._is_remote(header.source):
                self._keep_received(packet.data[start:header.payload_end], ctx)
        self.send_on(packet, hop, ctx)

    def _is_remote(self, address, hop=None):
        """Whether *address* is behind the peer; *hop*: the route to it, if that is known."""
        if self.remote:
            return any(prefix.has(address) for prefix in self.remote)
        return (hop or self.route(address)) == (WAN, self.peer)

    def _send_encoded(self, packet, start, end, hop, ctx):
        """Send *packet*, whose content is from *start* to *end* of its frame, in the shorter way."""
        packet.forward(NO_MAC, NO_MAC)
        frame, octets = packet.data, end - IP_START
        message = self._encoded(frame[IP_START:end], start - IP_START, ctx)
        if message is not None:
            encoded = datagram(self.address, self.peer, message, flow_of(frame), traffic_class(frame))
            if len(encoded) - IP_START < octets:
                self._count("out", octets, len(encoded) - IP_START)
                self.transmit(encoded, self.peer, ctx)
                return
        self._count("out", octets, octets)
        self.transmit_to(frame, *hop, ctx)

    def _encoded(self, original, start, ctx):
        """DATA for *original* (bytes from the IP header on), whose content begins at *start*; None if nothing is known of it. Keeps what is new."""
        content, believed = original[start:], self.wan_session.believed
        found = self.finder.find(content, believed, ctx.now_ns)
        if len(content) - found.bytes >= self.content_bytes_min:
            self.finder.keep(content, found, ctx.now_ns)
        if not found.references:
            return None
        references = [(start + at, length, name, offset) for at, length, name, offset in found.references]
        return wan_messages.data(self.key, believed, original, references)

    def _keep_received(self, content, ctx):
        """Keep *content*, of which enough is new, as the peer does, and tell it."""
        name = content_id(content)
        self.contents.add(name, content, ctx.now_ns)
        self.wan_session.have(name, ctx)

    # -- datagrams between the two

    def _send_control(self, message, ctx):
        frame = datagram(self.address, self.peer, message)
        self._count("control", 0, len(frame) - IP_START)
        self.transmit(frame, self.peer, ctx)

    def take_own(self, packet, header, flow, ctx):
        if ctx.port != WAN or flow is None or flow[0] != UDP or (flow[1], *flow[3:]) != (self.peer, self.address, WAN_PORT):
            super().take_own(packet, header, flow, ctx)
            return
        message = packet.transport_data()
        try:
            if message[:1] == bytes((DATA,)):
                self._take_data(packet, message, header.payload_end - IP_START, ctx)
            else:
                self.wan_session.take(message, ctx)
        except MessageError:
            self.drop("malformed_message")

    def _take_data(self, packet, message, packet_octets, ctx):
        """Take the DATA *message* that came in *packet*, of so many octets. Raises MessageError."""
        generation, pieces = wan_messages.parse_data(message, self.mtu_bytes)
        if generation != self.wan_session.generation(ctx):
            self.drop("resync")
            self.wan_session.refuse(generation, ctx)
            return
        references = [piece for piece in pieces if type(piece) is tuple]
        original, missing = self.rebuilder.rebuild(pieces, ctx.now_ns)
        if missing:
            self.drop("missing")
            self.wan_session.complain(MISSING, missing, ctx)
        elif not wan_messages.is_whole(self.key, message, original):
            self.drop("check_failed")
            # one of these contents is not what the peer has under its name: neither may use them any more
            names = [name for name, _, _ in references]
            for name in names:
                self.contents.remove(name)
            self.wan_session.complain(WRONG, names, ctx)
        else:
            self._count("in", len(original), packet_octets)
            self._take_rebuilt(rebuilt(packet.data, original), sum(length for _, _, length in references), ctx)

    def _take_rebuilt(self, packet, known_bytes, ctx):
        """Take the *packet* that the peer sent; so many bytes of it were known here."""
        header, flow = header_of(packet), packet.five_tuple()
        if header is None or header.source == self.peer or not self._is_remote(header.source):
            # the peer's own packets never come so: a datagram in a datagram would have no end
            self.drop("not_remote")
            return
        content = packet.data[content_start(packet, header, flow):header.payload_end]
        if len(content) - known_bytes >= self.content_bytes_min:
            self._keep_received(content, ctx)
        if isinstance(packet, Rebuilt6):
            # not as from the link: Neighbor Discovery does not come from behind a router
            self.route_packet6(packet, header, ctx)
        else:
            self.route_packet(packet, ctx)

    def tick(self, ctx):
        """Tell the peer what waits, and that this box lives."""
        super().tick(ctx)
        self.wan_session.tick(ctx)

