"""``ftmb demo``: real traffic through a protected NAT, its master is killed again and again, everything is checked.

Up, traffic, then for each kill: wait a seeded moment, kill the master, wait until the group is protected again and
all traffic has answered, bring the dead node back as a spare. At the end traffic closes in order, the network goes
down, and report.py says what held. Exit code 0: it held; 1: it ran and did not hold (with ``--no-recovery``
that is what is expected); 130: interrupted.
"""

import contextlib
import dataclasses
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

import yaml

from ..config import CONFIGURATIONS, SPARES
from ..errors import UsageError
from ..running import between, check_writable, undisturbed, write_json
from . import report, timeline
from .progress import Progress
from .programs import ProgramError
from .traffic_set import TrafficSet

CONFIGURATION = "single"
CLIENT_HOST, SERVER_HOST = "client1", "server1"
HOWS = ("process", "host", "hang", "link")
KILLS_MAX, FLOWS_MAX, NEW_PER_S_MAX = 1000, 1000, 1000

INTERRUPTED = 130

#: A kill comes so long after all was well, drawn from the seed.
_PAUSE_S = (0.4, 1.4)
_POLL_S = 0.1
#: Without recovery there is nothing to wait for: the answers either come soon or never.
_PATIENCE_MS, _PATIENCE_BROKEN_MS = 10_000, 3_000
#: Up to this many kills each gets its drawing; of more, the median and the longest.
_DRAWN_MAX = 5


class DemoError(Exception):
    """The demo could not go on: it ran and did not hold."""


def add_arguments(parser):
    """Declare the options of ``ftmb demo``."""
    parser.add_argument("--kills", type=between(1, KILLS_MAX), default=3, metavar="N", help="kills of the master (default 3)")
    parser.add_argument("--how", choices=HOWS, default="process",
                        help="process: SIGKILL; host: processes and links; hang: SIGSTOP; link: data link (default process)")
    parser.add_argument("--spare", choices=SPARES, default="warm", help="how ready the spare is (default warm)")
    parser.add_argument("--no-recovery", action="store_true",
                        help="the contrast: a fresh master with empty state takes over; exit code 1 as connections break")
    parser.add_argument("--seed", type=between(0, 2 ** 63), help="decides when kills come (default: drawn, and printed)")
    parser.add_argument("--connections", type=between(1, FLOWS_MAX), default=120, metavar="N",
                        help="TCP connections that live throughout (default 120)")
    parser.add_argument("--flows", type=between(1, FLOWS_MAX), default=120, metavar="N",
                        help="UDP flows that live throughout (default 120)")
    parser.add_argument("--new-connections-per-s", type=between(1, NEW_PER_S_MAX), default=200, metavar="N",
                        help="new TCP connections each second (default 200)")
    parser.add_argument("--json", metavar="FILE", help="write the result to FILE")


def main(args, emulator=None, stream=None):
    """Run the demo as *args* say; return the exit code. Raises UsageError (exit code 2, nothing has been started)."""
    if emulator is None:
        from ..emulator import client as emulator
    progress = Progress(stream or sys.stdout)
    check_writable(args.json)
    seed = args.seed if args.seed is not None else secrets.randbits(31)
    wanted = report.Wanted(args.kills, args.connections, args.flows, args.new_connections_per_s,
                           not args.no_recovery, seed, args.how, args.spare)
    try:
        kills, totals = Demo(wanted, emulator, progress).run()
    except KeyboardInterrupt:
        progress.line("interrupted: traffic is ended and the network is down")
        return INTERRUPTED
    except (DemoError, ProgramError) as error:
        progress.line(progress.colour(f"the demo could not go on: {error}", "bad"))
        return 1
    _tell(progress, wanted, kills, totals)
    if args.json:
        write_json(args.json, report.to_json(wanted, kills, totals))
    return 0 if report.held(wanted, kills, totals) else 1


def _tell(progress, wanted, kills, totals):
    marks = {True: progress.colour("held  ", "good"), False: progress.colour("BROKEN", "bad"), None: "      "}
    progress.line()
    for text, ok in report.summary(wanted, kills, totals):
        progress.line(f"  {marks[ok]}  {text}")
    progress.line()
    ok = report.held(wanted, kills, totals)
    progress.line(progress.colour(report.verdict(wanted, kills, totals), "good" if ok else "bad"))
    if wanted.recovery and not ok:
        progress.line(f"the same kills again: --seed {wanted.seed} --kills {wanted.kills}")


def _master_failovers(group):
    return [failover for failover in group["failovers"] if failover["role"] == "master"]


@contextlib.contextmanager
def _configuration(spare):
    """The named configuration, or for as long as the block lasts a file that differs from it by its *spare*."""
    if spare == "warm":
        yield CONFIGURATION
        return
    document = yaml.safe_load((CONFIGURATIONS / f"{CONFIGURATION}.yaml").read_text(encoding="utf-8"))
    for group in document["groups"].values():
        group["spare"] = spare
    with tempfile.TemporaryDirectory(prefix="ftmb-demo-") as directory:
        path = Path(directory) / f"{CONFIGURATION}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        yield str(path)


class Demo:
    """One run, from up to down; ``run`` cleans up however it ends."""

    def __init__(self, wanted, emulator, progress):
        self._wanted, self._emulator, self._progress = wanted, emulator, progress
        self._random = random.Random(wanted.seed)
        self._patience_ms = _PATIENCE_MS if wanted.recovery else _PATIENCE_BROKEN_MS
        self._kills = []
        self._quiet = []            # (start_ns, end_ns) without a kill at work
        self._quiet_since_ns = None

    def run(self):
        """(kills, totals) as report.py takes them. Raises DemoError, ProgramError, KeyboardInterrupt, UsageError."""
        progress, wanted = self._progress, self._wanted
        progress.phase("bringing up a network with one NAT" if wanted.recovery else
                       "bringing up a network with one NAT, its recovery switched off")
        with contextlib.ExitStack() as stack:
            # interrupted or refused, `up` removes what it made; anything else that is up is not ours to take down
            self._emulator.up(stack.enter_context(_configuration(wanted.spare)), recovery=wanted.recovery, progress=progress.live)
            stack.callback(self._take_down)
            try:
                totals = self._with_traffic(stack)
            except UsageError as error:         # the network was up, so this is no matter of usage any more
                raise DemoError(error) from error
            progress.phase("taking the network down")
        return self._kills, totals

    def _with_traffic(self, stack):
        progress, wanted = self._progress, self._wanted
        self._traffic = TrafficSet(self._emulator.popen, CLIENT_HOST, SERVER_HOST,
                                   self._emulator.host_address(SERVER_HOST))
        stack.callback(self._stop_traffic)
        progress.phase("starting traffic")
        self._traffic.start(wanted)
        self._quiet_since_ns = time.monotonic_ns()
        progress.line(f"traffic flows through the NAT: {wanted.connections} TCP connections, {wanted.flows} UDP flows, "
                      f"{wanted.new_per_s} new connections a second, a curl download, a 1 kHz probe (seed {wanted.seed})")
        self._kill_all()
        progress.phase("ending traffic in order")
        totals = self._finish()
        self._draw()
        return totals

    def _stop_traffic(self):
        with undisturbed():
            self._traffic.stop()

    def _take_down(self):
        with undisturbed():
            self._emulator.down()

    def _kill_all(self):
        wanted = self._wanted
        for number in range(1, wanted.kills + 1):
            self._progress.live(f"kill {number} of {wanted.kills} is to come")
            time.sleep(self._random.uniform(*_PAUSE_S))     # this is the random moment, not a wait for something
            kill = self._kill_one()
            problems = report.kill_problems(wanted, kill, self._kills[-1] if self._kills else None)
            self._kills.append(kill)
            if wanted.kills > _DRAWN_MAX:
                self._progress.line(timeline.brief(number, kill, wanted.kills, problems))
            else:
                self._draw_one(number, kill, problems)
            if not kill.protected:
                self._progress.line("the group did not come back to protected: no further kills")
                return

    def _kill_one(self):
        before = self._group()
        node = before["master"]
        self._progress.live(f"killing {node}")
        told = self._emulator.kill(before["name"], "master", how=self._wanted.how)
        at_ns = told["at_ns"]
        self._quiet.append((self._quiet_since_ns, at_ns))
        had = len(_master_failovers(before))
        _, protected = self._wait(lambda group: group["state"] == "protected" and len(_master_failovers(group)) > had)
        client, server = self._traffic.confirm(self._patience_ms)
        end_ns = time.monotonic_ns()
        # only now: the record grows until the new master's first packet is out
        failover = next(iter(_master_failovers(self._group())[had:]), None)
        from_ns, to_ns, lost, after = self._traffic.gap(at_ns, end_ns)
        kill = report.Kill(node=node, at_ns=at_ns, protected=protected, failover=failover, client=client, server=server,
                           download_bytes=self._traffic.download_bytes, gap_ms=(to_ns - from_ns) / 1e6, gap_end_ns=to_ns,
                           probes_lost=lost, probes_after=after, caught=self._traffic.caught(at_ns, to_ns))
        if protected:
            self._heal(node)
        self._quiet_since_ns = time.monotonic_ns()
        return kill

    def _heal(self, node):
        """Bring the dead node back, so that the pool is full again for the next kill."""
        self._progress.live(f"{node} comes back as a spare")
        self._emulator.heal(node)
        _, healed = self._wait(lambda group: group["state"] == "protected" and self._alive(node)
                               and group["readiness"] == self._wanted.spare)
        if not healed:
            raise DemoError(f"{node} did not come back after heal, or no spare is {self._wanted.spare}")

    def _alive(self, node):
        return any(host["name"] == node and host["alive"] for host in self._status["hosts"])

    def _group(self):
        self._status = self._emulator.status()
        return self._status["groups"][0]

    def _wait(self, holds):
        """(group, True) once *holds* of the group, or (group, False) when patience ends. Status is asked, not pushed."""
        deadline = time.monotonic() + self._patience_ms / 1e3
        while True:
            group = self._group()
            if holds(group):
                return group, True
            if time.monotonic() >= deadline:
                return group, False
            time.sleep(_POLL_S)

    def _finish(self):
        self._quiet.append((self._quiet_since_ns, time.monotonic_ns()))
        quiet_ms = self._traffic.quiet_ms(self._quiet)
        totals = report.Totals(**self._traffic.finish(self._patience_ms))
        return dataclasses.replace(totals, probe={**totals.probe, "quiet_ms": quiet_ms})

    def _draw(self):
        """Of many kills, draw the one in the middle and the one with the longest gap."""
        if len(self._kills) <= _DRAWN_MAX or self._wanted.kills <= _DRAWN_MAX:
            return
        by_gap = sorted(range(len(self._kills)), key=lambda index: self._kills[index].gap_ms)
        for what, index in (("median", by_gap[len(by_gap) // 2]), ("longest", by_gap[-1])):
            self._progress.line(f"\nthe kill with the {what} gap:")
            self._draw_one(index + 1, self._kills[index], [])

    def _draw_one(self, number, kill, problems):
        self._progress.line()
        for line in timeline.lines(number, kill, self._wanted.how):
            self._progress.line(line)
        for problem in problems:
            self._progress.line(self._progress.colour(f"  NOT survived: {problem}", "bad"))
