"""The controller's failover sequence as docs/architecture.md tells it, for one group; it may suspect wrongly."""

from middleboxes.core.frames import virtual_mac

from .master import SpareRole
from .network import MS


class Controller:
    """Starts the first master, keeps a spare assigned, moves the group to it. *make_core(host, epoch)* gives a fresh Master."""

    def __init__(self, host, group):
        self.host, self.group = host, group
        self.epoch = 1
        self.master = self.spare = None         # hosts
        self.live = False
        self.failovers = 0
        self._waiting = {}                      # answers that a failover still waits for
        self._prefix = self._checkpoint_id = None
        self._start([0] * group.workers)

    # -- what happens to nodes

    def suspect(self, host):
        """*host* is thought dead, rightly or not."""
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
            self.host.call(self.spare, self._become_spare, self.spare)
        if self.master is None:
            self._fail_over()
            self.assign_spare()

    def _become_spare(self, host):
        group = self.group
        group.parts.spare(host, group.make_core(host, self.epoch), group.store, group.checker, self._on_live)

    def _retire(self, host):
        """If it was only slow, it hears of it some time."""
        delay_ns = int(self.group.rng.random() * 20 * MS)
        self.group.events.after(delay_ns, self.host.call, host, self._become_free, host)

    def _become_free(self, host):
        if host is not self.master and host is not self.spare:
            host.role = None
            self.assign_spare()

    # -- a fresh master

    def _start(self, positions_k):
        """A master with empty state, on the spare or the first free host."""
        host = self.master or next((host for host in self.group.pool if host.alive), None)
        self.master = host
        if host is not None:
            self._redirect(host)
            self.host.call(host, self._become_master, host, self.epoch, positions_k)

    def _become_master(self, host, epoch, positions_k):
        group = self.group
        core = group.make_core(host, epoch)
        core.start_at(positions_k)
        group.parts.master(host, core, group.store, group.checker, group.checkpoint_interval_ns, False, self._on_lost, group.order)
        self._live(host, epoch)

    # -- failover

    def _fail_over(self):
        """Fence, redirect, and when all have answered, recover; begun anew if the spare dies on the way."""
        self.failovers += 1
        self.live = False
        self.epoch = epoch = self.next_epoch()
        self.group.checker.failover(epoch)
        self.master, self.spare = self.spare, None
        if self.master is None:
            return                              # no spare: assign_spare comes here again
        group, rng = self.group, self.group.rng
        self._waiting = {"store": True, "output-logger": True, "barrier": True}
        self.host.call(group.store.host, group.store.fence, epoch,
                       lambda number: group.store.host.call(self.host, self._answer, epoch, "store", number))
        self.host.call(group.output_logger.host, group.output_logger.fence, epoch,
                       lambda prefix: group.output_logger.host.call(self.host, self._answer, epoch, "output-logger", prefix))
        self.host.call(group.input_logger.host, group.input_logger.fence, epoch, lambda: None)
        group.events.after(int(rng.random() * 3 * MS), self._switched, epoch, self.master)

    def next_epoch(self):
        return self.epoch + 1

    def _switched(self, epoch, host):
        """The switch's barrier: from now on frames to the master go to *host*; most old masters are cut off, too."""
        if epoch == self.epoch:
            self._redirect(host)
            if self.group.rng.random() < 0.5:
                self.group.block_all_but(host)
            self._answer(epoch, "barrier", None)

    def _redirect(self, host):
        self.group.network.redirect(virtual_mac("master", self.group.number), host)
        self.group.network.blocked.discard(host.mac)

    def _answer(self, epoch, who, result):
        if epoch != self.epoch:
            return
        if who == "output-logger":
            self._prefix = result
        elif who == "store":
            self._checkpoint_id = result
        self._waiting.pop(who, None)
        if not self._waiting and self.master is not None:
            if self._checkpoint_id == 0:
                # nothing was ever durable, so nothing was ever processed
                self._start(self._prefix)
            else:
                self.host.call(self.master, self._recover, self.master, epoch, self._prefix)

    def _recover(self, host, epoch, prefix):
        if isinstance(host.role, SpareRole):
            host.role.recover(epoch, prefix, self.group.input_logger, self.group.output_logger)

    def _on_live(self, host, core):
        group = self.group
        group.parts.master(host, core, group.store, group.checker, group.checkpoint_interval_ns, True, self._on_lost, group.order)
        self._live(host, core.epoch)

    def _live(self, host, epoch):
        if epoch == self.epoch:
            self.live = True
            self.group.went_live(host)
        self.assign_spare()

    def _on_lost(self, host, reason):
        """A fenced master noticed it: its host is free."""
        host.role = None
        self.assign_spare()
