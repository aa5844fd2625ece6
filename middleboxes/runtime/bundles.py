"""What a node does so that failovers and faults of its middlebox leave bundles: it tells a process beside it (bundler) what to fetch.

A bundle spans the time between two checkpoints. Store and loggers have all of it until the second one is committed; so its
master holds that commit back until the bundler has what it needs, HOLD_NS at most. Packets do not wait for it.

    failover        ``begin`` when the spare is told to recover; ``may_commit`` at its first checkpoint as the master
    function error  ``watched`` events, and ``cut`` of the checkpoint after the step that raised: the controller is asked where the
                    loggers are, and answers with a request that comes to ``begin``

One bundle at a time: what comes meanwhile is skipped, counted. Whatever fails is told (event ``bundle-failed``), counted, and has no other effect.
"""

import fcntl
import json
import os
import subprocess
import sys

from .bundler import SILENCE_MS

#: a commit waits for the bundler no longer than this
HOLD_NS = 1_000_000_000
#: and for the controller to say where the loggers are
ASK_NS = 500_000_000
#: a function that raises at many places must not fill the directory at once
ERROR_PAUSE_NS = 10_000_000_000
#: a new process is started so long after the last one has ended, when there is time
AGAIN_NS = 1_000_000_000
#: room for the parameters of a large function; Linux allows as much to everybody
_PIPE_BYTES = 1 << 20
_LINE_BYTES_MAX = 1 << 16
_END_S = 1
_WHY_CHARS_MAX = 1000
_F_SETPIPE_SZ = 1031        # of Linux; fcntl has it by name from Python 3.10 on
_OF_GROUP = ("group_id", "function", "parameters", "workers")
_OF_PORT = ("name", "mac", "address", "address6")


class Bundles:
    """Of *node*; *settings*: {"directory", "count_max", "bytes_max"} of the node file, or None: then nothing is left."""

    def __init__(self, node, settings, key):
        self._node, self._loop, self._settings, self._key = node, node.loop, settings, key
        self.counters = {} if settings is None else {"bundles_written": 0, "bundles_failed": 0, "bundles_skipped": 0}
        self._groups = {}               # group -> what a task says of it
        self._process = None
        self._buffer = b""
        self._current = None            # _Current, from ``begin`` or ``cut`` to the process's end
        self._errors = {}               # group -> text of an error that was told and has no bundle yet
        self._error_ns = None           # when the last bundle of an error began

    # -- the process

    def watched(self, group, args, on_event):
        """This node may have to leave bundles of *group*; *args*: of the request that gave it its role.

        Returns *on_event*, a middlebox's (called on the loop's thread), so that errors are noted here, too.
        """
        if self._settings is None:
            return on_event
        ports = [{name: port[name] for name in _OF_PORT if name in port} for port in args["ports"]]
        self._groups[group] = {**{name: args[name] for name in _OF_GROUP}, "group": group, "ports": ports}
        self._start()

        def noting(name, detail):
            if name == "function-error":
                self._errors[group] = detail
            on_event(name, detail)
        return noting

    def _start(self):
        """Have the process ready: a recovery has no time to start one."""
        if self._process is not None:
            return
        try:
            self._process = subprocess.Popen([sys.executable, "-m", "middleboxes.runtime.bundler"], stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, bufsize=0)
            fcntl.fcntl(self._process.stdin.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError as error:
            self._node.log(f"no process that writes bundles, or only one for small tasks: {error}")
        if self._process is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
            self._loop.watch(self._process.stdout.fileno(), self._read)

    def _read(self):
        data = self._process.stdout.read(_LINE_BYTES_MAX)
        if not data:
            self._ended()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._said(json.loads(line))

    def _ended(self):
        """The process is over, one way or another."""
        process, self._process, self._buffer = self._process, None, b""
        self._loop.watch(process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()
        code = process.wait()
        current = self._current
        if current is None:
            self._node.log(f"the process that writes bundles ended with {code} before it had anything to do")
            return
        if not current.told:
            self._failed(f"the process that writes it ended with {code}")
        self._current = None
        current.release()
        self._loop.after(AGAIN_NS, self._start)

    def _write(self, message):
        """Tell the process; whether it was told all."""
        data = json.dumps(message).encode() + b"\n"
        try:
            return os.write(self._process.stdin.fileno(), data) == len(data)
        except OSError:
            return False                # it has ended, which is noticed by its output

    def _said(self, message):
        current = self._current
        if current is None:
            return
        if "written" in message:
            current.told = True
            self.counters["bundles_written"] += 1
            self._tell("bundle", f"{current.cause}: {message['written']}, {message['bytes']} bytes")
        elif "failed" in message:
            self._failed(message["failed"])
        current.release()

    def _failed(self, why):
        current = self._current
        current.told = True
        self.counters["bundles_failed"] += 1
        self._tell("bundle-failed", f"{current.cause}: {why}")

    def _tell(self, event, text):
        self._node.agent.event(event, self._current.group, self._current.epoch, {"text": text})

    # -- what roles say

    def begin(self, group, epoch, peers, stored=None, why=""):
        """A bundle of *group* is wanted; *peers*: {"store", "input_logger", "output_logger"}, addresses [ip, port].

        *stored*: the recoverable prefix if this node is about to recover, and *why*; None: the controller answers about an error.
        """
        if self._settings is None:
            return
        current = self._current
        busy = current is not None if stored is not None else current is None or not current.is_asked(group)
        if busy or self._process is None:
            self.counters["bundles_skipped"] += 1
            self._loop.after(AGAIN_NS, self._start)
            return
        if stored is not None:
            current = self._current = _Current(self._loop, group, epoch, "failover", why[:_WHY_CHARS_MAX])
        current.begun = True
        task = {**self._groups[group], **peers, **self._settings, "epoch": epoch, "cause": current.cause, "detail": current.detail,
                "stored": stored, "node": self._node.name, "key": self._key.hex()}
        if not self._write({"task": task}):
            self._process.kill()        # half a task is none
        self._beat(current)
        current.go_on()

    def _beat(self, current):
        """While this is heard, the bundler waits for the checkpoint: who hangs, or could not recover, does not make one."""
        if self._current is not current or current.has_positions or current.is_released:
            return
        if not any(self._node.role(current.group, name) for name in ("spare", "master")):
            self._write({"begin": True})
            current.release()
            return
        self._write({"alive": True})
        self._loop.after(SILENCE_MS * 1_000_000 // 4, lambda: self._beat(current))

    def cut(self, group, epoch, has_errors):
        """A checkpoint of *group* is cut; *has_errors*: a step since the one before raised. Whether the controller is to be asked."""
        text, current = self._errors.pop(group, None) if has_errors else None, self._current
        if text is None or current is not None and current.group == group and not current.has_positions:
            return False                # the bundle that is being made has it
        now_ns = self._loop.now_ns()
        if current is not None or self._error_ns is not None and now_ns - self._error_ns < ERROR_PAUSE_NS:
            self.counters["bundles_skipped"] += 1
            return False
        self._error_ns = now_ns
        current = self._current = _Current(self._loop, group, epoch, "function-error", text)
        current.limit(ASK_NS, lambda: self._unanswered(current))
        return True

    def may_commit(self, group, cut, go_on):
        """Whether *cut* of *group* may be committed now; if not, *go_on* is called when it may."""
        current = self._current
        if current is None or current.group != group or current.is_released:
            return True
        current.hold(go_on)
        if current.begun and not current.has_positions:
            current.has_positions = True
            self._errors.pop(group, None)       # this bundle has the step
            current.limit(HOLD_NS, current.release)
            if not self._write({"positions": cut.positions, "base": cut.base}):
                current.release()
        return current.is_released

    def _unanswered(self, current):
        if self._current is current and not current.begun:
            self._failed("the controller did not say where the loggers are")
            self._current = None
            current.release()

    def close(self):
        """End the process: the node is about to."""
        process, self._process = self._process, None
        if process is None:
            return
        self._loop.watch(process.stdout.fileno())
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:       # it is at work
            process.kill()
            process.wait()
        process.stdout.close()


class _Current:
    """The bundle that is being made, and the commit that waits for it."""

    def __init__(self, loop, group, epoch, cause, detail=""):
        self.group, self.epoch, self.cause, self.detail = group, epoch, cause, detail
        self.begun = self.has_positions = self.is_released = self.told = False
        self._loop, self._go_on, self._timer = loop, None, None

    def is_asked(self, group):
        """Whether the controller was asked about *group* and has not answered yet."""
        return self.group == group and not self.begun

    def hold(self, go_on):
        """The commit waits: *go_on* lets it look again."""
        self._go_on = go_on

    def limit(self, delay_ns, then):
        """Wait no longer than this."""
        self._loop.cancel(self._timer)
        self._timer = self._loop.after(delay_ns, then)

    def go_on(self):
        """Let the commit look again."""
        go_on, self._go_on = self._go_on, None
        if go_on is not None:
            go_on()

    def release(self):
        """Let the commit go."""
        self.is_released = True
        self._loop.cancel(self._timer)
        self.go_on()
