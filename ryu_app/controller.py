"""The controller's core: events in, actions out. Pure; *now_ns* is CLOCK_MONOTONIC.

Each event first changes facts, then every group takes the steps that have become possible; so the order
in which nodes connect, answer and die decides nothing that is not a fact. One caller at a time.
"""

from . import failover, spares, startup
from .context import LOGS, REQUEST_TIMEOUT_NS, TICK_INTERVAL_NS, Context, Holder
from .liveness import Liveness

GATHER_NS = 1_000_000_000       # how long hellos are awaited, from the first on
PATIENCE_NS = 10_000_000_000    # how long a group waits for the first master that the deployment names
_LOSS = {"store": "its checkpoints: a failure of the master now loses state",
         "input-logger": "the input log: no traffic passes, and a failure of the master now loses state",
         "output-logger": "the determinants: no output passes, and a failure of the master now loses state"}


class Controller:
    """Leads all groups of *deployment*."""

    def __init__(self, deployment):
        self.context = Context(deployment)
        self._liveness = Liveness(deployment.nodes, deployment.suspect_after_ms * 1_000_000, TICK_INTERVAL_NS)
        self._places = {node.data.place: name for name, node in deployment.nodes.items()}
        self._first_hello_ns = None

    # -- events

    def message(self, name, message, now_ns):
        """The node *name* sent a (checked) control *message*."""
        node = self.context.nodes.get(name)
        if node is None:
            self.context.publish("warning", f"a node {name!r} that the deployment does not have", now_ns)
            self.context.close(name)
        elif message["t"] == "hello":
            self._hello(node, message, now_ns)
        elif not node.connected or message["t"] not in ("beat", "reply", "event"):
            self._break(node, f"unexpected {message['t']}", now_ns)
        else:
            self._liveness.beat(name, now_ns)
            if message["t"] == "beat":
                node.beat = message["roles"]
            if message["t"] == "reply":
                self._reply(node, message, now_ns)
            elif message["t"] == "event":
                self._event(node, message, now_ns)
        return self._settle(now_ns)

    def closed(self, name, now_ns):
        """The control connection of *name* is gone."""
        node = self.context.nodes.get(name)
        if node is not None and node.connected:
            self._disconnect(node, now_ns)
            self._judge(self._liveness.closed(name), now_ns)
        return self._settle(now_ns)

    def port(self, place, up, now_ns):
        """The switch port *place* went up or down."""
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
        return self._settle(now_ns)

    def tick(self, now_ns):
        """Call every TICK_INTERVAL_NS."""
        self._judge(self._liveness.tick(now_ns), now_ns)
        for pending in list(self.context.pending.values()):
            node = self.context.nodes[pending.node]
            # recovering takes as long as it takes, if only it goes on (below)
            if pending.do != "recover" and now_ns - pending.sent_ns > REQUEST_TIMEOUT_NS and node.connected:
                self._break(node, f"no answer to {pending.do}", now_ns)
        for group in self.context.groups.values():
            if group.phase == "recovering" and "master" in group.holders and failover.is_stuck(self.context, group):
                node = self.context.nodes[group.holders["master"].node]
                self._role_failed(group, node, "master", "no progress, though it beats", now_ns)
        if self._first_hello_ns is not None:
            self.context.gathered |= now_ns - self._first_hello_ns >= GATHER_NS
            self.context.impatient |= now_ns - self._first_hello_ns >= PATIENCE_NS
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
        if node.boot is not None and node.boot != message["boot"]:
            node.unfit.clear()
            for group, role in self._held(node):
                if role in LOGS and group.phase in ("running", "recovering"):
                    self.context.publish("error", f"the {role} on {node.name} came back empty", now_ns, group, node.name)
        node.boot, node.service, node.roles = message["boot"], message["service"], roles
        node.connected = True
        node.retiring.clear()
        startup.relearn(self.context, node)
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
        spares.lost(self.context, node.name, now_ns)
        node.roles = {}
        self.context.pending = {number: pending for number, pending in self.context.pending.items()
                                if pending.node != node.name}

    def _held(self, node):
        return [(group, role) for group in self.context.groups.values()
                for role, holder in sorted(group.holders.items()) if holder.node == node.name]

    def _judge(self, verdicts, now_ns):
        for verdict in verdicts:
            node = self.context.nodes[verdict.node]
            was_alive, node.alive = node.alive, verdict.alive
            if verdict.alive:
                self.context.publish("info", f"node {node.name} is alive", now_ns, node=node.name)
                continue
            node.death = (verdict.cause, verdict.last_seen_ns)
            if was_alive:
                self.context.publish("warning", f"node {node.name} is dead: {verdict.cause}", now_ns, node=node.name)
            if node.connected:
                # it says what it still is when it connects again
                self._disconnect(node, now_ns)
                self.context.close(node.name)
                self._liveness.closed(node.name)
            for group, role in self._held(node):
                if was_alive and role in LOGS and group.phase in ("running", "recovering"):
                    self.context.publish("error", f"{role} {node.name} is lost, and with it {_LOSS[role]}", now_ns,
                                         group, node.name)

    # -- answers and events of agents

    def _reply(self, node, message, now_ns):
        pending = self.context.pending.get(message["id"])
        if pending is None or pending.node != node.name:
            self._break(node, f"an answer to request {message['id']}, which it was not asked", now_ns)
            return
        del self.context.pending[message["id"]]
        group = self.context.groups[pending.group]
        key = (group.name, pending.role)
        if not message["ok"]:
            self.context.publish("error", f"{node.name} refused {pending.do}: {message['error']}", now_ns, group,
                                 node.name)
        if pending.do == "retire":
            node.retiring.discard(key)
            if message["ok"]:
                node.roles.pop(key, None)
            else:
                self._break(node, "role not given up", now_ns)
        elif pending.do == "fence":
            self._fence_answered(group, node, pending, message, now_ns)
        elif message["ok"]:
            node.roles[key] = pending.epoch
            self._role_taken(group, node, pending, now_ns)
        elif pending.epoch == group.epoch or pending.do == "spare":
            self._role_failed(group, node, pending.role, message["error"], now_ns)

    def _fence_answered(self, group, node, pending, message, now_ns):
        if group.recovery is None or pending.epoch != group.epoch:
            return                              # an attempt that was given up
        if message["ok"]:
            node.roles[group.name, pending.role] = pending.epoch
            if failover.fenced(group, pending.role, message["result"], now_ns):
                return
            self.context.publish("error", f"{node.name}: an answer to a fence without a position per worker", now_ns,
                                 group, node.name)
        group.holders[pending.role].acked = False

    def _role_taken(self, group, node, pending, now_ns):
        if pending.do == "spare":
            if group.spare is not None and group.spare.node == node.name:
                group.spare.acked = True
            return
        if pending.do == "recover":
            node.roles.pop((group.name, "spare"), None)
        holder = group.holders.get(pending.role)
        if holder is None or holder.node != node.name or pending.epoch != group.epoch:
            return
        if group.phase == "assigning" or pending.do == "store":
            holder.acked = True
        elif pending.do == "master":
            # recovery is switched off: an empty master is all there is to wait for
            failover.finish(self.context, group, {"load_ms": 0.0, "replay_ms": 0.0, "replayed_packets": 0}, now_ns)

    def _role_failed(self, group, node, role, why, now_ns):
        """The process on *node* can't have, or can't go on with, *role*."""
        master = group.holders.get("master")
        if role == "spare" and group.recovery is not None and master is not None and master.node == node.name:
            role = "master"         # until it is live, a recovering spare calls itself a spare
        holder = group.spare if role == "spare" else group.holders.get(role) if isinstance(role, str) else None
        if holder is None or holder.node != node.name:
            return
        node.unfit.add(group.name)
        if role == "spare":
            group.spare = None
        elif group.phase == "assigning":
            startup.abandon(self.context, group, f"{role} on {node.name}: {why}", now_ns)
        elif role != "master":
            holder.acked = False
            self.context.publish("error", f"{role} {node.name} is lost, and with it {_LOSS[role]}", now_ns, group,
                                 node.name)
        elif group.phase == "recovering":
            group.recovery.failed = True
            failover.retry(self.context, group, f"{node.name} could not recover: {why}", now_ns)
        else:
            failover.begin(self.context, group, f"failed: {why}", node.name, now_ns, now_ns)

    def _event(self, node, message, now_ns):
        group = self.context.groups.get(message["group"])
        if group is None:
            self._break(node, f"an event of an unknown group {message['group'][:64]!r}", now_ns)
            return
        name, detail = message["name"], message["detail"]
        master = group.holders.get("master")
        is_master = master is not None and master.node == node.name and message["epoch"] == group.epoch
        if name == "failed":
            self.context.publish("error", f"{node.name} failed: {detail.get('error')}", now_ns, group, node.name)
            if message["epoch"] == group.epoch or detail.get("role") != "master":
                self._role_failed(group, node, detail.get("role"), detail.get("error"), now_ns)
        elif name == "protected" and is_master:
            group.durable = True
        elif name == "live" and is_master and group.recovery is not None and group.recovery.sent:
            if all(_is_number(detail.get(key)) for key in ("load_ms", "replay_ms", "replayed_packets")):
                failover.finish(self.context, group, detail, now_ns)
            else:
                self._break(node, "a live event without its numbers", now_ns)
        elif name == "first-output":
            self._first_output(group, message["epoch"], now_ns)

    @staticmethod
    def _first_output(group, epoch, now_ns):
        mark = {"what": "first packet out", "at_ns": now_ns}
        if group.recovery is not None and epoch == group.epoch:
            group.recovery.timeline.append(mark)
        elif group.failovers and group.failovers[-1]["epoch"] == epoch:
            group.failovers[-1]["timeline"].append(mark)

    # -- steps

    def _settle(self, now_ns):
        for group in self.context.groups.values():
            startup.step(self.context, group, now_ns)
            if group.phase == "running":
                self._watch_master(group, now_ns)
            if group.phase == "recovering":
                failover.step(self.context, group, now_ns)
            if group.phase == "running":
                self._refill_store(group, now_ns)
                spares.step(self.context, group, now_ns)
        self._clean(now_ns)
        for group in self.context.groups.values():
            state = state_of(self.context, group)
            if state != group.told:
                level = {"protected": "info", "recovering": "warning", "unprotected": "warning", "lost": "error"}[state]
                self.context.publish(level, f"group {group.name} is {state}", now_ns, group)
                group.told = state
        return self.context.take()

    def _watch_master(self, group, now_ns):
        holder = group.holders["master"]
        if not self.context.standing(holder):
            cause, last_seen_ns = self.context.nodes[holder.node].death
            failover.begin(self.context, group, cause, holder.node, last_seen_ns, now_ns)

    def _refill_store(self, group, now_ns):
        """A store whose process is new gets its role again; the master then sends it a base checkpoint."""
        holder, node = group.holders["store"], self.context.nodes[self.context.home(group, "store")]
        if node.alive and node.boot != holder.boot and group.name not in node.unfit and not self.context.stale(node):
            group.holders["store"] = Holder(node.name, node.boot)
            group.durable = False
            self.context.request(now_ns, node.name, "store", group, "store", {})

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
            if node.fenced and not stale and node.name not in busy:
                node.fenced = False
                unfenced = True
                self.context.publish("info", f"node {node.name} is harmless again: its fence is taken away", now_ns,
                                     node=node.name)
        if unfenced:
            self.context.steer()


def state_of(context, group):
    """protected, recovering, unprotected or lost, by the facts."""
    complete = all(context.intact(group, role) for role in LOGS)
    if group.phase == "recovering":
        recovery = group.recovery
        if (not complete and not recovery.sent) or (recovery.failed and "master" not in group.holders):
            return "lost"
        return "recovering" if "master" in group.holders else "unprotected"
    if group.phase == "running" and complete and group.durable and group.spare is not None and group.spare.acked:
        return "protected"
    return "unprotected"


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


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
