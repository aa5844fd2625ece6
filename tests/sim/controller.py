"""The controller's failover sequence as docs/architecture.md tells it, for one group; it may suspect wrongly.

Moves of the master are failovers that begin when it has stopped. What else is replaced is in ``changes``.
"""

from middleboxes.core.frames import virtual_mac

from .changes import LOGS, Changes, Lost
from .master import MasterRole
from .network import MS
from .spare import SpareRole


class Controller:
    """Starts the first master, keeps a spare assigned, moves the group to it. *make_core(host, epoch)* gives a fresh Master."""

    def __init__(self, host, group):
        self.host, self.group = host, group
        self.epoch = self.master_epoch = 1
        self.master = self.spare = None         # hosts
        self.live = False
        self.failovers = self.moves = 0
        self.changes = Changes(self, {role: group.log_role(role).host for role in LOGS})
        self._stopped = None                    # a master that stopped for its move
        self._waiting = {}                      # answers that a failover still waits for
        self._prefix = self._checkpoint = None
        self._start([0] * group.workers)

    # -- what happens to nodes

    def suspect(self, host):
        """*host* is thought dead, rightly or not."""
        if host in self.group.log_hosts:
            self._retire(host)
            self.changes.suspect(host)
            return
        if host is self.spare:
            self.spare = None
            self._retire(host)
        elif host is self.master:
            self._retire(host)
            self._fail_over()
        self.assign_spare()

    def assign_spare(self):
        """Make a free host the spare; the master at once, if there is none."""
        if self.spare is None:
            self.spare = next((host for host in self.group.pool if host.alive and host.role is None and host is not self.master),
                              None)
            if self.spare is None:
                return
            self.group.network.blocked.discard(self.spare.mac)
            self.host.call(self.spare, self._become_spare, self.spare)
        if self.master is None:
            self._fail_over()
            self.assign_spare()

    def renew_spare(self):
        """The spare follows another store, or other loggers, from now on."""
        if self.spare is not None:
            self.host.call(self.spare, self._become_spare, self.spare)

    def _become_spare(self, host):
        group = self.group
        loggers = (group.input_logger, group.output_logger) if group.hot else None
        group.parts.spare(host, group.make_core(host, self.epoch), group.store, group.checker, self._on_live, loggers)

    def _retire(self, host):
        """If it was only slow, it hears of it some time."""
        delay_ns = int(self.group.rng.random() * 20 * MS)
        self.group.events.after(delay_ns, self.host.call, host, self._become_free, host)

    def _become_free(self, host):
        if host in self.group.log_hosts:
            if host not in self.changes.holders.values():
                host.role = None
                self.returned(host)
        elif host is not self.master and host is not self.spare:
            host.role = None
            self.assign_spare()

    def returned(self, host):
        """*host* has no role: it may get one."""
        self.group.network.blocked.discard(host.mac)
        if host in self.group.log_hosts:
            self.changes.fill()
        else:
            self.assign_spare()

    # -- a move

    def move(self):
        """Move the master to the spare, without a failure."""
        if self.live and self.spare is not None and self._stopped is None:
            self.host.call(self.master, self._stop, self.master)

    @staticmethod
    def _stop(host):
        if isinstance(host.role, MasterRole):
            host.role.stop()

    def told(self, host, epoch, name, detail):
        """An event of the master of *epoch*."""
        if host is not self.master or epoch != self.master_epoch:
            return
        if name == "protected":
            self.changes.protected(detail)
        elif name == "stopped":
            self._stopped = host
        self.finish_move()

    def finish_move(self):
        """The master has stopped: go on elsewhere, once nothing is being replaced (that would be a second failure)."""
        if self._stopped is not None and self._stopped is self.master and self.changes.settled and self.live:
            self.moves += 1
            self._retire(self.master)
            self._fail_over()

    # -- a fresh master

    def _start(self, positions_k):
        """A master with empty state, on the spare or the first free host."""
        host = self.master or next((host for host in self.group.pool if host.alive), None)
        self.master = host
        if host is not None:
            self._redirect(host)
            self.host.call(host, self._become_master, host, self.master_epoch, positions_k)

    def _become_master(self, host, epoch, positions_k):
        group = self.group
        core = group.make_core(host, epoch)
        core.begin(epoch, self.changes.inputs_from)
        core.start_at(positions_k)
        group.make_master(host, core, False)
        self._live(host, epoch)

    # -- failover

    def _fail_over(self):
        """Fence, redirect, and when all have answered, recover; begun anew if the spare dies on the way."""
        self.failovers += 1
        calm = self.live and self.changes.settled
        self.live, self._stopped = False, None
        if self.changes.begun or None in self.changes.holders.values():
            raise Lost("the master went while another role was being replaced")
        self.epoch = self.master_epoch = epoch = self.next_epoch()
        self.group.checker.failover(epoch)
        self.master, self.spare = self.spare, None
        if self.master is None:
            return                              # no spare: assign_spare comes here again
        group, rng = self.group, self.group.rng
        self._waiting = {"store": True, "output-logger": True, "barrier": True}
        self.host.call(group.store.host, group.store.fence, epoch,
                       lambda *checkpoint: group.store.host.call(self.host, self._answer, epoch, "store", checkpoint))
        self.host.call(group.output_logger.host, group.output_logger.fence, epoch,
                       lambda prefix: group.output_logger.host.call(self.host, self._answer, epoch, "output-logger", prefix))
        self.host.call(group.input_logger.host, group.input_logger.fence, epoch, lambda: None)
        group.events.after(int(rng.random() * 3 * MS), self._switched, epoch, self.master)
        if calm and group.hot:
            self.host.call(self.master, self._go_ahead, self.master, epoch)

    def next_epoch(self):
        return self.epoch + 1

    def _switched(self, epoch, host):
        """The switch's barrier: from now on frames to the master go to *host*; most old masters are cut off, too."""
        if epoch == self.master_epoch:
            self._redirect(host)
            if self.group.rng.random() < 0.5:
                self.group.block_all_but(host)
            self._answer(epoch, "barrier", None)

    def _redirect(self, host):
        self.group.network.redirect(virtual_mac("master", self.group.number), host)
        self.group.network.blocked.discard(host.mac)

    def _answer(self, epoch, who, result):
        if epoch != self.master_epoch:
            return
        if who == "output-logger":
            self._prefix = result
        elif who == "store":
            self._checkpoint = result
        self._waiting.pop(who, None)
        if not self._waiting and self.master is not None:
            checkpoint_id, covers, positions = self._checkpoint
            if checkpoint_id == 0 and self.changes.none:
                # nothing was ever durable, so nothing was ever processed
                self._start(self._prefix)
            elif not self.changes.are_covered(covers):
                raise Lost(f"the last durable checkpoint covers {covers}, replaced are {self.changes.needed}")
            else:
                self.group.checker.explained()
                self.host.call(self.master, self._recover, self.master, epoch, self._prefix, positions)

    def _go_ahead(self, host, epoch):
        if isinstance(host.role, SpareRole):
            host.role.go_ahead(epoch, self.changes.inputs_from, self.group.input_logger, self.group.output_logger)

    def _recover(self, host, epoch, prefix, positions):
        if isinstance(host.role, SpareRole):
            host.role.recover(epoch, prefix, positions, self.changes.inputs_from, self.group.input_logger, self.group.output_logger)

    def _on_live(self, host, core):
        self.group.make_master(host, core, True)
        self._live(host, core.epoch)

    def _live(self, host, epoch):
        if epoch == self.master_epoch:
            self.live = True
            self.group.went_live(host)
        self.assign_spare()

    def refused(self, host):
        """A fenced master noticed it: its host is free."""
        host.role = None
        self.assign_spare()
