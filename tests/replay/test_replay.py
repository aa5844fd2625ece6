"""A bundle repeats what a master did: the same outputs, the same state, the same faults, whatever the number of workers."""

import io
import json
import subprocess
import zipfile

import pytest

from middleboxes.core.step import ReplayError
from middleboxes.functions import load
from middleboxes.replay import Bundle, BundleError
from middleboxes.replay.state import contents
from middleboxes.sdk.conformance import Subject
from tests.functions.test_conformance import SUBJECTS

from .boxes import Mended, Moody, Sleeper, Words
from .samples import Recording, default_ports, recording

FUNCTION = "tests.replay.boxes:Words"


def words(*given, cls=Words, workers=1):
    """A Recording that was given words, each at its own time, and a tick after each."""
    machine = Recording(cls, {}, default_ports(cls), workers)
    for number, word in enumerate(given):
        if word is None:
            machine.checkpoint()
            continue
        machine.give("inside", word, 1_700_000_000_000_000_000 + number * 1_000)
        machine.tick(1_700_000_000_000_000_500 + number * 1_000)
    return machine


def saved(bundle):
    """*bundle* as it comes back from a file."""
    file = io.BytesIO()
    bundle.save(file)
    return file.getvalue()


@pytest.fixture
def reload(tmp_path):
    def through_a_file(bundle):
        path = tmp_path / "a.zip"
        path.write_bytes(saved(bundle))
        return Bundle.load(path)
    return through_a_file


@pytest.mark.parametrize("name", ["nat", "firewall", "shared-counter"])
@pytest.mark.parametrize("workers", [1, 4])
def test_state_and_outputs_are_those_of_the_master(reload, name, workers):
    options = SUBJECTS[name]
    trace = Subject(load(name), **{**options, "steps": 200}).trace
    cls = load(name)
    machine = recording(cls, options["parameters"], trace, workers, skip=80, ports=options.get("ports"))
    emitted, state = dict(machine._emitted), contents(machine.function.variables)
    replay = reload(machine.bundle(name)).replay()
    again = {(step.worker, step.k, j): output for step in replay for j, output in enumerate(step.outputs)}
    assert again == emitted and again
    assert replay.state == state and [list(v.items()) for v in replay.state.values() if isinstance(v, dict)] == [
        list(v.items()) for v in state.values() if isinstance(v, dict)]
    assert replay.compared and replay.differences == []


def test_a_bundle_begins_with_a_base_and_its_deltas(reload):
    machine = words(b"a", None, b"b", None, b"c")
    deltas = [chunk for _, _, chunks in machine._store.since(0) for chunk in chunks]
    bundle = machine.bundle(FUNCTION, checkpoint_chunks=deltas)
    assert len(bundle.checkpoints) == 3
    replay = reload(bundle).replay()
    replay.run()
    assert replay.compared and replay.differences == [] and list(replay.state["counts"]) == [b"a", b"b", b"c"]


def test_random_numbers_and_recorded_values_are_repeated(reload):
    machine = words(b"a", None, b"dice", b"dice")
    state = contents(machine.function.variables)
    replay = reload(machine.bundle(FUNCTION)).replay()
    steps = [step for step in replay if step.records]
    assert len(steps) == 2 and replay.state == state and replay.differences == []


def test_a_step_tells_what_it_was_and_what_it_changed(reload):
    replay = reload(words(b"a", None, b"b").bundle(FUNCTION)).replay()
    step, tick = replay.step(), replay.step()
    assert (step.worker, step.port, step.frame, step.phase, step.is_tick) == (0, "inside", b"b", "recovered", False)
    assert step.outputs == [("outside", b"b2")]
    assert step.changes == {"counts": ([], {b"b": 1}), "total": ([], {None: 2})}
    assert tick.is_tick and tick.n == step.n + 1 and tick.now_ns == step.now_ns + 500 and tick.changes == {"ticks": ([], {None: 2})}
    assert replay.step() is None


def test_a_step_that_raised_raises_again_and_names_the_line(reload):
    replay = reload(words(b"a", None, b"poison", b"b").bundle(FUNCTION)).replay()
    replay.run()
    assert replay.error_count == 1 and replay.differences == []
    (step,) = replay.errors
    assert isinstance(step.error, ZeroDivisionError) and step.frame == b"poison"
    lines = step.traceback.splitlines()
    assert lines[-1] == "ZeroDivisionError: a poisoned word" and "boxes.py" in lines[1] and "in process" in lines[1]
    assert step.changes == {"counts": ([], {b"poison": 1})}     # what it did before stays, as at the master


@pytest.mark.parametrize("function", [Mended, "tests.replay.boxes:Mended"])
def test_a_mended_function_is_tried_on_the_same_inputs(reload, function):
    replay = reload(words(b"a", None, b"poison", b"b").bundle(FUNCTION)).replay(function)
    outputs = [output for step in replay for _, output in step.outputs]
    assert outputs == [b"harmless", b"b2"] and replay.error_count == 0 and not replay.compared


def test_debug_mode_names_the_line_in_a_replay_too(reload):
    bundle = reload(words(b"a", None, b"b", cls=Moody).bundle("debug:tests.replay.boxes:Moody"))
    replay = bundle.replay()
    replay.run()
    assert replay.error_count == 1 and "boxes.py" in str(replay.errors[0].error) and "_calls" in str(replay.errors[0].error)


def test_a_function_that_is_not_deterministic_is_seen(reload):
    machine = words(b"a", None, b"b", cls=Moody)
    replay = reload(machine.bundle("tests.replay.boxes:Moody")).replay()
    replay.run()
    assert replay.compared and len(replay.differences) == 1
    assert "'counts'" in replay.differences[0] and "calls" in replay.differences[0]


def test_what_left_must_be_emitted_again(reload):
    machine = words(b"a", None, b"b")
    keys = {k << 16 | j for _, k, j in machine._emitted}
    for more, lines in ((set(), 0), ({max(keys) + 1}, 1), ({max(keys) + 7}, 1)):
        replay = reload(machine.bundle(FUNCTION, end=False, released=[keys | more])).replay()
        replay.run()
        assert len(replay.differences) == lines


def test_without_a_master_that_went_on_what_was_logged_is_tried_as_new(reload):
    """The poisoned packet that ends each master has no determinant; it is the input after the recoverable prefix."""
    machine = words(b"a", None, b"b", b"poison", b"c")
    bundle = machine.bundle(FUNCTION, end=False)
    first = bundle.determinants[0].trimmed
    bundle.determinants[0].cut_off(first + 2)
    bundle.recoverable = [first + 2]
    replay = reload(bundle).replay()
    assert [(step.phase, step.frame) for step in replay if not step.is_tick] == [("recovered", b"b"), ("new", b"poison"), ("new", b"c")]
    assert not replay.compared and replay.error_count == 1
    replay = reload(bundle).replay()
    assert [replay.step(new=False) is not None for _ in range(3)] == [True, True, False]


def test_determinants_are_repeated_also_beyond_the_recoverable_prefix(reload):
    """A master that went on and died before it committed: its steps are known, though no checkpoint tells their state."""
    machine = words(b"a", None, b"b", b"dice")
    state, first = contents(machine.function.variables), machine._store.header["positions"][0][1]
    replay = reload(machine.bundle(FUNCTION, end=False, recoverable=[first + 2])).replay()
    assert [step.phase for step in replay] == ["recovered"] * 2 + ["later"] * 2 and replay.state == state and not replay.compared


def test_a_step_that_never_ends_can_be_interrupted_and_has_a_name(reload):
    bundle = reload(words(b"a", None, b"b", b"poison").bundle("tests.replay.boxes:Words", end=False))
    replay = bundle.replay(Sleeper)
    with pytest.raises(KeyboardInterrupt):
        replay.run()
    step, (_, k) = replay.current, bundle.header["positions"][0]
    assert (step.worker, step.k, step.n, step.frame) == (0, k + 3, bundle.inputs[0][2].n, b"poison")


def test_run_stops_at_a_step(reload):
    replay = reload(words(b"a", None, b"b", b"c").bundle(FUNCTION)).replay()
    first = replay.positions[0][1]
    assert replay.run(until=(0, first + 3)).frame == b"c"
    assert replay.positions[0][1] == first + 3 and replay.state["counts"] == {b"a": 1, b"b": 1, b"c": 1}


def test_an_input_that_is_missing_stops_the_replay(reload):
    bundle = words(b"a", None, b"b", b"c").bundle(FUNCTION)
    del bundle.inputs[0][1]
    with pytest.raises(ReplayError, match="is needed by step"):
        reload(bundle).replay().run()


def test_determinants_that_are_not_closed_stop_the_replay(reload):
    machine = recording(load("shared-counter"), {}, Subject(load("shared-counter"), steps=100).trace, 4, skip=20)
    bundle = machine.bundle("shared-counter", end=False)
    worker = max(range(4), key=lambda number: len(bundle.determinants[number].extras()))
    for number, log in enumerate(bundle.determinants):
        if number != worker:
            log.cut_off(log.trimmed)
        bundle.recoverable[number] = log.last
    with pytest.raises(ReplayError, match="wait for steps that are not there: its determinants are not closed"):
        reload(bundle).replay().run()


def test_a_function_that_is_not_there_or_does_not_fit_is_told(reload):
    bundle = reload(words(b"a").bundle(FUNCTION))
    for name, why in (("tests.replay.boxes:Nothing", "no Middlebox class"), ("sequencer", "'sequencer' does not fit .* no state variable 'ticks'")):
        with pytest.raises(BundleError, match=why):
            bundle.replay(name)


def test_wireshark_reads_the_inputs(reload, tmp_path):
    bundle = words(b"0123456789ab\x08\x00", b"z" * 60).bundle(FUNCTION)
    path = tmp_path / "inputs.pcapng"
    path.write_bytes(zipfile.ZipFile(io.BytesIO(saved(bundle))).read("inputs.pcapng"))
    fields = ["frame.interface_name", "frame.time_epoch", "frame.len", "frame.packet_id", "frame.interface_queue", "frame.comment"]
    try:
        done = subprocess.run(["tshark", "-r", path, "-T", "fields", *(word for name in fields for word in ("-e", name))],
                              capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs tshark")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["inside", "ticks"] * 2, done.stderr
    assert rows[0][1] == "1700000000.000000000" and rows[1][1] == "1700000000.000000500" and rows[0][2] == "14"
    assert [row[3:] for row in rows[:2]] == [["1", "0", "worker 0, input 1"], ["2", "0", "worker 0, input 2"]]


def test_the_manifest_is_for_people_too():
    file = io.BytesIO(saved(words(b"a").bundle(FUNCTION)))
    manifest = json.loads(zipfile.ZipFile(file).read("manifest.json"))
    assert manifest["function"] == FUNCTION and manifest["format"] == "ftmb-bundle" and manifest["version"] == 1
