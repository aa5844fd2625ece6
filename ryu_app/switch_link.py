"""The sending side of a connection to a switch: at once where nothing waits, in order, without ever making the controller wait."""

import eventlet
import eventlet.queue

from .openflow import Codec, numbered
from .xids import Xids

QUEUE_MAX = 256             # batches that wait for a switch


class _Number:
    """Takes a transaction id: Ryu has them for messages only."""

    def set_xid(self, xid):
        self.xid = xid


class Link:
    """The connection to one switch: codec, sender, and what our transaction ids were for."""

    def __init__(self, name, datapath, cookie):
        self.datapath = datapath
        self.codec = Codec(name, datapath, cookie)
        self.asked = set()                      # xids of the newest question
        self.xids = Xids()
        self._queue = eventlet.queue.LightQueue(QUEUE_MAX)
        self._waiting = False                   # something is queued, or on its way from the queue
        self._sender = eventlet.spawn(self._send)

    def send(self, messages):
        """Send (bytes, purpose) pairs as one batch, now or after those that wait; returns their xids. A full queue ends the connection."""
        buffers, xids = [], []
        for data, purpose in messages:
            xid = self.datapath.set_xid(_Number())
            self.xids.note(xid, purpose)
            buffers.append(numbered(data, xid))
            xids.append(xid)
        batch = b"".join(buffers)
        if self._may_send_now():
            self.datapath.send(batch)
        elif self._queue.full():
            # not from here: the app's event loop must not wait for its own queue
            eventlet.spawn(self.datapath.close)
        else:
            self._waiting = True
            self._queue.put_nowait(batch)
        return xids

    def _may_send_now(self):
        """Whether nothing of ours waits, and Ryu has room for which nobody waits: a redirect need not wait for the sender's turn."""
        return not self._waiting and self.datapath._send_q_sem.balance > 0

    def stop(self):
        self._sender.kill()

    def _send(self):
        while True:
            self.datapath.send(self._queue.get())
            self._waiting = not self._queue.empty()
