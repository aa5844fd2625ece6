"""A NAT restored from checkpoints goes on as the one that wrote them; runs are the same in every process."""

import os
import pathlib
import random
import subprocess
import sys

import pytest

from middleboxes.sdk import Packet
from middleboxes.sdk.packet import checksum, endpoint_parts

from ..columns import delta_of
from .nat_scenario import Network
from .nat_traffic import OPTIONS, SMALL, Traffic, apply_step, state


def checkpoint(source, target):
    """Bring *target* up to date with *source* by one delta of each variable; random generator and time go along."""
    for name, variable in source.nat.variables.items():
        target.nat.variables[name].apply(*delta_of(variable))
    target.ctx.now_ns = source.ctx.now_ns
    target.ctx._random.setstate(source.ctx._random.getstate())


@pytest.mark.parametrize("seed", range(6))
def test_a_replica_by_deltas_behaves_the_same_from_any_packet_on(seed):
    """After every packet a delta; now and then the replica takes over, and the old master checks its outputs."""
    parameters = {**SMALL, **(OPTIONS if seed % 2 else {})}
    master, replica = Network(seed, **parameters), Network(seed + 1, know=(), **parameters)
    traffic, rng = Traffic(seed), random.Random(seed)
    checkpoint(master, replica)
    for _ in range(40):
        for _ in range(rng.randrange(1, 60)):
            traffic.saw(apply_step(master, traffic.step()))
            checkpoint(master, replica)
        assert state(replica) == state(master)
        for _ in range(rng.randrange(1, 40)):
            step = traffic.step()
            emitted = apply_step(master, step)
            assert apply_step(replica, step) == emitted
            traffic.saw(emitted)
        assert state(replica) == state(master)
        for network in (master, replica):
            for variable in network.nat.variables.values():
                variable.cut()
        master, replica = replica, master


def test_the_traffic_reaches_limits_expiry_and_every_state():
    """Otherwise the test above would prove little."""
    met = set()
    for seed in range(6):
        net, traffic = Network(seed, **SMALL, **(OPTIONS if seed % 2 else {})), Traffic(seed)
        for _ in range(2000):
            traffic.saw(apply_step(net, traffic.step()))
            met.update(name for name, variable in net.nat.variables.items() if variable.cut()[1])
            met.update(net.nat.sessions.values())
        met.update(net.drops)
    assert met >= set(net.nat.variables)
    assert {1, 2, 3, 7, 15, 19} <= met      # SYN, simultaneous, established, half closed, closed, reset
    assert met >= {"ports_exhausted", "mappings_full", "tcp_sessions_full", "tcp_unknown", "arp_unanswered",
                   "bogus_source", "malformed", "icmp_checksum", "no_mapping", "filtered", "host_full", "fragment_unknown"}


@pytest.mark.parametrize("seed", range(3))
def test_mappings_sessions_timers_and_ports_agree_at_every_step(seed):
    net, traffic = Network(seed, **SMALL), Traffic(seed)
    nat = net.nat
    for _ in range(2500):
        traffic.saw(apply_step(net, traffic.step()))
        assert {external: inside for inside, external in nat.outbound.items()} == nat.inbound
        assert len(nat.outbound) <= 22 and len(nat.sessions) <= 12
        assert sorted(nat.sessions) == sorted([*nat.established_used, *nat.opening_used, *nat.closing_used])
        counts = {}
        for inside, _ in nat.sessions:
            counts[inside] = counts.get(inside, 0) + 1
        assert counts == nat.mapping_sessions
        tcp = {inside for inside in nat.outbound if endpoint_parts(inside)[0] == 6}
        assert tcp == set(counts) and {*nat.outbound} - tcp == {*nat.udp_used, *nat.icmp_used}
        assert sum(nat.pool_used.values()) + sum(nat.odd_used.values()) == len(nat.outbound) == sum(nat.host_mappings.values())
        assert set(nat.neighbours) == set(nat.confirmed)


def test_outputs_and_state_are_the_same_whatever_the_hash_seed():
    root = pathlib.Path(__file__).parents[2]
    digests = set()
    for hash_seed in ("0", "1", "4242"):
        run = subprocess.run([sys.executable, "-m", "tests.functions.nat_traffic", "7"], cwd=root, check=True,
                             env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, timeout=60)
        digests.add(run.stdout)
    assert len(digests) == 1 and len(digests.pop()) == 65


def test_hostile_frames_never_raise_and_what_leaves_is_sound():
    """Damaged packets of all kinds, header checksums often made right again so that deeper checks are reached."""
    net, traffic, rng = Network(9, **SMALL), Traffic(9), random.Random(9)
    for _ in range(10_000):
        wait_s, port, frame = traffic.step()
        frame = bytearray(frame)
        for _ in range(rng.choice([0, 0, 1, 2, 5])):
            if len(frame) > 14:
                frame[rng.randrange(12, len(frame))] = rng.choice([0, 255, rng.getrandbits(8)])
        if rng.random() < 0.2:
            del frame[rng.randrange(len(frame) + 1):]
        if rng.random() < 0.7 and len(frame) >= 34:
            frame[24:26] = b"\0\0"
            frame[24:26] = checksum(bytes(frame[14:14 + (frame[14] & 15) * 4])).to_bytes(2, "big")
        emitted = apply_step(net, (wait_s, port, bytes(frame)))
        traffic.saw(emitted)
        for _, out in emitted:
            assert Packet(out).arp() or Packet(out).ipv4(), out.hex()
