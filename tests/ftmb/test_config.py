"""A configuration is read with defaults, and every mistake is an error with file, line and what is allowed."""

import pytest

from ftmb import config
from ftmb.document import ConfigurationError
from ftmb.errors import UsageError

from .example import GOOD

def read(text):
    return config.read(text, "file.yaml")


def test_values_and_defaults():
    got = read(GOOD)
    assert got.switches == ["s1", "s2"] and got.links == [["s1", "s2"]]
    assert str(got.hosts["a"].gateway) == "10.0.0.254" and got.hosts["b"].gateway is None
    group = got.groups["nat"]
    assert [port.name for port in group.ports] == ["inside", "outside"]
    assert (group.workers, group.checkpoint_interval_ms, group.log_bytes_max) == (1, 100, 64 << 20)
    assert (got.controller.rest_port, got.controller.openflow_port, got.controller.priority) == (8081, 16653, 40000)
    assert str(got.management) == "10.254.0.0/24"
    assert (group.loggers, group.stores, group.on_loss, group.spare) == (["il", "ol"], ["st", "il", "ol"], "block", "warm")
    assert [port.peer for port in group.ports] == [None, None]


def test_the_controller_section_may_be_left_out():
    assert read(GOOD.split("controller:")[0]).controller == config.Controller()


@pytest.mark.parametrize("name", config.names())
def test_named_configurations_are_good(name):
    assert config.load(name).groups


def test_single_has_the_hosts_that_users_know():
    got = config.load("single")
    assert list(got.hosts) == ["client1", "client2", "server1", "server2"]
    assert list(got.nodes) == ["il", "ol", "st", "m1", "m2", "m3"]


@pytest.mark.parametrize("old, new, line, message", [
    # unknown and missing keys
    ("gateway:", "gatway:", 5, "unknown key 'gatway' (allowed: switch, address, gateway, address6, gateway6)"),
    ("  rest_port:", "  restport:", 20, "unknown key 'restport' (allowed: openflow_port, rest_port, control_port"),
    ("    store: st\n", "", 10, "'store' is missing"),
    ("    pool: [m1", "    store: st\n    pool: [m1", 18, "'store' is given twice"),
    # types and ranges
    ("8081", "high", 20, "controller: rest_port must be a whole number from 1 to 65535"),
    ("8081", "80.5", 20, "controller: rest_port must be a whole number"),
    ("8081", "true", 20, "controller: rest_port must be a whole number"),
    ("8081", "65536", 20, "controller: rest_port must be a whole number from 1 to 65535"),
    ("[m1, m2]", "m1", 18, "pool must be a list"),
    ("[m1, m2]", "[m1, 2]", 18, "pool must be text (put it in quotes)"),
    ("[m1, m2]", "[]", 18, "the pool is empty"),
    ("[s1, s2]\n  links", "[]\n  links", 2, "at least one switch"),
    ("[[s1, s2]]", "[[s1]]", 3, "a link joins two switches"),
    ("10.0.0.1/24", "10.0.0.1", 5, "host a: address must look like 10.0.0.1/24"),
    ("10.0.0.1/24,", "10.0.0.1/24, address6: 2001:db8::1,", 5, "host a: address6 must look like 2001:db8:1::1/64, not '2001:db8::1'"),
    ("10.0.0.1/24,", "10.0.0.1/24, address6: 'fe80::1%a/64',", 5, "host a: address6 must look like"),
    ("10.0.0.1/24,", "10.0.0.1/24, address6: fe80::1/64,", 5, "host a: address6 must be a routable address"),
    ("10.0.0.1/24,", "10.0.0.1/24, gateway6: fe80::1,", 5, "host a: the gateway fe80::1 is not in None"),
    ("10.0.0.1/24,", "10.0.0.1/24, address6: 2001:db8::1/64, gateway6: 2001:db8:1::1,", 5, "the gateway 2001:db8:1::1 is not in 2001:db8::/64"),
    ("10.0.0.254/24,", "10.0.0.254/24, address6: [2001:db8::1/64, 7],", 13, "port inside: address6 must be text"),
    ("10.0.0.254/24,", "10.0.0.254/24, address6: ff02::1/64,", 11, "ff02::1/64 is not a routable unicast IPv6 address"),
    ("10.0.0.1/24", "10.0.0.300/24", 5, "host a: address must look like 10.0.0.1/24"),
    ('"02:00:5e:00:01:01"', '"03:00:5e:00:01:01"', 13, "unicast MAC"),
    ('"02:00:5e:00:01:01"', '"02:46:54:00:01:01"', 13, "02:46:54:... are given by us"),
    ("parameters: {external", "parameters: !!python/object:os.system {external", 11, "parameters"),
    ("parameters: {external_addresses: [192.0.2.254]}", "parameters: [1]", 11, "parameters must be a mapping"),
    ("parameters: {external_addresses: [192.0.2.254]}", "parameters: {a: 2020-01-01}", 11, "must be plain data"),
    # names
    ("    a: {sw", "    A: {sw", 5, "'A' cannot name a host"),
    ("    a: {sw", "    verylonghost: {sw", 5, "at most 9 characters"),
    ("    b: {sw", "    m1: {sw", 7, "the name 'm1' is already taken (in network.hosts)"),
    ("    b: {sw", "    s1: {sw", 6, "the name 's1' is already taken (in network.switches)"),
    # bounds
    ("    store: st", "    workers: 13\n    store: st", 17, "from 1 to 12"),
    # references
    ("{switch: s2,", "{switch: s9,", 6, "switch 's9' is not defined (defined: s1, s2)"),
    ("[[s1, s2]]", "[[s1, s9]]", 3, "switch 's9' is not defined"),
    ("m2: s2}", "m2: s9}", 7, "switch 's9' is not defined"),
    ("store: st", "store: sx", 17, "node 'sx' is not defined (defined: il, ol, st, m1, m2)"),
    ("[m1, m2]", "[m1, a]", 18, "node 'a' is not defined"),
    ("[m1, m2]", "[m1, m1]", 18, "'m1' is in the pool twice"),
    ("[m1, m2]", "[m1, st]", 18, "'st' is in the pool and has another role too"),
    ("    store: st", "    loggers: [il, ol, m9]\n    store: st", 17, "node 'm9' is not defined"),
    ("    store: st", "    loggers: [il, ol, il]\n    store: st", 17, "'il' is in the loggers twice"),
    ("    store: st", "    loggers: [il, m2]\n    store: st", 17, "loggers must contain the output logger 'ol'"),
    ("    store: st", "    stores: [il]\n    store: st", 17, "stores must contain the store 'st'"),
    ("    store: st", "    on_loss: cry\n    store: st", 17, "on_loss must be one of block, last-checkpoint, empty, not 'cry'"),
    ("    store: st", "    spare: lukewarm\n    store: st", 17, "spare must be one of warm, cold, hot, not 'lukewarm'"),
    (", hosts: [b]", "", 14, "'hosts' is missing, or 'peer'"),
    ("hosts: [b]", "peer: fw", 14, "peer must be GROUP.PORT"),
    ("hosts: [b]", "peer: fw.in", 14, "there is no port 'fw.in' to be its peer"),
    ("hosts: [b]", "peer: nat.inside", 14, "a port of its own group cannot be its peer"),
    ("hosts: [b]", "hosts: [c]", 14, "host 'c' is not defined"),
    ("hosts: [b]", "hosts: [a]", 14, "host 'a' is already at port 'inside'"),
    ("function: nat", "function: nut", 10, "unknown function 'nut'"),
    ("external_addresses", "external", 11, "unknown parameters external"),
    # addresses
    ("192.0.2.1/24", "10.0.0.1/24", 6, "the address 10.0.0.1 of host b is already that of host a"),
    ("10.0.0.254/24", "10.0.0.1/24", 13, "the address 10.0.0.1 of group nat, port inside is already that of host a"),
    ("external_addresses: [192.0.2.254]", "external_addresses: [192.0.2.1]", 11, "the address 192.0.2.1 of group nat, by its parameters, is already that of host b"),
    ("00:01:02", "00:01:01", 14, "the address 02:00:5e:00:01:01"),
    ("gateway: 10.0.0.254", "gateway: 10.0.1.254", 5, "the gateway 10.0.1.254 is not in 10.0.0.0/24"),
    # the controller's values among themselves
    ("rest_port: 8081", "rest_port: 16653", 20, "rest_port 16653 is already openflow_port"),
    ("rest_port: 8081", "suspect_after_ms: 99", 20, "at least twice heartbeat_interval_ms"),
    ("  links:", "  management: 10.254.0.0/29\n  links:", 3, "10.254.0.0/29 has too few addresses"),
    # when processors stay awake
    ("controller:\n", "stay_awake: always\ncontroller:\n", 19, "stay_awake must be one of busy, never, not 'always'"),
    # where bundles are left
    ("controller:\n", "bundles: {}\ncontroller:\n", 19, "bundles: 'directory' is missing"),
    ("controller:\n", "bundles: {directory: 7}\ncontroller:\n", 19, "bundles: directory must be text"),
    ("controller:\n", "bundles: {directory: ''}\ncontroller:\n", 19, "bundles: directory must name a directory"),
    ("controller:\n", "bundles: {directory: x, count_max: 0}\ncontroller:\n", 19, "bundles: count_max must be a whole number from 1"),
    ("controller:\n", "bundles: {directory: x, size: 0}\ncontroller:\n", 19, "unknown key 'size' (allowed: directory, count_max, bytes_max)"),
    # not YAML
    ("[m1, m2]", "[m1, m2", 19, ""),
])
def test_mistakes_are_named_with_their_line(old, new, line, message):
    assert old in GOOD
    with pytest.raises(ConfigurationError) as caught:
        read(GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(f"file.yaml:{line}: ") and message in str(caught.value)


def test_bundles_are_left_only_if_they_are_wanted():
    assert read(GOOD).bundles is None
    got = read(GOOD.replace("controller:", "bundles: {directory: x, bytes_max: 1048576}\ncontroller:")).bundles
    assert (got.directory, got.count_max, got.bytes_max) == ("x", 8, 1 << 20)


def second_group(*changes):
    """GOOD with a second group like the first, and (old, new) *changes* in it."""
    second = GOOD.split("groups:\n")[1].split("controller:")[0].replace("nat:", "nat2:", 1)
    for old, new in (("01:01", "02:01"), ("01:02", "02:02"), ("10.0.0.254/24", "10.0.0.253/24"),
                     ("192.0.2.254", "192.0.2.253"), ("[m1, m2]", "[m2]"), *changes):
        second = second.replace(old, new)
    return GOOD.replace("controller:", second + "controller:")


def test_two_groups_may_share_spares_but_not_the_first_master():
    with pytest.raises(ConfigurationError, match="group nat2: 'm1' is already the first master of group nat"):
        read(second_group(("[m2]", "[m1, m2]")))
    assert list(read(second_group()).groups) == ["nat", "nat2"]


def test_a_first_master_may_not_log_or_store_for_another_group():
    with pytest.raises(ConfigurationError, match="group nat2: its first master 'm2' is the store of group nat"):
        read(second_group().replace("store: st", "store: m2", 1).replace("[m1, m2]", "[m1]"))


def test_ports_that_face_each_other_have_no_hosts_of_their_own():
    got = read(second_group(("hosts: [b]", "peer: nat.outside")).replace("hosts: [b]", "peer: nat2.outside"))
    assert [port.peer for port in got.groups["nat"].ports] == [None, ("nat2", "outside")]
    assert got.groups["nat2"].ports[1].hosts == []


@pytest.mark.parametrize("changes, message", [
    ([], "nat2.outside does not have it as its peer: the two must name each other"),
    ([("hosts: [b]", "peer: nat.inside")], "nat2.outside does not have it as its peer"),
    ([("hosts: [b]", "peer: nat.outside"), ("192.0.2.253/24", "192.0.3.253/24")], "192.0.2.0/24 is not that of its peer"),
])
def test_peers_name_each_other_and_are_in_one_network(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        read(second_group(*changes).replace("hosts: [b]", "peer: nat2.outside", 1))


def test_the_interfaces_of_one_node_are_counted():
    """Their names have two digits."""
    groups = GOOD.split("groups:\n")[1].split("controller:")[0]
    pools = "".join(f", x{number}: s1" for number in range(51))
    text = GOOD.replace("m2: s2}", f"m2: s2{pools}}}").split("groups:")[0] + "groups:\n"
    for number in range(51):
        text += (groups.replace("nat:", f"nat{number}:", 1).replace("[m1, m2]", f"[x{number}]").replace("00:01:", f"{number:02x}:01:")
                 .replace("10.0.0.254/24", f"10.0.{number + 1}.254/24").replace("192.0.2.254/24", f"192.1.{number}.254/24")
                 .replace("hosts: [a]", "hosts: []").replace("hosts: [b]", "hosts: []"))
    with pytest.raises(ConfigurationError, match=":7: node il would have 102 port interfaces, at most 100"):
        read(text)


def test_a_file_that_refers_to_itself_is_refused():
    with pytest.raises(ConfigurationError, match="file.yaml:11: .*plain data"):
        read(GOOD.replace("parameters: {external_addresses: [192.0.2.254]}", "parameters: &x {a: *x}"))


@pytest.mark.parametrize("text, message", [("", "file.yaml:1: the file is empty"), ("- 1", "must be a mapping"),
                                           ("x" * (2 << 20), "longer than")])
def test_files_that_are_no_configuration(text, message):
    with pytest.raises(ConfigurationError, match=message):
        read(text)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="neither a file nor one of .*single"):
        config.load(str(tmp_path / "nothing"))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read"):
        config.load(str(binary))
