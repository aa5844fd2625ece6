"""State that can't be recovered: nothing passes, it is told loudly, and an operator decides."""

import json
import re
import urllib.request
from pathlib import Path

import pytest

from .product import clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]


@pytest.fixture(scope="module")
def ftmb(tmp_path_factory):
    """A network with one protected NAT; afterwards the machine must be as before."""
    with clean_machine(tmp_path_factory.mktemp("lost")) as product:
        product("up", "single")
        yield product


def decide(policy):
    """Tell the controller what to do with the group."""
    key = Path("/run/ftmb/key").read_text(encoding="ascii").strip()
    request = urllib.request.Request("http://127.0.0.1:8080/ftmb/groups/nat/decide", json.dumps({"policy": policy}).encode(),
                                     {"X-FTMB-Key": key, "Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200


def ping(ftmb, code):
    ftmb("exec", "client1", "--", "ping", "-c", "1", "-W", "2", "192.0.2.1", code=code)


@pytest.mark.parametrize("policy", ["last-checkpoint", "empty"])
def test_lost_state_blocks_until_an_operator_decides(ftmb, policy):
    """Master and output logger die while nobody can replace either."""
    ping(ftmb, code=0)
    ftmb("kill", "-", "controller")
    ftmb("kill", "nat", "output-logger")
    ftmb("kill", "nat", "master")
    ftmb("heal", "controller")
    ftmb("status", "--wait", "lost", "--timeout", "30")
    # the output logger's node may have become the input logger, too
    assert re.search("output-logger(, input-logger)? and master are gone", ftmb("status").stdout)
    ping(ftmb, code=1)
    ftmb("heal")
    decide(policy)
    ftmb.wait_protected()
    ping(ftmb, code=0)
