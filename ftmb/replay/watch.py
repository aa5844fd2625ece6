"""What is looked at while a bundle is replayed: steps to print, outputs to keep, where to stop, the debugger."""

import hashlib
import pdb
import struct
import sys

from middleboxes.replay import pcapng

_KEY = struct.Struct(">BQIB")


class Left(BaseException):
    """The user left the debugger. Not an Exception: a step that raises one goes on with the next step."""


class _Debugger(pdb.Pdb):
    """Remembers whether the user left it: ``runcall`` does not tell."""

    left = False

    def set_quit(self):
        self.left = True
        super().set_quit()


class Watch:
    """Follows one Replay. *first*, *last*: (worker, k) of the steps from and to which it is told, or None.

    *tell* is called with each Step between them; *outputs*: a list for what they emit, as pcapng.Captured, or None.
    """

    def __init__(self, replay, first=None, last=None, tell=None, outputs=None):
        self.replay = replay
        self.phases = {"recovered": 0, "later": 0, "new": 0}
        self.seen_last = last is None
        self._first, self._last, self._tell, self._outputs = first, last, tell, outputs
        self._telling = first is None
        self._digest = hashlib.sha256()
        self._ports = {port["name"]: number for number, port in enumerate(replay.bundle.ports)}

    @property
    def digest(self):
        """SHA-256 (hex) of all outputs so far, with the steps that made them."""
        return self._digest.hexdigest()

    def run(self, new=True):
        """Replay to *last*, or to the end; *new*: also inputs of no determinant. Raises ReplayError."""
        while (step := self.replay.step(new)) is not None:
            self._took(step)
            if (step.worker, step.k) == self._last:
                self.seen_last = True
                break

    def _took(self, step):
        self.phases[step.phase] += 1
        self._telling = self._telling or (step.worker, step.k) == self._first
        for j, (port, frame) in enumerate(step.outputs):
            self._digest.update(_KEY.pack(step.worker, step.k, len(frame), self._ports[port]) + frame)
            if self._outputs is not None and self._telling:
                self._outputs.append(pcapng.Captured(self._ports[port], step.now_ns, frame, step.k, step.worker,
                                                     f"step {step.worker}:{step.k}, output {j}"))
        if self._tell is not None and self._telling:
            self._tell(step)


def save_outputs(path, bundle, outputs):
    """Write captured *outputs* to a pcapng file. Raises OSError, BundleError."""
    interfaces = [pcapng.Interface(port["name"], pcapng.LINKTYPE_ETHERNET, f"port {number} of group {bundle.group}")
                  for number, port in enumerate(bundle.ports)]
    with open(path, "wb") as file:
        file.writelines(pcapng.encode(interfaces, outputs))


def debug_at(replay, place):
    """Have the debugger stop at the beginning of the function's method in step *place* = (worker, k)."""
    def run_step(method, *arguments):
        if (replay.current.worker, replay.current.k) != place:
            return method(*arguments)
        debugger = _Debugger(nosigint=True)
        debugger.runcall(method, *arguments)
        if debugger.left:
            raise Left()
        return None
    replay.run_step = run_step


def debug_error(step):
    """The debugger where *step* raised."""
    print(step.traceback, file=sys.stderr)
    debugger = pdb.Pdb(nosigint=True)
    debugger.reset()
    debugger.interaction(None, step.error.__traceback__)
