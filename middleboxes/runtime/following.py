"""What makes a spare hot: it follows both loggers and repeats what the master does (docs/protocol.md, "Hot spares").

Following belongs to a SpareRole, which has the connections and loads checkpoints. Until it has begun, and whenever it has to begin anew,
the spare is what any other is: one that loads checkpoints.
"""

from ..core.following import Follower
from ..core.frames import FrameError
from ..core.step import ReplayError

STEPS_PER_SLICE = 256
#: A spare that had to begin anew soon after it began waits, twice as long each time, before it follows again; one that went on
#: for CALM_NS has a clean slate.
AGAIN_NS, AGAIN_MAX_NS, CALM_NS = 200_000_000, 60_000_000_000, 10_000_000_000
LOGGERS = ("input_logger", "output_logger")


class Following:
    """*role*: the SpareRole."""

    def __init__(self, role):
        self._role, self._loop = role, role.loop
        self._follower = None
        self._recovery = None           # once it has taken over
        self._delay_ns, self._since_ns, self._timer = AGAIN_NS, 0, None
        self.begun_anew = 0

    def counters(self):
        """Counters by name."""
        follower = self._follower
        return {"hot": self.begun, "behind_steps": follower.behind if follower else 0,
                "repeated": follower.repeated if follower else 0, "begun_anew": self.begun_anew,
                "dropped_outputs": follower.dropped_outputs if follower else 0}

    @property
    def active(self):
        """Whether it follows."""
        return self._follower is not None

    @property
    def begun(self):
        """Whether the state is beyond the last checkpoint that was loaded: none may be loaded any more."""
        return self._follower is not None and self._follower.begun

    # -- while the master lives

    def look(self):
        """Follow, or begin to repeat, if that is possible now; to be called whenever anything has changed."""
        role = self._role
        if self._recovery is not None or not role.loader.idle or not role.core.checkpoint_id:
            return
        if self._follower is None:
            if self._timer is None and all(role.is_open(name) for name in LOGGERS):
                self._follow()
        elif not self._follower.begun and self._follower.begin():
            self._since_ns = self._loop.now_ns()
            role.want_headers()
            role.work(self._step)

    def _follow(self):
        role, workers = self._role, self._role.core.workers
        self._follower = Follower(role.core)
        role.send("input_logger", {"t": "follow_inputs", "group": role.group, "after": [worker.n for worker in workers]})
        role.send("output_logger", {"t": "follow_determinants", "group": role.group, "after": [worker.k for worker in workers]})

    def message(self, message):
        """What a logger tells a follower."""
        if self._follower is None:
            return                      # it was on its way when this had to begin anew
        try:
            self._take(self._follower, message)
        except (FrameError, ReplayError) as error:
            if self._recovery is not None:
                raise
            self._role.begin_anew(str(error))
            return
        self.look()
        if self.begun and self._recovery is None:
            self._role.work(self._step)

    def _take(self, follower, message):
        workers = len(self._role.core.workers)
        if message["t"] == "followed_inputs":
            if message["begin"]:
                follower.inputs_begin(_positions(message["begin"], workers))
            if any(type(frame) is not bytes for frame in message["frames"]):
                raise FrameError("a followed input is no frame")
            follower.inputs(message["frames"])
        elif message["t"] == "followed_determinants":
            if message["begin"]:
                follower.determinants_begin(_positions(message["begin"], workers))
            for batch in message["batches"]:
                if type(batch) is not list or list(map(type, batch)) != [int, bytes] or batch[0] < 0:
                    raise FrameError("a batch of determinants is malformed")
                follower.determinants(*batch)
            follower.covered(_positions(message["covered"], workers))
        else:
            follower.released(message["worker"], message["released"])
            if message["last"]:
                follower.fenced(message["epoch"], _positions(message["stored"], workers))
                self._end_determinants()

    def header(self, header):
        """A later checkpoint is durable."""
        follower = self._follower
        if self._recovery is None and follower.fenced_epoch is not None and header["epoch"] >= follower.fenced_epoch:
            # somebody else became the master: the stream has ended for good
            self._role.begin_anew("the group has another master")
            return
        try:
            follower.durable(header)
        except ReplayError as error:
            if self._recovery is not None:
                raise
            self._role.begin_anew(str(error))

    def _step(self):
        """Repeat a slice."""
        if not self.begun or self._recovery is not None:
            return False
        try:
            return self._follower.step(STEPS_PER_SLICE) == STEPS_PER_SLICE
        except ReplayError as error:
            self._role.begin_anew(str(error))
            return False

    def drop(self):
        """Nothing of it counts any more: the streams have ended, or what they brought was wrong."""
        now_ns = self._loop.now_ns()
        self._delay_ns = AGAIN_NS if self._since_ns and now_ns - self._since_ns > CALM_NS else min(2 * self._delay_ns, AGAIN_MAX_NS)
        self._follower.give_up()
        self._follower, self._since_ns = None, 0
        self.begun_anew += 1
        self._loop.cancel(self._timer)
        self._timer = self._role.after(self._delay_ns, self._again)

    def _again(self):
        self._timer = None
        self.look()

    # -- the failover

    def may_become_master(self, stored, positions=()):
        """As the Follower's."""
        return self._follower is not None and self._follower.may_become_master(stored, positions)

    def ended(self, epoch):
        """The recoverable prefix at which the stream of determinants ended when the output logger was fenced for *epoch*; else None."""
        return self._follower.stored if self._follower is not None and self._follower.fenced_epoch == epoch else None

    def take_over(self, recovery):
        """*recovery* goes on from here, and waits for the end of the determinants."""
        self._recovery = recovery
        self._follower.hand_over(recovery)
        if self._follower.fenced_epoch is None:
            # it began after the fence, or the end is on its way
            self._role.send("output_logger", {"t": "unfollow_determinants", "group": self._role.group})
        self._end_determinants()

    def end_inputs(self):
        """All is fenced and redirected: what the stream of inputs does not have yet, the input logger is asked for, like any other."""
        self._recovery.begin_request()
        self._role.send("input_logger", {"t": "unfollow_inputs", "group": self._role.group})

    def _end_determinants(self):
        if self._recovery is not None and self._follower.fenced_epoch is not None:
            for number in range(len(self._role.core.workers)):
                self._recovery.determinants(number, b"", True)

    def settle(self):
        """It is about to be the master."""
        self._follower.settle()

    def close(self):
        """The role is given up."""
        self._loop.cancel(self._timer)


def _positions(value, workers):
    if len(value) != workers or any(type(number) is not int or number < 0 for number in value):
        raise FrameError(f"positions must be {workers} numbers, not {value!r:.100}")
    return value
