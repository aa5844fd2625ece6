"""Up and down leave the machine as it was, whatever happens in between, and disturb nobody else.

Controller and nodes are fakes here (see fakes/), except where the whole is tested.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .machine import command, environment, listener, output, snapshot

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
TIMEOUT_S = 60


class Ftmb:
    """The command line, run in an empty directory."""

    def __init__(self, directory, fakes=True):
        self.directory, self.fakes = directory, fakes

    def __call__(self, *arguments, code=0, **variables):
        """Run it; its result. It must end with *code*."""
        done = subprocess.run(command(*arguments), env=environment(self.fakes, **variables), cwd=self.directory,
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def status(self):
        return json.loads(self("status", "--json").stdout)

    def start(self, *arguments):
        """Start it, its output a pipe of lines."""
        return subprocess.Popen(command(*arguments), env=environment(self.fakes), cwd=self.directory,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def daemon(self):
        """The pid of the daemon."""
        return json.loads(Path("/run/ftmb/lock").read_text(encoding="ascii"))[0]


@pytest.fixture
def ftmb(tmp_path):
    """The command line with fakes; afterwards the machine must be as before."""
    with _ftmb(tmp_path, True) as run:
        yield run


@pytest.fixture
def real_ftmb(tmp_path):
    """The command line with the real controller and nodes."""
    with _ftmb(tmp_path, False) as run:
        yield run


@contextlib.contextmanager
def _ftmb(directory, fakes):
    if Path("/run/ftmb").exists():
        pytest.fail("a network is up on this machine: run `ftmb down` before the tests")
    run = Ftmb(directory, fakes)
    run("status", code=2)       # starts nothing, but everything is imported once
    output("ovs-vsctl", "--timeout=5", "show")
    before = snapshot()
    try:
        yield run
    finally:
        run("down")
    assert snapshot() == before


def wait_for(condition, otherwise):
    """Look again until it holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def alive(status):
    return {host["name"]: host["alive"] for host in status["hosts"]}


def test_a_life_from_up_to_down(ftmb):
    """Every command does what the contract says, with the keys that it says."""
    ftmb("up", "single")
    status = ftmb.status()
    assert set(status) >= {"groups", "hosts", "controller"}
    assert status["groups"][0]["state"] == "protected"
    assert all(alive(status).values())
    assert status["controller"]["apps"] == ["ryu.app.simple_switch_13", "ryu_app.app"]

    done = ftmb("exec", "client1", "--", "sh", "-c", "ip -brief address; exit 7", code=7)
    assert "10.0.0.1/24" in done.stdout
    echoed = subprocess.run(command("exec", "m1", "--", "cat"), env=environment(True), input="in and out", text=True,
                            capture_output=True, timeout=TIMEOUT_S, check=True)
    assert echoed.stdout == "in and out"
    assert "no host 'nobody'" in ftmb("exec", "nobody", "--", "true", code=2).stderr
    ftmb("exec", "client1", "--", "no-such-program", code=127)

    assert "everything is removed" in ftmb("down").stdout
    assert "nothing is up" in ftmb("down").stdout


@pytest.fixture(scope="class")
def single(tmp_path_factory):
    """A network for all tests of a class."""
    with _ftmb(tmp_path_factory.mktemp("single"), True) as run:
        run("up", "single")
        yield run


@pytest.fixture
def up(single):
    """That network; afterwards all of it must be well."""
    yield single
    single("heal")
    single("status", "--wait", "protected", "--timeout", "10")
    assert all(alive(single.status()).values())


class TestOnOneNetwork:
    """What is done to a network that is up."""

    def test_every_kill_is_seen_and_healed(self, up):
        for role, how in (("master", "process"), ("store", "host"), ("input-logger", "link"), ("output-logger", "hang")):
            up("kill", "nat", role, "--how", how)
        up("kill", "-", "controller")
        status = up.status()
        assert [name for name, is_alive in alive(status).items() if not is_alive] == ["il", "ol", "st", "m1"]
        assert status["controller"]["alive"] is False
        assert [(kill["role"], kill["node"], kill["how"]) for kill in status["kills"][-5:-3]] == [
            ("master", "m1", "process"), ("store", "st", "host")]
        assert "is dead already" in up("kill", "nat", "master", code=2).stderr
        assert "DOWN" in up("exec", "st", "--", "ip", "-brief", "link", "show", "ftst-m").stdout
        assert "UP" not in up("exec", "il", "--", "ip", "-brief", "link", "show", "ftil-d").stdout.split()

        up("heal", "st")
        assert "UP" in up("exec", "st", "--", "ip", "-brief", "link", "show", "ftst-m").stdout

    def test_a_move_is_asked_for_with_the_key(self, up):
        assert up("move", "nat", "--to", "m3").stdout == "m3 is the master of nat now (7.5 ms)\n"
        assert json.loads(up("move", "nat", "--to", "m3", "--json").stdout)["master"] == "m3"
        assert "it does not load" in up("move", "nat", "--reload", code=1).stderr
        assert "no group 'nut'" in up("move", "nut", code=2).stderr
        up("kill", "-", "controller")
        assert "the controller does not answer" in up("move", "nat", code=2).stderr

    def test_waiting_in_vain_ends_with_1(self, up):
        up("status", "--wait", "lost", "--timeout", "0.2", code=1)
        up("kill", "nat", "master")
        up("status", "--wait", "protected", "--timeout", "0.2", code=1)

    def test_a_healed_host_comes_back_empty(self, up):
        file = Path("/run/ftmb/nodes/st/files/checkpoint")
        file.write_text("old", encoding="ascii")
        up("kill", "nat", "store", "--how", "host")
        up("heal", "st")
        assert not file.exists()

    def test_secrets_are_for_root_only(self, up):
        assert Path("/run/ftmb").stat().st_mode & 0o777 == 0o700
        for name in ("key", "emulator.sock", "deployment.json"):
            assert Path("/run/ftmb", name).stat().st_mode & 0o777 == 0o600
        assert re.fullmatch("[0-9a-f]{64}", Path("/run/ftmb/key").read_text(encoding="ascii"))

    def test_a_second_up_is_refused_and_harms_nothing(self, up):
        daemon = up.daemon()
        assert "up already: `ftmb down`" in up("up", "single", code=2).stderr
        assert up.daemon() == daemon and all(alive(up.status()).values())


def test_a_link_between_switches_is_cut_and_healed(ftmb):
    ftmb("up", "tree")
    assert "killed link:s1-s3 (link)" in ftmb("kill", "-", "link:s1-s3").stdout
    assert ftmb.status()["links_down"] == ["link:s1-s3"] and "link:s1-s3 is down" in ftmb("status").stdout
    link = json.loads(Path("/run/ftmb/deployment.json").read_text(encoding="ascii"))["links"][1]
    ends = [f"ft{end['switch']}-{end['port']}" for end in link.values()]
    assert all("DOWN" in output("ip", "-brief", "link", "show", end) for end in ends)
    assert "is down already" in ftmb("kill", "-", "link:s1-s3", code=2).stderr
    assert "no link between switches: link:s1-s2, link:s1-s3, link:s2-s3" in ftmb("kill", "-", "link:s1-s4", code=2).stderr
    assert "healed link:s1-s3" in ftmb("heal", "link:s1-s3").stdout
    assert ftmb.status()["links_down"] == [] and all("UP" in output("ip", "-brief", "link", "show", end) for end in ends)


def test_after_the_daemon_was_killed_down_removes_everything(ftmb):
    """Nothing survives it by itself but what a user runs; and that ends with ``down``."""
    ftmb("up", "single")
    user = ftmb.start("exec", "client1", "--", "sh", "-c", "echo started; exec sleep 1000")
    assert user.stdout.readline() == "started\n"
    os.kill(ftmb.daemon(), signal.SIGKILL)
    for refused in (["up", "single"], ["status"], ["kill", "nat", "master"]):
        assert "left things behind: `ftmb down`" in ftmb(*refused, code=2).stderr
    assert user.poll() is None
    ftmb("down")
    assert user.wait(timeout=5) == -signal.SIGKILL
    user.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_an_interrupted_up_leaves_nothing(ftmb, number, lines):
    """At each step of it: before and while the network is made, and while it waits."""
    before = snapshot()
    running = ftmb.start("up", "single")
    for _ in range(lines):
        assert running.stdout.readline()
    running.send_signal(number)
    _, errors = running.communicate(timeout=TIMEOUT_S)
    # -number: it met the interpreter's own end
    assert (running.returncode, errors) in ((130, ""), (0, ""), (-number, "")), errors
    if running.returncode != 130:   # the signal came after the end
        ftmb("down")
    assert snapshot() == before


@pytest.mark.parametrize("setting, port", [("openflow_port", 16653), ("rest_port", 8080), ("control_port", 9777)])
def test_a_port_in_use_is_named_with_its_setting(ftmb, setting, port):
    with listener("0.0.0.0", port):
        assert f"port {port} (controller.{setting}) is in use" in ftmb("up", "single", code=2).stderr


def test_a_controller_that_dies_is_told_with_its_last_words(ftmb):
    done = ftmb("up", "single", code=2, FAKE_CRASH="1")
    assert "controller ended (exit code 1)" in done.stderr and "this is what the log says" in done.stderr
    assert not Path("/run/ftmb").exists()


def test_a_wrong_configuration_is_told_with_its_line(ftmb):
    (ftmb.directory / "wrong.yaml").write_text("network: {}\ngroups: {}\nmore: 1\n", encoding="ascii")
    assert "wrong.yaml:3: the configuration: unknown key 'more'" in ftmb("up", "wrong.yaml", code=2).stderr


def test_a_taken_name_is_refused_and_not_removed(ftmb):
    output("ovs-vsctl", "add-br", "fts1", "--", "set", "bridge", "fts1", "datapath_type=netdev")
    try:
        assert "bridge fts1: the name is taken" in ftmb("up", "single", code=2).stderr
        assert "fts1" in output("ovs-vsctl", "list-br").split()
    finally:
        output("ovs-vsctl", "del-br", "fts1")


def test_another_mininet_and_a_foreign_bridge_are_not_disturbed(ftmb):
    from mininet.net import Mininet
    from mininet.node import OVSSwitch
    from topologies.network import datapath
    Mininet.inited = True       # no changes to the machine's limits by the test itself
    other = Mininet(controller=None)
    output("ovs-vsctl", "add-br", "foreign0", "--", "set", "bridge", "foreign0", "datapath_type=netdev")
    try:
        switch = other.addSwitch("s1", cls=OVSSwitch, datapath=datapath(), failMode="standalone")
        for name in ("h1", "h2"):
            host = other.addHost(name)
            # its addresses would be tentative for a while, and then not
            host.cmd("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
            other.addLink(host, switch)
            host.cmd(f"ethtool -K {name}-eth0 tx off")
        other.build()
        other.start()
        before = _foreign(other)
        ftmb("up", "single")
        assert "1 received" in other["h1"].cmd("ping -c 1 -W 3", other["h2"].IP())
        ftmb("down")
        assert _foreign(other) == before
        assert "1 received" in other["h1"].cmd("ping -c 1 -W 3", other["h2"].IP())
    finally:
        other.stop()
        output("ovs-vsctl", "del-br", "foreign0")


def _foreign(network):
    hosts = [network[name].cmd("ip -details address; ip route") for name in ("h1", "h2")]
    return [*hosts, output("ip", "-details", "link"), output("ovs-vsctl", "show"),
            output("ovs-vsctl", "--columns=name,_uuid,datapath_id,ports,other_config", "list", "bridge"),
            [host.shell.poll() for host in network.values()]]


def test_the_real_thing_survives_the_death_of_its_master(real_ftmb, tmp_path):
    """The real controller and nodes: traffic passes the NAT, before and after; the failover leaves a bundle that replays to the new master's state."""
    real_ftmb("up", "single", "--bundles", str(tmp_path / "bundles"))
    real_ftmb("exec", "client1", "--", "ping", "-c", "2", "-i", "0.2", "-W", "2", "192.0.2.1")
    real_ftmb("kill", "nat", "master", "--how", "host")
    real_ftmb("status", "--wait", "protected", "--timeout", "10")
    group = real_ftmb.status()["groups"][0]
    assert group["master"] == "m2" and group["failovers"][0]["from"] == "m1"
    assert group["failovers"][0]["detect_ms"] < 1000, "the links went down: no need to wait for missing beats"
    real_ftmb("exec", "client1", "--", "ping", "-c", "2", "-i", "0.2", "-W", "2", "192.0.2.1")
    wait_for(lambda: list((tmp_path / "bundles").glob("ftmb-nat-*-m2.zip")), "no bundle was left")
    (path,) = (tmp_path / "bundles").iterdir()
    assert "the state is that of the master that went on" in real_ftmb("replay", str(path)).stdout
