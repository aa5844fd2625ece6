"""The data plane as a witness: whether an output logger hears its master. Pure; times in ns.

An output logger's beat counts the frames that it took from the master, and a master that is fed with inputs (ticks at
least) always has something to say. Silence is counted only from beat to beat of the output logger, at most two beats'
time each, while the input logger goes on: so neither a slow machine nor a logger in trouble makes a master suspect.
"""

#: times the suspicion: so long the data plane may be silent while all beats come
PATIENCE_FACTOR = 5
#: the patience doubles with each blame that did not help, to at most this many times itself
BACKOFF_MAX = 64


class _Ear:
    """What is heard in one group. *who*: the processes that it is about."""

    def __init__(self):
        self.who = None
        self.heard = self.sent = None
        self.last_ns = 0
        self.silent_ns = 0
        self.blames = 0


class Silence:
    """All groups. *suspect_after_ns* and *beat_interval_ns* as the deployment has them."""

    def __init__(self, suspect_after_ns, beat_interval_ns):
        self._patience_ns = PATIENCE_FACTOR * suspect_after_ns
        self._step_max_ns = 2 * beat_interval_ns
        self._ears = {}

    def beat(self, group, who, heard, sent, now_ns):
        """The output logger's beat: it *heard* so many frames by now, the input logger *sent* so many inputs.

        *sent* None: the master may have reasons to be silent. Returns whether something was heard since the last beat.
        """
        ear = self._ears.setdefault(group, _Ear())
        fed = sent is not None and sent != ear.sent
        step_ns = min(now_ns - ear.last_ns, self._step_max_ns)
        is_news = type(heard) is int and ear.who == who and ear.heard is not None and heard != ear.heard
        if is_news:
            ear.silent_ns = ear.blames = 0
        elif ear.who != who or sent is None or type(heard) is not int:
            ear.silent_ns = 0
        elif fed:
            ear.silent_ns += step_ns
        ear.who, ear.heard, ear.sent, ear.last_ns = who, heard, sent, now_ns
        return is_news

    def is_silent(self, group):
        """Whether the patience with *group* is at its end."""
        ear = self._ears[group]
        return ear.silent_ns > self._patience_ns * min(2 ** ear.blames, BACKOFF_MAX)

    def blame(self, group):
        """Who is to be replaced: the master first, the output logger next, if still nothing is heard."""
        ear = self._ears[group]
        ear.silent_ns = 0
        ear.blames += 1
        return "master" if ear.blames % 2 else "output-logger"
