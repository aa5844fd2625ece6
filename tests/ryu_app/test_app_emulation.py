"""The Ryu app on a real Open vSwitch bridge, beside simple_switch_13 and ofctl_rest, with agents over TCP."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from deployments import single
from fake_agent import SocketAgent

from ftmb.emulator.openvswitch import ensure_running
from ryu_app.deployment import parse
from ryu_app.steering import Steering, openflow_group_id, virtual_mac, wanted

pytestmark = pytest.mark.emulation

BRIDGE = "ftctl1"
KEY = bytes(range(32))
FOREIGN = "cookie=0x99,priority=7,udp,tp_dst=9,actions=drop"
INTRUDER = "cookie=0x98,priority=40100,udp,tp_dst=10,actions=drop"


def _run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _until(condition, what, timeout_s=15):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Lab:
    """A bridge with a veth pair per port of the deployment, the controller process, and the agents."""

    def __init__(self, directory):
        self.value = single()
        self.value["control"]["port"] = _free_port()
        self.value["key_file"] = str(directory / "key")
        self.directory = directory
        self.openflow_port, self.rest_port = _free_port(), _free_port()
        self.deployment = parse(self.value)
        self.controller, self.agents, self.boots = None, {}, 0
        (directory / "key").write_text(KEY.hex())
        (directory / "deployment.json").write_text(json.dumps(self.value))

    def ports(self):
        places = [node.data.place for node in self.deployment.nodes.values()]
        places += [place for node in self.deployment.nodes.values() for side in node.ports.values()
                   for place in side.values()]
        return sorted(place.port for place in [*places, *(host.place for host in self.deployment.hosts.values())])

    def build(self):
        ensure_running()
        _run("ovs-vsctl", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure",
             "protocols=OpenFlow13", "other-config:datapath-id=0000000000000001")
        for port in self.ports():
            _run("ip", "link", "add", f"ftctl-{port}", "type", "veth", "peer", "name", f"ftctl-{port}b")
            _run("ip", "link", "set", f"ftctl-{port}", "up")
            _run("ip", "link", "set", f"ftctl-{port}b", "up")
            _run("ovs-vsctl", "add-port", BRIDGE, f"ftctl-{port}", "--", "set", "interface", f"ftctl-{port}",
                 f"ofport_request={port}")
        _run("ovs-vsctl", "set-controller", BRIDGE, f"tcp:127.0.0.1:{self.openflow_port}")
        _run("ovs-vsctl", "set", "controller", BRIDGE, "max_backoff=1000")
        # last: setting the controller clears the table
        for flow in (FOREIGN, INTRUDER):
            _run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", BRIDGE, flow)

    def start_controller(self):
        command = [sys.executable, "-m", "ryu_app.launcher", "--ofp-tcp-listen-port", str(self.openflow_port),
                   "--ofp-listen-host", "127.0.0.1", "--wsapi-port", str(self.rest_port), "--wsapi-host", "127.0.0.1",
                   "ryu.app.simple_switch_13", "ryu.app.ofctl_rest", "ryu_app.app"]
        with open(self.directory / "controller.log", "ab") as log:
            self.controller = subprocess.Popen(command, stdout=log, stderr=log, env={
                **os.environ, "FTMB_DEPLOYMENT": str(self.directory / "deployment.json")})

    def boot(self, name):
        self.boots += 1
        self.agents[name] = SocketAgent(name, ("127.0.0.1", self.value["control"]["port"]), KEY, self.boots)

    def stop_controller(self):
        if self.controller is not None:
            self.controller.kill()
            self.controller.wait(10)

    def tear_down(self):
        for agent in self.agents.values():
            agent.close()
        self.stop_controller()
        subprocess.run(["ovs-vsctl", "--timeout=10", "--if-exists", "del-br", BRIDGE], timeout=30, check=True)
        for port in self.ports():
            # a pair that was never made can't be deleted: nothing to tell
            subprocess.run(["ip", "link", "del", f"ftctl-{port}"], capture_output=True, timeout=10, check=False)

    def rest(self, path, method="GET", headers=None):
        """(HTTP status, JSON value), or None while nobody answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", method=method,
                                         headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (urllib.error.URLError, ConnectionError):
            return None

    def group(self):
        answer = self.rest("/ftmb/status")
        return answer[1]["groups"][0] if answer else {"state": None}

    def protected(self, epoch):
        """The group as one answer tells it, if it is protected in this epoch."""
        group = self.group()
        return group if (group["state"], group.get("epoch")) == ("protected", epoch) else None

    def flows(self):
        """{cookie: number of flows} on the bridge."""
        found = {}
        for cookie in re.findall(r"cookie=(0x[0-9a-f]+)", _run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", BRIDGE)):
            found[int(cookie, 16)] = found.get(int(cookie, 16), 0) + 1
        return found

    def groups(self):
        return _run("ovs-ofctl", "-O", "OpenFlow13", "dump-groups", BRIDGE)

    def trace(self, fields):
        """Where a packet with these *fields* leaves: the last line of Open vSwitch's trace."""
        return _run("ovs-appctl", "ofproto/trace", BRIDGE, fields)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab whose group is protected."""
    lab = Lab(tmp_path_factory.mktemp("controller"))
    try:
        lab.build()
        lab.start_controller()
        for name in lab.deployment.nodes:
            lab.boot(name)
        _until(lambda: lab.group()["state"] == "protected", "protected")
        yield lab
    finally:
        lab.tear_down()


def _check_entries(lab, master, fenced=()):
    """Exactly the wanted entries are there, with our cookies, and everybody else's."""
    active = {("nat", "input-logger"): "il", ("nat", "output-logger"): "ol", ("nat", "master"): master}
    flows, groups = wanted(lab.deployment, Steering(active, frozenset(fenced)))
    cookies = {}
    for flow in flows:
        cookies[flow.cookie] = cookies.get(flow.cookie, 0) + 1
    actual = lab.flows()
    assert {cookie: count for cookie, count in actual.items() if cookie >> 32} == cookies
    assert actual[0x99] == actual[0x98] == 1
    assert actual.get(0), "simple_switch_13's table-miss entry"
    text = lab.groups()
    for group in groups:
        bucket = dict(group.bucket)
        assert re.search(rf"group_id={group.group_id},type=indirect,bucket=.*{bucket['eth_dst']}.*output:"
                         rf"\"?(ftctl-)?{bucket['output']}\"?\n", text), text


def test_rules_are_installed_with_our_cookie_only_and_others_stay(lab):
    _check_entries(lab, "m1")


def test_a_foreign_rule_in_our_band_is_reported_and_left_alone(lab):
    _, events = lab.rest("/ftmb/events")
    assert any("cookie 0x98" in item["what"] and item["level"] == "error" for item in events)


def test_frames_to_the_virtual_mac_reach_the_active_master_and_unsteered_ones_the_other_app(lab):
    data = lab.deployment.nodes["il"].data.place.port
    mac = virtual_mac("master", 1)
    port = lab.deployment.nodes["m1"].data.place.port
    text = lab.trace(f"in_port={data},dl_type=0x894f,dl_dst={mac}")
    assert lab.deployment.nodes["m1"].data.mac in text and f"output:{port}" in text
    assert "CONTROLLER" in lab.trace("in_port=1,dl_dst=02:46:54:00:00:02,dl_type=0x0800")
    inside = lab.deployment.nodes["il"].ports["nat"]["inside"].port
    assert f"output:{inside}" in lab.trace("in_port=1,arp,arp_tpa=10.0.0.254,dl_dst=ff:ff:ff:ff:ff:ff")
    leaving = lab.deployment.nodes["ol"].ports["nat"]["inside"].port
    assert "output:1" in lab.trace(f"in_port={leaving},dl_dst=02:46:54:00:00:01,dl_type=0x0800")


def test_nsh_of_a_host_is_dropped_and_reaches_no_node_and_no_other_app(lab):
    for target in (virtual_mac("master", 1), virtual_mac("output-logger", 1), lab.deployment.nodes["m1"].data.mac):
        assert lab.trace(f"in_port=1,dl_type=0x894f,dl_dst={target}").rstrip().endswith("Datapath actions: drop")


def test_rest_answers_with_proper_status_codes_and_beside_other_apps(lab):
    assert lab.rest("/ftmb/nothing")[0] == 404
    assert lab.rest("/ftmb/status", method="DELETE")[0] == 405
    assert lab.rest("/ftmb/events?since=x")[0] == 400
    assert lab.rest("/ftmb/rules", method="DELETE")[0] == 401
    assert lab.rest("/stats/switches") == (200, [1])
    status = lab.rest("/ftmb/status")[1]
    assert set(status["controller"]["apps"]) >= {"ryu.app.simple_switch_13", "ryu_app.app"}
    assert {host["name"]: host["role"] for host in status["hosts"]}["il"] == "input-logger"


def test_a_stranger_is_not_let_in(lab):
    with socket.create_connection(("127.0.0.1", lab.value["control"]["port"]), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while sock.recv(4096):
            pass
    # silence is ended too
    with socket.create_connection(("127.0.0.1", lab.value["control"]["port"]), timeout=5) as sock:
        while sock.recv(4096):
            pass


def test_a_failover_moves_the_group_entry_and_fences_the_dead(lab):
    lab.agents["m1"].close()
    group = _until(lambda: lab.protected(2), "failover")
    record = group["failovers"][0]
    assert group["master"] == "m2" and group["spares"] == ["m3"] and record["cold"] is False
    assert record["redirect_ms"] < 1000
    place = lab.deployment.nodes["m1"].data.place
    assert "drop" in lab.trace(f"in_port={place.port},dl_type=0x894f,dl_dst={virtual_mac('output-logger', 1)}")
    lab.boot("m1")
    _until(lambda: "drop" not in lab.trace(
        f"in_port={place.port},dl_type=0x894f,dl_dst={virtual_mac('output-logger', 1)}"), "the fence is taken away")
    _check_entries(lab, "m2")


def test_a_data_link_that_goes_down_is_noticed_at_once(lab):
    port = lab.deployment.nodes["m2"].data.place.port
    _run("ip", "link", "set", f"ftctl-{port}b", "down")
    group = _until(lambda: lab.protected(3), "failover")
    assert group["failovers"][1]["cause"] == "link down" and group["master"] == "m3"
    _run("ip", "link", "set", f"ftctl-{port}b", "up")
    _until(lambda: {host["name"]: host["alive"] for host in lab.rest("/ftmb/status")[1]["hosts"]}["m2"], "m2 is back")


def test_rules_outlive_the_controller_and_the_next_one_relearns(lab):
    lab.stop_controller()
    _check_entries(lab, "m3")
    lab.start_controller()
    group = _until(lambda: lab.group()["state"] == "protected" and lab.group(), "relearned")
    assert group["master_epoch"] == 3 and group["master"] == "m3"
    _until(lambda: "switch s1 connected" in [item["what"] for item in lab.rest("/ftmb/events")[1]], "switch is back")
    _check_entries(lab, "m3")
    oldest = re.findall(r"cookie=0x46544d42[0-9a-f]+, duration=([0-9.]+)s",
                        _run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", BRIDGE))
    assert min(float(seconds) for seconds in oldest) > 0.5, "no rule was written again"


def test_a_redirect_that_the_switch_refuses_is_mended_before_anyone_recovers(lab):
    """Somebody has deleted the group entry: to change it is an error, to find that out and add it is not."""
    epoch, master = lab.group()["epoch"], lab.group()["master"]
    _run("ovs-ofctl", "-O", "OpenFlow13", "del-groups", BRIDGE,
         f"group_id={openflow_group_id(lab.deployment.cookie, 1, 'master')}")
    lab.agents[master].close()
    _until(lambda: lab.protected(epoch + 1), "failover", timeout_s=5)
    _check_entries(lab, lab.group()["master"], fenced={master})
    # the switch tells of the flows that went with it, too: what comes first, that or the redirect, nobody decides
    assert any("refused" in item["what"] or "put back" in item["what"] for item in lab.rest("/ftmb/events")[1])
    lab.boot(master)
    _until(lambda: {host["name"]: host["alive"] for host in lab.rest("/ftmb/status")[1]["hosts"]}[master], "it is back")


def test_our_rules_can_be_removed_and_nothing_else(lab):
    code, value = lab.rest("/ftmb/rules", method="DELETE", headers={"X-FTMB-Key": KEY.hex()})
    assert (code, value) == (200, {"removed": True})
    flows = lab.flows()
    assert not [cookie for cookie in flows if cookie >> 32] and flows[0x99] == flows[0x98] == 1 and flows[0] >= 1
    number = openflow_group_id(lab.deployment.cookie, 1, "master")
    assert f"group_id={number}" not in lab.groups()
