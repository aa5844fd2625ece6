"""The tutorial, done as it stands there: what is typed in runs in the emulated network, and its counts survive its master."""

import re
import time

import pytest

from ..test_tutorial import typed_in
from .product import clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]

MINUTES_MAX = 3


@pytest.fixture
def ftmb(tmp_path):
    """A network with the tutorial's middlebox; afterwards the machine must be as before."""
    typed_in(tmp_path)
    with clean_machine(tmp_path) as product:
        product("up", "quota.yaml")
        yield product


def answers(ftmb):
    """How many of 60 pings are answered."""
    done = ftmb("exec", "client1", "--", "sh", "-c", "ping -q -c 60 -i 0.02 192.0.2.1; true")
    return int(re.search(r"(\d+) received", done.stdout)[1])


def test_the_quota_of_a_minute_is_the_same_whoever_counts(ftmb):
    """100 packets a minute: 60 and, after the kill, 40; done again if a minute ended in between."""
    for _ in range(MINUTES_MAX):
        minute = time.time() // 60
        before = answers(ftmb)
        ftmb("kill", "box", "master")
        after = answers(ftmb)
        if time.time() // 60 == minute:
            break
        ftmb("heal")
        ftmb.wait_protected()
    assert (before, after) == (60, 40)
    assert len(ftmb.group()["failovers"]) >= 1
