"""Which backends of a load balancer are up, told by probes and by what clients meet.

Every ``probe_interval_s`` each backend gets an ICMP echo request. One that leaves ``probes_lost_max`` in a row unanswered is down, until it has answered
``PROBES_WON`` in a row. Besides, one that fails ``failures_max`` new connections in a row (a reset for the SYN, or no answer in time) is held down
for ``hold_s``, then it gets new connections again. A backend is up until it is shown that it is not.
"""

NS_PER_S = 1_000_000_000

#: answered probes in a row that bring a backend back
PROBES_WON = 2


class BackendHealth:
    """Health over the Map *state*: {backend's address and port: (lost probes in a row, won in a row, down, failures in a row, held until ns)}.

    ``_NEW`` is what a backend begins with. All methods return what happened as text for an event, None if nothing did.
    """

    _NEW = (0, 0, False, 0, 0)

    def __init__(self, state, probes_lost_max, failures_max, hold_s):
        self._state = state
        self._probes_lost_max, self._failures_max, self._hold_ns = probes_lost_max, failures_max, hold_s * NS_PER_S

    def is_up(self, backend, now_ns):
        """Whether *backend* gets new flows."""
        _, _, down, _, held_ns = self._state.get(backend, self._NEW)
        return not down and held_ns <= now_ns

    def probe_sent(self, backend):
        """A probe leaves; until its answer comes it counts as lost."""
        lost, won, down, failures, held_ns = self._state.get(backend, self._NEW)
        lost = min(lost + 1, self._probes_lost_max + 1)
        goes_down = not down and lost > self._probes_lost_max
        self._state[backend] = (lost, 0 if lost > 1 else won, down or goes_down, failures, held_ns)
        return f"{self._probes_lost_max} probes in a row were not answered" if goes_down else None

    def probe_answered(self, backend):
        """An answer came."""
        lost, won, down, failures, held_ns = self._state.get(backend, self._NEW)
        if not lost:
            return None     # twice, or too late
        won = min(won + 1, PROBES_WON)
        comes_up = down and won == PROBES_WON
        self._state[backend] = (0, won, down and not comes_up, failures, held_ns)
        return "it answers probes again" if comes_up else None

    def connection_failed(self, backend, now_ns):
        """A new connection was refused or got no answer."""
        lost, won, down, failures, held_ns = self._state.get(backend, self._NEW)
        failures += 1
        held = failures >= self._failures_max
        if held:
            failures, held_ns = 0, now_ns + self._hold_ns
        self._state[backend] = (lost, won, down, failures, held_ns)
        return f"{self._failures_max} connections in a row failed" if held else None

    def connection_opened(self, backend):
        """A new connection was answered."""
        health = self._state.get(backend, self._NEW)
        if health[3]:
            self._state[backend] = (*health[:3], 0, health[4])
