"""One network with its traffic, and kills of the master in it, each once all is as it was before the last."""

import contextlib
import os
import tempfile
import time

from ...demo.gaps import longest_silence, lost_between
from ...demo.programs import Compiled, ProgramError
from ...demo.traffic.probe import read_record
from ...running import undisturbed
from . import configuration, readiness

#: flows are opened at this rate, or at the load's where that is higher
OPENING_PPS = 20_000
_START_S, _ANSWER_S = 15, 10
#: after this the probe will not come any more, or the network will not be whole again
_PATIENCE_S = 30
_POLL_S = 0.05
#: a hot spare may be behind by what the load sends in so long: a beat is as old as that when it is read
_BEHIND_S = 0.05
#: a kill comes so long after all was well, drawn: it may meet any moment between two checkpoints
_PAUSE_S = (0.1, 0.6)


class NotSurvived(Exception):
    """A kill after which something did not come back, and why: the network is of no use any more."""


class Bed:
    """The network of *groups* NATs, up in the block; ``start`` sends traffic through each. *program*: load.c compiled.

    Raises UsageError: it does not come up.
    """

    def __init__(self, emulator, program, setting, random, progress, groups=1):
        self._emulator, self._program, self._setting = emulator, program, setting
        self._random, self._progress, self._groups = random, progress, groups
        self._stack = contextlib.ExitStack()
        self._senders, self._receivers = [], []
        self._lost = self._changed = 0

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ftmb-gap-"))
            self._up()
            stack.callback(_quietly, self._emulator.down)
            stack.callback(_quietly, self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def _up(self):
        setting, path = self._setting, os.path.join(self._directory, "gap.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(configuration.text(setting.readiness, setting.flows, setting.checkpoint_interval_ms, self._groups))
        self._emulator.up(path, progress=self._progress.live)

    def start(self):
        """Open all flows; returns when the whole load flows. The rate is that of all groups together. Raises ProgramError."""
        setting, numbers = self._setting, range(1, self._groups + 1)
        rate, opening = (max(1, pps // self._groups) for pps in (setting.rate_pps, max(OPENING_PPS, setting.rate_pps)))
        for number in numbers:
            names = configuration.group(number)
            record = os.path.join(self._directory, f"record{number}")
            self._receivers.append(self._run(names["server"], "receive", names["to"], setting.flows, record))
            self._receivers[-1].wait_for("ready", _START_S)
        for number in numbers:
            names = configuration.group(number)
            self._senders.append(self._run(names["client"], "send", f"ft{names['client']}-d", names["gateway_mac"], names["to"],
                                           names["from"], setting.flows, opening, rate))
        for sender, receiver in zip(self._senders, self._receivers):
            sender.wait_for("ready", _START_S + setting.flows / opening)
            # what piled up while flows were opened is no part of what comes
            receiver.ask(f"passed {time.monotonic_ns()}", "passed", _ANSWER_S)

    def _run(self, host, *arguments):
        return Compiled(self._emulator.popen, host, self._program, *arguments)

    def _stop(self):
        for program in (*self._senders, *self._receivers):
            program.stop()

    # -- what is seen of all groups

    def received(self):
        """How many datagrams of the load have arrived so far."""
        return sum(receiver.ask("report", "report", _ANSWER_S)["received"] for receiver in self._receivers)

    # -- kills, in the first group

    def wait_ready(self):
        """Wait until the network is whole and its spare as ready as it will be. Raises NotSurvived."""
        name, kind, number = configuration.group(1)["name"], self._setting.readiness, None
        deadline, behind_max = time.monotonic() + _PATIENCE_S, _BEHIND_S * self._setting.rate_pps
        while True:
            status = self._emulator.status()
            if readiness.is_whole(status, name):
                # what is durable now, the spare must have; what comes later may be on its way for ever
                number = number or readiness.checkpoint(status, name)
                if number and readiness.is_ready(status, name, kind, number, behind_max):
                    return
            if time.monotonic() > deadline:
                raise NotSurvived(f"the network was not whole again within {_PATIENCE_S} s: the group is"
                                  f" {readiness.group_of(status, name)['state']}")
            time.sleep(_POLL_S)         # the controller answers, it does not tell by itself

    def kill(self, how):
        """Kill the master and see what a client felt: a dict of numbers. Mends it. Raises NotSurvived, ProgramError."""
        name, receiver = configuration.group(1)["name"], self._receivers[0]
        self.wait_ready()
        self._losses(receiver)
        quiet_ns = time.monotonic_ns()
        time.sleep(self._random.uniform(*_PAUSE_S))     # the random moment itself, not a wait for something
        told = self._emulator.kill(name, "master", how)
        # nothing is asked of the controller meanwhile: answering would be part of the gap
        try:
            end_ns = receiver.ask(f"passed {told['dead_ns']}", "passed", _PATIENCE_S)["arrived_ns"]
        except ProgramError as error:
            raise NotSurvived(f"no probe passed any more: {error}") from error
        failover = self._failover(name, told["at_ns"])
        self._emulator.heal(told["node"])
        self.wait_ready()
        whole_ns = time.monotonic_ns()
        receiver.ask("flush", "flushed", _ANSWER_S)
        numbers, received_ns = read_record(os.path.join(self._directory, "record1"))
        from_ns, to_ns = longest_silence(received_ns, told["at_ns"], end_ns)
        before_ns = longest_silence(received_ns, quiet_ns, told["at_ns"])
        later_ns = longest_silence(received_ns, end_ns, whole_ns)
        parts = {part: failover[part] for part in ("detect_ms", "fence_ms", "redirect_ms", "load_ms", "replay_ms", "total_ms",
                                                   "replayed_packets", "cold", "cause")}
        return {"node": told["node"], "gap_ms": round((to_ns - from_ns) / 1e6, 3), "quiet_ms": round((before_ns[1] - before_ns[0]) / 1e6, 3),
                "later_ms": round((later_ns[1] - later_ns[0]) / 1e6, 3),
                "probes_lost": lost_between(numbers, received_ns, told["at_ns"], time.monotonic_ns()),
                **self._losses(receiver), **parts}

    def _failover(self, name, since_ns):
        """The record of the failover that began after *since_ns* and is over by now, or soon will be. Raises NotSurvived."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            found = readiness.masters_failover(readiness.group_of(self._emulator.status(), name), since_ns)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise NotSurvived("no failover is on record")
            time.sleep(_POLL_S)

    def _losses(self, receiver):
        """Datagrams of the load that were lost, and mappings that changed, since it was asked last."""
        told = receiver.ask("report", "report", _ANSWER_S)
        since = {"load_lost": told["lost"] - self._lost, "mappings_changed": told["mappings_changed"] - self._changed}
        self._lost, self._changed = told["lost"], told["mappings_changed"]
        return since


def _quietly(function):
    with undisturbed():
        function()
