"""Real node processes: input logger, output logger and store are killed and replaced around a living master, which then dies.

What the master's death shows each time: the group was protected again, so nothing that was confirmed is lost.
"""

import os
import signal

import pytest

from middleboxes.core.checkpoint import COVERED

from .harness import PREFIX, Harness, run
from .test_nodes import COMMON, Group, ping, received, serve_for

pytestmark = [pytest.mark.emulation,
              pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")]

PORTS = ["inside", "outside"]


@pytest.fixture
def harness(tmp_path):
    harness = Harness(tmp_path, ["il", "ol", "st", "m1", "m2", "l2"], {"il": PORTS, "ol": PORTS, "l2": PORTS})
    try:
        for name in harness.nodes:
            harness.start(name)
        run("ip address add 10.0.0.1/24 dev eth0; ip route add default via 10.0.0.254", f"{PREFIX}-h-inside")
        run("ip address add 192.0.2.1/24 dev eth0", f"{PREFIX}-h-outside")
        yield harness
    finally:
        harness.close()


def kill(harness, name):
    harness.kill(name)
    harness.until(lambda: name not in harness.connections)


def protected_again(harness, role, epoch):
    """Wait for the checkpoint that was cut after the replacement of *role* in *epoch*."""
    detail = harness.wait_event("protected")
    assert detail["covers"] == {**dict.fromkeys(COVERED, 1), role: epoch} and detail["change"] == epoch


def replace_output_logger(group):
    """l2 is the output logger from now on; returns when it is protected."""
    harness, group.epoch = group.harness, group.epoch + 1
    harness.request("l2", "output-logger", group.master_epoch, **COMMON | {"workers": group.function["workers"]}, covered_from=group.epoch)
    group.output_logger = "l2"
    harness.request("m1", "use-output-logger", group.epoch, output_epoch=group.epoch)
    protected_again(harness, "output-logger", group.epoch)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_new_input_logger_goes_on_where_the_master_stands(harness, workers):
    """Numbers rise and time does not go back; what the former one still sends is refused; then the master dies, too."""
    group = Group(harness, workers=workers)
    process = ping(600)
    serve_for(harness, 1)
    harness.kill("il", signal.SIGSTOP)
    group.replace_input_logger("l2")
    protected_again(harness, "input-logger", group.epoch)
    group.spare("m2")
    harness.kill("il", signal.SIGCONT)
    serve_for(harness, 0.5)
    harness.request("il", "retire", group.epoch, role="input-logger")
    kill(harness, "m1")
    group.fail_over("m2")
    # for as long as both take what comes to the port, each packet comes in twice; ICMP does not mind
    assert received(harness, process) >= 500
    assert group.counters("m2", "master")["refused_inputs"] == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_a_new_output_logger_releases_and_protects_once_a_checkpoint_is_made_for_it(harness, workers):
    group = Group(harness, workers=workers)
    process = ping(600)
    serve_for(harness, 1)
    kill(harness, "ol")
    replace_output_logger(group)
    group.spare("m2")
    serve_for(harness, 0.5)
    assert group.counters("l2", "output-logger")["released"] > 50
    kill(harness, "m1")
    group.fail_over("m2")
    assert received(harness, process) >= 580
    assert group.counters("l2", "output-logger")["bad_frames"] == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_a_former_output_logger_that_gets_whatever_the_new_one_gets_takes_nothing_of_it(harness, workers):
    """The worst of late switches: all frames go to both, and both have the ports. Nothing comes twice, and the master's death shows that nothing is missing."""
    group = Group(harness, workers=workers)
    process = ping(600)
    serve_for(harness, 1)
    replace_output_logger(group)
    group.spare("m2")
    serve_for(harness, 0.5)
    former, new = (group.counters(name, "output-logger") for name in ("ol", "l2"))
    assert former["later_epoch"] > 50 and new["released"] > 50 and former["bad_frames"] == new["bad_frames"] == 0
    kill(harness, "m1")
    group.fail_over("m2")
    harness.until(lambda: process.poll() is not None, 20)
    report = process.stdout.read()
    assert "duplicates" not in report and int(report.split(" packets transmitted, ")[1].split()[0]) >= 580
    assert group.counters("ol", "output-logger")["released"] == former["released"]


def test_a_new_store_is_filled_with_a_base(harness):
    group = Group(harness)
    process = ping(600)
    serve_for(harness, 0.5)
    kill(harness, "st")
    group.epoch += 1
    harness.request("l2", "store", group.master_epoch)
    group.store = "l2"
    harness.request("m1", "use-store", group.epoch, store=harness.address("l2"))
    protected_again(harness, "store", group.epoch)
    group.spare("m2")
    serve_for(harness, 0.3)
    kill(harness, "m1")
    group.fail_over("m2")
    assert received(harness, process) >= 595


@pytest.mark.parametrize("workers", [1, 3])
def test_a_planned_move_loses_nothing(harness, workers):
    """The master stops, and all that came since is in the input log."""
    group = Group(harness, workers=workers)
    group.spare("m2")
    process = ping(600)
    serve_for(harness, 1)
    harness.request("m1", "stop", group.epoch)
    stopped = harness.wait_event("stopped")
    assert stopped["k"] == group.counters("m1", "master")["k"]
    fence = group.fail_over("m2")
    assert fence["replayed_packets"] == 0
    assert group.fenced["stored"] == stopped["k"] and group.fenced["checkpoint"] > 0
    assert received(harness, process) == 600
    assert group.counters("ol", "output-logger")["bad_frames"] == 0


def test_a_node_without_roles_restarts_itself_as_a_new_boot(harness):
    group = Group(harness)
    boot, pid = harness.hellos["m2"]["boot"], harness.processes["m2"].pid
    harness.hellos.pop("m2")
    harness.request("m2", "restart", group.epoch)
    harness.until(lambda: "m2" in harness.hellos)
    assert harness.hellos["m2"]["boot"] != boot and harness.processes["m2"].pid == pid
    with pytest.raises(AssertionError, match="has roles: master of g"):
        harness.request("m1", "restart", group.epoch)
    group.spare("m2")


def test_what_faces_a_group_on_the_same_node_is_handed_over_in_the_process(harness):
    """The output logger of one group and the input logger of the next one on one node: no wire in between."""
    group = Group(harness)
    peer = {"group": "next", "port": "inside"}
    harness.request("ol", "output-logger", 1, **{**COMMON, "ports": [COMMON["ports"][0], {**COMMON["ports"][1], "peer": peer}]},
                    covered_from=0)
    harness.request("m1", "use-output-logger", 2, output_epoch=1)
    harness.wait_event("protected")
    arguments = {**COMMON, "group_id": 2, "function": "nat", "tick_interval_ms": 5000, "log_bytes_max": 1 << 20,
                 "start": [0], "start_ns": 0, "master_epoch": 1}
    # takes broadcasts only: what is for others is filtered as on the wire
    arguments["ports"] = [{**COMMON["ports"][0], "mac": "ff:ff:ff:ff:ff:ff"}]
    harness.request_of("next", "ol", "input-logger", 1, **arguments)
    process = ping(20)
    harness.until(lambda: process.poll() is not None, 20)
    handed_over = group.counters("ol", "output-logger")["handed_over"]
    taken = next(item["counters"] for item in harness.beats["ol"] if item["role"] == "input-logger")
    assert taken["inputs"] + taken["filtered"] == handed_over > 0 and taken["inputs"] > 0
