"""Rate limiter: a token bucket per host and direction; a routed hop (see ``hop``) without translation.

Ports: ``inside`` and ``outside``. Hosts are the addresses on the inside.

Parameters (all have defaults):

=============================  =======  =======================================================================
bytes_per_s                    125000   what a host may send and, separately, receive: octets of IP per second
burst_bytes                    62500    so much at once after a pause; at least one packet of 1500
exempt                         none     list of inside prefixes without limit, of IPv4 and IPv6
ipv6_prefix_length             128      addresses that have so many bits in common share their buckets: 64 where each host or customer
                                        may take any address of a prefix of its own; below 128 with one worker only
hosts_max                      16384    buckets at a time, two per host; with several workers each has its share
routes                         none     list of [prefix, next hop] (``routes``)
=============================  =======  =======================================================================

Behaviour: a packet that finds less tokens than it has octets is dropped (``rate``), so TCP slows down; it costs nothing. Tokens are counted in whole
bytes times ns of the input's time, without rounding: over any time t a host gets at most burst_bytes + t * bytes_per_s. A bucket that was not used since it is
full again is forgotten. All tables full, the bucket that was used longest ago (to 1 s) makes room: its host begins with a full one again.

State: ``buckets``, ``drops`` by reason, per worker; ``limited``: host -> packets dropped, per worker, forgotten with its bucket; ARP and neighbours (``router``, ``router6``).

Several workers: all packets of an inside host go to one worker.

Limits: with an ``ipv6_prefix_length`` of 128 a host that takes ever new addresses of its prefix gets a new bucket for each.
"""

from zlib import crc32

from ..sdk import IdleTimers, Map
from .accounting import NS_PER_S, Accounts
from .hop import RoutedHop
from .routes import mask_of

_EXEMPT_MAX = 256
#: buckets that one tick forgets at most
_EXPIRY_BATCH = 1024


def partition_by_inside_host(frame, port, workers):
    """The worker of the inside address of an IP packet."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 34:
        return crc32(frame[26:30] if port == "inside" else frame[30:34]) % workers
    if frame[12:14] == b"\x86\xdd" and len(frame) >= 54:
        return crc32(frame[22:38] if port == "inside" else frame[38:54]) % workers
    return 0


class RateLimiter(RoutedHop):
    """Token buckets for the hosts of ``inside``."""

    name = "rate-limiter"
    ports = ("inside", "outside")
    partition = staticmethod(partition_by_inside_host)
    victims = {**RoutedHop.victims, **dict.fromkeys(("buckets", "buckets_used", "limited"),
                                                    "the bucket used longest ago makes room, its host begins with a full one")}

    # (host, whether it sends) -> (tokens in bytes times ns per s, when counted in ns)
    buckets = Map(scope="flow")
    buckets_used = IdleTimers(scope="flow")
    limited = Map(scope="flow")         # as buckets -> packets dropped

    def configure_hop(self, taken):
        self.bytes_per_s = taken.integer("bytes_per_s", 125_000, 1, 1 << 40)
        burst_bytes = taken.integer("burst_bytes", 62_500, 1500, 1 << 30)
        self.full = burst_bytes * NS_PER_S
        self.exempt = [taken.parse_prefix("exempt", text) for text in taken.list("exempt", (), _EXEMPT_MAX)]
        length = taken.integer("ipv6_prefix_length", 128, 48, 128)
        if length < 128 and self.worker_count > 1:
            taken.fail("ipv6_prefix_length: with several workers each address has buckets of its own (128)")
        self.mask6 = mask_of(length, 128)
        self.filling_ns = -(-self.full // self.bytes_per_s)
        hosts_max = max(2, taken.integer("hosts_max", 16384, 2, 4_000_000) // self.worker_count)
        self.accounts = Accounts(self.buckets, self.buckets_used, hosts_max, self._forgotten)

    def pass_on(self, packet, header, flow, hop, ctx):
        sends = ctx.port == "inside"
        host = header.source if sends else header.destination
        exempt = any(prefix.has(host) for prefix in self.exempt)
        if isinstance(host, bytes):
            host = (int.from_bytes(host, "big") & self.mask6).to_bytes(16, "big")
        if exempt or self._takes((host, sends), header.payload_end - 14, ctx.now_ns):
            self.send_on(packet, hop, ctx)
            return
        self.limited[host, sends] = self.limited.get((host, sends), 0) + 1
        self.drop("rate")

    def _takes(self, key, octets, now_ns):
        """Whether there are tokens for so many octets, which are taken then."""
        tokens, counted_ns = self.accounts.get(key) or (self.full, now_ns)
        tokens = min(self.full, tokens + (now_ns - counted_ns) * self.bytes_per_s)
        enough = tokens >= octets * NS_PER_S
        self.accounts.set(key, (tokens - octets * NS_PER_S if enough else tokens, now_ns), now_ns)
        return enough

    def _forgotten(self, key, value):
        self.limited.pop(key, None)

    def tick(self, ctx):
        """Forget buckets that are full again."""
        super().tick(ctx)
        # times of use are kept to 1 s
        for key in self.accounts.idle(ctx.now_ns, self.filling_ns + NS_PER_S, _EXPIRY_BATCH):
            self._forgotten(key, self.accounts.remove(key))
