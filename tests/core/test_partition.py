"""The fixed partition: both directions together, well spread, the same everywhere; the input logger with a function's own."""

import random

import pytest

from middleboxes.core.frames import decode_input
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.partition import flow_worker
from middleboxes.runtime.input_logger import partition_of
from middleboxes.sdk import Middlebox
from middleboxes.sdk.build import BROADCAST, arp, icmp, ipv4, tcp, udp
from middleboxes.sdk.packet import ICMP, TCP, UDP

from .boxes import GROUP, MAC

A, B = b"\x02" * 6, b"\x04" * 6


def frame(source, sport, destination, dport, protocol=UDP, **header):
    payload = udp(source, sport, destination, dport, b"x") if protocol == UDP else tcp(source, sport, destination, dport, 2)
    return ipv4(A, B, protocol, source, destination, payload, **header)


def ipv6(source, destination, protocol, payload):
    return A + B + b"\x86\xdd" + bytes(4) + len(payload).to_bytes(2, "big") + bytes((protocol, 64)) + source + destination + payload


@pytest.mark.parametrize("protocol", [UDP, TCP])
@pytest.mark.parametrize("seed", range(5))
def test_both_directions_of_a_flow_go_to_one_worker(protocol, seed):
    rng = random.Random(seed)
    one, other = (rng.getrandbits(32), rng.getrandbits(16)), (rng.getrandbits(32), rng.getrandbits(16))
    for workers in range(1, 13):
        there, back = (flow_worker(frame(*ends, protocol=protocol), 0, workers) for ends in (one + other, other + one))
        assert there == back and 0 <= there < workers
        with_options = frame(*one, *other, protocol=protocol, options=bytes(8))
        assert flow_worker(with_options, 1, workers) == there
    addresses = rng.randbytes(16), rng.randbytes(16)
    ports = rng.randbytes(2), rng.randbytes(2)
    there = ipv6(*addresses, protocol, ports[0] + ports[1] + bytes(8))
    back = ipv6(*reversed(addresses), protocol, ports[1] + ports[0] + bytes(8))
    assert flow_worker(there, 0, 12) == flow_worker(back, 0, 12)


def test_flows_are_spread():
    counts = [0] * 4
    for port in range(1000, 5000):
        counts[flow_worker(frame(0x0A000001, port, 0xC0000201, 53), 0, 4)] += 1
    assert min(counts) > 800


def test_fragments_of_a_datagram_go_together_and_what_is_not_ip_to_worker_0():
    fragments = [frame(1, 1000 + offset, 2, 53, fragment=0x2000 if not offset else offset) for offset in (0, 100, 200)]
    assert len({flow_worker(each, 0, 12) for each in fragments}) == 1
    assert flow_worker(arp(1, A, 1, bytes(6), 2, BROADCAST), 0, 12) == 0
    assert flow_worker(ipv4(A, B, ICMP, 1, 2, icmp(8, 0, 5)), 0, 12) == flow_worker(ipv4(A, B, ICMP, 2, 1, icmp(0, 0, 5)), 0, 12)


def test_it_is_fixed():
    """A group's loggers may be replaced: their successors must choose alike."""
    assert [flow_worker(frame(0x0A000001, port, 0xC0000201, 53), 0, 12) for port in (1, 2, 3, 4)] == [1, 8, 4, 2]


def test_any_bytes_are_for_some_worker():
    rng, whole = random.Random(3), frame(1, 2, 3, 4, options=bytes(4))
    for length in range(len(whole)):
        assert 0 <= flow_worker(whole[:length], 0, 7) < 7
    for _ in range(2000):
        assert 0 <= flow_worker(A + B + rng.choice((b"\x08\x00", b"\x86\xdd")) + rng.randbytes(rng.randrange(80)), 0, 7) < 7


def worker_of(logger, data):
    return decode_input(logger.accept(1, data, 1))[1]


def test_the_input_logger_asks_the_functions_own_partition():
    logger = InputLogger(GROUP, MAC, 4, 1, 1 << 20, lambda data, port, workers: (data[0] + port) % workers)
    assert [worker_of(logger, bytes((first,))) for first in range(5)] == [1, 2, 3, 0, 1]


@pytest.mark.parametrize("partition", [lambda data, port, workers: 4, lambda data, port, workers: -1,
                                       lambda data, port, workers: None, lambda data, port, workers: data[100]])
def test_a_partition_that_fails_costs_no_packet(partition):
    logger = InputLogger(GROUP, MAC, 4, 1, 1 << 20, partition)
    assert worker_of(logger, b"x") == 0 and logger.counters["partition_errors"] == 1


class Parity(Middlebox):
    """Tells ports apart by their names, as authors do."""

    @staticmethod
    def partition(frame, port, workers):
        return (len(frame) + (port == "outside")) % workers


def test_the_role_takes_the_partition_of_the_function_that_is_configured():
    own = partition_of("tests.core.test_partition:Parity", ["inside", "outside"])
    assert [own(b"xx", number, 4) for number in (0, 1)] == [2, 3]
    assert partition_of("nat", ["inside", "outside"]) is flow_worker


def test_one_worker_needs_no_partition():
    assert worker_of(InputLogger(GROUP, MAC, 1, 1, 1 << 20, lambda *_: 1 / 0), b"x") == 0
