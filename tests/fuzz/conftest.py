"""Options, seeds, and the count of cases, told at the end."""

import random
import secrets
import sys
import tracemalloc
from pathlib import Path

import pytest

# the fakes of the controller's tests import each other by their bare names
sys.path.append(str(Path(__file__).parents[1] / "ryu_app"))

FIXED_SEED = 1
CASES_DEFAULT = 30_000

#: test -> its share of the cases, by what one costs; those over real sockets are the smallest
SHARES = {"channel": 0.34, "frames": 0.30, "rest": 0.14, "controller": 0.06, "services": 0.10, "files": 0.02, "sockets": 0.02, "bundle": 0.02}

_ran = {}


def pytest_addoption(parser):
    parser.addoption("--fuzz-cases", type=int, default=CASES_DEFAULT, help="cases in all")
    parser.addoption("--fuzz-seed", type=int, default=None, help="only this seed instead of a fixed and a fresh one")


def pytest_generate_tests(metafunc):
    if "campaign" not in metafunc.fixturenames:
        return
    seed = metafunc.config.getoption("fuzz_seed", default=None)
    if seed is None and not hasattr(metafunc.config, "fresh_seed"):
        metafunc.config.fresh_seed = secrets.randbelow(1 << 32)
    seeds = [FIXED_SEED, metafunc.config.fresh_seed] if seed is None else [seed]
    metafunc.parametrize("campaign", [(seed, 1 / len(seeds)) for seed in seeds], indirect=True, ids=[f"seed-{seed}" for seed in seeds])


class Campaign:
    """The cases of one test with one seed: iterate over their generators of random numbers."""

    def __init__(self, name, seed, count):
        self.name, self.seed, self.count, self.number = name, seed, count, None

    def __iter__(self):
        for number in range(self.count):
            self.number = number
            yield random.Random(f"{self.seed}/{self.name}/{number}")
            _ran[self.name] = _ran.get(self.name, 0) + 1


@pytest.fixture
def campaign(request):
    seed, part = request.param
    module = request.module.__name__.rpartition("test_")[2]
    tests = request.session.config.stash.setdefault(_TESTS, {})
    siblings = tests.get(module, 1)
    total = request.config.getoption("fuzz_cases", default=CASES_DEFAULT)
    campaign = Campaign(f"{module}/{request.function.__name__}", seed, max(2, round(total * SHARES[module] * part / siblings)))
    yield campaign
    # shown by pytest if the test has failed
    print(f"repeat it with --fuzz-seed {seed}; the last case was number {campaign.number} of {campaign.count}")


_TESTS = pytest.StashKey()


def pytest_collection_modifyitems(config, items):
    """How many tests share the cases of a module."""
    names = {(item.module.__name__.rpartition("test_")[2], item.function.__name__)
             for item in items if "campaign" in getattr(item, "fixturenames", ())}
    tests = config.stash.setdefault(_TESTS, {})
    for module, _ in names:
        tests[module] = tests.get(module, 0) + 1


def pytest_terminal_summary(terminalreporter, config):
    if _ran:
        seeds = [FIXED_SEED, config.fresh_seed] if hasattr(config, "fresh_seed") else [config.getoption("fuzz_seed")]
        counts = ", ".join(f"{name.split('/', 1)[1].replace('test_', '', 1)} {count}" for name, count in sorted(_ran.items()))
        terminalreporter.write_line(f"fuzz: {sum(_ran.values())} cases, seeds {seeds}: {counts}")


@pytest.fixture
def memory():
    """A function: the bytes that Python holds more than when the test began."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    yield lambda: tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
