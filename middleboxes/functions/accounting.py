"""Accounting: exact counts for a bounded number of keys; what makes room is folded into a rest, so that nothing is lost from the sum.

A table is a Map {key: tuple of numbers} with IdleTimers of the same keys. A new key in a full table takes the place of the one that was
idle longest (to 1 s); the numbers of that one go to whoever the table was told (``on_victim``).
"""

NS_PER_S = 1_000_000_000


class Accounts:
    """A bounded table over the Map *values* and the IdleTimers *used*; ``on_victim(key, value)`` gets what makes room."""

    def __init__(self, values, used, keys_max, on_victim):
        self._values = values
        self._used = used
        self._keys_max = keys_max
        self._on_victim = on_victim

    def get(self, key):
        """The value of *key*, None if it is unknown."""
        return self._values.get(key)

    def set(self, key, value, now_ns):
        """Set *key*, which is used now, to *value*."""
        last_ns = self._used.get(key)
        if last_ns is None:
            if len(self._values) >= self._keys_max:
                victim = next(iter(self._used))
                self._on_victim(victim, self.remove(victim))
            self._used.touch(key, now_ns)
        elif now_ns - last_ns >= NS_PER_S:
            self._used.touch(key, now_ns)
        self._values[key] = value

    def replace(self, key, value):
        """Set *key*, which is known, to *value* without using it."""
        self._values[key] = value

    def remove(self, key):
        """Forget *key*; returns its value."""
        del self._used[key]
        return self._values.pop(key)

    def idle(self, now_ns, timeout_ns, limit):
        """Up to *limit* keys that were idle for *timeout_ns*, the longest first."""
        return self._used.expired(now_ns, timeout_ns, limit)
