"""ConnectionTable: a bounded table of flows in both directions, with idle times by class and a named victim.

Classes, the least committed first: ``unanswered`` (nothing came back yet), ``echo`` (ICMP), ``opening`` (TCP before the opener confirmed
the answer), ``closing`` (TCP after both FIN or a reset), ``answered`` (UDP and others in both directions), ``established`` (TCP).

A new flow in a full table takes the place of a *victim*: the one that was idle longest in the newcomer's class if that has any, else in
the first class of the list that has any. So a flood displaces itself. Established TCP is never a victim: if there is
nothing else, the newcomer is refused.
"""

NS_PER_S = 1_000_000_000

CLASSES = UNANSWERED, ECHO, OPENING, CLOSING, ANSWERED, ESTABLISHED = range(6)
CLASS_NAMES = ("unanswered", "echo", "opening", "closing", "answered", "established")
#: flows that one expiry removes at most, of each class
_EXPIRY_BATCH = 1024


class ConnectionTable:
    """Flows in the Map *connections*: {key: (class, ...)}; *timers*: one IdleTimers per class.

    ``on_remove(key, value)`` is told of each flow that is forgotten. A key is (protocol, source, source port, destination, destination port) as the opener's packets have it; times of last use are kept to
    1 s, so that a busy flow does not change them with each packet.
    """

    def __init__(self, connections, timers, connections_max, timeouts_s, on_remove=lambda key, value: None):
        self._connections = connections
        self._timers = timers
        self._connections_max = connections_max
        self._on_remove = on_remove
        self._timeouts_ns = [timeout_s * NS_PER_S for timeout_s in timeouts_s]

    def find(self, flow):
        """(key, value, whether *flow* is the opener's direction); (flow, None, True) if it is unknown."""
        value = self._connections.get(flow)
        if value is not None:
            return flow, value, True
        protocol, source, source_port, destination, destination_port = flow
        key = (protocol, destination, destination_port, source, source_port)
        value = self._connections.get(key)
        return (flow, None, True) if value is None else (key, value, False)

    def make_room(self, kind):
        """Let a flow of class *kind* in: the class of the victim, None if none was needed, or False if there is no room."""
        if len(self._connections) < self._connections_max:
            return None
        for victims in (kind, *CLASSES[:ESTABLISHED]):
            if victims != ESTABLISHED and len(self._timers[victims]):
                self.remove(next(iter(self._timers[victims])))
                return CLASS_NAMES[victims]
        return False

    def put(self, key, value, now_ns):
        """Set the flow *key* to *value* (its first item is its class), used now."""
        old = self._connections.get(key)
        if old != value:
            self._connections[key] = value
        kind = value[0]
        if old is not None and old[0] != kind:
            del self._timers[old[0]][key]
            old = None
        if old is None or (kind != CLOSING and now_ns - self._timers[kind][key] >= NS_PER_S):
            self._timers[kind].touch(key, now_ns)

    def remove(self, key):
        """Forget a flow, and tell whoever wants to know."""
        value = self._connections.pop(key)
        del self._timers[value[0]][key]
        self._on_remove(key, value)

    def due(self, kind, now_ns):
        """[(key, value)] of the flows of class *kind* that the next expiry forgets."""
        keys = self._timers[kind].expired(now_ns, self._timeouts_ns[kind], _EXPIRY_BATCH)
        return [(key, self._connections[key]) for key in keys]

    def expire(self, now_ns):
        """Forget what was idle for its timeout."""
        for timers, timeout_ns in zip(self._timers, self._timeouts_ns):
            for key in timers.expired(now_ns, timeout_ns, _EXPIRY_BATCH):
                self.remove(key)
