"""A middlebox whose workers share state in two domains, what its threads did as a bundle, and the bundle's replay.

    python -m tests.core.shared_box BUNDLE      replays it and prints the digest of the state
"""

import hashlib
import random
import sys
import threading

from middleboxes.core.channel import pack, unpack
from middleboxes.core.determinants import DeterminantLog
from middleboxes.core.frames import PACKET, Input
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.master import Master
from middleboxes.core.recovery import LiveBuffer, Recovery
from middleboxes.sdk import Counter, IdleTimers, Map, Middlebox

from .boxes import GROUP, MAC, PORTS

WORKERS = 4


class Shared(Middlebox):
    """Each packet is a word: what it does to the state depends on the order of all packets of all workers."""

    ports = ("inside", "outside")
    number = Counter()
    texts = Map()
    used = IdleTimers(domain="timers")
    own = Counter(scope="worker")
    words = Map(scope="flow")

    def handle(self, frame, ctx):
        self.own.add()
        self.words[ctx.port, self.worker_number] = frame
        if frame[0] % 5 == 0:
            return
        if frame[0] % 5 != 1:
            number = self.number.add()
            key = frame[:1].decode("latin-1")
            # also what would differ between processes if it came from hash() or a set
            self.texts[key] = (number, *self.texts.get(key, ())[:3])
            if len(self.texts) > 20:
                del self.texts[next(iter(self.texts))]
        if frame[0] % 5 < 3:
            self.used.touch(frame[:1], ctx.now_ns)
            for old in self.used.expired(ctx.now_ns, 50, 2):
                del self.used[old]
        if frame[0] % 5 != 1:
            ctx.emit("outside", b"%d" % number)


def master(make_lock=threading.Lock, epoch=1):
    instances = Shared.instances({}, PORTS, WORKERS, make_lock)
    return Master(instances, GROUP, MAC, epoch, list(range(WORKERS)))


def inputs(count, seed):
    """Per worker *count* inputs."""
    rng = random.Random(seed)
    return [[Input(n, n * 10 + worker, 0, PACKET, rng.randbytes(4)) for n in range(1, count + 1)] for worker in range(WORKERS)]


def digest(core):
    """Of all state and order."""
    variables = [[name, list(map(list, variable.items())) if isinstance(variable, Map) else variable.value]
                 for name, variable in core.function.variables.items()]
    workers = [[w.n, w.k, w.last_ns, w.context.random_state] for w in core.workers]
    return hashlib.sha256(pack([variables, workers, core.state.header()])).hexdigest()


def run_threads(core, items):
    """Each worker's *items* on a thread of its own, begun together: the frames of each, in its order."""
    begin, frames = threading.Barrier(WORKERS), [[] for _ in range(WORKERS)]

    def work(number):
        begin.wait()
        for item in items[number]:
            frames[number] += core.process(number, item)
            frames[number] += core.flush_worker(number)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return frames


def bundle(core, items):
    """What *core* did from its beginning, as bytes."""
    return pack([[list(map(list, each)) for each in items], [w.log.encode(0, 1 << 24)[0] for w in core.workers]])


def recover(data, budget=1000):
    """A fresh master after the replay of a bundle, by Recovery."""
    items, determinants = unpack(data)
    core = master(epoch=2)
    plans = [DeterminantLog() for _ in determinants]
    for plan, encoded in zip(plans, determinants):
        assert not encoded or plan.store(encoded)
    recovery = Recovery(core, [plan.last for plan in plans], LiveBuffer())
    recovery.loaded()
    for worker, (encoded, each) in enumerate(zip(determinants, items)):
        logger = InputLogger(GROUP, MAC, 1, 1, 1 << 30)
        frames = [logger._encoder.encode(1, worker, Input(*item)) for item in each]
        recovery.determinants(worker, encoded, True)
        recovery.inputs(worker, frames, True)
    while not recovery.finished:
        before = recovery.replayed
        recovery.step(budget)
        assert recovery.finished or recovery.replayed > before, "the replay stands still"
    return core


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        print(digest(recover(file.read())))
