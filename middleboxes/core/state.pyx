"""The state of a middlebox: declared variables that know what changed since the last checkpoint.

Values are immutable, so a checkpoint's cut only swaps each variable's record of changes and the middlebox goes
on at once: serialising happens afterwards, from a record that nobody touches any more (the pause does not depend
on the size of the state). Iteration follows insertion, and a restored variable iterates in the same order as the
one that went on: a delta says which keys were removed, then sets the others in order.

Rules for authors: replace values, never mutate them; values and keys are None, bool, int (64 bits), float, str,
bytes, or tuples of these. StateError names the variable that breaks a rule.
"""

from cpython.object cimport PyObject_Hash
from libc.stdint cimport int64_t, uint32_t

from .columns import unpack_column
from .ordered cimport Entry, entry_at, key_of, set_value, value_of
from .table cimport Table

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

_INT_MAX = (1 << 64) - 1


class StateError(TypeError):
    """A value that can't be kept in shared state, or a checkpoint that does not fit the declared variables."""


cpdef int check_value(name, value) except -1:
    """Raise StateError unless *value* is one of the immutable kinds that a checkpoint carries exactly."""
    cdef int overflow = 0
    kind = type(value)
    if value is None or kind is bytes or kind is bool or kind is float:
        return 0
    if kind is int:
        PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow < 0 or overflow and value > _INT_MAX:
            raise StateError(f"state variable {name!r}: {value} does not fit 64 bits")
    elif kind is tuple:
        for item in <tuple> value:
            check_value(name, item)
    elif kind is str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise StateError(f"state variable {name!r}: {value!r} has lone surrogates, keep bytes instead") from None
    else:
        raise StateError(f"state variable {name!r}: {kind.__name__} is not allowed; keep None, bool, int, float,"
                         " str, bytes or tuples of these, and replace values instead of changing them")
    return 0


SCOPES = ("shared", "worker", "flow")


class Variable:
    """What every kind of state variable offers to the checkpoint; authors use Map, Counter, IdleTimers and those of ``kinds``.

    *scope* says who sees it where a group has several workers: "shared", all; "worker", each has its own; "flow", keyed by
    flow: each worker has those of the flows that the partition gives to it. *domain*: shared variables of one
    domain are locked together (middleboxes.core.sharing). Raises StateError.
    """

    __slots__ = ()
    name = "?"

    def __init__(self, scope="shared", domain="shared"):
        if scope not in SCOPES:
            raise StateError(f"a state variable's scope is one of {', '.join(SCOPES)}, not {scope!r}")
        self.scope, self.domain = scope, domain

    def fresh(self, name):
        """A new empty variable of this kind and declaration, for one instance of a middlebox."""
        new = type(self)(self.scope, self.domain)
        new.name = name
        return new

    @property
    def has_changes(self):
        """Whether the next cut has anything."""
        raise NotImplementedError

    def cut(self):
        """Take the changes since the last cut: (removed keys, {key: value} in order)."""
        raise NotImplementedError

    def everything(self, keys_max):
        """All that a base checkpoint carries, in order: yields (keys, values), columns of at most *keys_max*.

        They are made as they are asked for: the variable may not change meanwhile.
        """
        raise NotImplementedError

    def apply(self, removed, keys, values):
        """Apply changes from a checkpoint, three columns: removed keys, then keys and their values. Raises ValueError, StateError."""
        raise NotImplementedError

    def put_back(self, changes):
        """Undo cuts: *changes* [(removed, dirty), ...] in the order of their cuts, and then what changed since, are one record again."""
        raise NotImplementedError

    def reset(self):
        """Forget everything, changes too: a base checkpoint follows."""
        raise NotImplementedError

    def reserve(self, keys):
        """So many *keys* will come; there is none yet."""

    def shrink(self, keys_max):
        """Forget *keys_max* keys, whichever: a ``reset`` in slices. Returns whether there are more."""
        return False


cdef class Map(Table, Variable):
    """An insertion-ordered map, read like a dict; writing also records the change."""

    cdef public object name, scope, domain
    cdef readonly dict _dirty
    cdef dict _removed

    def __init__(self, scope="shared", domain="shared"):
        Variable.__init__(self, scope, domain)
        self.name = Variable.name
        self._dirty, self._removed = {}, {}

    cdef int _check_value(self, value) except -1:
        return check_value(self.name, value)

    def __setitem__(self, key, value):
        cdef Py_hash_t hash = PyObject_Hash(key)
        self._check_value(value)
        cdef uint32_t place = self._find(key, hash)
        if place:
            set_value(entry_at(self, place), value)
        else:
            # the last one here, and in the delta, too: one that was in there and removed is not in there any more. Told as
            # removed, it comes last wherever between its cuts the delta is applied to (docs/protocol.md, rule 26)
            check_value(self.name, key)
            self._insert(key, hash, value)
            self._removed[key] = None
        self._dirty[key] = value

    def __delitem__(self, key):
        self._take_out(self._place(key), key)

    cdef uint32_t _place(self, key) except 0:
        cdef uint32_t place = self._find(key, PyObject_Hash(key))
        if not place:
            raise KeyError(key)
        return place

    cdef int _take_out(self, uint32_t place, key) except -1:
        self._remove(place)
        self._dirty.pop(key, None)
        self._removed[key] = None
        return 0

    def pop(self, key, *default):
        """Remove *key* and return its value; *default* if it is absent and one is given, else KeyError."""
        cdef uint32_t place = self._find(key, PyObject_Hash(key))
        if place:
            value = value_of(entry_at(self, place))
            self._take_out(place, key)
        elif len(default) == 1:
            value, = default
        else:
            raise KeyError(key)
        return value

    def move_to_end(self, key, value):
        """Set *key* to *value* and make it the last in order."""
        cdef uint32_t place = self._find(key, PyObject_Hash(key))
        if not place:
            self[key] = value
            return
        self._check_value(value)
        self._set_last(place, key, value)

    cdef int _set_last(self, uint32_t place, key, value) except -1:
        set_value(entry_at(self, place), value)
        self._move_to_end(place)
        # who applies the delta removes it, and then it comes last there, too
        self._removed[key] = None
        self._dirty.pop(key, None)
        self._dirty[key] = value
        return 0

    def _refuse(self):
        raise StateError(f"state variable {self.name!r}: set and delete keys one by one, so that changes are seen")

    def update(self, *args, **kwargs):
        """Refused, as are the other changes of several keys: StateError."""
        self._refuse()

    def setdefault(self, *args):
        self._refuse()

    def clear(self):
        self._refuse()

    def popitem(self, *args):
        self._refuse()

    def __ior__(self, other):
        self._refuse()

    def reset(self):
        self._clear()
        self._dirty, self._removed = {}, {}

    def shrink(self, Py_ssize_t keys_max):
        while self._first and keys_max > 0:
            self._remove(self._first)
            keys_max -= 1
        return self._first != 0

    @property
    def has_changes(self):
        return bool(self._dirty) or bool(self._removed)

    def cut(self):
        changes = self._removed, self._dirty
        self._removed, self._dirty = {}, {}
        return changes

    def put_back(self, changes):
        cdef dict removed = {}, dirty = {}
        for gone, changed in (*changes, self.cut()):
            for key in gone:
                dirty.pop(key, None)
            removed.update(gone)
            dirty.update(changed)
        self._removed, self._dirty = removed, dirty


cdef class IdleTimers(Map):
    """Key -> time of last use (ns, 64 bits), the longest unused first: expiry costs the same for any number of keys."""

    cdef int _check_value(self, value) except -1:
        cdef int overflow = 0
        if type(value) is not int or PyLong_AsLongLongAndOverflow(value, &overflow) == -1 and overflow:
            raise StateError(f"state variable {self.name!r}: a time is an int of 64 bits, not {value!r}")
        return 0

    cdef int _check_loaded(self, values) except -1:
        for value in values:
            self._check_value(value)
        return 0

    def touch(self, key, now_ns, int64_t unless_within_ns=0):
        """Note that *key* is used now; a key that was used within *unless_within_ns* before is left as it is, and so is the state."""
        cdef uint32_t place = self._find(key, PyObject_Hash(key))
        cdef int64_t now, last
        if not place:
            self[key] = now_ns
            return
        self._check_value(now_ns)
        now, last = now_ns, <int64_t> entry_at(self, place).value
        if not unless_within_ns or now - last >= unless_within_ns:
            self._set_last(place, key, now_ns)

    def expired(self, int64_t now_ns, int64_t timeout_ns, Py_ssize_t limit):
        """Up to *limit* keys that were not used for *timeout_ns*, oldest first; the caller deletes them."""
        cdef list keys = []
        cdef uint32_t place = self._first
        cdef Entry *entry
        while place and len(keys) < limit:
            entry = entry_at(self, place)
            if now_ns - <int64_t> entry.value < timeout_ns:
                break
            keys.append(key_of(entry))
            place = entry.after
        return keys


cdef class Sum:
    """The number of a Counter."""

    cdef public object name, scope, domain, value
    cdef bint _changed

    def add(self, amount=1):
        """Add *amount* and return the new value."""
        value = self.value + amount
        check_value(self.name, value)
        self.value = value
        self._changed = True
        return value


cdef class Counter(Sum, Variable):
    """A number that is added to."""

    def __init__(self, scope="shared", domain="shared"):
        Variable.__init__(self, scope, domain)
        self.name = Variable.name
        if scope == "flow":
            raise StateError("a counter has no keys: its scope is 'shared' or 'worker'")
        self.value = 0

    @property
    def has_changes(self):
        return self._changed

    def cut(self):
        changed, self._changed = self._changed, False
        return {}, ({None: self.value} if changed else {})

    def put_back(self, changes):
        self._changed = self._changed or any(dirty for _, dirty in changes)

    def everything(self, keys_max):
        yield [None], [self.value]

    def apply(self, removed, keys, values):
        for value in unpack_column(values):
            self.value = value

    def reset(self):
        self.value, self._changed = 0, False


def declared(cls):
    """{name: prototype} of the variables that *cls* and its bases declare, sorted by name."""
    names = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Variable):
                names[name] = value
    return dict(sorted(names.items()))
