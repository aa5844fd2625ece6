"""All switches: what each should hold, what it is known to hold, and barriers over them. Pure.

A switch that connects is asked for its entries and brought in line; from then on only differences are
sent. Every ``audit`` asks again what it really holds. Commands come back as data, in order.
"""

from dataclasses import dataclass
from typing import Tuple, Union

from .reconcile import Change, Conflict, concerns_us, conflict, difference
from .steering import Kept

ENTRIES_MAX = 65536         # a switch that tells of more is not believed
REFUSALS_MAX = 3            # what failed this often at once hardly works at the next attempt


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
    """Send a barrier request; its reply is ``barrier_reply(switch, token)``."""
    switch: str
    token: int


@dataclass(frozen=True)
class Done:
    """Every switch holds what was wanted when the token was given, or something newer."""
    token: int


class _Switch:
    """One switch. ``known`` is (flows, groups) of ours that it holds, None before it told."""

    def __init__(self, name, confirmed=None):
        self.name = name
        self.connected = False
        self.known = None
        self.confirmed = confirmed  # the part of what was wanted that it last confirmed, if nothing was sent since
        self.refusals = 0           # in a row
        self.asked = None           # what has come of an answer: {"flows": ..., "groups": ...}
        self.stale = False          # changes were sent since it was asked
        self.foreign = (frozenset(), frozenset())       # others' flows and groups that stand in our place


class Switches:
    """Reconcilers of all switches of *deployment*.

    A token waits for every switch, also for one that is not connected, for that one forwards by its old entries:
    it's done once the switch is back and in line. Only one that was lost when it was in line already is not waited for.
    """

    def __init__(self, deployment):
        self._deployment = deployment
        self._switches = {name: _Switch(name) for name in sorted(deployment.switches)}
        self._wanted = None         # {switch: (flows, groups)} once steering is known
        self._kept = Kept()
        self._tokens = {}           # token -> {switch that has not answered: what it is to confirm}

    def want(self, flows, groups, token=None, kept=Kept()):
        """Make the switches hold this beside what is *kept*; ``Done(token)`` comes once all have confirmed."""
        self._wanted = {name: (frozenset(flow for flow in flows if flow.switch == name),
                               frozenset(group for group in groups if group.switch == name))
                        for name in self._switches}
        self._kept = kept
        commands = []
        for switch in self._switches.values():
            if switch.connected:
                commands += self._approach(switch)
        if token is not None:
            self._tokens[token] = {switch.name: self._wanted[switch.name] for switch in self._switches.values()
                                   if switch.connected or switch.confirmed != self._wanted[switch.name]}
            commands += [Barrier(name, token) for name in self._tokens[token]
                         if self._switches[name].known is not None]
            commands += self._finish(token, None)
        return commands

    def switch_connected(self, name):
        switch = self._switches[name]
        switch.connected = True
        return self._ask(switch) if self._wanted is not None else []

    def switch_lost(self, name):
        """Its tokens stay open until it is back."""
        self._switches[name] = _Switch(name, self._switches[name].confirmed)

    def refused(self, name, question=False):
        """The switch answered one of our messages (*question*: one of AskEntries) with an error.

        What it holds is read and mended again before any token is done: at once, and after REFUSALS_MAX
        refusals in a row with each audit.
        """
        switch = self._switches[name]
        if switch.known is None and not question:
            return []               # of the same batch as one before
        switch.known = switch.confirmed = switch.asked = None
        switch.refusals += 1
        if switch.refusals < REFUSALS_MAX:
            return self._ask(switch)
        return [Conflict(name, f"refused {switch.refusals} times in a row: not in line, tried again with the next audit")]

    def audit(self):
        """Ask every switch what it really holds."""
        return [command for switch in self._switches.values()
                if switch.connected and self._wanted is not None and switch.asked is None
                for command in self._ask(switch)]

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

    def barrier_reply(self, name, token):
        switch = self._switches[name]
        if switch.known is None:    # it refused something before: another barrier follows what mends that
            return []
        switch.refusals = 0
        waiting = [other for other, names in self._tokens.items() if name in names]
        if waiting and waiting[-1] == token:        # else more was sent since
            switch.confirmed = self._tokens[token][name]
        return self._finish(token, name)

    def _ask(self, switch):
        switch.asked = {"flows": ([], False), "groups": ([], False)}
        switch.stale = False
        return [AskEntries(switch.name, all_flows=switch.known is None)]

    def _difference(self, switch, actual_flows, actual_groups):
        return difference(*self._wanted[switch.name], actual_flows | switch.foreign[0],
                          actual_groups | switch.foreign[1], self._deployment, self._kept)

    def _approach(self, switch):
        """The way from what the switch is known to hold to what it should hold."""
        if switch.known is None:
            return [] if switch.asked is not None else self._ask(switch)
        found = self._difference(switch, *switch.known)
        switch.known = (found.flows, found.groups)
        if not found.changes:
            return []
        switch.stale, switch.confirmed = True, None
        return [Send(switch.name, found.changes)]

    def _compare(self, switch):
        answer, switch.asked = switch.asked, None
        if switch.stale:            # the answer may be older than the changes; the next audit tells
            return []
        told = switch.foreign
        found = self._difference(switch, frozenset(answer["flows"][0]), frozenset(answer["groups"][0]))
        switch.foreign = (found.foreign_flows, found.foreign_groups)
        commands = [conflict(entry) for entry in sorted(found.foreign_flows - told[0], key=repr)]
        commands += [conflict(entry) for entry in sorted(found.foreign_groups - told[1], key=repr)]
        first, switch.known = switch.known is None, (found.flows, found.groups)
        if found.changes:
            switch.confirmed = None
            commands.append(Send(switch.name, found.changes))
        elif not first:
            switch.refusals = 0
        if first:
            commands += [Barrier(switch.name, token) for token in sorted(self._tokens)
                         if switch.name in self._tokens[token]]
        return commands

    def _finish(self, token, name):
        waiting = self._tokens.get(token)
        if waiting is None:
            return []
        waiting.pop(name, None)
        if waiting:
            return []
        del self._tokens[token]
        return [Done(token)]
