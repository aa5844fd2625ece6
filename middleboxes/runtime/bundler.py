"""python -m middleboxes.runtime.bundler: the process beside a node that fetches what a bundle is made of, and writes it.

It is a process of its own, so that neither compressing nor a slow disk holds up a packet, and so that a middlebox that kills its
process, or never returns, leaves a bundle all the same. The node starts it ahead of time; it waits on standard input for JSON lines:

    {"task": {...}}                          what to make a bundle of (below)
    {"alive": true}                          the node goes on; told again and again
    {"begin": true}                          it could not recover: begin now
    {"positions": [[n, k], ...], "base": id} the master is about to commit a checkpoint there, on checkpoint *base*: begin now

and says on standard output: {"captured": true} once the master may commit, {"written": path, "bytes": n} or {"failed": text}.

Without positions it begins after a silence of SILENCE_MS, or when the node is gone: nobody came as far as a checkpoint, and the
logs still have all. It then ends at the recoverable prefix, and has all inputs beyond.

A task has what middleboxes.replay.capture asks for, *key* (hex), the addresses *store*, *input_logger*, *output_logger*, and
*directory*, *count_max*, *bytes_max* of the place where bundles are kept.
"""

import json
import os
import signal
import sys
import time

from .. import __version__
from ..replay.capture import Capture
from ..replay.errors import BundleError
from ..replay.keep import save
from .connection import Connection
from .loop import Loop

#: a node that is silent for so long hangs
SILENCE_MS = 1000
#: from the begin to the file; a peer that does not answer must not keep it for ever
DEADLINE_MS = 15_000
LINE_BYTES_MAX = 4 << 20
_NICE = 10
_CHECKPOINT, _LATER, _INPUTS, _DETERMINANTS = "store", "store (later)", "input_logger", "output_logger"


class Bundler:
    """One bundle. *say* takes what goes to standard output, *end* is called when it is over."""

    def __init__(self, loop, say, end):
        self._loop, self._say, self._end = loop, say, end
        self._task = self._capture = self._positions = None
        self._base = 0
        self._buffer = b""
        self._timer = None
        self._peers = {}
        self._told = False

    # -- the node

    def read(self, fd):
        """Take what the node says."""
        data = os.read(fd, 1 << 16)
        if not data:
            self._loop.watch(fd)
            self._node_is_gone()
            return
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > LINE_BYTES_MAX:
            self.fail("the node's task is too long")
        for line in lines:
            self._line(json.loads(line))

    def _line(self, message):
        if "task" in message:
            self._task = {**message["task"], "created_ns": time.time_ns(), "software": __version__}
        elif "positions" in message:
            self._positions, self._base = message["positions"], message["base"]
        if self._capture is not None or self._task is None:
            return
        if self._positions is not None or "begin" in message:
            self._begin()
            return
        self._loop.cancel(self._timer)
        self._timer = self._loop.after(SILENCE_MS * 1_000_000, self._begin)

    def _node_is_gone(self):
        if self._task is None:
            self._end()
        elif self._capture is None:
            self._begin()
        else:                           # nobody commits the checkpoint any more, but it may be on its way
            self._loop.cancel(self._timer)
            self._timer = self._loop.after(SILENCE_MS * 1_000_000, self._too_late)

    # -- store and loggers

    def _begin(self):
        self._loop.cancel(self._timer)
        self._timer = self._loop.after(DEADLINE_MS * 1_000_000, self._too_late)
        self._capture = Capture({**self._task, "positions": self._positions})
        self._dial(_CHECKPOINT, "store", {"t": "subscribe", "have": 0, "follow": False, "headers": False}, self._capture.checkpoint)
        zeros = [0] * self._task["workers"]
        self._dial(_INPUTS, "input_logger", {"t": "inputs", "after": zeros}, self._capture.inputs)
        to = [k for _, k in self._positions] if self._positions else self._task["stored"] or zeros
        self._dial(_DETERMINANTS, "output_logger", {"t": "determinants", "after": zeros, "to": to}, self._capture.determinants)
        if self._positions is not None:
            # what becomes durable on the checkpoint where it begins: the one that the master is about to commit
            self._dial(_LATER, "store", {"t": "subscribe", "have": self._base, "follow": True, "headers": False}, self._capture.later)

    def _dial(self, name, address, question, take):
        def opened(connection):
            connection.send({**question, "group": self._task["group"]})
            self._look()

        def answered(connection, message):
            if message["t"] == "refused":
                self.fail(f"the {name} refused: {message['error']}")
                return
            try:
                take(message)
            except BundleError as error:
                self.fail(str(error))
                return
            self._look()

        def closed(connection, reason):
            if name == _LATER and self._capture.has_logs and self._capture.has_checkpoint:
                self._write()           # it can do without, if it must
            else:
                self.fail(f"the {name} went away: {reason}")

        self._peers[name] = Connection.connect(self._loop, self._task[address], bytes.fromhex(self._task["key"]),
                                               self._task["node"], on_open=opened, on_message=answered, on_close=closed)

    def _look(self):
        """How far it is."""
        capture = self._capture
        later = self._peers.get(_LATER)
        if capture.has_logs and not self._told and (later is None or later.channel.established):
            self._told = True
            self._say({"captured": True})
            os.nice(_NICE)              # nobody waits for what is left to do
            for name in (_INPUTS, _DETERMINANTS):
                self._close(name)
        if capture.has_checkpoint:
            self._close(_CHECKPOINT)
        if capture.is_complete:
            self._write()

    def _close(self, name):
        connection = self._peers.pop(name, None)
        if connection is not None:
            connection.on_close = None
            connection.close("done")

    def _too_late(self):
        if self._capture.has_logs and self._capture.has_checkpoint:
            self._write()               # without the checkpoint where it ends
        else:
            self.fail("store and loggers did not answer in time")

    # -- the end

    def _write(self):
        task = self._task
        try:
            path = save(self._capture.bundle(), task["directory"], task["count_max"], task["bytes_max"])
            self._say({"written": path, "bytes": os.path.getsize(path)})
        except (BundleError, OSError) as error:
            self._say({"failed": str(error)})
        self._finish()

    def fail(self, why):
        """Tell why there is no bundle, and end."""
        self._say({"failed": why})
        self._finish()

    def _finish(self):
        for name in list(self._peers):
            self._close(name)
        self._loop.cancel(self._timer)
        self._end()


def say(message):
    """A line to the node, if it is still there."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # nor will the interpreter's last flush have anybody


def main():
    """Make one bundle, or none if the node ends before it asks for one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # a terminal's is for the node: when it goes, this ends
    loop = Loop()
    bundler = Bundler(loop, say, loop.stop)
    fd = sys.stdin.fileno()
    loop.watch(fd, lambda: bundler.read(fd))
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
