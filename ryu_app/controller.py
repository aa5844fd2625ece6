"""The controller's core: events in, actions out. Pure; *now_ns* is CLOCK_MONOTONIC.

Each event first changes facts, then every group takes the steps that have become possible; so the order
in which nodes connect, answer and die decides nothing that is not a fact. One caller at a time.
"""

from . import adoption, answers, failover, moves, placement, replacement, spares, startup
from .context import LOGS, REQUEST_TIMEOUT_NS, TICK_INTERVAL_MIN_NS, TICK_INTERVAL_NS, Context
from .liveness import DATA_SILENT, Liveness
from .paths import unreachable
from .silence import Silence

GATHER_NS = 1_000_000_000       # how long hellos are awaited, from the first on
PATIENCE_NS = 10_000_000_000    # how long a group waits for those that the deployment names, or that may still come


class Controller:
    """Leads all groups of *deployment*."""

    def __init__(self, deployment):
        self.context = Context(deployment)
        suspect_after_ns = deployment.suspect_after_ms * 1_000_000
        self._liveness = Liveness(deployment.nodes, suspect_after_ns, TICK_INTERVAL_NS)
        self._silence = Silence(suspect_after_ns, deployment.heartbeat_interval_ms * 1_000_000)
        self._places = {node.data.place: name for name, node in deployment.nodes.items()}
        self._first_hello_ns = None
        self._outlooks = 0

    # -- events

    def message(self, name, message, now_ns):
        """The node *name* sent a (checked) control *message*."""
        node = self.context.nodes.get(name)
        self.context.now_ns = now_ns
        if node is None:
            self.context.publish("warning", f"a node {name!r} that the deployment does not have", now_ns)
            self.context.close(name)
        elif message["t"] == "hello":
            self._hello(node, message, now_ns)
        elif node.closing:
            pass                        # it was on its way
        elif not node.connected or message["t"] not in ("beat", "reply", "event"):
            self._break(node, f"unexpected {message['t']}", now_ns)
        else:
            self._liveness.beat(name, now_ns)
            wrong = None
            if message["t"] == "beat":
                node.beat = message["roles"]
                self._listen(node, now_ns)
            elif message["t"] == "reply":
                wrong = answers.reply(self.context, node, message, now_ns)
            else:
                wrong = answers.event(self.context, node, message, now_ns)
            if wrong is not None:
                self._break(node, wrong, now_ns)
        return self._settle(now_ns)

    def closed(self, name, now_ns):
        """The control connection of *name* is gone."""
        node = self.context.nodes.get(name)
        if node is not None and node.connected:
            self._disconnect(node, now_ns)
            self._judge(self._liveness.closed(name), now_ns)
        return self._settle(now_ns)

    def port(self, place, up, now_ns):
        """The switch port *place* is up or down, as it may have been before."""
        if up != (place in self.context.down):
            return []
        self._port(place, up, now_ns)
        return self._settle(now_ns)

    def _port(self, place, up, now_ns):
        if up == (place in self.context.down):
            (self.context.down.discard if up else self.context.down.add)(place)
            if any(place in link for link in self.context.deployment.links):
                self.context.publish("info" if up else "warning", f"link at {place.switch} port {place.port} is "
                                     f"{'up' if up else 'down'}", now_ns)
                if self.context.gathered:       # before, nobody knows what to steer
                    self.context.steer()
                cut_off = unreachable(self.context.deployment, self.context.down)
                for name in self.context.nodes:
                    self._judge(self._liveness.path(name, name not in cut_off), now_ns)
        if place in self._places:
            self._judge(self._liveness.port(self._places[place], up), now_ns)

    def switch_connected(self, name, ports, now_ns):
        """The switch *name* connected; *ports* (number -> up) are all that it has."""
        self.context.switches.add(name)
        self.context.publish("info", f"switch {name} connected", now_ns)
        ends = [end for link in self.context.deployment.links for end in link]
        for place in sorted([*self._places, *ends]):
            if place.switch == name:
                self._port(place, ports.get(place.port, False), now_ns)
        return self._settle(now_ns)

    def switch_lost(self, name, now_ns):
        """The connection to switch *name* ended; what it forwards goes on."""
        self.context.switches.discard(name)
        self.context.publish("warning", f"switch {name} lost", now_ns)
        return self._settle(now_ns)

    def steered(self, token, now_ns):
        """The steering of *token* is in place on all connected switches."""
        for group in self.context.groups.values():
            if group.token == token:
                group.token = None
            if group.recovery is not None and group.recovery.token == token:
                group.recovery.token = None
                failover.redirected(group, now_ns)
            for change in group.replacing.values():
                if change.token == token:
                    replacement.redirected(change, now_ns)
        return self._settle(now_ns)

    def next_tick_ns(self, now_ns):
        """How long after *now_ns* ``tick`` is to be called: TICK_INTERVAL_NS, or less if a node may have been silent for too long sooner."""
        return max(TICK_INTERVAL_MIN_NS, self._liveness.next_ns(now_ns))

    def tick(self, now_ns):
        """Call after ``next_tick_ns``."""
        self._judge(self._liveness.tick(now_ns), now_ns)
        for pending in list(self.context.pending.values()):
            node = self.context.nodes[pending.node]
            # recovering takes as long as it takes, if only it goes on (below)
            if pending.do != "recover" and now_ns - pending.sent_ns > REQUEST_TIMEOUT_NS and node.connected:
                self._break(node, f"no answer to {pending.do}", now_ns)
        for group in self.context.groups.values():
            if group.phase == "recovering" and "master" in group.holders and failover.is_stuck(self.context, group, now_ns):
                self._stuck(group, self.context.nodes[group.holders["master"].node], now_ns)
        if self._first_hello_ns is not None:
            self.context.gathered |= now_ns - self._first_hello_ns >= GATHER_NS
            self.context.impatient |= now_ns - self._first_hello_ns >= PATIENCE_NS
        return self._settle(now_ns)

    def outlook(self):
        """(group name, the Steering that a failure of its master would ask for now, or None): of the groups in turn, one for each call."""
        groups = list(self.context.groups.values())
        group = groups[self._outlooks % len(groups)]
        self._outlooks += 1
        return group.name, failover.outlook(self.context, group)

    def _stuck(self, group, node, now_ns):
        """A recovery stands still, though its node beats."""
        if node.counters(group.name, "spare").get("has_replayed"):
            # no fault of the node's: another may hear more, and if the data plane is down for all, its turn comes again
            failover.retry(self.context, group, f"{node.name} has replayed, and hears nothing of the data plane", now_ns)
        else:
            answers.failed(self.context, group, node, "master", "no progress, though it beats", now_ns)

    # -- what an operator asks for

    def move(self, group, to, reload, now_ns):
        """Move the master of *group* (name) to node *to* (None: the best one); with *reload* that process restarts first.

        Raises Refused.
        """
        moves.move(self.context, group, to, reload, now_ns)
        return self._settle(now_ns)

    def drain(self, node, now_ns):
        """The roles of *node* (name) go to others; it gets no more until ``undrain``. Raises Refused."""
        moves.drain(self.context, node, now_ns)
        return self._settle(now_ns)

    def undrain(self, node, now_ns):
        """*node* (name) may get roles again. Raises Refused."""
        moves.undrain(self.context, node, now_ns)
        return self._settle(now_ns)

    def decide(self, group, policy, now_ns):
        """What to do with *group* (name), whose state is lost: *policy* is "last-checkpoint" or "empty". Raises Refused."""
        moves.decide(self.context, group, policy, now_ns)
        return self._settle(now_ns)

    # -- facts about nodes

    def _hello(self, node, message, now_ns):
        if node.connected:
            self._break(node, "a second hello", now_ns)
            return
        roles = _roles(message["roles"])
        if roles is None or not _is_address(message["service"]):
            self.context.publish("error", "a hello that can't be understood", now_ns, node=node.name)
            self.context.close(node.name)
            return
        if node.boot != message["boot"]:
            node.unfit.clear()
            node.restarting = False
        node.boot, node.service, node.roles, node.beat = message["boot"], message["service"], roles, None
        node.connected, node.closing = True, False
        node.retiring.clear()
        adoption.relearn(self.context, node)
        if self._first_hello_ns is None:
            self._first_hello_ns = now_ns
        if all(other.connected for other in self.context.nodes.values()):
            self.context.gathered = True
        self._judge(self._liveness.connected(node.name, now_ns), now_ns)

    def _break(self, node, why, now_ns):
        """The node breaks the rules: as good as dead until it connects again."""
        self.context.publish("error", f"{why} from {node.name}: connection closed", now_ns, node=node.name)
        self._disconnect(node, now_ns)
        self.context.close(node.name)
        self._judge(self._liveness.closed(node.name), now_ns)

    def _disconnect(self, node, now_ns):
        node.connected = False
        spares.release(self.context, node.name, "is lost", now_ns)
        node.roles, node.beat = {}, None
        self.context.pending = {number: pending for number, pending in self.context.pending.items()
                                if pending.node != node.name}

    def _judge(self, verdicts, now_ns):
        for verdict in verdicts:
            node = self.context.nodes[verdict.node]
            was_alive, node.alive = node.alive, verdict.alive
            if verdict.alive:
                self.context.publish("info", f"node {node.name} is alive", now_ns, node=node.name)
                continue
            node.death = (verdict.cause, verdict.last_seen_ns)
            if was_alive:
                self._died(node, verdict.cause, now_ns)
            if node.connected:
                # it says what it still is when it connects again
                self._disconnect(node, now_ns)
                self.context.close(node.name)
                self._liveness.closed(node.name)

    def _died(self, node, cause, now_ns):
        self.context.publish("warning", f"node {node.name} is dead: {cause}", now_ns, node=node.name)
        damped_ns = 0 if node.restarting else node.flapping.died(now_ns)
        if damped_ns:
            self.context.publish("warning", f"node {node.name} dies again and again: no new role for {damped_ns // 10**9} s "
                                 "unless there is nobody else", now_ns, node=node.name)
        for group, role in placement.logs_of(self.context, node.name):
            if group.phase in ("running", "recovering"):
                answers.lost(self.context, group, role, node.name, now_ns)

    def _listen(self, node, now_ns):
        """What the beat of an output logger's *node* says of its master's data plane."""
        for group in self.context.groups.values():
            holder, master = group.holders.get("output-logger"), group.holders.get("master")
            if holder is None or holder.node != node.name or master is None or group.phase != "running":
                continue
            heard = node.counters(group.name, "output-logger").get("heard")
            logger = group.holders.get("input-logger")
            fed = self.context.nodes[logger.node].counters(group.name, "input-logger") if logger is not None else {}
            sent = fed.get("inputs", 0) + fed.get("ticks", 0)
            calm = group.durable and not group.replacing and group.move is None
            who = (holder.node, holder.boot, master.node, master.boot)
            if self._silence.beat(group.name, who, heard, sent if calm else None, now_ns):
                self._liveness.heard(master.node, now_ns, self._ago_ns(node.counters(group.name, "output-logger").get("heard_ago_ms")))
            elif self._silence.is_silent(group.name):
                self._mute(group, now_ns)

    def _ago_ns(self, ago_ms):
        """How long ago a beat says that it heard something, which it had not at the beat before: so never more than two beats' time."""
        return min(ago_ms, 2 * self.context.deployment.heartbeat_interval_ms) * 1_000_000 if type(ago_ms) is int and ago_ms > 0 else 0

    def _mute(self, group, now_ns):
        """Nothing is heard of a master that beats: it or, if that did not help before, its output logger is to blame."""
        role = self._silence.blame(group.name)
        node = self.context.nodes[group.holders[role].node]
        self.context.publish("error", f"{role} {node.name} beats, but the data plane is silent", now_ns, group, node.name)
        if role == "master":
            # it may stand by again: whether it is its fault, or the data plane's, shows only now
            failover.begin(self.context, group, f"failed: {DATA_SILENT}", node.name, now_ns, now_ns)
        else:
            answers.failed(self.context, group, node, role, DATA_SILENT, now_ns)

    # -- steps

    def _settle(self, now_ns):
        self.context.now_ns = now_ns
        for group in self.context.groups.values():
            self._advance(group, now_ns)
        self._clean(now_ns)
        for group in self.context.groups.values():
            state = state_of(self.context, group)
            if state != group.told:
                level = {"protected": "info", "recovering": "warning", "unprotected": "warning", "lost": "error"}[state]
                self.context.publish(level, f"group {group.name} is {state}", now_ns, group)
                group.told = state
        return self.context.take()

    def _advance(self, group, now_ns):
        context = self.context
        if group.phase == "waiting":
            adoption.step(context, group, now_ns)
        if group.phase == "assigning":
            startup.step(context, group, now_ns)
        if group.phase == "running" and not context.standing(group.holders["master"]):
            name = group.holders["master"].node
            cause, last_seen_ns = context.nodes[name].death
            failover.begin(context, group, cause, name, last_seen_ns, now_ns)
        if group.phase == "running":
            replacement.step(context, group, now_ns)
            moves.step(context, group, now_ns)
        if group.phase == "recovering":
            failover.step(context, group, now_ns)
        if group.phase == "running":
            spares.step(context, group, now_ns)
            moves.give_away(context, group, now_ns)

    def _clean(self, now_ns):
        """Processes give up what they should not have; one that has nothing such is fenced no more."""
        unfenced = False
        busy = {pending.node for pending in self.context.pending.values()}
        for node in self.context.nodes.values():
            if not node.connected or not self.context.gathered:
                continue
            stale = self.context.stale(node)
            for name, role in stale:
                group = self.context.groups.get(name)
                if group is None:
                    self._break(node, f"a role in an unknown group {name[:64]!r}", now_ns)
                    break
                if (name, role) not in node.retiring:
                    node.retiring.add((name, role))
                    self.context.request(now_ns, node.name, "retire", group, role, {"role": role})
            if node.fenced and not stale and node.name not in busy and not self.context.superseded(node):
                node.fenced = False
                unfenced = True
                self.context.publish("info", f"node {node.name} is harmless again: its fence is taken away", now_ns,
                                     node=node.name)
        if unfenced:
            self.context.steer()


def state_of(context, group):
    """protected, recovering, unprotected or lost, by the facts."""
    if group.phase == "recovering":
        if group.recovery.lost is not None:
            return "lost"
        return "recovering" if "master" in group.holders else "unprotected"
    if moves.protected(context, group):
        return "protected"
    interrupted = any(role in group.replacing and group.replacing[role].placed_ns is None
                      for role in LOGS if role != "store")
    return "recovering" if group.phase == "running" and interrupted else "unprotected"


def _roles(value):
    """{(group, role): epoch} of a hello's roles; None if they are not what they should be."""
    roles = {}
    for item in value:
        if not isinstance(item, dict) or set(item) != {"group", "role", "epoch"}:
            return None
        if not isinstance(item["group"], str) or not isinstance(item["role"], str) or not isinstance(item["epoch"], int):
            return None
        roles[item["group"], item["role"]] = item["epoch"]
    return roles


def _is_address(value):
    return len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int) and 0 < value[1] < 65536
