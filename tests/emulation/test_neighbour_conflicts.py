"""Where another app and ours meet in the flow tables: it is told, mended, and nobody else's entry is ever touched."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from .machine import output
from .neighbours import beside, entries, single, until

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
AUDIT_INTERVAL_S = 10
FULL_AUDIT_S = 6 * AUDIT_INTERVAL_S
NORMAL = {"type": "OUTPUT", "port": 0xfffffffa}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A protected NAT beside a learning switch and an app that edits flows on request, for all tests here, in order."""
    directory = tmp_path_factory.mktemp("conflicts")
    with beside(directory, single(directory), "ryu.app.simple_switch_13", "ryu.app.ofctl_rest") as made:
        yield made


def _told(world, text):
    return [event for event in world.rest("GET", "/ftmb/events") if text in event["what"]]


def _ofctl(*arguments):
    subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", *arguments], check=True, capture_output=True, timeout=20)


def test_what_another_app_deletes_of_ours_is_put_back_long_before_the_next_audit(world):
    mine = entries("fts1", ours=True)
    # as simple_switch_stp_13 does it after a change of the topology: all entries to a host, of whatever priority
    mac = world.deployment["hosts"]["client1"]["mac"]
    world.rest("POST", "/stats/flowentry/delete", {"dpid": 1, "match": {"dl_dst": mac}})
    until(lambda: _told(world, "of our entries were removed or changed: put back"), "told", AUDIT_INTERVAL_S / 2)
    until(lambda: entries("fts1", ours=True) == mine, "put back", AUDIT_INTERVAL_S / 2)
    assert world.pings("client1", "192.0.2.1")


def test_rules_in_our_band_and_above_it_are_told_and_left_alone(world):
    for priority in (40950, 50000):
        world.rest("POST", "/stats/flowentry/add", {"dpid": 1, "table_id": 0, "priority": priority, "cookie": priority,
                                                    "match": {"dl_type": 2048, "nw_proto": 17, "tp_dst": 9}, "actions": []})
    for priority, where in ((40950, "in"), (50000, "above")):
        told = until(lambda: _told(world, f"a rule of cookie {priority:#x} is {where} our band"), "told", FULL_AUDIT_S + 15)
        assert told[0]["level"] == "error"
    assert sum(f"priority={priority}," in entry for entry in entries("fts1") for priority in (40950, 50000)) == 2


def test_a_group_with_an_id_of_ours_is_told_and_left_alone_and_ours_comes_back_when_it_is_gone(world):
    mine = entries("fts1", ours=True)
    number = re.search(r"group_id=(\d+)", output("ovs-ofctl", "-O", "OpenFlow13", "dump-groups", "fts1"))[1]
    world.product("kill", "-", "controller")
    _ofctl("del-groups", "fts1", f"group_id={number}")
    _ofctl("add-group", "fts1", f"group_id={number},type=all,bucket=output:1")
    world.product("heal", "controller")
    world.wait_for_rest("/stats/switches")
    until(lambda: _told(world, f"group {int(number):#x} of type other is not ours"), "told")
    assert f"group_id={number},type=all" in output("ovs-ofctl", "-O", "OpenFlow13", "dump-groups", "fts1")
    assert not [entry for entry in entries("fts1", ours=True) if f"group:{number}" in entry], "held back"
    _ofctl("del-groups", "fts1", f"group_id={number}")
    until(lambda: entries("fts1", ours=True) == mine, "ours are back", 2 * AUDIT_INTERVAL_S)
    assert world.pings("client1", "192.0.2.1")


def test_after_another_app_has_deleted_everything_ours_is_back_at_once(world):
    mine = entries("fts1", ours=True)
    world.rest("DELETE", "/stats/flowentry/clear/1")
    until(lambda: entries("fts1", ours=True) == mine, "put back", AUDIT_INTERVAL_S / 2)
    assert world.pings("client1", "192.0.2.1")
    # theirs is theirs: what they need they put back themselves
    world.rest("POST", "/stats/flowentry/add", {"dpid": 1, "table_id": 0, "priority": 0,
                                                "actions": [{"type": "OUTPUT", "port": 0xfffffffd}]})
    assert world.pings("a1", "10.9.0.2")


def test_leaving_removes_all_that_is_ours_and_nothing_else(world):
    others = entries("fts1")
    assert others and entries("fts1", ours=True)
    key = Path("/run/ftmb/key").read_text(encoding="ascii").strip()
    request = urllib.request.Request("http://127.0.0.1:8080/ftmb/rules", method="DELETE", headers={"X-FTMB-Key": key})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer) == {"removed": True}
    assert entries("fts1", ours=True) == [] and entries("fts1") == others
    assert "group_id" not in output("ovs-ofctl", "-O", "OpenFlow13", "dump-groups", "fts1")
    assert world.pings("a1", "10.9.0.2")
