"""The description becomes a network: as described, and gone without a trace afterwards."""

import socket
import subprocess
from pathlib import Path

import pytest

mininet = pytest.importorskip("mininet.net")
from topologies.network import Network, NetworkError  # noqa: E402

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]


def host(name, **more):
    return {"name": name, **more}


def link(mtu, inner, port, **more):
    outer = {"node": "ftt", "interface": f"ftt-{port}", "port": port, "flood": more.pop("flood", True)}
    return {"mtu": mtu, "ends": [{"node": inner, "interface": f"{inner}-d", **more}, outer]}


DESCRIPTION = {
    "controller": ["127.0.0.1", 1],     # nobody is there: the switch forwards nothing by itself
    "switches": [{"name": "ftt", "dpid": 0x4654}],
    "hosts": [host("ftta", commands=["ip route add default via 10.9.9.254"]), host("fttb"), host("ftts"),
              host("fttm", before=["ip link add ftbr type bridge", "ip link set ftbr up"]), host("fttr", root=True)],
    "links": [
        link(1500, "ftta", 1, mac="02:46:54:10:00:01", address="10.9.9.1/24", offload=False),
        link(1500, "fttb", 2, mac="02:46:54:10:00:02", address="10.9.9.2/24", offload=False),
        link(9000, "ftts", 3, mac="02:46:54:11:00:01", silent=True, offload=False, flood=False),
        {"mtu": 1500, "ends": [{"node": "ftts", "interface": "ftts-m", "address": "10.254.9.2/24"},
                               {"node": "fttm", "interface": "ftg1", "bridge": "ftbr"}]},
        {"mtu": 1500, "ends": [{"node": "fttr", "interface": "fttroot", "address": "10.254.9.1/24"},
                               {"node": "fttm", "interface": "ftg0", "bridge": "ftbr"}]},
    ],
}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def machine():
    """What a network could leave behind or change."""
    names = sorted(name for _index, name in socket.if_nameindex() if name != "ovs-netdev")
    sysctls = [Path("/proc/sys", name).read_text(encoding="ascii")
               for name in ("net/ipv4/tcp_rmem", "kernel/pty/max")]
    return names, sorted(output("ovs-vsctl", "list-br").split()), sysctls


@pytest.fixture(scope="module")
def network():
    before = machine()
    made = Network(DESCRIPTION)
    try:
        made.build()
        made.start()
        yield made
    finally:
        made.stop()
    assert machine() == before


def test_hosts_reach_each_other_through_the_switch_by_rules_only(network):
    ping = "ping -c 1 -W {} 10.9.9.2 >/dev/null && echo yes"
    assert "yes" not in network["ftta"].cmd(ping.format(1)), "a switch without a controller floods nothing"
    output("ovs-ofctl", "-O", "OpenFlow13", "add-flow", "ftt", "priority=1,actions=flood")
    assert "yes" in network["ftta"].cmd(ping.format(3))


def test_floods_do_not_reach_ports_that_are_kept_from_them(network):
    output("ovs-ofctl", "-O", "OpenFlow13", "add-flow", "ftt", "priority=1,actions=flood")
    network["ftta"].cmd("ping -c 1 -W 1 10.9.9.77")     # an ARP request to everybody
    received = network["ftts"].cmd("cat /sys/class/net/ftts-d/statistics/rx_packets")
    assert int(received) == 0


def test_addresses_and_routes_are_as_described(network):
    assert "10.9.9.1/24" in network["ftta"].cmd("ip -4 -brief address")
    assert "default via 10.9.9.254" in network["ftta"].cmd("ip route")
    assert "02:46:54:10:00:01" in network["ftta"].cmd("ip -brief link show ftta-d")


def test_silent_interfaces_have_no_addresses_and_answer_no_arp(network):
    shown = network["ftts"].cmd("ip address show dev ftts-d")
    assert "NOARP" in shown and "inet" not in shown and "mtu 9000" in shown
    assert "mtu 9000" in output("ip", "link", "show", "ftt-3")


def test_hosts_compute_their_own_checksums(network):
    shown = network["ftta"].cmd("ethtool -k ftta-d")
    for feature in ("tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload",
                    "generic-receive-offload"):
        assert f"{feature}: off" in shown


def test_the_management_bridge_joins_nodes_and_the_root_namespace(network):
    assert "1 received" in output("ping", "-c", "1", "-W", "2", "10.254.9.2")


def test_a_name_that_is_taken_is_an_error_and_stays_untouched(network):
    before = output("ip", "-brief", "link", "show", "ftt-1")
    second = Network({**DESCRIPTION, "switches": [], "hosts": [host("fttx"), host("ftt", root=True)],
                      "links": [{"mtu": 1500, "ends": [{"node": "fttx", "interface": "fttx-d"},
                                                       {"node": "ftt", "interface": "ftt-1"}]}]})
    try:
        with pytest.raises(NetworkError, match="File exists"):
            second.build()
    finally:
        for node in second.values():
            node.terminate()
    assert output("ip", "-brief", "link", "show", "ftt-1") == before


def test_a_program_that_ends_before_it_has_read_its_script_is_an_error_that_says_so():
    description = {"controller": None, "switches": [], "links": [],
                   "hosts": [host("fttx", before=["echo this did not work >&2; exit 7"], commands=["#" * (1 << 20)])]}
    made = Network(description)
    try:
        with pytest.raises(NetworkError, match="this did not work"):
            made.build()
    finally:
        made.stop()
