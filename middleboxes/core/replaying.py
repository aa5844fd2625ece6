"""Repeating logged steps in an order that they depend on (FTMB section 4.3): what a recovery and a hot spare have in common.

One thread repeats the steps of all workers: each worker's in order, and a step that had shared variables after another
worker's step only once that one is repeated. Whatever order this gives, shared variables go through the same hands as they did
in the old master.
"""

from collections import deque

from .determinants import DeterminantError, DeterminantLog, decode_extra
from .step import ReplayError


class Replay:
    """The steps of *master* that are to be repeated: ``plans`` (determinants) and logged inputs, per worker.

    They begin after *begin_k*, one k per worker, where *master* will stand; by default where it stands.
    """

    def __init__(self, master, begin_k=None):
        self._master = master
        self.plans = [DeterminantLog(k) for k in begin_k or [worker.k for worker in master.workers]]
        self.inputs = [deque() for _ in master.workers]
        self.input_bytes = 0                # of the frames in them

    def begin(self):
        """The master stands where it is to begin: forget what lies before."""
        for number, (worker, plan) in enumerate(zip(self._master.workers, self.plans)):
            plan.trim(worker.k)
            inputs = self.inputs[number]
            while inputs and inputs[0].n <= worker.n:
                self.take(number)

    @property
    def left(self):
        """Whether steps are left to repeat."""
        return any(map(len, self.plans))

    @property
    def steps_left(self):
        """How many."""
        return sum(plan.last - worker.k for plan, worker in zip(self.plans, self._master.workers))

    def store(self, number, data):
        """Add encoded determinants of worker *number*. Raises ReplayError."""
        try:
            if data and not self.plans[number].store(data):
                raise ReplayError(f"determinants of worker {number} have a gap")
        except DeterminantError as error:
            raise ReplayError(str(error)) from error

    def add(self, number, item):
        """Add a logged input of worker *number*."""
        self.inputs[number].append(item)
        self.input_bytes += len(item.frame)

    def take(self, number):
        """The next input of worker *number*."""
        item = self.inputs[number].popleft()
        self.input_bytes -= len(item.frame)
        return item

    def run(self, budget, repeat, complete):
        """Repeat up to *budget* steps of all workers, as far as they may, by ``repeat(number, item, extra)``; returns how many.

        *complete*: no more inputs or determinants come, so what a step waits for is missing. Raises ReplayError.
        """
        done, last = 0, -1
        while last < done < budget:
            last = done
            for number in range(len(self.plans)):
                done += self._run_worker(number, budget - done, repeat, complete)
        if last == done < budget and complete and self.left:
            raise ReplayError("the determinants are not closed: steps of several workers wait for steps that are not there")
        return done

    def may_follow(self, extra):
        """Whether all steps that a step with *extra* depends on are repeated."""
        if extra is None:
            return True
        workers = self._master.workers
        return all(before < len(workers) and workers[before].k >= k for _, _, before, k in decode_extra(extra)[0])

    def _run_worker(self, number, budget, repeat, complete):
        """Repeat what the determinants of a worker say, as far as inputs are there; returns the number of steps."""
        plan, inputs, done = self.plans[number], self.inputs[number], 0
        if not plan or budget <= 0:
            return done
        for k, n, extra in plan.steps():
            if done == budget or not self.may_follow(extra):
                break
            while inputs and inputs[0].n < n:
                self.take(number)           # the network lost it on its way to the old master
            if not inputs:
                if complete:
                    raise ReplayError(f"input {n} of worker {number} is needed by step {k} and not in the input log")
                break
            if inputs[0].n != n:
                raise ReplayError(f"input {n} of worker {number} is needed by step {k}, the log goes on at {inputs[0].n}")
            repeat(number, self.take(number), extra)
            done += 1
        plan.trim(self._master.workers[number].k)
        return done
