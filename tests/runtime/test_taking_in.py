"""A spare that recovers takes in what is logged as it needs it: the first steps do not wait for thousands of later inputs."""

from middleboxes.core.frames import decode_input
from middleboxes.runtime.spare import INPUTS_ON_HAND

from tests.core.boxes import released

from .spare_scene import IL, OL, STORE, Scene

MESSAGE = 64
#: messages that are there at once
READ = 4


class Recovering:
    """A spare that has the state, and *steps* to repeat of which it has no input yet."""

    def __init__(self, steps):
        self.scene, self.given = Scene(hot=False), 0
        scene = self.scene
        scene.load()
        for _ in range(steps):
            released(scene.logger, scene.old.process(0, decode_input(scene.inputs.accept(0, b"send x", 1))[2]))
        self.frames, _ = scene.inputs.after(0, 0, steps)
        scene.recover(stored=[steps])
        scene.peer(STORE).answer(t="chunk", id=0, base=0, last=True, data=b"")
        scene.node.loop.run()

    @property
    def on_hand(self):
        return self.scene.spare._recovery.inputs_on_hand

    @property
    def held(self):
        return self.scene.peer(IL).held

    def determinants(self):
        data, _ = self.scene.logger.logs[0].encode(0, 1 << 16)
        self.scene.peer(OL).answer(t="determinant_batch", worker=0, data=data, end=True, released=b"")

    def turn(self):
        """What comes of the input logger, if it may, and then work, as the loop does it."""
        for _ in range(READ):
            if not self.held and self.given < len(self.frames):
                some, self.given = self.frames[self.given:self.given + MESSAGE], self.given + MESSAGE
                self.scene.peer(IL).answer(t="input_batch", worker=0, frames=some, end=self.given >= len(self.frames))
        loop = self.scene.node.loop
        jobs, loop.jobs = loop.jobs, []
        for job in jobs:
            if job():
                loop.work(job)


def test_the_input_logger_waits_while_there_is_enough_and_goes_on_before_that_is_used_up():
    recovering = Recovering(8 * INPUTS_ON_HAND)
    recovering.determinants()
    held = 0
    while recovering.given < len(recovering.frames):
        recovering.turn()
        held += recovering.held
        assert 0 < recovering.on_hand <= INPUTS_ON_HAND + READ * MESSAGE
    recovering.scene.node.loop.run()
    assert held > 2 and not recovering.scene.node.failed
    assert recovering.scene.spare.core.workers[0].k == len(recovering.frames) and not recovering.held


def test_where_steps_can_not_go_on_all_is_read():
    """What they wait for may be behind it: of several workers, the inputs of the next."""
    recovering = Recovering(2 * INPUTS_ON_HAND)
    while recovering.given < len(recovering.frames):
        recovering.turn()
    assert recovering.on_hand == len(recovering.frames) and not recovering.held and not recovering.scene.node.failed
    recovering.determinants()
    recovering.scene.node.loop.run()
    assert recovering.scene.spare.core.workers[0].k == len(recovering.frames)
