"""Who may connect, for all that listen on the management network. Pure.

A connection is *half-open* until its peer has authenticated. There are at most CONNECTIONS_MAX connections, and
HALF_OPEN_PER_HOST_MAX half-open ones of one host: a further one is refused (``refused``). At HALF_OPEN_MAX
half-open ones the oldest makes room (``half_open_dropped``), so that strangers who say nothing keep out nobody
who does. Those that end without having authenticated are counted as ``unauthenticated``.
"""

CONNECTIONS_MAX = 256
HALF_OPEN_MAX = 64
HALF_OPEN_PER_HOST_MAX = 16


class Admission:
    """The open connections of one listener."""

    def __init__(self):
        self.counters = {"refused": 0, "half_open_dropped": 0, "unauthenticated": 0}
        self._hosts = {}            # connection -> its host, None once authenticated; oldest first

    def __len__(self):
        return len(self._hosts)

    def refusal(self, host):
        """Why a connection from *host* is refused now; None if it is not."""
        if len(self._hosts) >= CONNECTIONS_MAX:
            why = f"{CONNECTIONS_MAX} connections are open"
        elif list(self._hosts.values()).count(host) >= HALF_OPEN_PER_HOST_MAX:
            why = f"{HALF_OPEN_PER_HOST_MAX} connections of this host have not authenticated"
        else:
            return None
        self.counters["refused"] += 1
        return why

    def add(self, connection, host):
        """Note a new *connection* that was not refused; returns one that has to be closed for it, or None."""
        half_open = [other for other, of in self._hosts.items() if of is not None]
        self._hosts[connection] = host
        if len(half_open) < HALF_OPEN_MAX:
            return None
        self.counters["half_open_dropped"] += 1
        return half_open[0]

    def authenticated(self, connection):
        """The peer of *connection* knows the key."""
        if connection in self._hosts:
            self._hosts[connection] = None

    def remove(self, connection):
        """*connection* is closed."""
        if self._hosts.pop(connection, None) is not None:
            self.counters["unauthenticated"] += 1


def is_told(count):
    """Whether the *count*-th event of its kind is worth a line in a log: strangers must not be able to fill it."""
    return count & (count - 1) == 0
