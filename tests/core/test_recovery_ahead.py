"""Recovery that asks the loggers before the checkpoint is loaded."""

import pytest

from middleboxes.core.recovery import LiveBuffer, Recovery
from middleboxes.core.step import ReplayError

from .boxes import contents, master
from .test_recovery import Scene, undisturbed


@pytest.mark.parametrize("told", [0, 3, 5])
def test_the_loggers_may_answer_before_the_checkpoint_is_loaded(told):
    """They are asked by the positions that the store told; what the loaded checkpoint covers beyond them is dropped."""
    scene = Scene()
    scene.spare = master(epoch=2)
    scene.recovery = Recovery(scene.spare, [scene.stored], scene.buffer)
    scene.asked = scene.recovery.request([(told, told)])
    assert scene.asked == ([told], [told], [15])
    scene.give_all()
    assert scene.recovery.step(1000) == [] and not scene.recovery.finished
    scene.spare.load(scene.durable)
    scene.spare.epoch = 2
    assert scene.recovery.loaded() is None, "nothing more is to be asked for"
    scene.finish()
    wanted, left = undisturbed(25)
    assert contents(scene.spare) == contents(wanted) and scene.left == left
    assert (scene.recovery.replayed, scene.recovery.processed) == (10, 10)


def test_the_loggers_may_answer_a_spare_that_goes_back_to_the_checkpoint():
    """A hot one may stand beyond it, and can't go on from there."""
    scene = Scene()
    for n in range(6, 13):
        scene.spare.process(0, scene.decoded(scene.inputs.after(0, n - 1, 1)[0][0]))
    scene.spare.checkpoint_id = 0
    scene.asked = scene.recovery.request([(5, 5)])
    scene.give_all()
    scene.spare.load(scene.durable)
    scene.recovery.loaded()
    scene.finish()
    assert contents(scene.spare) == contents(undisturbed(25)[0])


def test_a_checkpoint_that_ends_before_what_the_store_told_is_an_error():
    recovery = Recovery(master(), [5], LiveBuffer())
    recovery.request([(3, 2)])
    with pytest.raises(ReplayError, match="ends before"):
        recovery.loaded()
