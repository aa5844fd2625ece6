"""What a packet costs in counts that no machine changes: calls, bytes on the wire, bytes kept. A regression shows here first."""

import ctypes
import gc
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tracemalloc
from types import SimpleNamespace

import pytest

from ftmb.bench import inside, resident
from middleboxes.runtime.paths import Dispatch, Inlet, Live, Outlet

FRAME_BYTES = 64


class Calls:
    """Counts the function calls, Python's and C's, in a block."""

    def __enter__(self):
        self.count = 0
        sys.setprofile(self._count)
        return self

    def _count(self, frame, event, argument):
        self.count += event in ("call", "c_call")

    def __exit__(self, *exception):
        sys.setprofile(None)


def calls(function, *args):
    with Calls() as counted:
        result = function(*args)
    return counted.count, result


def batch():
    """The three roles' cores with traffic flowing, and one batch."""
    logger, master, outputs, frames = inside.path()
    return logger, master, outputs, frames


def test_the_interpreter_is_called_for_a_batch_and_not_for_its_packets():
    """A call here and there for a batch; what is compiled makes none that the interpreter sees."""
    logger, master, outputs, frames = batch()
    at_logger, logged = calls(logger.accept_all, 0, frames, 10 ** 18)
    at_master, sent = calls(master.take_all, logged)
    of_function, _ = calls(inside.function_alone, master, frames)
    at_outputs, released = calls(outputs.receive_all, sent)
    assert len(released) == inside.BATCH
    assert at_logger <= 4
    assert of_function <= 15 * inside.BATCH
    assert at_master - of_function <= 12        # what protection adds to the function's own
    assert at_outputs <= 4


def test_a_turn_of_a_node_and_its_roles_calls_what_is_compiled_and_nothing_else():
    """Receive, the core's part, send, and to look for what is due; what it calls is compiled, so few of these are calls that the interpreter sees."""
    logger, master, outputs, frames = batch()
    sent, links = [], [SimpleNamespace(receive=list), SimpleNamespace(receive=list)]
    inlet = Inlet(logger, 0, frames[0][:6], SimpleNamespace(receive=frames.copy), sent.append, int)
    live = SimpleNamespace(taking=True, inputs=Live(master, sent.append, int).inputs)
    outlet = Outlet(outputs, [int, sent.append], sent.append, int, int)
    logs = SimpleNamespace(closed=False, outputs=outlet.outputs, acknowledge=outlet.acknowledge)
    at_logger, _ = calls(inlet.receive)
    of_function, _ = calls(inside.function_alone, master, frames)
    links[0].receive = sent[0].copy
    dispatch = Dispatch(links, {inside.GROUP_ID: live}, {inside.GROUP_ID: [logs]}, int, int)
    at_master, _ = calls(dispatch.inputs)
    links[1].receive = sent[1].copy
    at_outputs, _ = calls(Dispatch(links, {}, {inside.GROUP_ID: [logs]}, int, int).others)
    assert [len(some) for some in sent[:3]] == [inside.BATCH] * 3
    assert at_logger <= 4
    assert at_master - of_function <= 4
    assert at_outputs <= 4


@pytest.fixture
def allocations(tmp_path):
    """Calls a function: how often the interpreter asked its allocators meanwhile, for a packet of a batch, and what it gave."""
    library = tmp_path / "allocations.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{sysconfig.get_paths()['include']}", "-o", library,
                    pathlib.Path(__file__).with_name("allocations.c")], check=True)
    hook = ctypes.PyDLL(str(library))

    def count(function, *args):
        hook.begin()
        try:
            result = function(*args)
        finally:
            found = hook.end()
        return found / inside.BATCH, result

    gc.disable()
    yield count
    gc.enable()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_allocations_for_a_packet_at_each_role_stay_few(allocations):
    logger, master, outputs, frames = batch()
    assert allocations(lambda: [bytes(100) for _ in frames])[0] >= 1        # it counts
    at_logger, logged = allocations(logger.accept_all, 0, frames, 10 ** 18)
    at_master, sent = allocations(master.take_all, logged)
    of_function, _ = allocations(inside.function_alone, master, frames)
    at_outputs, released = allocations(outputs.receive_all, sent)
    assert len(released) == inside.BATCH
    assert at_logger <= 2
    assert at_master - of_function <= 4         # what protection adds to the function's own
    assert at_outputs <= 3


def test_determinants_cost_one_run_for_a_batch():
    _, sent, _ = inside.pass_through(*inside.path())
    assert len(sent) == inside.BATCH            # and no frame of their own
    # Ethernet, NSH and output TLV for each; one run in its TLV for all
    assert sum(map(len, sent)) == inside.BATCH * (FRAME_BYTES + 22 + 20) + 28


def test_an_input_frame_adds_its_header_and_nothing_else():
    logged, _, _ = inside.pass_through(*inside.path())
    assert {len(frame) for frame in logged} == {FRAME_BYTES + 22 + 28}


@pytest.mark.parametrize("workers, bytes_max", [(1, 1), (4, 64)])
def test_bytes_of_determinants_for_a_packet(workers, bytes_max):
    assert inside.determinants(workers, count=2560)["bytes_per_packet"] <= bytes_max


def test_the_master_keeps_nothing_of_a_packet_of_a_known_flow():
    """Its log of determinants is one run, and what changed is replaced: only the counters' numbers may grow."""
    logger, master, outputs, frames = inside.path(flows=inside.BATCH)
    inside.pass_through(logger, master, outputs, frames)
    logged = [logger.accept_all(0, frames, 2 * 10 ** 9) for _ in range(20)]
    tracemalloc.start()
    try:
        master.take_all(logged[0])
        before = tracemalloc.get_traced_memory()[0]
        for some in logged[1:]:
            master.take_all(some)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept / (19 * inside.BATCH) < 1


def test_a_logged_packet_and_a_flow_take_what_is_documented():
    found = resident.memory(20_000)
    assert found["logged_packet_bytes"] <= 200 and found["flow_bytes"] <= 250
