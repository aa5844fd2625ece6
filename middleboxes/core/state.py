"""The state of a middlebox: declared variables that know what changed since the last checkpoint.

Values are immutable, so a checkpoint's cut only swaps each variable's record of changes and the middlebox goes
on at once: serialising happens afterwards, from a record that nobody touches any more (the pause does not depend
on the size of the state). Iteration follows insertion, and a restored variable iterates in the same order as the
one that went on: a delta says which keys were removed, then sets the others in order.

Rules for authors: replace values, never mutate them; values and keys are None, bool, int (64 bits), float, str,
bytes, or tuples of these. StateError names the variable that breaks a rule.
"""

_ATOMS = frozenset((type(None), bool, int, float, str, bytes))
_ALWAYS_GOOD = frozenset((type(None), bool, float, bytes))
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1


class StateError(TypeError):
    """A value that can't be kept in shared state, or a checkpoint that does not fit the declared variables."""


def check_value(name, value):
    """Raise StateError unless *value* is one of the immutable kinds that a checkpoint carries exactly."""
    kind = type(value)
    if kind is tuple:
        for item in value:
            check_value(name, item)
    elif kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise StateError(f"state variable {name!r}: {value} does not fit 64 bits")
    elif kind is str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise StateError(f"state variable {name!r}: {value!r} has lone surrogates, keep bytes instead") from None
    elif kind not in _ATOMS:
        raise StateError(f"state variable {name!r}: {kind.__name__} is not allowed; keep None, bool, int, float,"
                         " str, bytes or tuples of these, and replace values instead of changing them")


SCOPES = ("shared", "worker", "flow")


class Variable:
    """What every kind of state variable offers to the checkpoint; authors use Map, Counter and IdleTimers.

    *scope* says who sees it where a group has several workers: "shared", all; "worker", each has its own; "flow", keyed by
    flow: each worker has those of the flows that the partition gives to it. *domain*: shared variables of one
    domain are locked together (middleboxes.core.sharing). Raises StateError.
    """

    name = "?"

    def __init__(self, scope="shared", domain="shared"):
        if scope not in SCOPES:
            raise StateError(f"a state variable's scope is one of {', '.join(SCOPES)}, not {scope!r}")
        self.scope, self.domain = scope, domain

    def fresh(self, name):
        """A new empty variable of this kind and declaration, for one instance of a middlebox."""
        raise NotImplementedError

    def cut(self):
        """Take the changes since the last cut: (removed keys, {key: value} in order)."""
        raise NotImplementedError

    def everything(self):
        """All that a base checkpoint carries: {key: value} in order. Its cost grows with the variable."""
        raise NotImplementedError

    def apply(self, removed, items):
        """Apply changes from a checkpoint: removed keys, then a flat list key, value, key, value ..."""
        raise NotImplementedError

    def put_back(self, changes):
        """Undo cuts: *changes* [(removed, dirty), ...] in the order of their cuts, and then what changed since, are one record again."""
        raise NotImplementedError

    def reset(self):
        """Forget everything, changes too: a base checkpoint follows."""
        raise NotImplementedError

    def shrink(self, keys_max):
        """Forget *keys_max* keys, whichever: a ``reset`` in slices. Returns whether there are more."""
        return False


class Map(dict, Variable):
    """An insertion-ordered map. Reading is as fast as a dict; writing also records the change."""

    __slots__ = ("name", "_dirty", "_removed", "scope", "domain")
    __hash__ = None

    def __init__(self, scope="shared", domain="shared"):
        dict.__init__(self)
        Variable.__init__(self, scope, domain)
        self._dirty = {}
        self._removed = {}

    def fresh(self, name):
        new = type(self)(self.scope, self.domain)
        new.name = name
        return new

    def __setitem__(self, key, value):
        if type(value) not in _ALWAYS_GOOD:
            check_value(self.name, value)
        if key not in self:
            check_value(self.name, key)
            # an inserted key is the last one here, so it is the last one in the delta; told as removed, too, it comes
            # last wherever between its cuts the delta is applied to (docs/protocol.md, rule 25)
            self._dirty.pop(key, None)
            self._removed[key] = None
        self._dirty[key] = value
        super().__setitem__(key, value)

    def __delitem__(self, key):
        super().__delitem__(key)
        self._dirty.pop(key, None)
        self._removed[key] = None

    def pop(self, key, *default):
        """Remove *key* and return its value; *default* if it is absent and one is given, else KeyError."""
        if key not in self:
            return super().pop(key, *default)
        value = self[key]
        del self[key]
        return value

    def move_to_end(self, key, value):
        """Set *key* to *value* and make it the last in order."""
        if key in self:
            del self[key]
        self[key] = value

    def _refuse(self, *args, **kwargs):
        raise StateError(f"state variable {self.name!r}: set and delete keys one by one, so that changes are seen")

    def reset(self):
        super().clear()
        self._dirty, self._removed = {}, {}

    def shrink(self, keys_max):
        pop = super().popitem
        for _ in range(min(keys_max, len(self))):
            pop()
        return bool(self)

    update = setdefault = clear = popitem = __ior__ = _refuse

    def cut(self):
        changes = self._removed, self._dirty
        self._removed, self._dirty = {}, {}
        return changes

    def put_back(self, changes):
        removed, dirty = {}, {}
        for gone, changed in (*changes, self.cut()):
            for key in gone:
                dirty.pop(key, None)
            removed.update(gone)
            dirty.update(changed)
        self._removed, self._dirty = removed, dirty

    def everything(self):
        return dict(self)

    def apply(self, removed, items):
        remove, insert = super().pop, super().__setitem__
        for key in removed:
            remove(key, None)
        pairs = iter(items)
        for key, value in zip(pairs, pairs):
            insert(key, value)


class IdleTimers(Map):
    """Key -> time of last use (ns), the longest unused first: expiry costs the same for any number of keys."""

    __slots__ = ()

    def touch(self, key, now_ns):
        """Note that *key* is used now."""
        self.move_to_end(key, now_ns)

    def expired(self, now_ns, timeout_ns, limit):
        """Up to *limit* keys that were not used for *timeout_ns*, oldest first; the caller deletes them."""
        keys = []
        for key, last_ns in self.items():
            if now_ns - last_ns < timeout_ns or len(keys) == limit:
                break
            keys.append(key)
        return keys


class Counter(Variable):
    """A number that is added to."""

    __slots__ = ("name", "value", "_changed", "scope", "domain")

    def __init__(self, scope="shared", domain="shared"):
        super().__init__(scope, domain)
        if scope == "flow":
            raise StateError("a counter has no keys: its scope is 'shared' or 'worker'")
        self.value = 0
        self._changed = False

    def fresh(self, name):
        new = Counter(self.scope, self.domain)
        new.name = name
        return new

    def add(self, amount=1):
        """Add *amount* and return the new value."""
        value = self.value + amount
        check_value(self.name, value)
        self.value = value
        self._changed = True
        return value

    def cut(self):
        changed, self._changed = self._changed, False
        return {}, ({None: self.value} if changed else {})

    def put_back(self, changes):
        self._changed = self._changed or any(dirty for _, dirty in changes)

    def everything(self):
        return {None: self.value}

    def apply(self, removed, items):
        if items:
            self.value = items[1]

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
