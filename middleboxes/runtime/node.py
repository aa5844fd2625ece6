"""A node: one process on one host. It owns the links and connections and hands frames and messages to its roles."""

import gc
import os
import sys
import time

from ..core.frames import HOP_ACK, HOP_INPUT
from ..core.recovery import LiveBuffer
from ..functions import load
from ..sdk import ConfigurationError
from .agent import Agent
from .awake import WHEN, Awake, Request
from .bundles import Bundles
from .connection import Connection, Listener
from .faults import Faults
from .input_logger import InputLoggerRole
from .link import data_links, data_sender, exclude
from .loop import Loop
from .master import MasterRole
from .output_logger import OutputLoggerRole
from .paths import Dispatch
from .role import RoleError, check_positions
from .spare import SpareRole, build_master
from .store import StoreRole

#: groups whose early live frames are kept before this node has a role in them
EARLY_GROUPS_MAX = 16
#: batches read at most before a fence: as much as a socket's queue can hold
DRAIN_BATCHES_MAX = 4096
#: what a link counts, besides what it receives
DATA_COUNTERS = {"data_sent": "sent", "data_send_failed": "send_failed", "data_oversize": "oversize", "data_overrun": "overrun",
                 "data_messages_sent": "messages_sent", "data_messages_received": "messages_received", "data_malformed": "malformed"}
#: which role serves a message of a client
SERVED_BY = {"checkpoint": "store", "subscribe": "store", "inputs": "input-logger", "follow_inputs": "input-logger",
             "unfollow_inputs": "input-logger", "determinants": "output-logger", "follow_determinants": "output-logger",
             "unfollow_determinants": "output-logger"}
#: requests for a spare, and its methods that carry them out
SPARE_REQUESTS = {"go-ahead": "go_ahead", "recover": "recover"}
#: requests for a master, and its methods that carry them out
MASTER_REQUESTS = {"use-store": "use_store", "use-output-logger": "use_output_logger", "stop": "stop", "bundle": "bundle"}


class Node:
    """*settings*: the node file as a map (docs/architecture.md); *key*: the deployment's pre-shared key."""

    def __init__(self, settings, key):
        self.name = settings["node"]
        self.loop = Loop()
        self._key = key
        self._service = settings["service"]
        self._stays_awake = settings.get("stay_awake", WHEN[0])
        self._ports = settings.get("ports", {})
        self._boot = int.from_bytes(os.urandom(7), "big")
        self._roles = {}            # (group, role) -> Role
        self._takers = {}           # group id -> master or spare
        self._by_id = {}            # group id -> [Role, ...]
        self._buffers = {}
        self.data_interface = settings["data_interface"]
        self._inputs, self._others = data_links(self.data_interface, HOP_INPUT)
        self._left_to_workers = set()       # ids of groups whose inputs and acknowledgements threads read
        # a socket that the loop watches would be looked at for each frame that it has sent
        self._outgoing = data_sender(self.data_interface)
        self.mac = self._outgoing.mac
        self.send, self.send_all, self.send_apart = self._outgoing.send, self._outgoing.send_all, self._outgoing.send_apart
        self.fault_counters = {}
        if "faults" in settings:
            faults = Faults(self.send_all, self.loop, settings["faults"])
            self.send, self.send_all, self.send_apart, self.fault_counters = faults.send, faults.send_all, faults.send_all, faults.counters
        self._dispatch = Dispatch((self._inputs, self._others), self._takers, self._by_id, self._keep, self.fail)
        self.loop.watch(self._inputs.fileno(), self._dispatch.inputs)
        self._reading = True
        self.loop.watch(self._others.fileno(), self._dispatch.others)
        self._listener = Listener(self.loop, self._service, key, self._service_message, self.log,
                                  self._service_closed)
        self.agent = Agent(self, settings["controller"], settings["heartbeat_interval_ms"])
        self.bundles = Bundles(self, settings.get("bundles"), key)
        for function in settings.get("functions", ()):
            self._load_code(function)

    def _load_code(self, function):
        """Have the code of *function* here: a failover to this node has no time for it."""
        try:
            load(function)
        except ConfigurationError as error:         # whoever gives this node a role of that function is told so
            self.log(str(error))

    def stay_awake(self):
        """Keep the processors awake while there is much to do, unless the settings say never. Raises OSError: the kernel can't be asked."""
        if self._stays_awake == WHEN[0]:
            Awake(self.loop, lambda: self.loop.turns + sum(role.turns for role in self._roles.values()), Request())

    def run(self):
        """Serve until ``restart``, or until the process is told to stop."""
        # A collection would stop packets for as long as the state is large. Nothing that repeats makes reference cycles:
        # a role's own (its guards) are undone when it is dropped.
        gc.collect()
        gc.freeze()
        gc.disable()
        self.loop.run()
        self.bundles.close()

    def log(self, text):
        """A line in the node's log."""
        print(f"{time.strftime('%H:%M:%S')} {self.name}: {text}", file=sys.stderr, flush=True)

    def data_counters(self, inputs=(), others=()):
        """Frames of the data network at this node: at its own sockets and at those of workers with these counts."""
        total = {"data_inputs": 0, "data_others": 0, **dict.fromkeys(DATA_COUNTERS, 0)}
        for name, found in (("data_inputs", (self._inputs.counts(), *inputs)), ("data_others", (self._others.counts(), self._outgoing.counts(), *others))):
            for counts in found:
                total[name] += counts["received"]
                for counter, key in DATA_COUNTERS.items():
                    total[counter] += counts[key]
        return total

    # -- what the controller is told and asks for

    def hello(self):
        """The first message to a controller."""
        roles = [{"group": role.group, "role": role.role, "epoch": role.epoch} for role in self._roles.values()]
        return {"t": "hello", "node": self.name, "boot": self._boot, "service": list(self._service), "roles": roles}

    def status(self):
        """What a beat says."""
        return [role.status() for role in self._roles.values()]

    def request(self, do, group, epoch, args):
        """Carry out a request; returns its result. Raises what ROLE_FAILURES lists."""
        if do == "fence":
            return self._role(group, args["role"]).fence(epoch)
        if do == "retire":
            role = self._roles.get((group, args["role"]))
            if role is not None:
                self._drop(role)
            return {}
        if do in SPARE_REQUESTS:
            getattr(self._role(group, "spare"), SPARE_REQUESTS[do])(epoch, args)
            return {}
        if do in MASTER_REQUESTS:
            getattr(self._role(group, "master"), MASTER_REQUESTS[do])(epoch, **args)
            return {}
        if do == "restart":
            if self._roles:
                raise RoleError(f"node {self.name} has roles: {', '.join(f'{role} of {name}' for name, role in self._roles)}")
            return {}
        # a role given again starts anew; who becomes the master of a group is no longer its spare
        for name in {do, "spare"} if do == "master" else {do}:
            if (group, name) in self._roles:
                self._drop(self._roles[group, name])
        self._add(self._make(do, group, epoch, args))
        return {}

    def _make(self, do, group, epoch, args):
        if do == "store":
            return StoreRole(self, group, epoch)
        if do == "input-logger":
            return InputLoggerRole(self, group, epoch, **args)
        if do == "output-logger":
            return OutputLoggerRole(self, group, epoch, **args)
        if do == "spare":
            return SpareRole(self, group, epoch, args)
        return self._fresh_master(group, epoch, args)

    def _fresh_master(self, group, epoch, args):
        core = build_master(self, group, epoch, args,
                            lambda name, detail: self.agent.event(name, group, epoch, {"text": detail}))
        check_positions(args["start"], args["workers"], RoleError)
        core.begin(epoch, args["inputs_from"])
        core.start_at(args["start"])
        # what came before is of another start of the group: its numbers mean something else
        self._buffers.pop(args["group_id"], None)
        role = MasterRole(self, group, epoch, core, args["store"], args["checkpoint_interval_ms"],
                          on_durable=lambda: self._start_master(role))
        return role

    def _start_master(self, role):
        buffer, early = self.buffer(role.group_id), []
        while (frame := buffer.take()) is not None:
            early.append(frame)
        role.go_live(early)

    def restart(self):
        """End ``run``: the process is about to replace itself."""
        self.loop.stop()

    # -- roles

    def role(self, group, name):
        """The Role that this node has in *group*, None if it has not."""
        return self._roles.get((group, name))

    def port_interfaces(self, group):
        """{port name: interface} of this node for *group*."""
        return self._ports.get(group, {})

    def buffer(self, group_id):
        """Live frames of a group that came before this node could process them."""
        if group_id not in self._buffers:
            self._buffers[group_id] = LiveBuffer()
        return self._buffers[group_id]

    def _role(self, group, name):
        role = self._roles.get((group, name))
        if role is None:
            raise RoleError(f"node {self.name} is not {name} of group {group!r}")
        return role

    def _add(self, role):
        self._roles[role.group, role.role] = role
        if role.group_id:
            self._by_id.setdefault(role.group_id, []).append(role)
            if role.role in ("master", "spare"):
                self._takers[role.group_id] = role
        self.log(f"is {role.role} of group {role.group}, epoch {role.epoch}")

    def _drop(self, role):
        role.closed = True
        role.close()
        del self._roles[role.group, role.role]
        if role in self._by_id.get(role.group_id, ()):
            self._by_id[role.group_id].remove(role)
        if self._takers.get(role.group_id) is role:
            del self._takers[role.group_id]
            self._buffers.pop(role.group_id, None)
        role.release()
        self.hold_inputs()

    def replace(self, old, new):
        """*new* takes over from *old* (a spare that became the master)."""
        buffer = self._buffers.get(old.group_id)
        self._drop(old)
        self._add(new)
        if buffer is not None:
            self._buffers[old.group_id] = buffer

    def fail(self, role, error):
        """*role* can't go on: give it up and tell the controller."""
        self.log(f"{role.role} of group {role.group} failed: {error}")
        if self._roles.get((role.group, role.role)) is role:
            self._drop(role)
        self.agent.event("failed", role.group, role.epoch, {"role": role.role, "error": str(error)})

    # -- connections

    def dial(self, address, on_open, on_message, on_close):
        """An authenticated connection to *address*."""
        return Connection.connect(self.loop, address, self._key, self.name, on_message=on_message, on_open=on_open,
                                  on_close=on_close)

    def connect(self, role, address, on_open, on_message, on_close):
        """A connection of *role*'s: its methods are called as long as it is not closed."""
        return self.dial(address, role.guarded(on_open), role.guarded(on_message), role.guarded(on_close))

    def _service_message(self, connection, message):
        group = message.get("group")
        wanted = SERVED_BY.get(message["t"])
        role = self._roles.get((group, wanted))
        if role is None:
            # not yet or no longer: the client comes again, or its controller knows better
            self.log(f"{connection.channel.peer} asks for {message['t']!r} of group {group!r}, which is not served here")
            connection.close("not served here")
            return
        role.guarded(role.serve)(connection, message)

    def _service_closed(self, connection, reason):
        for role in self._roles.values():
            role.disconnected(connection)

    # -- frames

    def hold_inputs(self):
        """Read inputs, or leave them in the socket's queue while a master waits for acknowledgements."""
        reading = all(role.ready for role in self._takers.values())
        if reading != self._reading:
            self._reading = reading
            self.loop.watch(self._inputs.fileno(), self._dispatch.inputs if reading else None)

    def sender(self, link):
        """A function that sends a list of frames by *link*, for another thread than the loop's; fault switches apply to it, too."""
        if not self.fault_counters:
            return link.send_all
        return lambda frames: self.loop.post(lambda: self.send_all(frames))

    def leave_to_workers(self, group_id, left=True):
        """From now on (or no longer) the group's inputs and acknowledgements do not come to this node's own sockets."""
        (self._left_to_workers.add if left else self._left_to_workers.discard)(group_id)
        exclude((self._inputs, self._others), HOP_INPUT, HOP_ACK, sorted(self._left_to_workers))

    def drain_inputs(self):
        """Hand over all inputs that are here already."""
        for _ in range(DRAIN_BATCHES_MAX):
            if not self._dispatch.inputs():
                return

    def _keep(self, group_id, frames):
        """Inputs that nobody takes yet."""
        if group_id in self._buffers or len(self._buffers) < EARLY_GROUPS_MAX:
            buffer = self.buffer(group_id)
            for frame in frames:
                buffer.add(frame)

    def drain(self):
        """Handle all frames that are here already."""
        for _ in range(DRAIN_BATCHES_MAX):
            if not self._dispatch.others():
                return
