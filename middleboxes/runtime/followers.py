"""The hot spares that follow a logger: each gets what is logged, in messages that go out at most every FEED_INTERVAL_NS."""

from .connection import PUMP_BYTES
from .role import ServiceError

#: how long something logged waits for more, so that it does not cost a message by itself
FEED_INTERVAL_NS = 1_000_000
#: a group has one hot spare, and for moments a former one
FOLLOWERS_MAX = 4


class Followers:
    """The followers of *role*, a logger; *tell(feed, parts)* makes a message of what a feed gives."""

    def __init__(self, role, tell):
        self._loop, self._group, self._tell = role.loop, role.group, tell
        self._feeds = {}                # connection -> Feed
        self._timer = None
        self._urgent = False
        self._send_due = role.guarded(self._send)
        self.cut_off = 0

    def counters(self):
        """Counters by name."""
        return {"followers": len(self._feeds), "followers_cut_off": self.cut_off}

    def add(self, connection, feed):
        """A hot spare begins to follow, or begins anew. Raises ServiceError."""
        if connection not in self._feeds and len(self._feeds) >= FOLLOWERS_MAX:
            raise ServiceError(f"{FOLLOWERS_MAX} spares follow already, which is the most there may be")
        self._feeds[connection] = feed
        self._urgent = False
        connection.send(self._tell(feed, [], feed.begin))
        self.wake()

    def wake(self):
        """Something was logged."""
        if self._timer is not None or not self._feeds:
            return
        if self._urgent:
            self._send()
        else:
            self._send_later()

    def hurry(self):
        """A follower is about to take over: from now on nothing waits for more."""
        self._urgent = True
        self._loop.cancel(self._timer)
        self._send()

    def _send_later(self):
        self._timer = self._loop.after(FEED_INTERVAL_NS, self._send_due)

    def save(self):
        """The log is about to forget something."""
        for feed in self._feeds.values():
            feed.save()

    def _send(self):
        self._timer = None
        for connection, feed in list(self._feeds.items()):
            if not self._send_to(connection, feed) and self._timer is None:
                self._send_later()      # it does not read as fast

    def _send_to(self, connection, feed):
        """Send what there is; False if the connection takes no more now."""
        while connection.waiting_bytes < PUMP_BYTES:
            parts = feed.take()
            if feed.cut_off:
                self.cut_off += 1
                del self._feeds[connection]
                connection.send({"t": "refused", "group": self._group, "error": "it is too far behind"})
            if not parts:
                return True
            connection.send(self._tell(feed, parts, []))
        return False

    def rest(self, connection):
        """The messages that *connection* has not got, up to now; it follows no more. None if it did not follow."""
        feed = self._feeds.pop(connection, None)
        return None if feed is None else self._rest(feed)

    def _rest(self, feed):
        while parts := feed.take():
            yield self._tell(feed, parts, [])
        if feed.cut_off:
            self.cut_off += 1
            yield {"t": "refused", "group": self._group, "error": "it is too far behind"}

    def end(self):
        """All that follow: [(connection, messages)]; nobody follows any more."""
        return [(connection, self.rest(connection)) for connection in list(self._feeds)]

    def disconnected(self, connection):
        """*connection* is closed."""
        self._feeds.pop(connection, None)

    def close(self):
        """The role is given up: what comes after it must not be taken for its stream (docs/protocol.md, rule 24)."""
        self._loop.cancel(self._timer)
        feeds, self._feeds = self._feeds, {}
        for connection in feeds:
            connection.close("the role that it follows was given up")

    def release(self):
        """Undo the reference cycles."""
        self._tell = self._send_due = None
