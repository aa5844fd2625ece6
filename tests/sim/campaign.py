"""Many schedules, on all cores: seeds in batches, results told in the order of the seeds."""

import gc
import multiprocessing
import os
import signal
import time
from collections import Counter
from contextlib import contextmanager
from typing import NamedTuple

from .checkers import Violation
from .group import Parts
from .run import Size, run
from .shrink import shrink

BATCH = 25
_PROGRESS_S = 10
#: of so many failed schedules the texts are told
TOLD_MAX = 20
#: a schedule leaves cycles behind: looked for less often than by default
_COLLECT_AFTER = 50_000


class Batch(NamedTuple):
    """What came of some seeds."""

    done: int
    totals: Counter
    failed: list            # (seed, text)


class Task(NamedTuple):
    """Some seeds to run, with the numbers given instead of drawn (a map)."""

    seeds: range
    given: dict
    parts: Parts


def size_of(seed, given):
    """What *seed* draws, but for what is *given*."""
    return Size.of(seed)._replace(**given)


def run_batch(task):
    """A Batch from a Task."""
    totals, failed = Counter(), []
    for seed in task.seeds:
        try:
            report = run(seed, task.parts, size_of(seed, task.given))
            totals.update(events=report.events, released=report.released, failovers=report.failovers,
                          moves=report.moves, replaced=report.replaced, lost=report.lost)
        except Violation as violation:
            failed.append((seed, str(violation)))
    return Batch(len(task.seeds), totals, failed)


def campaign(schedules, first_seed, progress=print, processes=None, given=None, parts=Parts()):
    """Seeds *first_seed*, *first_seed* + 1 ... on *processes* (default: as many as there are cores); returns the seeds that failed.

    The first that failed is made smaller, and told with the command that repeats it. Ctrl-C ends it: what was done is told, then
    KeyboardInterrupt goes on.
    """
    begin = told = time.monotonic()
    totals, failed, done = Counter(), [], 0
    last = first_seed + schedules
    tasks = [Task(range(seed, min(seed + BATCH, last)), given or {}, parts) for seed in range(first_seed, last, BATCH)]

    def rate():
        return done / max(time.monotonic() - begin, 1e-9)

    processes = processes or len(os.sched_getaffinity(0))
    try:
        progress(f"seeds {first_seed} to {last - 1} on {processes} processes")
        with _mapped(tasks, processes) as batches:
            for batch in batches:
                done += batch.done
                totals.update(batch.totals)
                for seed, text in batch.failed:
                    failed.append(seed)
                    if len(failed) <= TOLD_MAX:
                        progress(text)
                if time.monotonic() - told > _PROGRESS_S:
                    told = time.monotonic()
                    progress(f"{done} of {schedules} schedules, {len(failed)} failed, {rate():.0f} a second")
    finally:
        progress(f"{done} schedules from seed {first_seed} on in {time.monotonic() - begin:.1f} s, {rate():.0f} a second:"
                 f" {totals['failovers']} failovers, {totals['moves']} of them moves, {totals['replaced']} other roles replaced,"
                 f" {totals['lost']} times the state was lost as it must be, {totals['released']} packets released, {totals['events']} events;"
                 f" {len(failed)} failed" + (f": {failed[:TOLD_MAX]}" if failed else ""))
    if failed:
        progress(f"making seed {failed[0]} smaller")
        progress(shrink(failed[0], parts, size_of(failed[0], given or {})).text)
    return failed


@contextmanager
def _mapped(tasks, processes):
    """The Batches of *tasks*, in order. Processes end with the block, however it ends."""
    if processes == 1:
        yield map(run_batch, tasks)
        return
    # Ctrl-C is for the process that collects, which ends the others: they inherit that it is blocked. So is SIGTERM until
    # it is theirs: our own handler would keep a process alive that is ended as it begins.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    pool = multiprocessing.get_context("fork").Pool(processes, _begin_process)
    with pool:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield pool.imap(run_batch, tasks)


def _begin_process():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)       # how the pool ends it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
