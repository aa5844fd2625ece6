"""Further kinds of state variables, made of Map: sets, records with named fields, maps that forget what is not used.

All of them are in checkpoints as Maps are: changes only, in order, with the same rules for keys and values.
"""

from collections import namedtuple

from .state import Map, StateError


class Set(Map):
    """Keys in the order in which they were added. ``in``, ``len`` and iteration as of any set."""

    __slots__ = ()

    def add(self, key):
        """Add *key*; one that is there stays where it is. Raises StateError."""
        if key not in self:
            self[key] = None

    def discard(self, key):
        """Remove *key*; whether it was there."""
        if key not in self:
            return False
        del self[key]
        return True


class Records(Map):
    """Key -> record with named fields, e.g. one per flow: ``flows = Records("packets", "octets", scope="flow")``.

    ``flows.put(key, 1, 60)``, ``flows.change(key, packets=2)``; ``flows.find(key).packets``. What ``flows[key]`` has is the plain tuple.
    Raises StateError.
    """

    __slots__ = ("_record",)

    def __init__(self, *fields, scope="shared", domain="shared"):
        super().__init__(scope, domain)
        try:
            self._record = namedtuple("Record", fields)
        except (ValueError, TypeError) as error:
            raise StateError(f"the fields of records can't be {fields!r}: {error}") from None
        if not fields:
            raise StateError("records need at least one field")

    def fresh(self, name):
        new = type(self)(*self._record._fields, scope=self.scope, domain=self.domain)
        new.name = name
        return new

    def put(self, key, *values):
        """Set the record of *key* to *values*, one for each field. Raises StateError."""
        if len(values) != len(self._record._fields):
            raise StateError(f"state variable {self.name!r}: a record has {', '.join(self._record._fields)}, not {len(values)} values")
        self[key] = values

    def find(self, key):
        """The record of *key* as a named tuple, None if there is none."""
        values = self.get(key)
        return None if values is None else self._record._make(values)

    def change(self, key, **fields):
        """Set these *fields* of the record of *key*; the new record. Raises KeyError, StateError."""
        try:
            record = self._record._make(self[key])._replace(**fields)
        except ValueError as error:
            raise StateError(f"state variable {self.name!r}: {error}") from None
        self[key] = tuple(record)
        return record


class ExpiringMap(Map):
    """Key -> value, the longest unused first; what was not used for some time expires, at the same cost for any number of keys.

    Stored is (time of last use in ns, value); that is what ``[key]`` and ``items()`` give.
    """

    __slots__ = ()

    def put(self, key, value, now_ns):
        """Set *key* to *value*; it is used now. Raises StateError."""
        self.move_to_end(key, (now_ns, value))

    def use(self, key, now_ns, default=None):
        """The value of *key*, which is used now; *default* if it is not there."""
        found = self.get(key)
        if found is None:
            return default
        self.move_to_end(key, (now_ns, found[1]))
        return found[1]

    def peek(self, key, default=None):
        """The value of *key*, without using it."""
        found = self.get(key)
        return default if found is None else found[1]

    def oldest(self):
        """The key that was not used for the longest time: who makes room at a bound. Raises KeyError if there is none."""
        for key in self:
            return key
        raise KeyError(f"state variable {self.name!r} is empty")

    def expire(self, now_ns, timeout_ns, limit):
        """Remove up to *limit* keys that were not used for *timeout_ns*; [(key, value)], oldest first."""
        found = []
        for key, (last_ns, value) in self.items():
            if now_ns - last_ns < timeout_ns or len(found) == limit:
                break
            found.append((key, value))
        for key, _ in found:
            del self[key]
        return found
