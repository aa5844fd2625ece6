"""What happened, for people: the last EVENTS_MAX events are kept, and streams follow them as they come.

A stream holds what its client has not taken yet, at most QUEUE_EVENTS_MAX events. A client that is further
behind is too slow: its stream is dropped (``streams_dropped``). Above STREAMS_MAX streams a further one is
refused (``streams_refused``). Numbers begin at 1 with each start of the controller.
"""

import collections
import itertools
import json

import eventlet.queue

from .refusal import Unavailable

EVENTS_MAX = 1000
#: of the text of one event, which may quote what an agent says
WHAT_CHARS_MAX = 1000
STREAMS_MAX = 8
QUEUE_EVENTS_MAX = 2 * EVENTS_MAX
#: a client that is gone is noticed when it is written to
KEEPALIVE_S = 5.0


class EventLog:
    """The events and who follows them."""

    def __init__(self):
        self.count = 0
        self.counters = {"streams_refused": 0, "streams_dropped": 0}
        self._kept = collections.deque(maxlen=EVENTS_MAX)
        self._streams = []

    def add(self, event):
        """Number *event*, a map of JSON values with a text ``what``, and tell it to every stream."""
        self.count += 1
        event = {"number": self.count, **event, "what": event["what"][:WHAT_CHARS_MAX]}
        self._kept.append(event)
        for stream in list(self._streams):
            if not stream.put(event):
                self.counters["streams_dropped"] += 1
                stream.drop()

    def since(self, number):
        """The events kept that come after event *number*, oldest first."""
        skipped = max(0, number - (self.count - len(self._kept)))
        return list(itertools.islice(self._kept, skipped, None))

    def follow(self, number):
        """A Stream of the events after event *number*. Raises Unavailable above STREAMS_MAX."""
        if len(self._streams) >= STREAMS_MAX:
            self.counters["streams_refused"] += 1
            raise Unavailable(f"{STREAMS_MAX} streams are open, which is the most there may be")
        stream = Stream(self.since(number), self._streams.remove)
        self._streams.append(stream)
        return stream

    @property
    def streams(self):
        """How many streams are open."""
        return len(self._streams)


class Stream:
    """One client's events as the pieces of a text/event-stream; iterating waits for the next. Close it when done.

    *on_drop*, set by who writes the pieces, is called when the client is too slow: it ends the connection.
    """

    def __init__(self, events, on_close):
        self.on_drop = None
        self._waiting = collections.deque(events)
        self._on_close = on_close
        self._bell = eventlet.queue.LightQueue(1)
        self._greeted = self._closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if not self._greeted:
            # the client sees at once that it is connected
            self._greeted = True
            return b": events\n\n"
        while not self._waiting:
            if self._closed:
                raise StopIteration
            try:
                self._bell.get(timeout=KEEPALIVE_S)
            except eventlet.queue.Empty:
                return b": still here\n\n"
        event = self._waiting.popleft()
        return f"id: {event['number']}\ndata: {json.dumps(event)}\n\n".encode()

    def put(self, event):
        """Queue *event*; False if the queue is full."""
        if len(self._waiting) >= QUEUE_EVENTS_MAX:
            return False
        self._waiting.append(event)
        self._ring()
        return True

    def drop(self):
        """The client is too slow."""
        self.close()
        if self.on_drop is not None:
            self.on_drop()

    def close(self):
        """Give the stream's place back."""
        if not self._closed:
            self._closed = True
            self._waiting.clear()
            self._on_close(self)
            self._ring()

    def _ring(self):
        if not self._bell.full():
            self._bell.put_nowait(None)
