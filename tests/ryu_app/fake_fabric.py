"""A fabric without time, sockets or Ryu: fake agents and switches around the controller's core.

Every message in flight is a line in a list from which the test picks the next one to arrive, so that a
seed decides all orders. The agents keep the promises that real ones make (docs/architecture.md), and the
fabric checks, as things happen, what must never happen.
"""

from fake_node import NEVER, POSITIONS, Agent, served_by

from middleboxes.core.messages import check
from ryu_app.actions import Close, Publish, Request, Steer
from ryu_app.context import TICK_INTERVAL_NS
from ryu_app.controller import Controller, state_of
from ryu_app.deployment import parse

FENCED_ROLES = ("store", "output-logger", "input-logger")


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
        self.newest = {}                # group -> (id, change) of the last checkpoint that was durable anywhere

    # -- the world acts

    def start(self, names=None, down=()):
        """Switches and agents (*names*: all) connect; the ports in *down* (Places) are down."""
        ends = [end for link in self.deployment.links for end in link]
        for switch in self.deployment.switches:
            ports = {place.port: place not in down for place in
                     (*ends, *(node.data.place for node in self.deployment.nodes.values())) if place.switch == switch}
            self.do(self.core.switch_connected(switch, ports, self.now_ns))
        for name in self.deployment.nodes if names is None else names:
            self.boot(name)

    def with_new_controller(self):
        """The same nodes and switches with a controller that knows nothing; nobody has connected yet."""
        after = Fabric.__new__(Fabric)
        after.__dict__.update(self.__dict__)
        after.core = Controller(self.deployment)
        after.tokens, after.published, after.requests = [], [], []
        after.fences, after.epochs = {}, {}
        for agent in after.agents.values():
            agent.connected = False
            agent.inbox, agent.outbox = [], [message for message in agent.outbox if message.get("name") == "live"]
        down = self.core.context.down
        after.start(names=[], down=down)
        return after

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
        if agent.connected:
            self.do(self.core.message(name, agent.beat(), self.now_ns))

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
                self.do(self.core.message(agent.name, agent.beat(), self.now_ns))
        self.do(self.core.tick(self.now_ns))

    def choices(self):
        """What could arrive next, in a fixed order."""
        found = [("token", token) for token in self.tokens[:1]]
        for name, agent in sorted(self.agents.items()):
            if agent.connected and not agent.hung:
                found += [("inbox", name)] * bool(agent.inbox) + [("outbox", name)] * bool(agent.outbox)
            if not agent.connected and agent.running and not agent.hung:
                found.append(("connect", name))
            if agent.running and not agent.hung:
                found += [("checkpoint", (name, group)) for group, role in sorted(agent.roles)
                          if role == "master" and self._can_checkpoint(agent, group)]
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
        elif kind == "checkpoint":
            self._checkpoint(*what)
        elif kind == "inbox":
            agent = self.agents[what]
            request = agent.inbox.pop(0)
            agent.outbox += agent.take(request)
            self._happens(agent, request)
        else:
            message = self.agents[what].outbox.pop(0)
            self.agents[what].say(message)
            restarts = self._note_answer(what, message)
            self.do(self.core.message(what, message, self.now_ns))
            if restarts:
                self.kill(what)
                self.boot(what)

    # -- what the nodes hold

    def _active(self, group, role):
        """The running agent that frames to *role* get to, if it has the role."""
        name = self.steering.active.get((group, role)) if self.steering is not None else None
        agent = self.agents.get(name)
        return agent if agent is not None and agent.running and not agent.hung and (group, role) in agent.roles else None

    def _can_checkpoint(self, master, group):
        """Whether a change is not durable yet, and now could be: store and output logger do their part."""
        store = self.agents[master.store[group]]
        output_logger = self._active(group, "output-logger")
        return (master.told[group] < master.change[group] and store.running and not store.hung
                and (group, "store") in store.roles and store.roles[group, "store"] <= master.roles[group, "master"]
                and output_logger is not None and output_logger.complete_from[group, "output-logger"] < NEVER
                and output_logger.output_epoch[group, "output-logger"] == master.output_epoch[group, "master"])

    def _checkpoint(self, name, group):
        """A checkpoint of master *name* becomes durable: in its store and in those spares that follow it."""
        master = self.agents[name]
        master.told[group] = change = master.change[group]
        number = self.newest.get(group, (0, 0))[0] + 1
        self.newest[group] = (number, change)
        for agent in self.agents.values():
            if agent.name == master.store[group] or (group, "spare") in agent.roles and agent.running and not agent.hung:
                agent.checkpoint[group] = (number, change)
        master.outbox.append({"t": "event", "name": "protected", "group": group, "epoch": master.roles[group, "master"],
                              "detail": {"checkpoint": number, "change": change}})

    def _happens(self, agent, request):
        """What follows in the data network from a request that *agent* has carried out."""
        group, do, epoch, args = request["group"], request["do"], request["epoch"], request["args"]
        output_logger = self._active(group, "output-logger")
        if do == "output-logger" and self.core.context.groups[group].phase == "assigning":
            agent.complete_from[group, do] = epoch      # there is nothing yet that it could have missed
        if output_logger is not None and (do in ("master", "use-output-logger") or do == "recover"
                                          and args["stored"] == [POSITIONS[0][1]]):
            complete = output_logger.complete_from
            complete[group, "output-logger"] = min(complete[group, "output-logger"], epoch)
        if do in ("spare", "recover"):
            store = self.agents[served_by(args["store"])]
            if store.running and group in store.checkpoint and (group, "store") in store.roles:
                agent.checkpoint[group] = store.checkpoint[group]

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
        """Returns whether the answer is the last word of a process that restarts."""
        pending = self.core.context.pending.get(message.get("id"))
        if pending is not None and pending.do in ("fence", *FENCED_ROLES) and pending.role != "master":
            self.fences.setdefault((pending.group, pending.epoch), set()).add(pending.role)
        return pending is not None and pending.do == "restart" and message["ok"]

    def _check_request(self, action):
        message = check(action.message)
        group, epoch, do, args = message["group"], message["epoch"], message["do"], message["args"]
        assert self.agents[action.node].connected, f"{do} is asked of {action.node}, which is not there"
        if do in ("master", "go-ahead", "recover"):
            self._check_only((group, epoch), self.agents[action.node])
        if do == "recover" or (do == "master" and not self.deployment.recovery and epoch > 1):
            assert self.fences.get((group, epoch), set()) == set(FENCED_ROLES), "recover before all fences"
            assert self.steering.active[group, "master"] == action.node, "recover before the redirect"
            dead = [name for (g, e, *_), (name, boot) in self.masters.items() if g == group and e < epoch
                    and boot == self.agents[name].boot and self.agents[name].running
                    and (g, "master") in self.agents[name].roles and name != action.node]
            assert set(dead) <= self.steering.fenced, f"{dead} may still send"
        if do == "input-logger":
            self._check_only((group, epoch, do), self.agents[action.node])
        # a controller that never saw the master takes what it finds for complete (docs/architecture.md, known limits)
        if do == "recover" and args["stored"] != [POSITIONS[0][1]] and not self.core.context.groups[group].presumed:
            self._check_recoverable(group, self.agents[action.node], args)
        if do not in ("retire", *FENCED_ROLES):
            assert epoch >= self.epochs.get(group, 0), "an epoch that goes back"
            self.epochs[group] = epoch

    def _check_only(self, key, agent):
        """One process has a role of a group in an epoch (*key*), as long as it has any in that group."""
        name, boot = self.masters.get(key, (None, None))
        before = self.agents.get(name)
        if before is None or before.boot != boot or not before.running or not any(group == key[0] for group, _ in before.roles):
            self.masters[key] = (agent.name, agent.boot)
        else:
            assert (name, boot) == (agent.name, agent.boot), f"two of {key}"

    def _check_recoverable(self, group, spare, args):
        """What ``recover`` names has the last durable checkpoint, and all that came after it."""
        store = self.agents[served_by(args["store"])]
        newest = self.newest[group]
        assert newest in (store.checkpoint.get(group), spare.checkpoint.get(group)), "an old checkpoint, or none"
        for key in ("input_logger", "output_logger"):
            role = key.replace("_", "-")
            complete_from = self.agents[served_by(args[key])].complete_from[group, role]
            assert complete_from <= newest[1], f"the {role} lacks what the last checkpoint does not cover"

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
