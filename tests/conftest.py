"""``scripts/test --matrix full``: every role dies in every way; ``--matrix-seed N``: with other second failures; ``--long``: soaks;
``--hostile-packets N``: so many for each function. Tests that change the machine run for one run of the tests at a time."""

import os

import pytest

from .leftovers import LOCK, Claim

CLAIM = pytest.StashKey()


def pytest_runtest_setup(item):
    """Before the first test that makes something on the machine: the names are ours, and nobody's leftovers bear them."""
    if item.get_closest_marker("emulation") and os.geteuid() == 0 and CLAIM not in item.config.stash:
        try:
            item.config.stash[CLAIM] = Claim()
        except BlockingIOError:
            pytest.exit(f"another run of the tests uses this machine ({LOCK} is locked): wait for its end", 2)


def pytest_unconfigure(config):
    """Let another run of the tests have the machine."""
    if CLAIM in config.stash:
        config.stash[CLAIM].release()


def pytest_addoption(parser):
    parser.addoption("--matrix", choices=("part", "full"), default="part",
                     help="which cases of the matrix of failures run (tests/emulation/test_matrix.py)")
    parser.addoption("--matrix-seed", type=int, default=1, help="decides which group fails, and what fails second")
    parser.addoption("--long", action="store_true", help="run soaks at full length: some minutes more")
    parser.addoption("--hostile-packets", type=int, default=2000,
                     help="how many hostile packets each function gets (tests/functions/test_conformance.py)")
