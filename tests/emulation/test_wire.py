"""What an operator sees on the wire and in the flow tables: NSH inside, ordinary frames outside, nobody else's rules touched."""

import json
import re
import signal
from pathlib import Path

import pytest

from .machine import output
from .product import Session, clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
FIELDS = ("frame.protocols", "eth.src", "eth.dst", "nsh.mdtype", "nsh.nextproto", "nsh.spi", "nsh.si", "nsh.metadataclass",
          "ip.src", "ip.dst")
ETHERNET = "3"
TO_MASTER, TO_LOGGER = "255", "254"
PACKETS = {("10.0.0.1", "192.0.2.1"), ("192.0.2.1", "10.0.0.1"), ("192.0.2.254", "192.0.2.1"), ("192.0.2.1", "192.0.2.254")}
COOKIE, TABLE, BAND = 0x46544D42, 0, range(40000, 41000)


@pytest.fixture(scope="module")
def ftmb(tmp_path_factory):
    """A network with one protected NAT, for all tests here."""
    with clean_machine(tmp_path_factory.mktemp("wire")) as product:
        product("up", "single")
        yield product


@pytest.fixture
def deployment(ftmb):
    """What the controller was told."""
    return json.loads(Path("/run/ftmb/deployment.json").read_text(encoding="utf-8"))


def capture(ftmb, hosts, traffic):
    """What tshark reads, as {field: value} dicts, of the data interfaces of *hosts* during *traffic* (); {host: frames}."""
    sessions = {}
    for host in hosts:
        sessions[host] = Session(ftmb, host, "tcpdump", "-n", "-U", "--immediate-mode", "-s", "2048", "-Z", "root",
                                 "-i", f"ft{host}-d", "-w", f"{host}.pcap")
        sessions[host].wait_for("listening on")
    try:
        traffic()
    finally:
        ended = [session.end(signal.SIGINT) for session in sessions.values()]
    assert all(code == 0 and "\n0 packets dropped by kernel" in said for code, said in ended), ended
    return {host: _decode(ftmb.directory / f"{host}.pcap") for host in hosts}


def _decode(file):
    asked = [argument for field in FIELDS for argument in ("-e", field)]
    lines = output("tshark", "-n", "-r", str(file), "-T", "fields", *asked).splitlines()
    assert not output("tshark", "-n", "-r", str(file), "-Y", "_ws.malformed")
    return [dict(zip(FIELDS, line.split("\t"))) for line in lines]


def ping(ftmb, client, to):
    assert " 5 received" in ftmb("exec", client, "--", "ping", "-c", "5", "-i", "0.05", "-W", "3", to).stdout


def test_the_master_speaks_nsh(ftmb, deployment):
    """Service path = group, service index = hop, the packet inside; whatever else is there is NSH of ours, too."""
    master = ftmb.group()["master"]
    frames = capture(ftmb, [master], lambda: ping(ftmb, "client1", "192.0.2.1"))[master]
    group, mac = deployment["groups"]["nat"], deployment["nodes"][master]["data"]["mac"]
    assert {frame["nsh.spi"] for frame in frames} == {str(group["id"])}, "on this interface there is nothing but NSH"
    assert {frame["nsh.mdtype"] for frame in frames} == {"2"}
    classes = {each for frame in frames for each in frame["nsh.metadataclass"].split(",")}
    assert classes == {str(0xFFF6)}, "an experimental class"
    carrying = [frame for frame in frames if frame["nsh.nextproto"] == ETHERNET]
    packets = [frame for frame in carrying if "icmp" in frame["frame.protocols"]]
    assert {(frame["ip.src"], frame["ip.dst"]) for frame in packets} == PACKETS
    for frame in carrying:
        assert re.match("eth:ethertype:nsh:eth:ethertype:(arp|ip)(:|$)", frame["frame.protocols"])
        to_master = frame["eth.dst"].split(",")[0] == mac
        assert frame["nsh.si"] == (TO_MASTER if to_master else TO_LOGGER)
        assert to_master or frame["eth.src"].split(",")[0] == mac
    by_hop = [sum(frame["nsh.si"] == hop for frame in packets) for hop in (TO_MASTER, TO_LOGGER)]
    assert by_hop == [10, 10], "each of five pings and their answers once in, once out"


def test_hosts_see_ordinary_traffic_only(ftmb):
    """No NSH, no address of ours but the middlebox's, on a client's and a server's interface."""
    frames = capture(ftmb, ["client1", "client2", "server1"], lambda: ping(ftmb, "client1", "192.0.2.1"))
    for seen in frames.values():
        for frame in seen:
            assert re.match("eth:ethertype:(arp|ip)(:|$)", frame["frame.protocols"])
    for host, peer in (("client1", "10.0.0.1"), ("server1", "192.0.2.254")):
        pairs = {(frame["ip.src"], frame["ip.dst"]) for frame in frames[host] if frame["ip.src"]}
        assert pairs == {(peer, "192.0.2.1"), ("192.0.2.1", peer)}
    assert not [frame for frame in frames["client2"] if frame["ip.src"]], "a bystander sees none of it"


def flows():
    """(ours, others') flow entries of the switch, each without its counters."""
    ours, others = [], []
    for line in output("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "fts1").splitlines()[1:]:
        entry = re.sub(r"(duration|n_packets|n_bytes|idle_age|hard_age)=[^,]*, ", "", line.strip())
        cookie = int(re.search("cookie=(0x[0-9a-f]+|0)", entry)[1], 16)
        (ours if cookie >> 32 == COOKIE else others).append(entry)
    return ours, others


def test_our_rules_stay_in_our_band_and_leave_the_others_alone(ftmb):
    """simple_switch_13 beside us keeps its table-miss entry and what it learnt, also while a master fails."""
    ping(ftmb, "client1", "10.0.0.2")
    ours, others = flows()
    assert ours and all(int(re.search("table=([0-9]+)", entry)[1]) == TABLE for entry in ours)
    assert all(int(re.search("priority=([0-9]+)", entry)[1]) in BAND for entry in ours)
    assert sum("priority=0 actions=CONTROLLER" in entry for entry in others) == 1
    assert sum("priority=1,in_port" in entry for entry in others) >= 2, "learnt: client1 and client2"

    ftmb("kill", "nat", "master", "--how", "host")
    group = ftmb.wait_protected()
    assert group["master"] == "m2"
    after, others_after = flows()
    assert sorted(others_after) == sorted(others)
    assert all(int(re.search("priority=([0-9]+)", entry)[1]) in BAND for entry in after)
    ping(ftmb, "client1", "10.0.0.2")
    assert sorted(flows()[1]) == sorted(others)


def test_the_redirect_is_one_group_entry_per_role(ftmb, deployment):
    """Where frames to the master go stands in one indirect group, which now names the new master."""
    groups = output("ovs-ofctl", "-O", "OpenFlow13", "dump-groups", "fts1").splitlines()[1:]
    assert len(groups) == 3 and all("type=indirect" in entry for entry in groups)
    active = [deployment["nodes"][name]["data"]["mac"] for name in ("il", ftmb.group()["master"], "ol")]
    assert sorted(re.search("set_field:([0-9a-f:]+)->eth_dst", entry)[1] for entry in groups) == sorted(active)
