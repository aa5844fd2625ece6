"""All switches: what each should hold, what it is known to hold, and barriers over them. Pure.

A switch that connects is asked for its entries and brought in line; from then on only differences are
sent. Every ``audit`` asks again what it really holds. Commands come back as data, in order.
"""

from dataclasses import dataclass
from typing import Tuple, Union

from .reconcile import Change, Conflict, concerns_us, conflict, difference

ENTRIES_MAX = 65536         # a switch that tells of more is not believed


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
    """Every connected switch holds what was wanted when the token was given."""
    token: int


class _Switch:
    """One switch. ``known`` is (flows, groups) of ours that it holds, None before it told."""

    def __init__(self, name):
        self.name = name
        self.connected = False
        self.known = None
        self.asked = None           # what has come of an answer: {"flows": ..., "groups": ...}
        self.stale = False          # changes were sent since it was asked
        self.deferred = []          # tokens waiting for the first answer
        self.foreign = (frozenset(), frozenset())       # others' flows and groups that stand in our place


class Switches:
    """Reconcilers of all switches of *deployment*."""

    def __init__(self, deployment):
        self._deployment = deployment
        self._switches = {name: _Switch(name) for name in sorted(deployment.switches)}
        self._wanted = None         # (flows, groups) once steering is known
        self._tokens = {}           # token -> names of switches that have not answered

    @property
    def connected(self):
        return frozenset(name for name, switch in self._switches.items() if switch.connected)

    def want(self, flows, groups, token=None):
        """Make the connected switches hold this; ``Done(token)`` comes once all have confirmed."""
        self._wanted = (flows, groups)
        commands = []
        for switch in self._switches.values():
            if switch.connected:
                commands += self._approach(switch)
        if token is not None:
            self._tokens[token] = set(self.connected)
            for switch in self._switches.values():
                if switch.known is not None:
                    commands.append(Barrier(switch.name, token))
                elif switch.connected:
                    switch.deferred.append(token)
            commands += self._finish(token, None)
        return commands

    def switch_connected(self, name):
        switch = self._switches[name]
        switch.connected = True
        return self._ask(switch) if self._wanted is not None else []

    def switch_lost(self, name):
        self._switches[name] = _Switch(name)
        return [command for token in sorted(self._tokens) for command in self._finish(token, name)]

    def audit(self):
        """Ask every switch that is in line what it really holds."""
        return [command for switch in self._switches.values() if switch.known is not None and switch.asked is None
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
        return self._finish(token, name)

    def _ask(self, switch):
        switch.asked = {"flows": ([], False), "groups": ([], False)}
        switch.stale = False
        return [AskEntries(switch.name, all_flows=switch.known is None)]

    def _difference(self, switch, actual_flows, actual_groups):
        flows, groups = self._wanted
        return difference(frozenset(flow for flow in flows if flow.switch == switch.name),
                          frozenset(group for group in groups if group.switch == switch.name),
                          actual_flows | switch.foreign[0], actual_groups | switch.foreign[1], self._deployment)

    def _approach(self, switch):
        """The way from what the switch is known to hold to what it should hold."""
        if switch.known is None:
            return [] if switch.asked is not None else self._ask(switch)
        found = self._difference(switch, *switch.known)
        switch.known = (found.flows, found.groups)
        if not found.changes:
            return []
        switch.stale = True
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
        switch.known = (found.flows, found.groups)
        if found.changes:
            commands.append(Send(switch.name, found.changes))
        deferred, switch.deferred = switch.deferred, []
        return commands + [Barrier(switch.name, token) for token in deferred]

    def _finish(self, token, name):
        waiting = self._tokens.get(token)
        if waiting is None:
            return []
        waiting.discard(name)
        if waiting:
            return []
        del self._tokens[token]
        return [Done(token)]
