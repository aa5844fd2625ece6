"""Redundancy elimination in packets: Finder sees what of a content the peer has already, Rebuilder puts a packet together again.

After Spring and Wetherall (A protocol-independent technique for eliminating redundant network traffic, SIGCOMM 2000): a few windows of each
content are looked up, and what they find is extended to both sides as far as it agrees, so a match need not begin or end at any mark. Unlike there, only
what the peer says that it has is referred to: so the stores need not be equal.
"""

from typing import NamedTuple

from .fingerprints import WINDOW_BYTES, anchors, common_prefix, common_suffix, content_id

#: a match that is shorter saves too little
MATCH_BYTES_MIN = 40
#: what is forgotten in one go
OLDER_MAX = 256
_OFFSET_BITS = 16
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1


class Found(NamedTuple):
    """What is known of a content: its *name*, *references* (at, length, name of what the peer has, offset there), rising, and *fresh*, other
    anchors (slot, at)."""

    name: int
    references: list
    fresh: list

    @property
    def bytes(self):
        """How many bytes the references stand for."""
        return sum(length for _, length, _, _ in self.references)


class Finder:
    """Over *store* (ContentStore of what was sent), the Maps *index* (slot -> name and offset) and *acknowledged* (name -> generation), and so many *slots*."""

    def __init__(self, store, index, acknowledged, slots):
        self._store, self._index, self._acknowledged, self._slots = store, index, acknowledged, slots

    def find(self, content, generation, now_ns):
        """Found: what of *content* the peer's store of that *generation* has."""
        name = content_id(content)
        if self._has(name, generation) == content:
            self._store.touch(name, now_ns)
            return Found(name, [(0, len(content), name, 0)], [])
        found, settled = Found(name, [], []), 0
        for at, fingerprint in anchors(content):
            if at < settled:
                continue
            slot = fingerprint % self._slots
            match = self._match(content, at, settled, self._index.get(slot), generation)
            if match is None:
                found.fresh.append((slot, at))
            else:
                found.references.append(match)
                settled = match[0] + match[1]
                self._store.touch(match[2], now_ns)
        return found

    def keep(self, content, found, now_ns):
        """Keep *content*, of which that was *found*, and which is being sent now."""
        self._store.add(found.name, content, now_ns)
        for slot, at in found.fresh:
            self._index[slot] = found.name << _OFFSET_BITS | at

    def acknowledge(self, name, generation):
        """The peer's store of that *generation* has the content of that *name*."""
        if self._store.get(name) is not None and self._acknowledged.get(name) != generation:
            self._acknowledged[name] = generation

    def lacks(self, name):
        """The peer's store has no longer the content of that *name*: so it made room, and what was used before it will be gone, too."""
        for older in self._store.older(name, OLDER_MAX):
            self.forget(older)
        self.forget(name)

    def forget(self, name):
        """Refer no more to the content of that *name*."""
        self._acknowledged.pop(name, None)
        self._store.remove(name)

    def _has(self, name, generation):
        """The content of that *name* if the peer has it, else None."""
        return self._store.get(name) if self._acknowledged.get(name) == generation else None

    def _match(self, content, at, settled, place, generation):
        """The reference for as much as agrees around *at*, nothing before *settled*, with what is at *place*; None if that is too little."""
        if place is None:
            return None
        name, offset = place >> _OFFSET_BITS, place & _OFFSET_MASK
        known = self._has(name, generation)
        if known is None or known[offset:offset + WINDOW_BYTES] != content[at:at + WINDOW_BYTES]:
            return None
        before = common_suffix(content[settled:at], known[:offset])
        length = before + common_prefix(content[at:], known[offset:])
        return (at - before, length, name, offset - before) if length >= MATCH_BYTES_MIN else None


class Rebuilder:
    """Over *store* (ContentStore of what was received)."""

    def __init__(self, store):
        self._store = store

    def rebuild(self, pieces, now_ns):
        """(the packet that *pieces* make, []), or (None, names of contents that are missing). *pieces*: bytes or (name, offset, length)."""
        parts, missing = [], []
        for piece in pieces:
            if type(piece) is tuple:
                name, offset, length = piece
                content = self._store.get(name)
                if content is None or offset + length > len(content):
                    missing.append(name)
                    continue
                self._store.touch(name, now_ns)
                piece = content[offset:offset + length]
            parts.append(piece)
        return (None, missing) if missing else (b"".join(parts), [])
