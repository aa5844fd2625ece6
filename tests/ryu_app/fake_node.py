"""A node process as the controller sees it: its roles, what it answers, and as much of what it would hold as decides
whether a state can be recovered: which checkpoint a store or spare has, and since which change a logger's log is complete.
"""

import zlib

from middleboxes.core.checkpoint import COVERED

NEVER = 1 << 60
STORED = [7]                    # R, as an output logger tells it
POSITIONS = [[5, 6]]            # n and k of every checkpoint
_NAMES = {}                     # IP address -> name


def service(name):
    """The address at which node *name* serves."""
    number = zlib.crc32(name.encode())
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    assert _NAMES.setdefault(address, name) == name
    return [address, 9778]


def served_by(address):
    """The name of the node that serves at *address*."""
    return _NAMES[address[0]]


class Agent:
    """A node process: its roles, and what it will say next, in order."""

    def __init__(self, name, boot):
        self.name, self.boot = name, boot
        self.running = True
        self.connected = False
        self.hung = False
        self.incapable = False      # every recovery fails
        self.roles = {}             # (group, role) -> epoch
        self.checkpoint = {}        # group -> (id, change) that this process, store or spare, has
        self.complete_from = {}     # (group, logger role) -> the change from which on its log is complete
        self.change, self.told = {}, {}         # of a master: group -> last change, last that it told durable
        self.inputs_from, self.master_epoch = {}, {}
        self.output_epoch = {}      # (group, role) -> epoch of the OUTPUT frames that it sends or takes
        self.recovering = set()     # groups of which it is a spare that was told to recover
        self.stopped = set()        # groups of which it was the master until it was asked to stop
        self.store = {}             # of a master: group -> name of the store it uses
        self.covered_from, self.begins_after = {}, {}       # of loggers: group -> what they tell when fenced
        self.counts = {}            # further counters: (group, role) -> {name: value}
        self.inbox, self.outbox = [], []

    def hello(self):
        roles = [{"group": group, "role": role, "epoch": epoch} for (group, role), epoch in sorted(self.roles.items())]
        return {"t": "hello", "node": self.name, "boot": self.boot, "service": service(self.name), "roles": roles}

    def beat(self):
        return {"t": "beat", "roles": [{"group": group, "role": role, "epoch": epoch, "counters": self._counters(group, role)}
                                       for (group, role), epoch in sorted(self.roles.items())]}

    def _counters(self, group, role):
        return {**self._own_counters(group, role), **self.counts.get((group, role), {})}

    def _own_counters(self, group, role):
        if role in ("store", "spare"):
            return {"checkpoint": self.checkpoint.get(group, (0, 0))[0], "recovering": role == "spare" and group in self.recovering}
        if role == "master":
            return {"inputs_from": self.inputs_from[group], "change": self.told[group], "stopped": group in self.stopped,
                    "output_epoch": self.output_epoch[group, role]}
        counters = {"released": 1} if self.complete_from.get((group, role), NEVER) < NEVER else {}
        return {**counters, "output_epoch": self.output_epoch[group, role]} if role == "output-logger" else counters

    def take(self, request):
        """Do what is asked; returns the messages that follow."""
        group, do, epoch, args = request["group"], request["do"], request["epoch"], request["args"]
        result, events, error = {}, [], ""
        role = args.get("role", "master")
        if do == "retire":
            self._give_up(group, role)
        elif do == "bundle":
            error = "no" if self.incapable else ""
        elif do == "restart":
            error = "has roles" if self.roles else ""
        elif do == "fence":
            assert (group, role) in self.roles, f"{self.name} is asked to fence what it is not"
            result = self._fence(group, role, epoch)
        elif do in ("use-store", "use-output-logger", "stop"):
            assert (group, "master") in self.roles, f"{self.name} is asked to {do} and is no master"
            self.change[group] = max(self.change[group], epoch)
            if do == "use-output-logger":
                self.output_epoch[group, "master"] = max(self.output_epoch[group, "master"], args["output_epoch"])
            if do == "use-store":
                self.store[group] = served_by(args["store"])
            if do == "stop":
                self.stopped.add(group)
                events = [("stopped", {"n": [5], "k": [6]})]
        elif do == "go-ahead":
            assert (group, "spare") in self.roles, f"{self.name} is asked to go ahead and is no spare"
        elif do == "recover":
            assert (group, "spare") in self.roles, f"{self.name} is asked to recover and is no spare"
            if group in self.recovering:
                return [{"t": "reply", "id": request["id"], "ok": False, "error": "is recovering already", "result": {}}]
            self.recovering.add(group)
            self.roles[group, "spare"] = epoch          # and so until it is live
            self._becomes_master(group, epoch, args)
            events = [("live", {"load_ms": 1.0, "replay_ms": 2.0, "replayed_packets": 3})]
            if self.incapable or group not in self.checkpoint:
                self._give_up(group, "spare")
                events = [("failed", {"role": "spare", "error": "no checkpoint"})]
        else:
            self._become(group, do, epoch, args)
        return [{"t": "reply", "id": request["id"], "ok": not error, "error": error, "result": result}] + [
            {"t": "event", "name": name, "group": group, "epoch": epoch, "detail": detail} for name, detail in events]

    def _give_up(self, group, role):
        self.roles.pop((group, role), None)
        if role == "spare":
            self.recovering.discard(group)

    def _become(self, group, role, epoch, args):
        self._give_up(group, role)
        self.roles[group, role] = epoch
        if role in ("store", "spare"):
            self.checkpoint.pop(group, None)
        elif role == "master":
            self._becomes_master(group, epoch, args)
        else:
            self.complete_from[group, role] = epoch if role == "input-logger" else NEVER
            if role == "output-logger":
                self.output_epoch[group, role] = max(epoch, args["covered_from"])

    def _becomes_master(self, group, epoch, args):
        self.change[group], self.told[group], self.master_epoch[group] = epoch, 0, epoch
        self.inputs_from[group], self.output_epoch[group, "master"] = args["inputs_from"], epoch
        self.stopped.discard(group)
        self.store[group] = served_by(args["store"])

    def _fence(self, group, role, epoch):
        if role == "master":
            self.inputs_from[group] = epoch
            self.change[group] = max(self.change[group], epoch)
            return {"n": [5], "last_ns": 9}
        self.roles[group, role] = max(self.roles[group, role], epoch)
        if role == "output-logger":
            self.output_epoch[group, role] = max(self.output_epoch[group, role], epoch)
            return {"stored": STORED, "covered_from": self.covered_from.get(group, 0), "output_epoch": self.output_epoch[group, role]}
        if role == "input-logger":
            return {"begins_after": self.begins_after.get(group, [0])}
        if role == "store":
            number, change = self.checkpoint.get(group, (0, 0))
            return {"checkpoint": number, "positions": POSITIONS if number else [], "change": change, "covers": dict.fromkeys(COVERED, change), "last_ns": 8}
        return {}

    def say(self, message):
        """*message* leaves: what it tells of the agent is so from now on."""
        if message.get("name") == "live":
            self.roles[message["group"], "master"] = self.roles.pop((message["group"], "spare"))
            self.recovering.discard(message["group"])
