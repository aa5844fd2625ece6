"""A fabric without time, sockets or Ryu: fake agents and switches around the controller's core.

Every message in flight is a line in a list from which the test picks the next one to arrive, so that a
seed decides all orders. The agents keep the promises that real ones make (docs/architecture.md), and the
fabric checks, as things happen, what must never happen.
"""

from middleboxes.core.messages import check
from ryu_app.actions import Close, Publish, Request, Steer
from ryu_app.context import TICK_INTERVAL_NS
from ryu_app.controller import Controller, state_of
from ryu_app.deployment import parse

FENCED_ROLES = ("store", "output-logger", "input-logger")


class Agent:
    """A node process: its roles, and what it will say next, in order."""

    def __init__(self, name, boot):
        self.name, self.boot = name, boot
        self.running = True
        self.connected = False
        self.hung = False
        self.incapable = False      # every recovery fails
        self.roles = {}             # (group, role) -> epoch
        self.inbox, self.outbox = [], []

    def hello(self):
        roles = [{"group": group, "role": role, "epoch": epoch} for (group, role), epoch in sorted(self.roles.items())]
        return {"t": "hello", "node": self.name, "boot": self.boot, "service": ["10.0.0.1", 9778], "roles": roles}

    def take(self, request):
        """Do what is asked; returns the messages that follow."""
        group, do, epoch = request["group"], request["do"], request["epoch"]
        result, events = {}, []
        if do == "retire":
            self.roles.pop((group, request["args"]["role"]), None)
        elif do == "fence":
            assert (group, request["args"]["role"]) in self.roles, f"{self.name} is asked to fence what it is not"
            self.roles[group, request["args"]["role"]] = epoch
            result = {"stored": [7]} if request["args"]["role"] == "output-logger" else {}
        elif do == "recover":
            assert (group, "spare") in self.roles, f"{self.name} is asked to recover and is no spare"
            self.roles[group, "spare"] = epoch          # and so until it is live
            events = [("live", {"load_ms": 1.0, "replay_ms": 2.0, "replayed_packets": 3}), ("protected", {})]
            if self.incapable:
                del self.roles[group, "spare"]
                events = [("failed", {"role": "spare", "error": "no checkpoint"})]
        else:
            self.roles[group, do] = epoch
            events = [("protected", {})] if do == "master" else []
        return [{"t": "reply", "id": request["id"], "ok": True, "error": "", "result": result}] + [
            {"t": "event", "name": name, "group": group, "epoch": epoch, "detail": detail} for name, detail in events]

    def say(self, message):
        """*message* leaves: what it tells of the agent is so from now on."""
        if message.get("name") == "live":
            self.roles[message["group"], "master"] = self.roles.pop((message["group"], "spare"))


class Fabric:
    """The controller's core and all around it. *deployment*: the JSON value."""

    def __init__(self, deployment):
        self.deployment = parse(deployment)
        self.core = Controller(self.deployment)
        self.now_ns = 1_000_000_000
        self.boots = 0
        self.agents = {}
        self.tokens = []                # steerings sent, not confirmed
        self.steering = None            # the one that the switches follow
        self.closing = []               # connections whose end the core has not heard of
        self.published, self.requests = [], []
        self.masters = {}               # (group, epoch) -> (node, boot)
        self.fences = {}                # (group, epoch) -> roles that have answered
        self.epochs = {}

    # -- the world acts

    def start(self, names=None):
        for switch in self.deployment.switches:
            ports = {node.data.place.port: True for node in self.deployment.nodes.values()
                     if node.data.place.switch == switch}
            self.do(self.core.switch_connected(switch, ports, self.now_ns))
        for name in self.deployment.nodes if names is None else names:
            self.boot(name)

    def boot(self, name):
        """A fresh process on node *name* connects."""
        self.boots += 1
        self.agents[name] = Agent(name, self.boots)
        self.connect(name)

    def connect(self, name):
        agent = self.agents[name]
        agent.connected = True
        agent.inbox, agent.outbox = [], []
        self.do(self.core.message(name, agent.hello(), self.now_ns))

    def kill(self, name):
        """The node's process dies; its connection closes."""
        agent = self.agents[name]
        agent.running = False
        self._drop(name)

    def cut(self, name):
        """The connection breaks, the process goes on as it was."""
        self._drop(name)

    def _drop(self, name):
        if self.agents[name].connected:
            self.agents[name].connected = False
            self.do(self.core.closed(name, self.now_ns))

    def tick(self, ns=TICK_INTERVAL_NS):
        self.now_ns += ns
        for agent in self.agents.values():
            if agent.connected and not agent.hung:
                self.do(self.core.message(agent.name, {"t": "beat", "roles": []}, self.now_ns))
        self.do(self.core.tick(self.now_ns))

    def choices(self):
        """What could arrive next, in a fixed order."""
        found = [("token", token) for token in self.tokens[:1]]
        for name, agent in sorted(self.agents.items()):
            if agent.connected and not agent.hung:
                found += [("inbox", name)] * bool(agent.inbox) + [("outbox", name)] * bool(agent.outbox)
            if not agent.connected and agent.running and not agent.hung:
                found.append(("connect", name))
        return found

    def step(self, choice):
        """Let one of ``choices`` happen."""
        self.now_ns += 100_000
        kind, what = choice
        if kind == "token":
            token, steering = self.tokens.pop(0)
            self.steering = steering
            self.do(self.core.steered(token, self.now_ns))
        elif kind == "connect":
            self.connect(what)
        elif kind == "inbox":
            agent = self.agents[what]
            agent.outbox += agent.take(agent.inbox.pop(0))
        else:
            message = self.agents[what].outbox.pop(0)
            self.agents[what].say(message)
            self._note_answer(what, message)
            self.do(self.core.message(what, message, self.now_ns))

    def run(self, steps=1000):
        """Everything arrives, in the fixed order, until nothing is left."""
        for _ in range(steps):
            choices = self.choices()
            if not choices:
                return
            self.step(choices[0])
        raise AssertionError("the fabric does not come to rest")

    # -- the core's actions, checked

    def do(self, actions):
        for action in actions:
            if isinstance(action, Request):
                self._check_request(action)
                self.requests.append((action.node, action.message["do"], action.message["group"],
                                      action.message["epoch"]))
                self.agents[action.node].inbox.append(action.message)
            elif isinstance(action, Steer):
                self.tokens.append((action.token, action.steering))
            elif isinstance(action, Close):
                self.agents[action.node].connected = False
            elif isinstance(action, Publish):
                self.published.append(action)

    def _note_answer(self, name, message):
        pending = self.core.context.pending.get(message.get("id"))
        if pending is not None and pending.do == "fence":
            self.fences.setdefault((pending.group, pending.epoch), set()).add(pending.role)

    def _check_request(self, action):
        message = check(action.message)
        group, epoch, do = message["group"], message["epoch"], message["do"]
        if do in ("master", "recover"):
            agent = self.agents[action.node]
            before = self.masters.setdefault((group, epoch), (agent.name, agent.boot))
            assert before == (agent.name, agent.boot), f"two masters of {group} in epoch {epoch}"
        if do == "recover" or (do == "master" and not self.deployment.recovery and epoch > 1):
            assert self.fences.get((group, epoch), set()) == set(FENCED_ROLES), "recover before all fences"
            assert self.steering.active[group, "master"] == action.node, "recover before the redirect"
            dead = [name for (g, e), (name, boot) in self.masters.items() if g == group and e < epoch
                    and boot == self.agents[name].boot and self.agents[name].running
                    and (g, "master") in self.agents[name].roles and name != action.node]
            assert set(dead) <= self.steering.fenced, f"{dead} may still send"
        if do != "retire":
            assert epoch >= self.epochs.get(group, 0), "an epoch that goes back"
            self.epochs[group] = epoch

    # -- what is

    def state(self, group="nat"):
        return state_of(self.core.context, self.core.context.groups[group])

    def group(self, name="nat"):
        return self.core.context.groups[name]

    def master(self, group="nat"):
        holder = self.group(group).holders.get("master")
        return holder.node if holder else None

    def texts(self):
        return [action.what for action in self.published]
