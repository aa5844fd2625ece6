"""One group with its traffic and its faults, all drawn from one random.Random."""

import random
from typing import NamedTuple

from middleboxes.core import checkpoint
from middleboxes.core.checkpoint import Folded
from middleboxes.core.frames import virtual_mac
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.master import Master
from middleboxes.core.outputlog import OutputLogger
from middleboxes.core.sharing import State

from .changes import LOGS, Lost
from .checkers import Checker, Violation, require
from .controller import Controller
from .master import MasterRole
from .network import MS, US, Events, Host, Network
from .roles import InputLoggerRole, OutputLoggerRole, StoreRole
from .spare import SpareRole
from .witness import INPUT, Witness

DETECTION_NS = 2 * MS
QUIET_NS = 1_000 * MS
#: a fault that would be a second one waits so long, so often
PATIENCE_NS, PATIENCE_MAX = 3 * MS, 10
#: the share of faults that do not wait
RASH = 0.02
#: what a fault strikes, and how often
TARGETS = {("master",): 9, ("spare",): 2, ("move",): 3, ("input-logger",): 2, ("output-logger",): 2, ("store",): 2,
           ("input-logger", "output-logger"): 1, LOGS: 1}


class Parts(NamedTuple):
    """What a schedule is made of; tests of the checkers put faulty ones in."""

    input_logger: type = InputLogger
    output_logger: type = OutputLogger
    core: type = Master
    folded: type = Folded
    master: type = MasterRole
    spare: type = SpareRole
    controller: type = Controller


class Group:
    """A group on hosts, ready to run. *rng* decides everything."""

    number = 7

    def __init__(self, rng, parts=Parts(), workers=1):
        self.rng, self.parts, self.workers = rng, parts, workers
        # what is drawn while the order of workers is: apart, so that it is the same whatever else is drawn
        self.order = random.Random(rng.getrandbits(64))
        self.hot = self.order.random() < 0.5            # its spares repeat what the master does
        self._feed_bytes_max = self.order.choice((200, 1 << 20))
        self.events = Events()
        self.checker = Checker(self.events, workers)
        calm = rng.random() < 0.3
        self.network = Network(rng, self.events, ordered=calm, loss=0 if calm else rng.choice((0, 0.01, 0.05, 0.2)),
                               duplication=rng.choice((0, 0.02)), slow=0 if calm else rng.choice((0, 0.02, 0.2)),
                               delay_us_max=rng.choice((500, 5000)), stale_ns_max=rng.choice((0, 2, 10)) * MS,
                               mixed=not calm and rng.random() < 0.5)
        self.calm = calm
        self._stale = self.network.stale_ns_max > 0
        self.checkpoint_interval_ns = rng.choice((2, 5, 15)) * MS
        self.keys_per_chunk = rng.choice((2, 5, 256))
        self._unacknowledged_max = rng.choice((16, 65536))
        self._outside = 0
        hosts = [Host(name, number, self.network) for number, name in
                 enumerate(("controller", "l1", "l2", "l3", "l4", "l5", "m1", "m2", "m3", "m4")[:9 + (rng.random() < 0.5)])]
        controller, self.log_hosts, self.pool = hosts[0], hosts[1:6], hosts[6:]
        self._log_bytes_max = rng.choice((1 << 24, 2500))
        self._tick_interval_ns = rng.choice((1, 4)) * MS
        self._pending_max = rng.choice((8, 4096))
        il, ol, st = self.log_hosts[:3]
        self.traffic_host = il          # where the switch leads packets
        self.input_logger = self.make_input_logger(il, 1, None, 0, 1)
        self.output_logger = self.make_output_logger(ol, 1)
        self.store = self.make_store(st, 1)
        self.network.redirect(virtual_mac("input-logger", self.number), il)
        self.network.redirect(virtual_mac("output-logger", self.number), ol)
        for host in hosts[1:]:
            host.on_crash = self._crashed
        for host in self.log_hosts:
            host.clock_ns = rng.choice((0, 0, -20, 20)) * MS
        self.controller = parts.controller(controller, self)
        self._serial = 0
        self.faulty = True
        self.crashes = 0
        self.lost = ""                  # why the state can't be recovered

    # -- roles

    def make_input_logger(self, host, epoch, start, start_ns, master_epoch):
        """Let *host* be the input logger."""
        core = self.parts.input_logger(self.number, host.mac, self.workers, epoch, self._log_bytes_max,
                                       lambda frame, port, workers: Witness.partition(frame, "", workers),
                                       start=start, start_ns=start_ns, master_epoch=master_epoch)
        return InputLoggerRole(host, core, self.checker, self._tick_interval_ns, self._feed_bytes_max)

    def make_output_logger(self, host, epoch, covered_from=0):
        """Let *host* be the output logger."""
        core = self.parts.output_logger(self.number, host.mac, self.workers, 2, epoch, pending_max=self._pending_max,
                                        covered_from=covered_from)
        return OutputLoggerRole(host, core, self.checker, self._feed_bytes_max, covered_from)

    def make_store(self, host, epoch):
        """Let *host* be the store."""
        folded = self.parts.folded()
        folded.epoch = epoch
        return StoreRole(host, folded, self.checker)

    def log_role(self, name):
        """The group's input logger, output logger or store."""
        return getattr(self, name.replace("-", "_"))

    def make_master(self, host, core, taking):
        """Let *core* be the master on *host*."""
        if taking and self.checker.began_ns is None:
            self.checker.began()
        self.parts.master(host, core, self.store, self.checker, self.checkpoint_interval_ns, taking, self._tell, self.order)

    def _tell(self, host, epoch, name, detail):
        """An event of a master, for the controller."""
        if name == "refused":
            self.controller.refused(host)
        else:
            host.call(self.controller.host, self.controller.told, host, epoch, name, detail)

    # -- what roles ask for

    def make_core(self, host, epoch):
        """A fresh Master on *host*."""
        return self._core(host.mac, epoch, self._outside_value)

    def fresh_core(self, epoch):
        """A fresh Master nowhere, to repeat what others did: it must not ask for outside values."""
        def refuse():
            raise Violation("replay asks for an outside value")
        return self._core(bytes(6), epoch, refuse)

    def _core(self, mac, epoch, outside_value):
        seeds = [self.rng.getrandbits(64) for _ in range(self.workers)]
        trace = []
        witnesses = [Witness(outside_value, trace, view) for view in State(Witness, self.workers).views]
        return self.parts.core(witnesses, self.number, mac, epoch, seeds, unacknowledged_max=self._unacknowledged_max)

    def _outside_value(self):
        self._outside += 1
        return self._outside

    def block_all_but(self, host):
        """The switch drops what other hosts of the pool send, but for the spare."""
        self.network.blocked.update(other.mac for other in self.pool if other is not host and other is not self.controller.spare)

    def went_live(self, host):
        """A master is live: the worst moment to die."""
        if self.faulty and self.rng.random() < 0.15:
            self.events.after(int(self.rng.random() * 2 * MS), self.strike, host)

    # -- faults

    def strike(self, host):
        """Something happens to *host*: it dies, now or in the middle of a batch, or is thought dead."""
        if not self.faulty or not host.alive:
            return
        self.crashes += 1
        kind = self.rng.random()
        if kind < 0.3:
            self.controller.suspect(host)
        elif kind < 0.6:
            host.sends_left = self.rng.randrange(6)
        else:
            host.crash()

    def strike_somebody(self):
        """A fault of one role, or of several at once."""
        targets, = self.rng.choices(list(TARGETS), TARGETS.values())
        self._strike_when_it_may(targets, 0 if self.rng.random() < RASH else PATIENCE_MAX)

    def _strike_when_it_may(self, targets, patience):
        """Not as a second failure before the group is protected again (but for rash ones, and when patience is at its end)."""
        if not self.faulty:
            return
        controller = self.controller
        if patience and not self._may_strike(targets):
            self.events.after(PATIENCE_NS, self._strike_when_it_may, targets, patience - 1)
        elif targets == ("move",):
            controller.move()
        elif targets[0] in LOGS:
            for role in targets:
                self.strike(self.log_role(role).host)
        else:
            host = controller.master if targets == ("master",) else controller.spare
            if host is not None:
                self.strike(host)

    def _may_strike(self, targets):
        controller = self.controller
        if targets == ("spare",):
            return True
        if targets[0] in LOGS:
            # the master must outlive them
            return controller.live and isinstance(controller.master.role, MasterRole) and controller.master.sends_left is None
        return controller.changes.settled and all(map(self.in_place, LOGS))

    def in_place(self, name):
        """Whether the holder of a log role is there, and not about to die."""
        role = self.log_role(name)
        return role.host.alive and role.host.role is role and role.host.sends_left is None

    def _crashed(self, host):
        self.events.after(int(self.rng.random() * DETECTION_NS), self.controller.suspect, host)
        self.events.after(DETECTION_NS + int(self.rng.random() * 20 * MS), self._restart, host)

    def _restart(self, host):
        host.alive = True
        self.controller.returned(host)

    # -- the schedule

    def run(self, packets, crashes):
        """*packets* of traffic with *crashes* in it, then quiet, then the last checks; or ``lost``, where that is legitimate."""
        spacing_us = self.rng.choice((100, 300, 600))
        start_ns = self.rng.choice((0, 4 * MS))
        time_ns = start_ns
        for _ in range(packets):
            time_ns += int(self.rng.expovariate(1 / spacing_us) * US)
            self.events.at(time_ns, self._packet)
        for _ in range(crashes):
            self.events.at(int(self.rng.random() * time_ns), self.strike_somebody)
        keys_per_chunk, checkpoint.KEYS_PER_CHUNK = checkpoint.KEYS_PER_CHUNK, self.keys_per_chunk
        try:
            self.events.run(time_ns, self._after_each)
            self._settle()
        except Lost as lost:
            self.lost = str(lost)
            self.checker.legitimately_lost(self)
        finally:
            checkpoint.KEYS_PER_CHUNK = keys_per_chunk

    def _packet(self):
        self._serial += 1
        role = self.traffic_host.role
        if not isinstance(role, InputLoggerRole):
            return                      # nobody is there to log it
        role.arrive(self.rng.randrange(2), INPUT.pack(self.rng.randrange(6), self._serial))

    def _after_each(self):
        if self.events.count % 8 == 0:
            self.checker.bounds(self)

    def _settle(self):
        """No more faults or traffic: everything must come to rest, protected, with nothing lost on the way."""
        self.faulty = False
        self.network.calm()
        for host in (*self.pool, *self.log_hosts):
            host.sends_left = None
        self._run_until(self._protected, 5 * MS)
        self.input_logger.ticking = False
        self._run_until(self._quiet, 10 * MS)
        core = self.controller.master.role.core
        # a switch that is late may also lead a new input logger's first frames to a former master
        if self.calm and self.checker.queue_overflows == 0 and not (self._stale and self.controller.changes.made):
            self.checker.nothing_lost(self.checker.began_ns + 2 * MS)
        self.checker.finish(self, core)

    def _run_until(self, condition, step_ns):
        end_ns = self.events.now_ns + QUIET_NS
        while True:
            self.events.run(self.events.now_ns + step_ns, self._after_each)
            if condition():
                return
            require(self.events.now_ns < end_ns, f"the group does not come to rest: {self._describe()}")

    def _protected(self):
        """A live master, a durable checkpoint, a spare; every role where it should be, and covered by a durable checkpoint."""
        controller = self.controller
        return (controller.live and controller.spare is not None and isinstance(controller.master.role, MasterRole)
                and not controller.master.role.core.stopped and self.checker.began_ns is not None
                and controller.changes.settled and all(map(self.in_place, LOGS)))

    def _quiet(self):
        """Whether all determinants are stored."""
        core = self.controller.master.role.core
        return core.ready and all(log.last == worker.k for log, worker in zip(self.output_logger.core.logs, core.workers))

    def _describe(self):
        controller = self.controller
        roles = {host.name: type(host.role).__name__ if host.alive else "dead" for host in (*self.log_hosts, *self.pool)}
        changes = controller.changes
        core = getattr(controller.master and controller.master.role, "core", None)
        return (f"epoch {controller.epoch}, live {controller.live}, master {controller.master and controller.master.name},"
                f" roles {roles}, steps {core and [w.k for w in core.workers]},"
                f" stored {[log.last for log in self.output_logger.core.logs]}, checkpoint {self.store.folded.id},"
                f" changes begun {changes.begun}, needed {changes.needed}, confirmed {changes.confirmed}")
