"""WanSession: what a WAN optimiser and its peer know of each other's stores, and whether the peer lives.

Each store of received contents has a *generation*, a random number that it keeps as long as it keeps its state. A box refers only to what the peer's
store of the generation that it believes in has told. There is no order and no connection: messages may be lost, come twice or late.

- A box that knows no generation takes the first that it hears.
- One that is spoken to with another generation than its own answers RESYNC, which names both; the peer takes the new one if it still believes in the
  one that is refused. A late RESYNC, or a late HAVE of a former generation, so changes nothing.
"""

from . import wan_messages
from .accounting import NS_PER_S
from .wan_messages import HAVE, MISSING, NAME_BYTES, RESYNC

#: names that are told at once; fewer wait for the next tick
NAMES_TOLD = 16
#: who has nothing to tell speaks so often
HELLO_NS = NS_PER_S


class WanSession:
    """Over the Map *session*; *finder* (redundancy.Finder) hears what the peer has; ``send(message, ctx)`` takes messages to the peer.

    ``session``: "generation" of the own store, "believed" (the peer's), "heard_ns", "told_ns" (when a HAVE went), "have" (names to tell, bytes).
    """

    def __init__(self, session, key, timeout_ns, finder, send):
        self._session, self._key, self._timeout_ns, self._finder, self._send = session, key, timeout_ns, finder, send

    @property
    def believed(self):
        """The generation of the peer's store, 0 if it is not known."""
        return self._session.get("believed", 0)

    def lives(self, now_ns):
        """Whether the peer was heard lately, so that its generation is known."""
        return now_ns - self._session.get("heard_ns", -self._timeout_ns) < self._timeout_ns

    def generation(self, ctx):
        """The generation of the own store."""
        generation = self._session.get("generation")
        if generation is None:
            generation = self._session["generation"] = ctx.random() % 0xFFFFFFFF + 1
        return generation

    def have(self, name, ctx):
        """Tell, soon, that the own store has the content of that *name* (an int)."""
        names = self._session.get("have", b"") + wan_messages.name_bytes(name)
        self._session["have"] = names
        if len(names) >= NAMES_TOLD * NAME_BYTES:
            self._tell_have(ctx)

    def tick(self, ctx):
        """Tell what waits; and now and then that this box lives."""
        if self._session.get("have") or ctx.now_ns - self._session.get("told_ns", 0) >= HELLO_NS:
            self._tell_have(ctx)

    def _tell_have(self, ctx):
        self._tell(HAVE, self.believed, self._session.get("have", b""), ctx)
        self._session["have"] = b""
        self._session["told_ns"] = ctx.now_ns

    def complain(self, kind, names, ctx):
        """Tell that contents of these *names* (ints), if any, are MISSING from the own store, or WRONG."""
        if names:       # each once, though it was referred to twice
            self._tell(kind, self.believed, b"".join(map(wan_messages.name_bytes, dict.fromkeys(names))), ctx)

    def refuse(self, generation, ctx):
        """Tell that the own store has another *generation* than this."""
        self._tell(RESYNC, generation, b"", ctx)

    def _tell(self, kind, believed, names, ctx):
        self._send(wan_messages.control(self._key, kind, self.generation(ctx), believed, names), ctx)

    def take(self, message, ctx):
        """Take a HAVE, MISSING, WRONG or RESYNC of the peer. Raises MessageError."""
        kind, generation, believed, names = wan_messages.parse_control(self._key, message)
        self._session["heard_ns"] = ctx.now_ns
        known = self.believed
        if not known or kind == RESYNC and believed == known != generation:
            self._session["believed"] = generation
            if known:
                ctx.event("wan-resync", f"the peer's store is another one: generation {generation:08x}, it was {known:08x}")
        if kind == RESYNC:
            return
        if generation == self.believed:
            for name in names:
                if kind == HAVE:
                    self._finder.acknowledge(name, generation)
                elif kind == MISSING:
                    self._finder.lacks(name)
                else:
                    self._finder.forget(name)
        if believed not in (0, self.generation(ctx)):
            self.refuse(believed, ctx)
