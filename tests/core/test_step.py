"""A step of a function: its faults, what it records, the events it tells, live and in replay."""

import pytest

from middleboxes.core.channel import pack
from middleboxes.core.determinants import EXTRA_BYTES_MAX, DeterminantError, encode_extra
from middleboxes.core.emitting import OUTPUTS_MAX
from middleboxes.core.step import RECORDED_BYTES_MAX, RECORDS_MAX, RecordError, ReplayError

from .boxes import Stamp, contents, master, outputs, packet


# -- a function's faults

def test_a_fault_is_one_step_told_once_and_replay_does_the_same():
    told = []
    core = master(on_event=lambda name, detail: told.append((name, detail)))
    frames = [frame for n in (1, 2) for frame in core.process(0, packet(n, b"fail x"))]
    assert core.counters["function_errors"] == 2 and core.workers[0].k == 2
    assert [name for name, _ in told] == ["function-error"] and "KeyError" in told[0][1]
    copy = master()
    again = [frame for n in (1, 2) for frame in copy.replay(0, packet(n, b"fail x"), None)]
    assert [output.frame for output in outputs(again)] == [output.frame for output in outputs(frames)]
    assert contents(copy) == contents(core)


class Faulty(Stamp):
    """Does what its test says."""

    def handle(self, frame, ctx):
        self.seen[b"before"] = 1
        self.does(ctx)
        self.seen[b"after"] = 1


def faulty(does):
    return master(type("Faulty", (Faulty,), {"does": staticmethod(does)}))


def one_step(core):
    """(frames, extra) of one step."""
    frames = core.process(0, packet(1))
    ((_, _, extra),) = core.workers[0].log.steps()
    return list(frames), extra


def replayed(does, extra):
    core = faulty(does)
    return core, list(core.replay(0, packet(1), extra))


def many_outputs(ctx):
    for _ in range(OUTPUTS_MAX + 1):
        ctx.emit("inside", b"")


@pytest.mark.parametrize("does", [lambda ctx: ctx.emit("inside", None), lambda ctx: ctx.emit("inside", 5), many_outputs,
                                  lambda ctx: ctx.emit("nowhere", b""), lambda ctx: ctx.emit("inside", "text"),
                                  lambda ctx: 1 // 0], ids=range(6))
def test_no_fault_of_a_function_surfaces_in_the_master(does):
    core = faulty(does)
    frames, extra = one_step(core)
    assert core.counters["function_errors"] == 1 and list(core.function.seen) == [b"before"]
    copy, again = replayed(does, extra)
    assert contents(copy) == contents(core) and len(again) == len(outputs(frames))


# -- records

def test_a_recorded_value_is_asked_for_once_and_replayed():
    core = master()
    core.function.outside_value = lambda: (1, b"x", "y", None)
    frames = core.process(0, packet(1, b"record "))
    ((_, _, extra),) = core.workers[0].log.steps()
    copy = master()
    copy.function.outside_value = lambda: 1 // 0
    assert [o.frame for o in outputs(copy.replay(0, packet(1, b"record "), extra))] == [o.frame for o in outputs(frames)]


def test_a_live_step_sees_what_replay_will_see():
    """A list would come back as a tuple: it is refused in the live step already."""
    values = []

    def does(ctx):
        values.append(ctx.record(lambda: (1, (2, 3))))
    one_step(faulty(does))
    assert values == [(1, (2, 3))]
    for bad in ([1], {"a": 1}, {1}, 1 << 70, object(), "\ud800"):
        core = faulty(lambda ctx, bad=bad: ctx.record(lambda: bad))
        _, extra = one_step(core)
        assert core.counters["function_errors"] == 1
        assert contents(replayed(lambda ctx: ctx.record(lambda: 1), extra)[0]) == contents(core)


def test_a_record_that_failed_fails_again_in_replay_even_if_the_function_goes_on():
    seen = []

    def does(ctx):
        try:
            seen.append(ctx.record(lambda: 1 // 0))
        except RecordError as error:
            seen.append(str(error))
        seen.append(ctx.record(lambda: 7))
    core = faulty(does)
    _, extra = one_step(core)
    copy, _ = replayed(does, extra)
    assert seen == ["ZeroDivisionError", 7] * 2 and contents(copy) == contents(core)


@pytest.mark.parametrize("sizes", [[RECORDED_BYTES_MAX + 1], [1000] * 6, [1] * (RECORDS_MAX + 1), [RECORDED_BYTES_MAX] * RECORDS_MAX])
def test_what_a_step_records_is_bounded_and_always_fits_a_frame(sizes):
    def does(ctx):
        for size in sizes:
            try:
                ctx.record(lambda size=size: bytes(size))
            except RecordError:
                continue
    core = faulty(does)
    frames, extra = one_step(core)
    frames += core.flush()
    assert len(extra) <= EXTRA_BYTES_MAX and max(map(len, frames)) < 9000
    assert contents(replayed(does, extra)[0]) == contents(core)


def test_a_step_of_the_largest_extra_still_fits_a_frame():
    reasons = ["e" * 24] * (RECORDS_MAX - 1) + [pack(bytes(RECORDED_BYTES_MAX - 3))]
    assert len(encode_extra((), reasons)) < EXTRA_BYTES_MAX


@pytest.mark.parametrize("extra", [None, encode_extra((), [pack(1), pack(2)])])
def test_replay_that_records_otherwise_is_an_error(extra):
    with pytest.raises(ReplayError):
        master().replay(0, packet(1, b"record "), extra)


def test_damaged_extras_are_an_error():
    with pytest.raises(DeterminantError):
        master().replay(0, packet(1), b"\xc1")


def test_events_are_not_repeated_in_replay():
    told = []

    class Tells(Stamp):
        def handle(self, frame, ctx):
            ctx.event("seen", "x")
    core = master(Tells, on_event=lambda name, detail: told.append(name))
    core.process(0, packet(1))
    assert told == ["seen"]
    core.replay(0, packet(2), None)
    assert told == ["seen"]
