"""One campaign: up, traffic, then kill after kill with the group protected and healed in between, rest, down, checks."""

import contextlib
import math
import os
import tempfile
import time

from ..errors import UsageError
from ..running import undisturbed
from . import accounts, checkers, configuration, kills, queues, report
from .traffic_set import TrafficSet

#: a group that is not well again by then never will be
PATIENCE_S = 20
_POLL_S = 0.03
#: the network is at rest when nothing has arrived for so long
_REST_S = 0.5
_REST_MAX_S = 15
_SAMPLES, _SAMPLE_S = 30, 0.05


class NotInTime(Exception):
    """The group did not come to the state that was waited for."""


class Campaign:
    """``run`` cleans up however it ends; *keep*: a directory for the logs if something was violated, or None."""

    def __init__(self, wanted, emulator, progress, keep=None):
        self._wanted, self._emulator, self._progress, self._keep = wanted, emulator, progress, keep
        self._outcome = report.Outcome()
        self._configuration = configuration.text(wanted.function, wanted.workers, wanted.spare)
        self._ground = kills.Ground(emulator, configuration.GROUP, self._until)
        self._book = accounts.Book()
        self._flows_since_ns = 0
        self._logger_deaths = []        # (when one died, when another had its role) in ns
        self._output_logger_since_ns = 0
        self._in_vain = queues.InVain(queues.interfaces(self._configuration))

    def run(self):
        """The Outcome. Raises UsageError (nothing came up), ProgramError, KeyboardInterrupt."""
        with contextlib.ExitStack() as stack:
            self._up()
            stack.callback(self._take_down)
            self._traffic = TrafficSet(self._emulator)
            stack.callback(self._stop_traffic)
            self._traffic.start()
            try:
                self._begin()
                self._strike_all()
                self._rest()
            except NotInTime as error:
                self._violation(f"before any kill: {error}")
            except UsageError as error:     # the network was up, so this is no matter of usage any more
                self._violation(f"the campaign could not go on: {error}")
            if self._outcome.violations and self._keep:
                self._emulator.save_logs(self._keep)
        return self._outcome

    def _up(self):
        wanted = self._wanted
        faults = None if wanted.faults is None else {**wanted.faults, "seed": wanted.seed & 0xFFFFFFFF}
        with tempfile.TemporaryDirectory(prefix="ftmb-chaos-") as directory:
            path = os.path.join(directory, f"{wanted.function}.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(self._configuration)
            self._emulator.up(path, recovery=wanted.recovery, progress=self._progress.live, faults=faults)

    def _take_down(self):
        with undisturbed():
            self._emulator.down()

    def _stop_traffic(self):
        with undisturbed():
            self._traffic.stop()

    def _begin(self):
        began_ns = time.monotonic_ns()
        self._until(lambda group: self._traffic.flows_everywhere() and self._traffic.goes_on_after(began_ns), "passing traffic")
        self._flows_since_ns = time.monotonic_ns()

    # -- kills

    def _strike_all(self):
        wanted = self._wanted
        for number, strike in enumerate(kills.draw(wanted.seed, wanted.kills, wanted.kinds), 1):
            self._progress.live(f"kill {number} of {wanted.kills}: {strike.kind}")
            blow = report.Blow(strike.kind, strike.how, [])
            self._outcome.blows.append(blow)
            self._ground.wait_ms(strike.pause_ms)
            try:
                self._strike(strike, blow)
            except (NotInTime, kills.MoveFailed) as error:
                self._violation(f"kill {number}, {strike.kind} ({strike.how}) of {', '.join(blow.nodes)}: {error}")
                self._progress.line(report.line(number, wanted, blow))
                return
            self._progress.line(report.line(number, wanted, blow))

    def _strike(self, strike, blow):
        kind, ground = kills.KINDS[strike.kind], self._ground
        ground.killed = []
        before = self._group()
        began_ns = time.monotonic_ns()
        try:
            kind.strike(ground, strike)
        finally:
            blow.nodes = list(ground.killed)
            hits_logger = bool({before["input_logger"], before["output_logger"]} & set(blow.nodes))
            if hits_logger:     # until another one has its role
                self._logger_deaths.append((began_ns, math.inf))
        if kind.nodes == 1:
            self._until(lambda group: group["state"] == "protected", "protected")
        else:
            # as well as it can be with so few nodes left
            self._until(lambda group: group["state"] in ("protected", "unprotected") and self._alive(group["master"]),
                        "served by a living master")
        recovered_ns = time.monotonic_ns()
        blow.recovered_ms = round((recovered_ns - began_ns) / 1e6, 1)
        if hits_logger:
            self._logger_deaths[-1] = (began_ns, recovered_ns)
        overruns = queues.overruns()
        self._emulator.heal()
        after = self._until(lambda group: group["state"] == "protected" and all(map(self._alive, self._nodes())),
                            "protected with every node healed")
        well_ns = time.monotonic_ns()
        self._until(lambda group: self._traffic.goes_on_after(well_ns), "passing traffic")
        blow.gap_ms = round(self._traffic.gap_ms(began_ns, time.monotonic_ns()), 3)
        self._in_vain.note(blow.nodes, overruns, queues.overruns())
        if after["output_logger"] != before["output_logger"]:
            self._output_logger_since_ns = well_ns

    def _nodes(self):
        return [host["name"] for host in self._status["hosts"] if host["role"] != "host"]

    def _alive(self, node):
        return any(host["name"] == node and host["alive"] for host in self._status["hosts"])

    def _group(self):
        self._status = self._emulator.status()
        group = next(group for group in self._status["groups"] if group["name"] == configuration.GROUP)
        self._book.note(self._status, group)
        return group

    def _until(self, holds, what):
        """The group once *holds* of it. Raises NotInTime. Status is asked, it does not come by itself."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            group = self._group()
            if group["state"] == "lost":
                raise NotInTime("the controller says that its state is lost")
            if holds(group):
                return group
            if time.monotonic() >= deadline:
                raise NotInTime(f"not {what} after {PATIENCE_S} s: {group['state']}, master {group['master']}, "
                                f"spares {', '.join(group['spares']) or 'none'}")
            time.sleep(_POLL_S)

    # -- the end

    def _rest(self):
        """End traffic, wait until nothing moves, and check everything."""
        self._progress.live("ending traffic")
        self._traffic.stop_sending()
        self._wait_rest()
        samples, overruns = self._samples(), queues.overruns()
        sent, arrivals, counts = self._traffic.finish()
        self._progress.live("checking")
        outcome, wanted = self._outcome, self._wanted
        outcome.counts, outcome.failovers, outcome.overruns = counts, self._book.failovers(), overruns
        outcome.released = self._book.total("output-logger", "released")
        for text in [*report.traffic_problems(counts), *checkers.check(wanted.function, arrivals)]:
            self._violation(text)
        for text in self._accounts(samples, sent, arrivals, overruns):
            self._violation(text)
        if samples:
            outcome.counters, outcome.inputs_lost = samples[-1], accounts.missing(samples)
        outcome.inputs_on_the_way, _ = self._book.on_the_way(wanted.workers)

    def _accounts(self, samples, sent, arrivals, overruns):
        """What is missing, and not for a reason that is allowed."""
        since_ns, found, overruns = self._output_logger_since_ns, [], self._in_vain.without(overruns)
        # until a router knows its neighbours, it keeps no more than a few packets for each
        sent = [each for each in sent if each.sent_ns > self._flows_since_ns]
        at_deaths, elsewhere = checkers.lost(sent, arrivals, self._logger_deaths)
        self._outcome.lost_at_loggers, self._outcome.lost_elsewhere = len(at_deaths), len(elsewhere)
        if self._wanted.faults is None:     # else the network loses what it likes
            inner = queues.data_interfaces(self._configuration)
            found = checkers.losses_explained(elsewhere, queues.frames_at_most(overruns, inner))
        received = sum(arrival.received_ns > since_ns for arrival in arrivals) + self._traffic.probes_after(since_ns)
        highest = max((arrival.stamp for arrival in arrivals), default=0)
        inputs = queues.input_interfaces(self._configuration, configuration.GROUP)
        overrun = queues.frames_at_most({name: overruns.get(name, 0) for name in inputs}, inputs)
        return found + accounts.check(samples, self._book, self._wanted.workers, received, highest, overrun)

    def _wait_rest(self):
        deadline = time.monotonic() + _REST_MAX_S
        before = None
        while time.monotonic() < deadline:
            received = self._traffic.received()
            if received == before:
                return
            before = received
            time.sleep(_REST_S)     # nothing tells that nothing comes any more
        self._violation(f"datagrams still arrive {_REST_MAX_S} s after the last was sent")

    def _samples(self):
        samples = []
        for _ in range(_SAMPLES):
            group = self._group()
            found = accounts.sample(self._status, group)
            if found is not None:
                samples.append(found)
            time.sleep(_SAMPLE_S)   # a beat comes each 50 ms
        return samples

    def _violation(self, text):
        self._outcome.violations.append(text)
        self._progress.line(self._progress.colour(f"VIOLATION: {text}", "bad"))
