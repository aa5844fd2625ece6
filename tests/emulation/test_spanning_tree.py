"""A loop of switches, beside an app that finds a spanning tree, blocks a link and forgets what it learnt at each change."""

import subprocess

import pytest

from .neighbours import alone, beside, entries, until

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
CONVERGENCE_S = 90      # listening and learning last 15 s each, after up to 20 s in which old news are believed
APP, SWITCHES = "ryu.app.simple_switch_stp_13", ("fts1", "fts2", "fts3")
TRIANGLE = """
network:
  switches: [s1, s2, s3]
  links: [[s1, s2], [s2, s3], [s1, s3]]
  hosts:
    client1: {switch: s1, address: 10.0.0.1/24, gateway: 10.0.0.254}
    server1: {switch: s2, address: 192.0.2.1/24}
    a1: {switch: s1, address: 10.9.0.1/24}
    a2: {switch: s3, address: 10.9.0.2/24}
  nodes: {il: s1, ol: s2, st: s3, m1: s3, m2: s2, m3: s1}
groups:
  nat:
    function: nat
    parameters: {external_addresses: [192.0.2.254]}
    ports:
      inside:  {mac: "02:00:5e:00:01:01", address: 10.0.0.254/24,  hosts: [client1]}
      outside: {mac: "02:00:5e:00:01:02", address: 192.0.2.254/24, hosts: [server1]}
    input_logger: il
    output_logger: ol
    store: st
    pool: [m1, m2, m3]
controller:
  openflow_port: 16653
  rest_port: 8080
"""


def _blocked():
    """The (switch, port) that may not forward."""
    found = set()
    for switch in SWITCHES:
        done = subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", "dump-ports-desc", switch], check=True,
                              capture_output=True, text=True, timeout=20)
        port = None
        for line in done.stdout.splitlines():
            port = line.split("(")[1].split(")")[0] if "(" in line and "addr:" in line else port
            if "config:" in line and "NO_FWD" in line:
                found.add((switch, port))
    return found


def _converge(world):
    """The tree is found, and all switches have learnt the hosts that no group serves; the app's entries then."""
    until(_blocked, "a port of the loop is blocked", CONVERGENCE_S)
    # the emulated network keeps the link that closes the loop out of floods: here that is the app's own business
    for link in world.deployment["links"]:
        for end in link.values():
            subprocess.run(["ovs-ofctl", "-O", "OpenFlow10", "mod-port", f"ft{end['switch']}", str(end["port"]), "flood"],
                           check=True, timeout=20)
    until(lambda: world.pings("a1", "10.9.0.2"), "unsteered hosts hear each other", CONVERGENCE_S)
    return _entries()


def _entries():
    return {switch: entries(switch) for switch in SWITCHES}


def test_a_loop_is_broken_by_the_spanning_tree_app_and_both_go_on_through_failures_of_the_master_and_of_a_link(tmp_path):
    file = tmp_path / "triangle.yaml"
    file.write_text(TRIANGLE, encoding="utf-8")
    with alone(tmp_path, file, APP) as world:
        expected = _converge(world)
    with beside(tmp_path, file, APP) as world:
        assert _converge(world) == expected
        until(lambda: world.pings("client1", "192.0.2.1"), "through the NAT, on links that are not blocked", 20)

        world.product("kill", "nat", "master", "--how", "host")
        world.product.wait_protected()
        assert world.pings("client1", "192.0.2.1") and world.pings("a1", "10.9.0.2")

        world.product("kill", "-", "link:s1-s2")
        until(lambda: world.pings("client1", "192.0.2.1"), "through the NAT, the other way round", CONVERGENCE_S)
        until(lambda: world.pings("a1", "10.9.0.2"), "unsteered hosts, once the tree is found anew", CONVERGENCE_S)
        assert all(entries(switch, ours=True) for switch in SWITCHES)
