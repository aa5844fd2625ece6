"""What the controller does when input logger, output logger or store dies around a living master (docs/protocol.md, "Replacements")."""

from middleboxes.core.frames import virtual_mac

from .master import MasterRole
from .network import MS

LOGS = ("input-logger", "output-logger", "store")


class Lost(Exception):
    """The state can't be recovered: the second failure came before the group was protected again."""


class Changes:
    """The three log roles of a group: who has them, and since which epoch they must be covered by a durable checkpoint."""

    def __init__(self, controller, holders):
        self._controller, self._group = controller, controller.group
        self.holders = holders          # role -> host, None while nobody is free
        self.begun = {}                 # role -> epoch of its replacement, until the master was told
        self.needed = dict.fromkeys(LOGS, 1)        # role -> the replacement that a durable checkpoint must be cut after
        self.confirmed = dict.fromkeys(LOGS, 0)
        self.inputs_from = 1
        self.made = 0
        self._logged_elsewhere = False          # since the spare was told who the loggers are
        self._former_output_loggers = []        # they are cut off together: one may be replaced before it was steered to

    # -- what the group is told

    @property
    def settled(self):
        """Whether the master may die now, as far as the controller knows."""
        return not self.begun and None not in self.holders.values() and self.are_covered(self.confirmed)

    @property
    def none(self):
        """Whether nothing was ever replaced."""
        return set(self.needed.values()) == {1}

    def are_covered(self, covers):
        """Whether a checkpoint that *covers* so much protects the group."""
        return all(covers.get(role, 0) >= epoch for role, epoch in self.needed.items())

    def protected(self, covers):
        """The master says what a durable checkpoint *covers*."""
        self._group.checker.claimed(covers)
        self.confirmed = covers
        if self.settled and self._logged_elsewhere and self._group.hot:
            self._logged_elsewhere = False
            self._controller.renew_spare()

    def suspect(self, host):
        """*host* is thought dead: replace what it has. Raises Lost."""
        for role, holder in self.holders.items():
            if holder is host:
                if not self._controller.live:
                    self._group.checker.change_begun(role)
                    raise Lost(f"the {role} went while the group had no live master")
                self.holders[role] = None
        self.fill()

    def fill(self):
        """Give roles that nobody has to free hosts."""
        for role, holder in self.holders.items():
            if holder is None:
                host = next((host for host in self._group.log_hosts if self._is_free(host)), None)
                if host is not None:
                    self.holders[role] = host
                    self._replace(role, host)

    def _is_free(self, host):
        return host.alive and host.role is None and host not in self.holders.values()

    # -- one replacement

    def _replace(self, role, host):
        controller, group = self._controller, self._group
        self.made += 1
        self._logged_elsewhere |= role != "store"
        controller.epoch += 1
        self.needed[role] = self.begun[role] = epoch = controller.epoch
        former = group.log_role(role)
        group.checker.change_begun(role)
        steering_ns = int(group.rng.random() * 3 * MS)
        if role == "input-logger":
            controller.host.call(controller.master, self._fence_master, controller.master, epoch, host)
            group.events.after(steering_ns, self._steer_inputs, epoch, host, former)
        elif role == "output-logger":
            # two answers: the new one is there, and the steering is in force
            waiting = {"role", "steering"}
            self._former_output_loggers.append(former)
            group.events.after(steering_ns, self._steer_outputs, epoch, host, waiting)
            controller.host.call(host, self._become_output_logger, epoch, host, waiting)
        else:
            controller.host.call(host, self._become_store, epoch, host)

    def _is_current(self, role, epoch):
        return self.begun.get(role) == epoch and self.holders[role] is not None

    def _ask_master(self, role, epoch, method, *args):
        """The last message of a replacement: to the master."""
        controller = self._controller
        if self._is_current(role, epoch):
            del self.begun[role]
            controller.host.call(controller.master, self._on_master, controller.master, method, epoch, *args)

    @staticmethod
    def _on_master(host, method, *args):
        if isinstance(host.role, MasterRole):
            getattr(host.role, method)(*args)

    # -- input logger: the master says where it begins

    def _fence_master(self, master, epoch, host):
        if isinstance(master.role, MasterRole):
            n, last_ns = master.role.fence(epoch)
            master.call(self._controller.host, self._fenced_master, epoch, host, n, last_ns)

    def _fenced_master(self, epoch, host, n, last_ns):
        if self._is_current("input-logger", epoch):
            self.inputs_from = epoch
            self._controller.host.call(host, self._become_input_logger, epoch, host, n, last_ns)

    def _become_input_logger(self, epoch, host, n, last_ns):
        group = self._group
        group.input_logger.succeeded = True
        group.checker.input_logger_began(n)
        group.input_logger = group.make_input_logger(host, epoch, n, last_ns, self._controller.master_epoch)
        host.call(self._controller.host, self._input_logger_ready, epoch)

    def _input_logger_ready(self, epoch):
        if self._is_current("input-logger", epoch):
            del self.begun["input-logger"]
            self._controller.finish_move()

    def _steer_inputs(self, epoch, host, former):
        """Traffic goes to the new one. Some former ones are cut off; the master refuses what the others send."""
        group = self._group
        if self.holders["input-logger"] is host:
            group.traffic_host = host
            group.network.redirect(virtual_mac("input-logger", group.number), host)
            if group.rng.random() < 0.5 and former.host.role is former:
                group.network.blocked.add(former.host.mac)

    # -- output logger

    def _become_output_logger(self, epoch, host, waiting):
        group = self._group
        group.output_logger.is_former = True
        group.output_logger = group.make_output_logger(host, self._controller.master_epoch, epoch)
        group.checker.output_logger_began()
        host.call(self._controller.host, self._output_logger_answer, epoch, waiting, "role")

    def _steer_outputs(self, epoch, host, waiting):
        """Outputs go to the new one. Some former ones are cut off; of the others acknowledgements and packets come still.

        A switch may be late with that, too, and who gives a role away by a drain is not cut off at all.
        """
        group = self._group
        if self.holders["output-logger"] is host:
            group.network.redirect(virtual_mac("output-logger", group.number), host)
            for former in self._former_output_loggers:
                if epoch % 2 and former.host.role is former:
                    group.network.blocked.add(former.host.mac)
            self._former_output_loggers.clear()
        self._output_logger_answer(epoch, waiting, "steering")

    def _output_logger_answer(self, epoch, waiting, who):
        waiting.discard(who)
        if not waiting:
            self._ask_master("output-logger", epoch, "use_output_logger", epoch)

    # -- store

    def _become_store(self, epoch, host):
        self._group.store = self._group.make_store(host, self._controller.master_epoch)
        host.call(self._controller.host, self._store_ready, epoch)

    def _store_ready(self, epoch):
        self._ask_master("store", epoch, "use_store", self._group.store)
        self._controller.renew_spare()
