"""Which worker sees which variables, and the order in which workers have the shared ones.

With one worker the variables are used as they are, and nothing here costs anything. With several, each worker has its own
instance of the middlebox:

- scope "worker" and "flow": each worker has a variable of its own, nobody else touches it. A key of scope "flow" belongs
  to one flow and so to one worker; that a key turns up at a second one is a StateError (``State.check_flows``).
- scope "shared": all workers see one variable, through accessors. It belongs to a *domain* of shared variables. A step takes
  the domain at its first access, reads too, and keeps it to its end, so steps are serialisable (strict two-phase locking).
  Domains are taken in the order of their names, so nobody waits in a circle; a step that breaks the order gets a StateError.

What a step learns when it takes a domain is all that its determinant needs: if the step before it in the domain was another
worker's, that step's (worker, k) and the domain's version, else nothing, since a worker's own steps are in order
anyway. The worker's vector clock takes over the domain's at the same time, and gives it back at the end of the step.

Locks: everything of a Domain but ``holder`` is read and written only by who holds its ``lock``, or while no worker runs.
``holder`` is written under the lock, too; others may read an old value, but nobody reads its own number without having put it
there. A Session belongs to its worker's thread.
"""

from .checkpoint import CheckpointError
from .kinds import ExpiringMap, Records, Set
from .state import Counter, IdleTimers, Map, StateError, declared

#: so that a step's accesses always fit its determinant
DOMAINS_MAX = 64


class NoLock:
    """For workers that one thread runs in turn: a step is over before the next one begins."""

    def acquire(self):
        return True

    def release(self):
        return None


class Domain:
    """Shared variables that are taken together; last held by step (``worker``, ``k``), by nobody yet if k is 0."""

    __slots__ = ("name", "number", "lock", "holder", "version", "worker", "k", "clock")

    def __init__(self, name, number, workers, lock):
        self.name, self.number, self.lock = name, number, lock
        self.holder = None
        self.version = self.worker = self.k = 0
        self.clock = (0,) * workers


class Session:
    """One worker's way to the shared variables: the domains that its step holds, its vector clock, what is to be logged."""

    __slots__ = ("number", "clock", "accesses", "_held", "_running")

    def __init__(self, number, workers):
        self.number = number
        self.clock = (0,) * workers     # of other workers: the last step that this worker's state depends on
        self.accesses = []
        self._held = []
        self._running = False

    def begin(self):
        """A step begins."""
        self.accesses = []
        self._running = True

    def enter(self, domain, variable):
        """Take *domain* for the rest of the step, because of *variable* (its name). Raises StateError."""
        if not self._running:
            raise StateError(f"state variable {variable!r} is shared by workers: only a step may use it")
        held = self._held
        if held and held[-1].number > domain.number:
            raise StateError(f"state variable {variable!r}: its domain {domain.name!r} comes before {held[-1].name!r}, which this"
                             " step has taken already; use it first, or give both variables one domain")
        domain.lock.acquire()
        domain.holder = self.number
        held.append(domain)
        if domain.k and domain.worker != self.number:
            self.accesses.append([domain.number, domain.version, domain.worker, domain.k])
            self.clock = self._merged(domain)

    def _merged(self, domain):
        merged = list(map(max, self.clock, domain.clock))
        merged[domain.worker] = max(merged[domain.worker], domain.k)
        return tuple(merged)

    def end(self, k):
        """The step, number *k*, is over: let go of what it took, the last one first."""
        self._running = False
        held = self._held
        while held:
            domain = held.pop()
            domain.version += 1
            domain.worker, domain.k, domain.clock = self.number, k, self.clock
            domain.holder = None
            domain.lock.release()


def _through(method):
    """*method* of a variable as an accessor's: the domain first."""
    def call(self, *args, **kwargs):
        if self._domain.holder != self._session.number:
            self._session.enter(self._domain, self._variable.name)
        return method(self._variable, *args, **kwargs)
    call.__doc__ = method.__doc__
    return call


class _Accessor:
    """A shared variable as one worker sees it."""

    __slots__ = ("_variable", "_domain", "_session")
    __hash__ = None

    def __init__(self, variable, domain, session):
        self._variable, self._domain, self._session = variable, domain, session


class SharedMap(_Accessor):
    """A Map of all workers."""

    __slots__ = ()


for _name in ("__getitem__", "__setitem__", "__delitem__", "__contains__", "__len__", "__iter__", "__reversed__", "get", "items",
              "keys", "values", "copy", "pop", "move_to_end", "update", "setdefault", "clear", "popitem", "__ior__"):
    setattr(SharedMap, _name, _through(getattr(Map, _name)))


class SharedIdleTimers(SharedMap):
    """IdleTimers of all workers."""

    __slots__ = ()

    touch = _through(IdleTimers.touch)
    expired = _through(IdleTimers.expired)


class SharedSet(SharedMap):
    """A Set of all workers."""

    __slots__ = ()

    add = _through(Set.add)
    discard = _through(Set.discard)


class SharedRecords(SharedMap):
    """Records of all workers."""

    __slots__ = ()

    put = _through(Records.put)
    find = _through(Records.find)
    change = _through(Records.change)


class SharedExpiringMap(SharedMap):
    """An ExpiringMap of all workers."""

    __slots__ = ()

    put = _through(ExpiringMap.put)
    use = _through(ExpiringMap.use)
    peek = _through(ExpiringMap.peek)
    oldest = _through(ExpiringMap.oldest)
    expire = _through(ExpiringMap.expire)


class SharedCounter(_Accessor):
    """A Counter of all workers."""

    __slots__ = ()

    add = _through(Counter.add)
    value = property(_through(lambda counter: counter.value))


_ACCESSORS = {Map: SharedMap, IdleTimers: SharedIdleTimers, Counter: SharedCounter, Set: SharedSet, Records: SharedRecords,
              ExpiringMap: SharedExpiringMap}


class View:
    """What one worker's instance of a middlebox gets: its *number*, the whole *state*, its ``attributes``."""

    def __init__(self, number, state):
        self.number, self.state = number, state
        self.attributes = {}


class State:
    """All variables that middlebox class *cls* declares, for one master. *make_lock* makes a domain's lock.

    ``variables`` has them under the names that checkpoints use; ``views`` one View per worker. Raises StateError.
    """

    def __init__(self, cls, workers=1, make_lock=NoLock):
        self.workers = workers
        self.variables = {}
        self.domains = []
        self.sessions = [Session(number, workers) for number in range(workers)] if workers > 1 else [None]
        self.views = [View(number, self) for number in range(workers)]
        self._flows = {}            # stored name -> the variables of the other workers
        prototypes = declared(cls)
        if workers > 1:
            names = sorted({prototype.domain for prototype in prototypes.values() if prototype.scope == "shared"})
            if len(names) > DOMAINS_MAX:
                raise StateError(f"{cls.__name__} declares {len(names)} domains, the limit is {DOMAINS_MAX}")
            self.domains = [Domain(name, number, workers, make_lock()) for number, name in enumerate(names)]
        for name, prototype in prototypes.items():
            if workers == 1:
                self.variables[name] = self.views[0].attributes[name] = prototype.fresh(name)
            elif prototype.scope == "shared":
                self._add_shared(name, prototype)
            else:
                self._add_per_worker(name, prototype)

    def _add_shared(self, name, prototype):
        accessor = _ACCESSORS.get(type(prototype))
        if accessor is None:
            raise StateError(f"state variable {name!r}: a {type(prototype).__name__} can't be shared by several workers,"
                             " give it the scope 'worker' or 'flow'")
        variable = self.variables[name] = prototype.fresh(name)
        domain = next(domain for domain in self.domains if domain.name == prototype.domain)
        for view, session in zip(self.views, self.sessions):
            view.attributes[name] = accessor(variable, domain, session)

    def _add_per_worker(self, name, prototype):
        own = {}
        for view in self.views:
            stored = f"{name}[{view.number}]"
            own[stored] = self.variables[stored] = view.attributes[name] = prototype.fresh(stored)
        if prototype.scope == "flow":
            for stored in own:
                self._flows[stored] = [variable for other, variable in own.items() if other != stored]

    def check_flows(self, changes):
        """Raise StateError if a changed key of scope "flow" is at another worker, too. *changes*: of a cut.

        Meant for after the cut: it reads other workers' variables while they run, key by key. A key that has been at two
        workers since before the cut is found for sure; one that a worker took over later may be.
        """
        for name, _, dirty in changes:
            for other in self._flows.get(name, ()):
                for key in dirty:
                    if key in other:
                        raise StateError(f"state variable {name!r} has scope 'flow', but its key {key!r} is also in {other.name!r}:"
                                         " the partition gives this flow to two workers, or the key is not a flow's alone")

    # -- checkpoints: called while no worker runs

    def header(self):
        """What a checkpoint's header says of order and dependencies; all empty with one worker."""
        return {"clocks": [session.clock for session in self.sessions if session],
                "domains": [[domain.name, domain.version, domain.worker, domain.k, domain.clock] for domain in self.domains]}

    def load(self, header):
        """Take over order and dependencies from a checked *header*. Raises CheckpointError."""
        names = [name for name, *_ in header["domains"]]
        if names != [domain.name for domain in self.domains]:
            raise CheckpointError(f"the checkpoint has the domains {names}, the middlebox {[d.name for d in self.domains]}")
        for domain, (_, version, worker, k, clock) in zip(self.domains, header["domains"]):
            domain.version, domain.worker, domain.k, domain.clock = version, worker, k, clock
        for session, clock in zip(self.sessions, header["clocks"]):
            session.clock = clock
