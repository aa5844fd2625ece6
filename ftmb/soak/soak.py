"""One soak: up, load, the store stopped and back, rest, down, checks."""

import contextlib
import os
import tempfile
import time

from .. import config, plan
from ..chaos import queues
from ..errors import UsageError
from ..running import undisturbed
from . import accounts, bounds, configuration, report
from .network import Network
from .traffic_set import TrafficSet

_SAMPLE_S = 1.0
#: samples at rest, for what only adds up between two beats (one each 50 ms)
_RESTS, _REST_S = 30, 0.037
#: the network is at rest when no answer has come for so long
_QUIET_S, _QUIET_MAX_S = 0.5, 15
_REPORT_MAX_S = 10


class NotGoingOn(Exception):
    """The group is not what it was at the beginning."""


class Soak:
    """``run`` cleans up however it ends; *keep*: a directory for the logs if something was violated, or None."""

    def __init__(self, wanted, emulator, progress, keep=None):
        self._wanted, self._emulator, self._progress, self._keep = wanted, emulator, progress, keep
        self._text = configuration.text(wanted.workers, wanted.store_stopped_s)
        self._outcome = report.Outcome()
        self._outcome.bounds = {".".join(key): limit for key, limit
                                in bounds.limits(configuration.LOG_BYTES_MAX, wanted.workers).items()}

    def run(self):
        """The Outcome. Raises UsageError (nothing came up), ProgramError, KeyboardInterrupt."""
        with contextlib.ExitStack() as stack:
            self._up()
            stack.callback(self._undisturbed, self._emulator.down)
            self._traffic = TrafficSet(self._emulator, self._wanted.seed)
            stack.callback(self._undisturbed, self._traffic.stop)
            self._network = Network(self._emulator, self._text, configuration.GROUP)
            try:
                self._soak()
                self._outcome.ended = True
            except NotGoingOn as error:
                self._violation(str(error))
            except UsageError as error:     # the network was up, so this is no matter of usage any more
                self._violation(f"the soak could not go on: {error}")
            if self._outcome.violations and self._keep:
                self._emulator.save_logs(self._keep)
        return self._outcome

    def _up(self):
        with tempfile.TemporaryDirectory(prefix="ftmb-soak-") as directory:
            path = os.path.join(directory, "soak.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(self._text)
            self._emulator.up(path, progress=self._progress.live)

    @staticmethod
    def _undisturbed(function):
        with undisturbed():
            function()

    def _soak(self):
        wanted, outcome = self._wanted, self._outcome
        self._holders = self._holders_now()
        self._sample("idle")
        at_first = self._rest_samples()
        self._traffic.start()
        side_s = (wanted.seconds - wanted.store_stopped_s) / 2
        self._load("before", side_s)
        self._emulator.kill(configuration.GROUP, "store", "hang")
        self._load("stopped", wanted.store_stopped_s)
        self._emulator.heal(self._holders["store"])
        answered = self._traffic.answered()
        self._load("after", side_s)
        if self._traffic.answered() <= answered:
            self._violation("no answer came any more after the store was back")
        self._progress.live("ending traffic")
        outcome.download = self._traffic.stop_sending()
        self._wait_quiet()
        at_last = self._rest_samples()
        outcome.traffic = self._traffic.finish()
        outcome.edge_overruns = self._edge_overruns()
        outcome.accounts, unexplained = accounts.check(at_first, at_last, wanted.workers)
        problems = report.traffic_problems(outcome.traffic, outcome.download)
        for text in [*unexplained, *problems, *bounds.check(outcome.samples, configuration.LOG_BYTES_MAX, wanted.workers)]:
            self._violation(text)

    def _load(self, phase, seconds):
        """Sample each second for *seconds*."""
        self._progress.phase(f"{phase.replace('stopped', 'store stopped')}: {seconds:.0f} s")
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            time.sleep(min(_SAMPLE_S, left_s))      # the load is what is waited for: nothing tells its end
            self._sample(phase)

    # -- what the group says

    def _holders_now(self):
        self._status = self._emulator.status()
        group = next(group for group in self._status["groups"] if group["name"] == configuration.GROUP)
        return {role: group[role] for role in report.ROLES}

    def _counters(self):
        """{role: counters}; a role that has not reported yet is waited for. Raises NotGoingOn."""
        deadline = time.monotonic() + _REPORT_MAX_S
        while True:
            holders = self._holders_now()
            if holders != self._holders:
                raise NotGoingOn(f"roles moved, though nobody died: {holders} after {self._holders}")
            found = {host_role: role["counters"] for host in self._status["hosts"] for role in host.get("beat", ())
                     for host_role in [role["role"].replace("-", "_")]
                     if role["group"] == configuration.GROUP and holders.get(host_role) == host["name"]}
            if len(found) == len(report.ROLES):
                return found
            if time.monotonic() > deadline:
                raise NotGoingOn("not every role reports its counters")
            time.sleep(_REST_S)     # a beat comes each 50 ms

    def _sample(self, phase):
        resident = self._emulator.memory()
        self._outcome.samples.append((phase, self._counters(), {role: resident[node] for role, node in self._holders.items()}))

    def _rest_samples(self):
        hops = {hop: self._holders[hop] for hop in accounts.HOPS}
        found = []
        for _ in range(_RESTS):
            found.append({"network": self._network.sample(hops), **self._counters()})
            time.sleep(_REST_S)
        return found

    def _wait_quiet(self):
        deadline, before = time.monotonic() + _QUIET_MAX_S, None
        while (answered := self._traffic.answered()) != before:
            if time.monotonic() > deadline:
                self._violation(f"answers still come {_QUIET_MAX_S} s after the last datagram was sent")
                return
            before = answered
            time.sleep(_QUIET_S)    # nothing tells that nothing comes any more

    def _edge_overruns(self):
        nodes = plan.make(config.read(self._text, "the soak's configuration"), "/").nodes.values()
        inner = {end for links in nodes for end in links.at_switch.values()}
        return sum(count for end, count in queues.overruns().items() if end not in inner)

    def _violation(self, text):
        self._outcome.violations.append(text)
        self._progress.line(self._progress.colour(f"VIOLATION: {text}", "bad"))
