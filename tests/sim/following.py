"""Hot spares: what a logger sends to those that follow it, and what the runtime does around the core's Follower."""

from functools import partial

from middleboxes.core.following import Follower
from middleboxes.core.frames import FrameError
from middleboxes.core.step import ReplayError

from .network import MS

STEPS_PER_SLICE = 4


class Feeds:
    """The followers of a logger's *role*."""

    def __init__(self, role):
        self._role = role
        self._feeds = {}                # client -> (its boot, feed, on_parts, on_refused)
        self._waking = False

    def add(self, client, feed, on_begin, on_parts, on_refused):
        """*client* follows, or begins anew."""
        self._feeds[client] = client.boot, feed, on_parts, on_refused
        self._role.host.call(client, on_begin, feed.begin)
        self.wake()

    def wake(self):
        """Something was logged."""
        if self._feeds and not self._waking:
            self._waking = True
            self._role.host.later(MS // 10, self._send)

    def save(self):
        """The log is about to forget something."""
        for _, feed, _, _ in self._feeds.values():
            feed.save()

    def _send(self):
        self._waking = False
        for client, (boot, feed, on_parts, on_refused) in list(self._feeds.items()):
            parts = feed.take()
            if feed.cut_off or client.boot != boot:
                del self._feeds[client]
                self._role.host.call(client, on_refused)
            elif parts:
                self._role.host.call(client, on_parts, parts)
                self.wake()

    def end(self, client):
        """The rest for *client*, which follows no more; False if it did not follow."""
        boot, feed, on_parts, on_refused = self._feeds.pop(client, (None, None, None, None))
        if boot != client.boot:
            return False
        while parts := feed.take():
            self._role.host.call(client, on_parts, parts)
        if feed.cut_off:
            self._role.host.call(client, on_refused)
        return True

    def clients(self):
        """Who follows."""
        return list(self._feeds)


class Following:
    """What makes *spare* a hot one, of a group with these two loggers."""

    follower_class = Follower

    def __init__(self, spare, input_logger, output_logger):
        self._spare = spare
        self._input_logger, self._output_logger = input_logger, output_logger
        self._follower = self._recovery = None
        self._stepping = self._stopped = False
        self._frames = []               # of the stream of inputs
        self.begun_anew = 0

    @property
    def begun(self):
        """Whether the state is beyond the last checkpoint that was loaded."""
        return self._follower is not None and self._follower.begun

    def look(self):
        """Follow, or begin to repeat, if that is possible now."""
        spare = self._spare
        if self._recovery is not None or self._stopped or not spare.core.checkpoint_id or spare.host.role is not spare:
            return
        if self._follower is None:
            self._follower = follower = self.follower_class(spare.core)
            self._frames = []
            refused, workers = partial(self._refused, follower), spare.core.workers
            spare.host.call(self._input_logger.host, self._input_logger.follow, spare.host, [worker.n for worker in workers],
                            partial(self._take, follower, follower.inputs_begin), partial(self._inputs, follower), refused)
            spare.host.call(self._output_logger.host, self._output_logger.follow, spare.host, [worker.k for worker in workers],
                            partial(self._take, follower, follower.determinants_begin),
                            partial(self._determinants, follower), refused, partial(self._end, follower))
        elif not self._follower.begun:
            self._follower.begin()
        self._step_soon()

    # -- what the loggers tell

    def _take(self, follower, function, *args):
        """Give *follower* something, if it is not given up."""
        if follower is not self._follower or self._spare.host.role is not self._spare:
            return
        try:
            function(*args)
        except (FrameError, ReplayError):
            if self._recovery is not None:
                raise
            self.begin_anew()
            return
        if self._recovery is None:
            self.look()
        else:
            self._spare.go_on()

    def _inputs(self, follower, frames):
        if follower is self._follower:
            if self._recovery is not None:
                self._spare.checker.fetched(self._spare.core, frames)
            self._frames += frames
        self._take(follower, follower.inputs, frames)

    def _determinants(self, follower, parts):
        for covered, number, data in parts:
            self._take(follower, follower.determinants, number, data)
            self._take(follower, follower.covered, covered)

    def _end(self, follower, epoch, stored, released):
        for number, data in enumerate(released):
            self._take(follower, follower.released, number, data)
        self._take(follower, follower.fenced, epoch, stored)
        if follower is self._follower and self._spare.host.role is self._spare:
            self._end_determinants()
            self._spare.look_ahead()

    def _refused(self, follower):
        if follower is not self._follower or self._spare.host.role is not self._spare:
            return
        if self._recovery is None:
            self.begin_anew()
        else:
            self._spare.host.crash()        # the role fails, and the next one recovers from a checkpoint

    def header(self, header):
        """A later checkpoint is durable."""
        follower = self._follower
        if self._recovery is None and follower.fenced_epoch is not None and header["epoch"] >= follower.fenced_epoch:
            self.begin_anew()
        else:
            follower.durable(header)

    def begin_anew(self):
        """Back to a checkpoint."""
        ahead = self.begun
        self._follower.give_up()
        self._follower = None
        self.begun_anew += 1
        if ahead:
            self._spare.load_again()
        else:
            self._spare.host.later(MS, self.look)

    # -- steps

    def _step_soon(self):
        if self.begun and not self._stepping:
            self._stepping = True
            self._spare.host.later(MS // 20, self._step)

    def _step(self):
        self._stepping = False
        follower = self._follower
        if self._recovery is not None or not self.begun:
            return
        try:
            went_on = follower.step(STEPS_PER_SLICE)
        except ReplayError:
            self.begin_anew()
            return
        if went_on:
            self._step_soon()

    # -- the failover

    def is_same(self, input_logger, output_logger):
        """Whether it follows these two."""
        return self._input_logger is input_logger and self._output_logger is output_logger

    def may_become_master(self, stored, input_logger, output_logger, positions=()):
        """Whether the recovery may go on from here."""
        return (self._follower is not None and self.is_same(input_logger, output_logger)
                and self._follower.may_become_master(stored, positions))

    def ended(self, epoch):
        """The recoverable prefix at which the stream of determinants ended for *epoch*; else None."""
        return self._follower.stored if self._follower is not None and self._follower.fenced_epoch == epoch else None

    def take_over(self, recovery):
        """*recovery* goes on from here."""
        self._recovery = recovery
        self._follower.hand_over(recovery)
        self._spare.checker.fetched(self._spare.core, self._frames)
        if self._follower.fenced_epoch is None:
            # it began after the fence
            self._spare.host.call(self._output_logger.host, self._output_logger.unfollow, self._spare.host)
        self._end_determinants()

    def end_inputs(self):
        """All is fenced and redirected: the input logger is asked for what the stream does not have yet."""
        self._recovery.begin_request()
        self._spare.host.call(self._input_logger.host, self._input_logger.unfollow, self._spare.host, self._spare.inputs_of_log)

    def _end_determinants(self):
        if self._recovery is not None and self._follower.fenced_epoch is not None:
            for number in range(len(self._spare.core.workers)):
                self._spare.determinants_of_log(number, b"", b"", True)

    def stop(self):
        """The recovery begins elsewhere: what is still on its way counts no more."""
        self._follower, self._stopped = None, True

    def settle(self):
        """It is about to be the master."""
        self._follower.settle()
