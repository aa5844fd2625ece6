"""The TCP connections through a NAT: which segments belong to one, and how long it lives (``tcp_sessions`` has the states)."""

from .tcp_sessions import ESTABLISHED, FIN, RST, SYN, is_closed, is_established, next_state, opens

NS_PER_S = 1_000_000_000


class NatSessions:
    """Sessions {(inside end, remote end): state} over the NAT's Maps and IdleTimers given.

    *counts*: inside end -> number of sessions: a mapping lives while it has one. *established*, *opening*,
    *closing*: (timers, timeout in s) of the sessions in that condition.
    """

    def __init__(self, sessions, counts, sessions_max, established, opening, closing):
        self._sessions, self._counts, self._sessions_max = sessions, counts, sessions_max
        self._timeouts_ns = tuple((used, timeout_s * NS_PER_S) for used, timeout_s in (established, opening, closing))
        self._established_used, self._opening_used, self._closing_used = (used for used, _ in self._timeouts_ns)

    @property
    def full(self):
        """Whether there is no room for another session."""
        return len(self._sessions) >= self._sessions_max

    def track(self, session, flags, from_inside, now_ns):
        """Note a TCP segment of a known mapping; the reason why it is to be dropped, None if it is not."""
        state = self._sessions.get(session)
        if state == ESTABLISHED and not flags & (SYN | FIN | RST):
            self._established_used.touch(session, now_ns, NS_PER_S)
            return None
        if state is None:
            if not opens(flags):
                return "tcp_unknown"
            if self.full:
                return "tcp_sessions_full"
            self._counts[session[0]] = self._counts.get(session[0], 0) + 1
            state = 0
        self._set(session, state, next_state(state, flags, from_inside), now_ns)
        return None

    def _timers(self, state):
        if is_established(state):
            return self._established_used
        return self._closing_used if is_closed(state) else self._opening_used

    def _set(self, session, old_state, state, now_ns):
        timers = self._timers(state)
        if state != old_state:
            self._timers(old_state).pop(session, None)
            self._sessions[session] = state
            timers.touch(session, now_ns)
        elif timers is not self._closing_used:
            timers.touch(session, now_ns, NS_PER_S)

    def expire(self, now_ns, limit):
        """Forget up to *limit* sessions of each kind that were idle for their timeout; yields inside ends that have none left."""
        for used, timeout_ns in self._timeouts_ns:
            for session in used.expired(now_ns, timeout_ns, limit):
                del used[session], self._sessions[session]
                inside, _ = session
                left = self._counts[inside] - 1
                if left:
                    self._counts[inside] = left
                else:
                    del self._counts[inside]
                    yield inside
