"""IDS: looks for signatures in TCP streams and UDP datagrams, and for port scans and SYN floods; a stateful firewall that lets all in by default.

Ports: two or more, of any names.

Parameters: those of ``firewall`` (``default`` is ``accept`` here), and (all with defaults):

=============================  =======  =======================================================================
signatures                     none     list of signatures (``signatures``)
scan_targets_max               20       a source that begins flows to more addresses and ports within the window scans
flood_syns_max                 200      an address and port with more connections begun and not confirmed within the window
                                        is flooded
window_s                       60       window of both
watched_max                    16384    sources and, apart, targets that are watched at a time; beyond it the one that was
                                        quiet longest is forgotten
=============================  =======  =======================================================================

Behaviour: streams are put together from segments (``streams``), so a signature is found wherever it is cut, also if segments come out of order or twice. An
early segment is passed on and waits here for those before it; if too many wait (16 of a stream, or 16 KiB), further ones are dropped (``out_of_order``) and come
again. What the firewall would drop (wrong checksum, outside the window, fragments: here all of them) is not looked at, since it does not arrive either. A signature with the action
``drop`` drops the packet that completes it (``signature``), and each repetition; an early part may have passed, the whole never does.

Alerts are events to the operator, given once through any failover: ``ids-signature`` once for each flow and signature, ``ids-port-scan`` and
``ids-syn-flood`` once per source or target and window. ``alert_counts`` has how many there were.

State: that of ``firewall``; ``streams`` (keyed by flow and direction), ``alerted``, ``scans``, ``floods``; ``alert_counts`` per worker.

Limits: as ``firewall``; connections that began before it are not let through; patterns are bytes, without case folding or wildcards; UDP datagrams are looked at one by one; compressed
or encrypted data is not opened.
"""

from zlib import crc32

from ..sdk import IdleTimers, Map, address_text
from ..sdk.packet import TCP, UDP
from . import streams
from .accounting import NS_PER_S, Accounts
from .connections import ESTABLISHED
from .firewall import Firewall
from .signatures import take_signatures
from .tcp_sessions import SYN

_QUIET_BATCH = 1024


class Ids(Firewall):
    """A firewall that looks into what it lets pass."""

    name = "ids"
    default_action = "accept"
    passes_fragments = False
    victims = {**Firewall.victims, "streams": "as connections", "alerted": "as connections",
               **dict.fromkeys(("scans", "scans_used", "floods", "floods_used"), "who was quiet longest is forgotten")}

    streams = Map(scope="flow")         # (key of connections, whether of the opener) -> see streams
    alerted = Map(scope="flow")         # key of connections -> numbers of the signatures that were found
    scans = Map()                       # source -> (begin of the window ns, hashes of targets, whether it was told)
    scans_used = IdleTimers()
    floods = Map()                      # (address, port) -> (begin of the window ns, unconfirmed connections, whether it was told)
    floods_used = IdleTimers()
    alert_counts = Map(scope="worker")  # event -> number

    def configure_hop(self, taken):
        super().configure_hop(taken)
        self.signatures = take_signatures(taken)
        self.tail_bytes = max((len(signature.pattern) for signature in self.signatures), default=1) - 1
        self.scan_targets_max = taken.integer("scan_targets_max", 20, 1, 1000)
        self.flood_syns_max = taken.integer("flood_syns_max", 200, 1, 1_000_000)
        self.window_ns = taken.integer("window_s", 60, 1, 86400) * NS_PER_S
        watched_max = taken.integer("watched_max", 16384, 1, 1_000_000)
        self.scan_accounts = Accounts(self.scans, self.scans_used, watched_max, lambda key, value: None)
        self.flood_accounts = Accounts(self.floods, self.floods_used, watched_max, lambda key, value: None)

    def inspect(self, packet, key, value, from_opener, ctx):
        is_new = key not in self.connections
        if key[0] == UDP and not self._search(packet.transport_data(), 0, key, ctx):
            return False
        if key[0] == TCP and not self._inspect_segment(packet.tcp(), packet, key, from_opener, ctx):
            return False
        if is_new:
            self._watch_source(key, ctx)
        if key[0] == TCP:
            self._watch_target(key, value, is_new, ctx)
        return True

    def flow_ended(self, key, value):
        for from_opener in (True, False):
            self.streams.pop((key, from_opener), None)
        self.alerted.pop(key, None)

    # --- signatures

    def _inspect_segment(self, segment, packet, key, from_opener, ctx):
        """Put a segment into its stream and search what is new; whether it passes."""
        if not self.signatures:
            return True
        sequence, data, place = segment.sequence, packet.transport_data(), (key, from_opener)
        stream = self.streams.get(place)
        if segment.flags & SYN:
            stream, sequence = stream or streams.begun(sequence), sequence + 1 & 0xFFFFFFFF
        if stream is None or not (data or segment.flags & SYN):
            return True         # a reset by who never sent a SYN, or nothing to look at
        found = streams.taken(stream, sequence, data, self.tail_bytes)
        if found is None:
            self.drop("out_of_order")
            return False
        stream, searched, tail = found
        if not self._search(searched, tail, key, ctx):
            return False
        self.streams[place] = stream
        return True

    def _search(self, data, tail, key, ctx):
        """Look for signatures in *data* that end beyond its first *tail* bytes; whether the packet passes."""
        passes = True
        for number, signature in enumerate(self.signatures):
            start = max(0, tail + 1 - len(signature.pattern))
            if signature.is_for(key) and data.find(signature.pattern, start) >= 0:
                passes = passes and not signature.drops
                told = self.alerted.get(key, ())
                if number not in told:
                    self.alerted[key] = (*told, number)
                    self._alert("ids-signature", f"{signature.name}: {_flow_text(key)}", ctx)
        if not passes:
            self.drop("signature")
        return passes

    # --- scans and floods

    def _watch_source(self, key, ctx):
        """Note that a source begins a flow."""
        source, target = key[1], _target_hash(*key[3:])
        begin_ns, targets, told = self.scan_accounts.get(source) or (ctx.now_ns, (), False)
        if ctx.now_ns - begin_ns >= self.window_ns:
            begin_ns, targets, told = ctx.now_ns, (), False
        if target not in targets and not told:
            targets = (*targets, target)
        if len(targets) > self.scan_targets_max:
            self._alert("ids-port-scan", f"{address_text(source)}: more than {self.scan_targets_max} targets", ctx)
            targets, told = (), True
        self.scan_accounts.set(source, (begin_ns, targets, told), ctx.now_ns)

    def _watch_target(self, key, value, is_new, ctx):
        """Note that a TCP connection begins or is confirmed."""
        target = key[3:]
        known = self.flood_accounts.get(target)
        if not is_new:
            is_confirmed = value[0] == ESTABLISHED and self.connections[key][0] != ESTABLISHED
            if is_confirmed and known is not None and known[1]:
                self.flood_accounts.replace(target, (known[0], known[1] - 1, known[2]))
            return
        begin_ns, syns, told = known or (ctx.now_ns, 0, False)
        if ctx.now_ns - begin_ns >= self.window_ns:
            begin_ns, syns, told = ctx.now_ns, 0, False
        if syns >= self.flood_syns_max and not told:
            self._alert("ids-syn-flood", f"{address_text(target[0])}:{target[1]}: more than {self.flood_syns_max} connections are not confirmed", ctx)
            told = True
        self.flood_accounts.set(target, (begin_ns, syns + 1, told), ctx.now_ns)

    def _alert(self, name, detail, ctx):
        self.alert_counts[name] = self.alert_counts.get(name, 0) + 1
        ctx.event(name, detail)

    def tick(self, ctx):
        """Forget flows that were idle, and who was quiet for a window."""
        super().tick(ctx)
        if not self.worker_number:
            for accounts in (self.scan_accounts, self.flood_accounts):
                for key in accounts.idle(ctx.now_ns, self.window_ns, _QUIET_BATCH):
                    accounts.remove(key)


def _flow_text(key):
    return f"{address_text(key[1])}:{key[2]} > {address_text(key[3])}:{key[4]}"


def _target_hash(address, port):
    if isinstance(address, bytes):
        return crc32(address + port.to_bytes(2, "big"))
    return crc32(b"%d %d" % (address, port))
