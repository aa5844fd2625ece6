"""The same checkpoint, inputs and determinants give the same state in every process, byte for byte, with four workers."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from middleboxes.core.channel import pack, unpack
from middleboxes.core.determinants import decode, decode_extra
from middleboxes.core.frames import PACKET, InputEncoder, decode_input
from middleboxes.core.master import ReplayError
from tests.core.boxes import GROUP, MAC

from .nat_scenario import INSIDE, PARAMETERS, Network, packet
from .nat_traffic import SMALL, Traffic, apply_step
from .replay_digest import live, replay

ROOT = Path(__file__).resolve().parents[2]
#: function and parameters
FUNCTIONS = [("nat", {**PARAMETERS, **SMALL}), ("sequencer", {"stamped_port": 7100}), ("shared-counter", {"stamped_port": 7100})]


def steps(name, seed):
    """Traffic that fits: for the NAT requests, answers, forgeries and timeouts, for the others many flows."""
    rng = random.Random(seed)
    if name == "nat":
        net, traffic, found = Network(seed, **SMALL), Traffic(seed), []
        for _ in range(1500):
            found.append(traffic.step())
            traffic.saw(apply_step(net, found[-1]))
        return found
    return [(0.001, "inside", packet("udp", f"10.0.0.{rng.randrange(1, 9)}:{rng.randrange(5000, 5020)}", "192.0.2.7:7100", INSIDE.mac,
                                     data=bytes(20))) if rng.random() < 0.95 else (0.1, "", b"") for _ in range(1500)]


@pytest.mark.parametrize("name, parameters", FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_the_replay_gives_the_same_digest_in_three_fresh_processes_with_different_hash_seeds(tmp_path, name, parameters):
    told, bundle = live(name, parameters, steps(name, 5), 5)
    accesses = sum(len(decode_extra(extra)[0]) for encoded in unpack(bundle)[4] for _, _, _, extra in decode(encoded)[1])
    assert accesses > 100, "the workers' order was in question"
    file = tmp_path / "bundle"
    file.write_bytes(bundle)
    digests = [subprocess.run([sys.executable, "-m", "tests.functions.replay_digest", str(file)], cwd=ROOT, check=True,
                              capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}).stdout.strip()
               for hash_seed in ("0", "1", "4242")]
    assert digests == [told] * 3


def test_an_input_that_is_another_does_not_pass_unseen():
    """Its source address changed, and so its checksum is wrong: the step drops it, and does not do what was logged."""
    told, bundle = live("shared-counter", {"stamped_port": 7100}, steps("shared-counter", 6), 6)
    assert replay(bundle) == told
    content = unpack(bundle)
    frames = content[3][1]
    number, item = next((number, item) for number, (_, _, item) in enumerate(map(decode_input, frames)) if item.kind == PACKET)
    frames[number] = InputEncoder(GROUP, MAC).encode(1, 1, item._replace(frame=item.frame[:29] + b"\x63" + item.frame[30:]))
    with pytest.raises(ReplayError, match="another order than was logged"):
        replay(pack(content))
