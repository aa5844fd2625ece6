"""ContentStore: a bounded store of contents by name; what was used longest ago (to 1 s) makes room.

It keeps nothing itself: it works on three declared variables of a function, a Map (name -> content), IdleTimers of the same names, and a Counter of the bytes of all
contents. A use is noted once a second at most, and apart from the content: a checkpoint then has a few bytes for it, not the content again.
"""

from itertools import islice, takewhile

from .accounting import NS_PER_S


class ContentStore:
    """Over *contents*, *used* and *size*: at most *entries_max* contents of *bytes_max* in all; ``on_victim(name)`` is told who made room."""

    def __init__(self, contents, used, size, bytes_max, entries_max, on_victim):
        self._contents, self._used, self._size = contents, used, size
        self._bytes_max, self._entries_max = bytes_max, entries_max
        self._on_victim = on_victim

    def get(self, name):
        """The content of that *name*, or None."""
        return self._contents.get(name)

    def add(self, name, content, now_ns):
        """Keep *content*, or note a use if there is one of that *name*."""
        if name in self._contents:
            self.touch(name, now_ns)
            return
        while len(self._contents) >= self._entries_max or self._size.value + len(content) > self._bytes_max:
            victim = next(iter(self._used))
            self.remove(victim)
            self._on_victim(victim)
        self._contents[name] = content
        self._used.touch(name, now_ns)
        self._size.add(len(content))

    def touch(self, name, now_ns):
        """Note a use of what is there under *name*."""
        if now_ns - self._used[name] >= NS_PER_S:
            self._used.touch(name, now_ns)

    def older(self, name, limit):
        """Up to *limit* names of what was not used since *name* was, the longest unused first; none if that is not there."""
        if name not in self._contents:
            return []
        return list(islice(takewhile(lambda other: other != name, self._used), limit))

    def remove(self, name):
        """Forget what is there under *name*, if anything."""
        content = self._contents.pop(name, None)
        if content is not None:
            del self._used[name]
            self._size.add(-len(content))
