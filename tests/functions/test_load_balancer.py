"""The load balancer: who gets a flow, that it stays there, what happens when backends die, come back or are drained."""

import random

import pytest

from middleboxes.functions import load
from middleboxes.functions.maglev import TABLE_SIZE, table_of
from middleboxes.sdk import ConfigurationError, Packet, Port
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, icmp, ipv4
from middleboxes.sdk.packet import ICMP, checksum

from .hop_scenario import Bench
from .nat_scenario import ACK, FIN, NS_PER_S, RST, SYN, StepContext, ip, mac, packet

CLIENTS = Port.parse("clients", "02:00:5e:00:01:01", "10.0.0.254/24")
BACKENDS = Port.parse("backends", "02:00:5e:00:01:02", "192.0.2.254/24")
VIP = "10.0.0.100"
THREE = [{"address": f"192.0.2.{number}"} for number in (1, 2, 3)]


class LbContext(StepContext):
    """Also takes events."""

    def __init__(self):
        super().__init__()
        self.events = []

    def emit(self, port, frame):
        self.emitted.append((port, frame))

    def event(self, name, detail):
        self.events.append((name, detail))


class Balanced(Bench):
    """One service at VIP port 80 and the hosts around it."""

    def __init__(self, backends=THREE, protocol="tcp", sticky_s=0, **parameters):
        service = {"address": VIP, "port": 80, "protocol": protocol, "backends": backends, "sticky_s": sticky_s}
        parameters.setdefault("probe_interval_s", 0)
        self.box = load("load-balancer")({"services": [service], **parameters}, [CLIENTS, BACKENDS])
        self.ctx = LbContext()
        for host in ("10.0.0.1", "10.0.0.2", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
            own = self.side(host)
            self.frame_in(own, arp(ARP_REQUEST, mac(host), ip(host), NO_MAC, own.address))

    def side(self, host):
        return CLIENTS if host.startswith("10.") else BACKENDS

    def open(self, client, protocol="tcp"):
        """A new flow's backend, as "address:port"; None if it was dropped."""
        out = self.send(protocol, client, VIP + ":80", flags=SYN)
        if not out:
            return None
        (port, frame), = out
        seen = Packet(frame)
        _, source, source_port, destination, destination_port = seen.five_tuple()
        assert port == "backends" and seen.transport_checksum_ok() and f"{client}" == f"{_text(source)}:{source_port}"
        return f"{_text(destination)}:{destination_port}"

    def answer(self, backend, client, flags=SYN | ACK, protocol="tcp"):
        """The backend's answer as the client sees it: (source, flags)."""
        (port, frame), = self.send(protocol, backend, client, flags=flags)
        seen = Packet(frame)
        _, source, source_port, *_ = seen.five_tuple()
        assert port == "clients" and seen.transport_checksum_ok()
        return f"{_text(source)}:{source_port}"


def _text(address):
    return ".".join(map(str, address.to_bytes(4, "big")))


# --- Maglev

def test_shares_follow_the_weights_to_within_a_few_places():
    table = table_of(tuple((b"backend %d" % number, weight) for number, weight in enumerate((1, 1, 2, 0))))
    shares = [table.count(index) for index in range(4)]
    assert sum(shares) == TABLE_SIZE and shares[3] == 0 and table_of(((b"a", 0),)) == ()
    assert abs(shares[0] - shares[1]) <= 2 and abs(shares[2] - 2 * shares[0]) <= 4


def test_a_backend_less_moves_little_but_its_own_share():
    names = tuple((b"backend %d" % number, 1) for number in range(10))
    before, after = table_of(names), table_of(names[:-1])
    kept = [old == new for old, new in zip(before, after) if old != 9]
    assert sum(kept) / len(kept) > 0.85


# --- flows

@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_flow_stays_with_its_backend_and_comes_back_in_the_name_of_the_service(protocol):
    net = Balanced(protocol=protocol)
    backends = {}
    for number in range(60):
        client = f"10.0.0.{1 + number % 2}:{4000 + number}"
        backends[client] = net.open(client, protocol)
        assert net.answer(backends[client], client, protocol=protocol) == VIP + ":80"
    assert len(set(backends.values())) == 3
    for client, backend in backends.items():
        (_, frame), = net.send(protocol, client, VIP + ":80", flags=ACK)
        assert _text(Packet(frame).five_tuple()[3]) + ":80" == backend and Packet(frame).ttl == 63
    assert net.drops == {} and sum(counts[0] for counts in net.box.backend_counts.values()) == 60
    assert sum(counts[1] for counts in net.box.backend_counts.values()) == 180


def test_another_port_at_the_backend():
    net = Balanced([{"address": "192.0.2.2", "port": 8080}])
    assert net.open("10.0.0.1:5000") == "192.0.2.2:8080" and net.answer("192.0.2.2:8080", "10.0.0.1:5000") == VIP + ":80"


def test_what_belongs_to_no_service_or_flow_is_dropped():
    net = Balanced()
    assert net.send("tcp", "10.0.0.1:1", VIP + ":81") == [] and net.send("tcp", "10.0.0.1:1", "192.0.2.1:80") == []
    assert net.send("tcp", "192.0.2.1:80", "10.0.0.1:1") == [] and net.send("tcp", "10.0.0.1:1", VIP + ":80", flags=ACK) == []
    assert net.send("tcp", "192.0.2.1:5", VIP + ":80") == []
    assert net.drops == {"to_own": 1, "no_service": 2, "tcp_unknown": 1, "no_route": 1}


def test_the_virtual_address_answers_arp_and_ping():
    net = Balanced()
    (_, frame), = net.frame_in(CLIENTS, arp(ARP_REQUEST, mac("10.0.0.1"), ip("10.0.0.1"), NO_MAC, ip(VIP)))
    assert Packet(frame).arp().sender_mac == CLIENTS.mac
    assert len(net.send("icmp", "10.0.0.1:9", VIP + ":9")) == 1


def test_idle_and_closed_flows_end_on_both_sides():
    net = Balanced()
    for number, ways in enumerate(((), ("b",), ("b", "c", "fin"))):
        client = f"10.0.0.1:{5000 + number}"
        backend = net.open(client)
        if ways:
            net.answer(backend, client)
        for flags in (ACK, FIN | ACK)[:len(ways) - 1]:
            net.send("tcp", client, VIP + ":80", flags=flags)
        if "fin" in ways:
            net.answer(backend, client, FIN | ACK)
    net.wait(240)
    assert len(net.box.connections) == len(net.box.returns) == 1        # the established one
    net.wait(7440 - 240)
    assert not net.box.connections and not net.box.returns


def test_a_flood_displaces_itself_and_leaves_nothing_behind():
    net = Balanced(connections_max=5)
    client, backend = "10.0.0.1:5000", None
    backend = net.open(client)
    net.answer(backend, client)
    for number in range(30):
        assert net.open(f"10.0.0.2:{number + 1}")
    assert len(net.box.connections) == len(net.box.returns) == 5 and net.drops == {"evicted_opening": 26}
    assert net.answer(backend, client, ACK) == VIP + ":80"


# --- stickiness, drain, health

def test_a_sticky_client_keeps_its_backend_until_its_time_is_over():
    net = Balanced(sticky_s=100)
    first = net.open("10.0.0.1:1")
    for number in range(2, 30):
        net.ctx.now_ns += 99 * NS_PER_S
        assert net.open(f"10.0.0.1:{number}") == first
    net.wait(100)
    assert not net.box.sticky and not net.box.sticky_used


def test_the_sticky_table_is_bounded():
    net = Balanced(sticky_s=100, sticky_max=1)
    net.open("10.0.0.1:1"), net.open("10.0.0.2:1")
    assert [entry[0] for entry in net.box.sticky] == [ip("10.0.0.2")] == [entry[0] for entry in net.box.sticky_used]


def test_a_drained_backend_gets_no_new_flows():
    net = Balanced([{"address": "192.0.2.1", "weight": 0}, {"address": "192.0.2.2"}])
    assert {net.open(f"10.0.0.1:{number}") for number in range(1, 50)} == {"192.0.2.2:80"}
    assert Balanced([{"address": "192.0.2.1", "weight": 0}]).open("10.0.0.1:1") is None


def test_lost_probes_take_a_backend_out_and_answered_ones_bring_it_back():
    """Flows of the others do not move, and those that it has stay with it."""
    net = Balanced(probe_interval_s=1)
    clients = [f"10.0.0.1:{number}" for number in range(1, 200)]
    before = {client: net.open(client) for client in clients}

    def second(answering):
        for _, frame in net.wait(1):
            probe = Packet(frame).five_tuple()
            if probe and _text(probe[3]) in answering:
                answer = ipv4(BACKENDS.mac, mac(_text(probe[3])), ICMP, probe[3], probe[1], icmp(0, 0, probe[2] << 16 | 1))
                assert net.frame_in(BACKENDS, answer) == []
    for _ in range(6):
        second(("192.0.2.1", "192.0.2.3"))
    assert net.ctx.events == [("backend-down", "192.0.2.2:80: 3 probes in a row were not answered")]
    after = {client: net.open(client.replace("10.0.0.1:", "10.0.0.2:")) for client in clients}
    assert "192.0.2.2:80" not in after.values()
    (_, frame), = net.send("tcp", next(client for client in clients if before[client] == "192.0.2.2:80"), VIP + ":80", flags=SYN)
    assert _text(Packet(frame).five_tuple()[3]) == "192.0.2.2"
    second(("192.0.2.1", "192.0.2.2", "192.0.2.3"))
    assert len(net.ctx.events) == 1
    second(("192.0.2.1", "192.0.2.2", "192.0.2.3"))
    assert net.ctx.events[1:] == [("backend-up", "192.0.2.2:80: it answers probes again")]


def test_only_flows_of_the_dead_backend_move():
    flows = [(6, ip("10.0.0.1"), number, ip(VIP), 80) for number in range(1, 500)]
    net = Balanced()
    service = net.box.services[6, ip(VIP), 80]
    before = [net.box._by_table(service, flow, 0) for flow in flows]
    for _ in range(4):
        net.box.backend_health.probe_sent((ip("192.0.2.2"), 80))
    after = [net.box._by_table(service, flow, 0) for flow in flows]
    assert all(old == new for old, new in zip(before, after) if old != (ip("192.0.2.2"), 80))
    assert {new[0] for old, new in zip(before, after) if old[0] == ip("192.0.2.2")} == {ip("192.0.2.1"), ip("192.0.2.3")}


@pytest.mark.parametrize("how", ["reset", "silence"])
def test_a_backend_that_fails_new_connections_is_held_down_for_a_while(how):
    net = Balanced([{"address": "192.0.2.1"}], failures_max=3, hold_s=10)
    for number in range(1, 4):
        client = f"10.0.0.1:{number}"
        assert net.open(client) == "192.0.2.1:80"
        if how == "reset":
            assert net.answer("192.0.2.1:80", client, RST | ACK) == VIP + ":80"
    if how == "silence":
        net.wait(240)
    assert net.open("10.0.0.1:9") is None and net.drops == {"no_backend": 1}
    assert net.ctx.events == [("backend-down", "192.0.2.1:80: 3 connections in a row failed")]
    net.ctx.now_ns += 10 * NS_PER_S
    net.frame_in(BACKENDS, arp(ARP_REQUEST, mac("192.0.2.1"), ip("192.0.2.1"), NO_MAC, BACKENDS.address))
    assert net.open("10.0.0.1:10") == "192.0.2.1:80"


# --- ICMP errors

def test_errors_are_translated_with_what_they_quote():
    net = Balanced([{"address": "192.0.2.2", "port": 8080}])
    client = "10.0.0.1:5000"
    (_, to_backend), = net.send("tcp", client, VIP + ":80", flags=SYN)
    (_, to_client), = net.send("tcp", "192.0.2.2:8080", client, flags=SYN | ACK)
    for about, port, source, target, source_seen, quoted_seen in (
            (to_backend, BACKENDS, "192.0.2.2", "10.0.0.1", VIP, (6, ip("10.0.0.1"), 5000, ip(VIP), 80)),
            (to_backend, BACKENDS, "192.0.2.3", "10.0.0.1", "192.0.2.3", (6, ip("10.0.0.1"), 5000, ip(VIP), 80)),
            (to_client, CLIENTS, "10.0.0.1", VIP, "10.0.0.1", (6, ip("192.0.2.2"), 8080, ip("10.0.0.1"), 5000))):
        error = ipv4(port.mac, mac(source), ICMP, ip(source), ip(target), icmp(3, 4, 1400, about[14:]))
        (_, frame), = net.frame_in(port, error)
        assert _text(Packet(frame).ipv4().source) == source_seen and not checksum(frame[34:]) % 0xFFFF
        assert Packet(bytes(12) + b"\x08\x00" + frame[42:]).five_tuple() == quoted_seen
    other = packet("udp", "10.0.0.1:1", "192.0.2.2:1", BACKENDS.mac)
    assert net.frame_in(BACKENDS, ipv4(BACKENDS.mac, mac("192.0.2.2"), ICMP, ip("192.0.2.2"), ip("10.0.0.1"), icmp(3, 3, 0, other[14:]))) == []
    assert net.drops == {"icmp_unknown": 1}


def test_all_packets_of_a_flow_go_to_one_worker():
    partition, rng = load("load-balancer").partition, random.Random(3)
    for _ in range(200):
        client, backend = f"10.0.0.{rng.randrange(9)}:{rng.randrange(1, 65535)}", f"192.0.2.{rng.randrange(9)}:8080"
        to_service, back = packet("tcp", client, VIP + ":80", CLIENTS.mac), packet("tcp", backend, client, BACKENDS.mac)
        to_backend = packet("tcp", client, backend, BACKENDS.mac)
        error = ipv4(BACKENDS.mac, mac("192.0.2.9"), ICMP, ip("192.0.2.9"), to_service[26] << 24, icmp(3, 1, 0, to_backend[14:]))
        assert len({partition(to_service, "clients", 7), partition(back, "backends", 7), partition(error, "backends", 7)}) == 1


@pytest.mark.parametrize("service, message", [
    ({"backends": []}, "load-balancer: service 1: backends must be at least one"), ({"port": 0}, "port must be an integer from 1"),
    ({"address": "192.0.2.9"}, "address must be one that clients reach"), ({"protocol": "sctp"}, "protocol must be one of tcp, udp"),
    ({"backends": [{"address": "10.0.0.9"}]}, "service 1: backend 1: address must be a host behind the port backends"),
    ({"backends": [{"address": "192.0.2.1", "weight": 101}]}, "weight must be an integer from 0 to 100"),
    ({"backends": [{"adress": "192.0.2.1"}]}, "unknown parameters adress; allowed: address, port, weight"),
    ({"backends": THREE + THREE[:1]}, "none twice")])
def test_wrong_parameters_are_named(service, message):
    with pytest.raises(ConfigurationError, match=message):
        load("load-balancer")({"services": [{"address": VIP, "port": 80, "backends": THREE, **service}]}, [CLIENTS, BACKENDS])
