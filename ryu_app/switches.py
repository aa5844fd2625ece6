"""All switches: what each should hold, what it is known to hold, and when all are in line. Pure.

A switch that connects is asked for its entries and brought in line; from then on only differences are
sent. Every ``audit`` asks again what it really holds of ours, and the first and every FULL_AUDIT-th after it what others have put in
our way. Commands come back as data, in order.

Paths move without loops, gaps and strays: a hop is changed once all hops behind it, on other switches, have
confirmed theirs (so a frame that meets a new hop finds new hops up to its destination; where a path ends at a group
entry, those behind that one are meant, too). An entry for what comes from another switch is deleted last, once no
switch may hold an entry that still leads to it: not even one that is away and not waited for, for its links may return
before it does.

What a failure would ask for is worked out before it happens (``foresee``): in a failover nobody waits for that.
"""

import copy
from dataclasses import dataclass
from typing import List, Tuple, Union

from .deployment import Place
from .paths import cut_off
from .reconcile import DELETE, Change, Conflict, applied, concerns_us, conflict, difference, ours_among
from .steering import Flow, Group, Kept, Steering, kept, wanted

ENTRIES_MAX = 65536         # a switch that tells of more is not believed
REFUSALS_MAX = 3            # what failed this often at once hardly works at the next attempt
TOLD_MAX = 3                # rules in our way that are told one by one at a time
FULL_AUDIT = 6              # to read everybody's flows takes time in which nothing else is done
_NOTHING = (frozenset(), frozenset())


@dataclass(frozen=True)
class AskEntries:
    """Ask for group descriptions and flows (ours only, or all of our table)."""
    switch: str
    all_flows: bool


@dataclass(frozen=True)
class Send:
    """Send these changes, in this order."""
    switch: str
    changes: Tuple[Change, ...]


@dataclass(frozen=True)
class Barrier:
    """Send a barrier request; its reply is ``barrier_reply(switch, number)``."""
    switch: str
    number: int


@dataclass(frozen=True)
class Done:
    """Every switch holds what was wanted when the token was given, or something newer.

    What goes last may still be there, unless all was withdrawn.
    """
    token: int


class _Switch:
    """One switch. ``known`` is (flows, groups) of ours that it holds, None before it told."""

    def __init__(self, name, former=None):
        self.name = name
        self.connected = False
        self.known = None
        # what it certainly holds; in doubt, it may hold more: it never told, or was lost with changes under way
        self.settled = former.settled if former else _NOTHING
        self.in_doubt = former is None or former.in_doubt or former.barrier is not None
        self.barrier = None         # the number of the newest that it has not answered
        self.behind = True          # something is still to be sent, or not known
        self.refusals = 0           # in a row
        self.asked = None           # what has come of an answer: {"flows": ..., "groups": ...}
        self.asked_all = False      # the question is about everybody's flows, not ours alone
        self.stale = False          # changes were sent since it was asked
        self.robbed = False         # somebody removed an entry of ours since it was asked
        self.foreign = _NOTHING     # others' flows and groups that stand in our place
        self.compared = (None, None)        # the last sets that were compared, and their Difference


@dataclass(frozen=True)
class _Foreseen:
    """What ``steer(steering)`` gives and leaves behind, as long as all is as it was in *since*."""
    steering: Steering
    since: tuple
    commands: List[object]
    then: "Switches"


class Switches:
    """Reconcilers of all switches of *deployment*.

    A token waits for every switch, also for one that is not connected, for that one forwards by its old entries: it's
    done once the switch is back and in line. Two are not waited for: one that was lost when it was in line already, and
    one that is lost and has no link left to the others.
    """

    def __init__(self, deployment):
        self._deployment = deployment
        self._switches = {name: _Switch(name) for name in sorted(deployment.switches)}
        self._trunks = frozenset(end for link in deployment.links for end in link)
        self._wanted = None         # {switch: (flows, groups)} once steering is known
        self._kept = Kept()
        self._cut_off = frozenset()
        self._withdrawn = False     # nothing is wanted any more: no entry goes last
        self._tokens = {}           # token -> names of switches that are not in line yet
        self._memory = {}           # of ``wanted``
        self._barriers = 0
        self._audits = 0
        self._foreseen = {}         # about whom -> _Foreseen

    def foresee(self, about, steering):
        """Work out what ``steer(steering)`` would do now: what it would send first. The next one *about* the same takes its place; None: none.

        Only where all is calm: no token waits, no answer is awaited.
        """
        foreseen = self._foreseen.pop(about, None)
        since = self._since()
        if steering is None or since is None:
            return []
        if foreseen is None or (foreseen.steering, foreseen.since) != (steering, since):
            then = copy.copy(self)
            then._switches = {name: copy.copy(switch) for name, switch in self._switches.items()}
            then._memory, then._tokens, then._foreseen = dict(self._memory), {}, {}
            foreseen = _Foreseen(steering, since, then.steer(steering), then)
        self._foreseen[about] = foreseen
        return foreseen.commands

    def _since(self):
        """All that ``steer`` depends on beside its arguments; None if too much is under way."""
        switches = self._switches.values()
        if self._wanted is None or self._tokens or any(switch.asked is not None for switch in switches):
            return None
        return (self._wanted, self._kept, self._cut_off, self._withdrawn, self._barriers,
                [(switch.connected, switch.known, switch.settled, switch.in_doubt, switch.barrier, switch.foreign) for switch in switches])

    def steer(self, steering, token=None):
        """Make the switches hold what *steering* asks for; ``Done(token)`` comes once all have confirmed."""
        for foreseen in self._foreseen.values():
            # whom it fences differs first, and takes least to compare
            if (foreseen.steering.fenced, foreseen.steering) == (steering.fenced, steering) and foreseen.since == self._since():
                vars(self).update(vars(foreseen.then), _audits=self._audits)
                self._tokens = {} if token is None else {token: set(self._switches)}
                return foreseen.commands + self._finish()
        return self.want(*wanted(self._deployment, steering, self._memory), token, kept(self._deployment, steering),
                         cut_off(self._deployment, steering.down))

    def want(self, flows, groups, token=None, kept_entries=Kept(), alone=frozenset()):
        """Make the switches hold this beside what is kept; ``Done(token)`` as above. *alone*: switches without a link."""
        parts = {name: (set(), set()) for name in self._switches}
        for entry in (*flows, *groups):
            parts[entry.switch][isinstance(entry, Group)].add(entry)
        self._wanted = {name: (frozenset(part[0]), frozenset(part[1])) for name, part in parts.items()}
        self._kept, self._cut_off = kept_entries, alone
        self._withdrawn = not flows and not groups
        if token is not None:
            self._tokens[token] = set(self._switches)
        asks = [command for switch in self._switches.values()
                if switch.connected and switch.known is None and switch.asked is None for command in self._ask(switch)]
        return asks + self._advance()

    def switch_connected(self, name):
        switch = self._switches[name]
        switch.connected = True
        return self._ask(switch) if self._wanted is not None else []

    def switch_lost(self, name):
        """Its tokens stay open until it is back, unless it has no link left."""
        self._switches[name] = _Switch(name, self._switches[name])
        return self._advance() if self._wanted is not None else []

    def refused(self, name, question=False):
        """The switch answered one of our messages (*question*: one of AskEntries) with an error.

        What it holds is read and mended again before any token is done: at once, and after REFUSALS_MAX
        refusals in a row with each audit.
        """
        switch = self._switches[name]
        if switch.known is None and not question:
            return []               # of the same batch as one before
        switch.known = switch.barrier = switch.asked = None
        switch.in_doubt = True
        switch.refusals += 1
        if switch.refusals < REFUSALS_MAX:
            return self._ask(switch)
        return [Conflict(name, f"refused {switch.refusals} times in a row: not in line, tried again with the next audit")]

    def audit(self):
        """Ask every switch what it really holds."""
        self._audits += 1
        return [command for switch in self._switches.values()
                if switch.connected and self._wanted is not None and switch.asked is None
                for command in self._ask(switch, self._audits % FULL_AUDIT == 1)]

    def removed(self, name, flow):
        """The switch tells that *flow* is gone. If we did not delete it, what is left is read and mended at once."""
        switch = self._switches[name]
        if switch.known is None or switch.robbed or all((ours.key, ours.cookie) != (flow.key, flow.cookie)
                                                        for ours in switch.known[0]):
            return []
        switch.robbed = True
        return self._ask(switch) if switch.asked is None else []

    def entries(self, name, kind, entries, more):
        """An answer (or, with *more*, a part of it) to AskEntries; *kind* is "flows" or "groups"."""
        switch = self._switches[name]
        if switch.asked is None:
            return []
        parts, _ = switch.asked[kind]
        parts.extend(entry for entry in entries if kind == "groups" or concerns_us(entry, self._deployment))
        if len(parts) > ENTRIES_MAX:
            switch.asked = None
            return [Conflict(name, f"more than {ENTRIES_MAX} {kind}: not reconciled")]
        switch.asked[kind] = (parts, not more)
        if not all(complete for _, complete in switch.asked.values()):
            return []
        return self._compare(switch)

    def barrier_reply(self, name, number):
        switch = self._switches[name]
        if switch.barrier != number:        # more was sent since, or it refused something before
            return []
        switch.barrier, switch.refusals = None, 0
        switch.settled = switch.known
        return self._advance()

    def _ask(self, switch, all_flows=False):
        switch.asked = {"flows": ([], False), "groups": ([], False)}
        switch.asked_all = all_flows or switch.known is None
        switch.stale = switch.robbed = False
        return [AskEntries(switch.name, switch.asked_all)]

    def _compare(self, switch):
        answer, switch.asked = switch.asked, None
        if switch.robbed:           # the answer may be older than that
            return self._ask(switch, switch.asked_all)
        if switch.stale:            # or than the changes; the next audit tells
            return []
        flows, groups = (frozenset(answer[kind][0]) for kind in ("flows", "groups"))
        told, first = switch.foreign, switch.known is None
        gone = 0 if first else len(switch.known[0] - flows) + len(switch.known[1] - groups)
        switch.foreign = (frozenset() if switch.asked_all else told[0], frozenset())
        found = self._difference(switch, (flows, groups))
        switch.foreign = (found.foreign_flows, found.foreign_groups)
        switch.known = switch.settled = ours_among(flows, groups, self._deployment.cookie)
        switch.in_doubt, switch.barrier = False, None
        if not found.changes and not first:
            switch.refusals = 0
        return [*([Conflict(switch.name, f"{gone} of our entries were removed or changed: put back")] if gone else []),
                *self._conflicts(switch.name, sorted(found.foreign_flows - told[0], key=repr)),
                *(conflict(entry, self._deployment) for entry in sorted(found.foreign_groups - told[1], key=repr)), *self._advance()]

    def _conflicts(self, name, flows):
        found = [conflict(flow, self._deployment) for flow in flows[:TOLD_MAX]]
        if len(flows) > TOLD_MAX:
            found.append(Conflict(name, f"{len(flows) - TOLD_MAX} more rules of others are in our band or above it"))
        return found

    def _difference(self, switch, actual):
        compared = (self._wanted[switch.name], actual, switch.foreign, self._kept)
        if switch.compared[0] != compared:          # most steps concern few of many switches
            switch.compared = (compared, difference(*self._wanted[switch.name], actual[0] | switch.foreign[0],
                                                    actual[1] | switch.foreign[1], self._deployment, self._kept))
        return switch.compared[1]

    def _advance(self):
        """Send whatever may be sent by now; the tokens end that wait for nobody any more."""
        changes, missing, in_line = {}, {}, True
        for switch in self._switches.values():
            certain = switch.known if switch.known is not None else switch.settled
            found = self._difference(switch, certain)
            if switch.known is not None:
                changes[switch.name] = found.changes
            switch.behind = switch.in_doubt or switch.barrier is not None or not all(map(self._is_last, found.changes))
            in_line &= not switch.behind
            if not switch.connected and switch.name in self._cut_off:
                switch.behind = False
            if switch.behind:
                missing[switch.name] = (found.flows - switch.settled[0]) | (found.groups - switch.settled[1])
        commands = []
        for name, all_changes in changes.items():
            if all_changes:
                commands += self._send(self._switches[name], all_changes, missing, in_line)
        return commands + self._finish()

    def _is_last(self, change):
        """Whether it deletes what others may lead to. What a host or node may not send any more is stopped at once."""
        if change.what != DELETE or self._withdrawn:
            return False
        in_port = None if isinstance(change.entry, Group) else dict(change.entry.match).get("in_port")
        return in_port is None or Place(change.entry.switch, in_port) in self._trunks

    def _send(self, switch, changes, missing, in_line):
        lowest = {}                 # path -> the lowest depth of a hop that another switch has not confirmed
        for name, entries in missing.items():
            for entry in entries if name != switch.name else ():
                lowest[entry.path] = min(entry.depth, lowest.get(entry.path, entry.depth))
        now = tuple(change for change in changes if (in_line if self._is_last(change) else _may_go(change, lowest)))
        if not now:
            return []
        switch.known = applied(now, *switch.known)
        switch.settled = tuple(kind & known for kind, known in zip(switch.settled, switch.known))
        switch.stale = True
        self._barriers += 1
        switch.barrier = self._barriers
        return [Send(switch.name, now), Barrier(switch.name, switch.barrier)]

    def _finish(self):
        done = []
        for token, waiting in list(self._tokens.items()):
            waiting.intersection_update(name for name, switch in self._switches.items() if switch.behind)
            if not waiting:
                del self._tokens[token]
                done.append(Done(token))
        return done


def _may_go(change, lowest):
    """Whether what is behind *change* has been confirmed; *lowest*: path -> depth of its last hop that has not."""
    entry = change.entry
    behind = [(entry.path, entry.depth)]
    if isinstance(entry, Flow):
        behind.append(entry.onto)
    return change.what == DELETE or all(depth <= lowest.get(path, depth) for path, depth in behind)
