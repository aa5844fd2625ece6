"""What a master of several workers did, as a bundle, and its replay in whichever process.

    python -m tests.functions.replay_digest FILE        replays the bundle in FILE and prints the digest of the state

A bundle is what a failover has: the last durable checkpoint, and inputs and determinants after it.
"""

import random
import sys

from middleboxes.core.channel import pack, unpack
from middleboxes.core.checkpoint import Assembler
from middleboxes.core.frames import decode_input
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.master import Master
from middleboxes.core.recovery import LiveBuffer, Recovery
from middleboxes.functions import load
from tests.core.boxes import GROUP, MAC
from tests.core.shared_box import digest

from .nat_scenario import INSIDE, OUTSIDE

WORKERS = 4
BEGIN_NS = 1_700_000_000_000_000_000
_ALL = 1 << 30


def master(name, parameters, epoch):
    """A fresh Master of WORKERS workers with the built-in function *name*."""
    return Master(load(name).instances(parameters, [INSIDE, OUTSIDE], WORKERS), GROUP, MAC, epoch, list(range(WORKERS)))


def live(name, parameters, steps, seed):
    """(digest of the state, bundle) after *steps* [(seconds to wait, port, frame)], with a checkpoint in the middle.

    Each worker takes its inputs in their order; which worker is next is drawn.
    """
    rng, core, now_ns = random.Random(seed), master(name, parameters, 1), BEGIN_NS
    log = InputLogger(GROUP, MAC, WORKERS, 1, _ALL)
    queues = [[] for _ in range(WORKERS)]
    for number, (wait_s, port, frame) in enumerate(steps):
        now_ns += int(wait_s * 1e9)
        frames = [log.accept(("inside", "outside").index(port), frame, now_ns)] if port else log.tick(now_ns)
        for _, worker, item in map(decode_input, frames):
            queues[worker].append(item)
        while rng.random() < 0.6:
            _process(core, queues, rng)
        if number == len(steps) // 2:
            cut = core.cut()
            chunks, positions = [chunk for chunk in cut.chunks() if chunk is not None], cut.positions
    while any(queues):
        _process(core, queues, rng)
    inputs = [log.after(worker, n, _ALL)[0] for worker, (n, _) in enumerate(positions)]
    determinants = [core.workers[worker].log.encode(k, _ALL)[0] for worker, (_, k) in enumerate(positions)]
    return digest(core), pack([name, parameters, chunks, inputs, determinants, [worker.k for worker in core.workers]])


def _process(core, queues, rng):
    worker = rng.randrange(WORKERS)
    if queues[worker]:
        core.process(worker, queues[worker].pop(0))


def replay(bundle):
    """The digest of the state after the replay of *bundle*, as a spare does it."""
    name, parameters, chunks, inputs, determinants, to = unpack(bundle)
    core, assembler = master(name, parameters, 2), Assembler()
    for chunk in chunks:
        assembler.add(chunk)
    core.load(assembler.finish()[1])
    recovery = Recovery(core, to, LiveBuffer())
    recovery.loaded()
    for worker in range(WORKERS):
        recovery.determinants(worker, determinants[worker], True)
        recovery.inputs(worker, inputs[worker], True)
    while not recovery.finished:
        before = recovery.replayed
        recovery.step(100)
        assert recovery.finished or recovery.replayed > before, "the replay stands still"
    return digest(core)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        print(replay(file.read()))
