"""What the transaction ids of messages to one switch were for. Pure.

Barriers have a map of their own, so that no number of changes pushes one out. A barrier's reply says that no
change before it will be refused any more: they are forgotten.
"""

from collections import OrderedDict

CHANGES_MAX = 65536         # without a barrier reply; the oldest are forgotten, and an error for them goes unexplained
QUESTION = "question"


class Barrier:
    """The purpose of a barrier request: the *number* that its reply tells."""

    def __init__(self, number):
        self.number = number


class Xids:
    """Purposes by transaction id: a Barrier, QUESTION, or a change."""

    def __init__(self):
        self._changes = OrderedDict()
        self._barriers = {}             # xid -> (number, xid of the newest change before it)

    def __len__(self):
        return len(self._changes) + len(self._barriers)

    def note(self, xid, purpose):
        """A message with this *xid* goes out."""
        if isinstance(purpose, Barrier):
            self._barriers[xid] = (purpose.number, next(reversed(self._changes), None))
            return
        self._changes[xid] = purpose
        if len(self._changes) > CHANGES_MAX:
            self._changes.popitem(last=False)

    def confirmed(self, xid):
        """The number of the barrier *xid*, which was replied to; None if it is none of ours."""
        number, newest = self._barriers.pop(xid, (None, None))
        while newest in self._changes:
            self._changes.popitem(last=False)
        return number

    def refused(self, xid):
        """What the switch refused: QUESTION or a change; None if it is none of ours."""
        return self._changes.pop(xid, None)
