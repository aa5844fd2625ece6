"""Fragments through a firewall: the first one has the ports and is put to flows and rules, the others follow it.

Fragments that come before their first one are dropped (``fragment_unknown``): the sender's transport sends them again. So are those
that overlap it (``fragment_overlap``), since they could put other ports into what the receiver puts together (RFC 1858, RFC 5722). TCP is dropped in fragments
(``fragment``): how long its segments are can't be told, so windows can't be followed; it avoids them by path MTU discovery. What a first one opened is kept
for FRAGMENT_TIMEOUT_S, for FRAGMENTED_MAX packets at a time, each worker having its share; beyond it the one that began longest ago makes room.
"""

from .families import V6, family_of

NS_PER_S = 1_000_000_000
FRAGMENT_TIMEOUT_S = 15
FRAGMENTED_MAX = 1024


def key_of(packet, header, port):
    """What the fragments of one packet have in common (RFC 791, 3.2; RFC 8200, 4.5)."""
    if family_of(header.source) is V6:
        return port, header.source, header.destination, header.identification
    return port, header.source, header.destination, header.protocol, packet.data[18:20]


class Fragments:
    """Fragmented packets in the Map *fragmented*: {key: (number of the rule, where what follows the first fragment begins, in bytes)}."""

    def __init__(self, fragmented, used, workers):
        self._fragmented, self._used = fragmented, used
        self._most = max(1, FRAGMENTED_MAX // workers)

    def opened(self, key, rule, first_bytes, now_ns):
        """The first fragment of *key*, of so many bytes, passed by that *rule*."""
        if key not in self._fragmented and len(self._fragmented) >= self._most:
            oldest = next(iter(self._used))
            del self._fragmented[oldest], self._used[oldest]
        self._fragmented[key] = rule, first_bytes
        self._used.touch(key, now_ns)

    def judge(self, key, offset_bytes):
        """(number of the rule that lets a later fragment pass, None), or (None, why it is dropped)."""
        known = self._fragmented.get(key)
        if known is None:
            return None, "fragment_unknown"
        rule, first_bytes = known
        return (rule, None) if offset_bytes >= first_bytes else (None, "fragment_overlap")

    def expire(self, now_ns):
        """Forget packets whose fragments had their time."""
        for key in self._used.expired(now_ns, FRAGMENT_TIMEOUT_S * NS_PER_S, self._most):
            del self._fragmented[key], self._used[key]
