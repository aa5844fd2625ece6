"""The master: order and lateness of inputs, backpressure, checkpoints, replay and its errors."""

import pytest

from middleboxes.core.frames import FrameError, InputEncoder, decode_output, decode_trim, encode_ack
from middleboxes.core.master import QUIET_STEPS_MAX, RESENT_BATCHES_MAX
from middleboxes.sdk import Counter, Map, Middlebox

from .boxes import GROUP, MAC, Stamp, checkpoint, contents, master, output_logger, outputs, packet, released, tick


def ack(core, k, resend=False, epoch=1, worker=0):
    return core.acknowledged(encode_ack(GROUP, MAC, epoch, worker, k, resend))


def steps_in(frames):
    """(first k, last k) of the determinants in each frame."""
    log = output_logger()
    spans = []
    for frame in frames:
        before = log.logs[0].last
        log.receive(frame)
        spans.append((before + 1, log.logs[0].last))
    return spans


# -- inputs

def test_outputs_carry_the_determinants_of_their_step():
    core, logger = master(), output_logger()
    for n in range(1, 6):
        assert released(logger, core.process(0, packet(n))) == [b"%d x 0" % n]
    assert logger.logs[0].last == 5 and core.flush() == []


def test_steps_without_outputs_are_told_by_flush_and_before_the_next_output():
    core, logger = master(), output_logger()
    assert core.process(0, packet(1, b"drop x")) == ()
    released(logger, core.flush())
    assert logger.logs[0].last == 1 and core.flush() == []
    core.process(0, packet(2, b"drop x"))
    assert released(logger, core.process(0, packet(5))) == [b"3 x 0"]
    assert [(k, n) for k, n, _ in logger.logs[0].steps()] == [(1, 1), (2, 2), (3, 5)]


def test_determinants_too_long_for_an_output_travel_before_it():
    core, logger = master(), output_logger()
    for n in range(1, 100, 2):
        core.process(0, packet(n, b"drop x"))
    frames = core.process(0, packet(101))
    assert len(frames) == 2 and decode_output(frames[0]).k == 0 and decode_output(frames[1]).determinants == b""
    assert released(logger, frames) == [b"51 x 0"]


def test_of_a_batch_the_first_output_carries_the_determinants_of_all_steps():
    core, logger = master(), output_logger()
    frames = core.process_all([packet(n) for n in range(1, 6)])
    assert [bool(decode_output(frame).determinants) for frame in frames] == [True, False, False, False, False]
    assert released(logger, frames) == [b"%d x 0" % n for n in range(1, 6)]
    assert logger.logs[0].last == 5 and core.flush() == []


def test_a_batch_gives_what_its_inputs_give_one_by_one():
    """The same releases, the same log, whatever is late, without outputs or recorded in between; nothing is left to be flushed."""
    items = [packet(1), packet(2, b"drop x"), packet(4), packet(3), tick(5), packet(9), packet(10, b"drop x")]
    one, many = master(), master()
    at_one, at_many = output_logger(), output_logger()
    singly = [packet for item in items for packet in released(at_one, one.process(0, item))] + released(at_one, one.flush())
    assert released(at_many, many.process_all(items)) == singly
    assert list(at_many.logs[0].steps()) == list(at_one.logs[0].steps())
    assert many.counters == one.counters and many.flush() == [] and contents(many) == contents(one)


def test_frames_give_what_their_inputs_give_and_others_are_counted():
    encode, items = InputEncoder(GROUP, MAC).encode, [packet(1), packet(2, b"drop x"), tick(3), packet(5)]
    by_items, by_frames = master(epoch=2), master(epoch=2)
    by_frames.begin(2, 2)
    sent = [encode(2, 0, item) for item in items]
    sent[1:1] = [encode(2, 1, packet(9)), sent[0][:40], encode(1, 0, packet(9))]      # another worker's, half a frame, a former input logger's
    assert by_frames.take_all(sent) == by_items.process_all(items)
    assert contents(by_frames) == contents(by_items) and by_frames.bad_frames == 2
    assert by_frames.counters == {**by_items.counters, "refused_inputs": 1}


def test_a_batch_without_outputs_tells_its_steps_at_once():
    core, logger = master(), output_logger()
    assert released(logger, core.process_all([packet(1, b"drop x"), packet(2, b"drop x")])) == []
    assert logger.logs[0].last == 2 and core.process_all([]) == []


def test_the_lost_first_output_of_a_batch_holds_the_others_until_its_determinants_came_again():
    core, logger = master(), output_logger()
    frames = core.process_all([packet(n) for n in range(1, 4)])
    assert released(logger, frames[1:]) == []
    assert released(logger, ack(core, 0, resend=True)) == [b"2 x 0", b"3 x 0"]


def test_late_and_doubled_inputs_are_dropped_and_counted():
    core = master()
    for n in (1, 3, 2, 3, 4):
        core.process(0, packet(n, b"drop %d" % n))
    assert list(core.function.seen) == [b"1", b"3", b"4"] and core.counters["late_inputs"] == 2
    assert core.workers[0].k == 3 and core.workers[0].n == 4


def test_ticks_and_ports_beyond_the_declared_ones_are_steps_too():
    core = master()
    core.process(0, tick(1))
    core.process(0, packet(2, b"drop x", port=9))
    assert core.function.seen == {b"tick": 1_000_000, b"x": 1}


# -- backpressure

def test_at_the_bound_the_master_is_not_ready_until_acknowledged():
    core = master(unacknowledged_max=4)
    for n in range(1, 5):
        assert core.ready
        core.process(0, packet(n))
    assert not core.ready
    ack(core, 1)
    assert core.ready
    core.process(0, packet(5))
    assert not core.ready
    core.durable(core.cut())
    assert not core.ready
    ack(core, 5)
    assert core.ready


@pytest.mark.parametrize("wrong", [{"epoch": 2}, {"epoch": 0}, {"k": 99}])
def test_acknowledgements_of_other_epochs_or_unknown_steps_are_ignored(wrong):
    core = master(unacknowledged_max=2)
    core.process(0, packet(1)), core.process(0, packet(2))
    assert ack(core, **{"k": 2, "resend": True, **wrong}) == [] and not core.ready


def test_an_acknowledgement_for_no_worker_is_an_error():
    with pytest.raises(FrameError):
        ack(master(), 0, worker=1)


def test_what_is_asked_for_again_is_what_is_not_acknowledged():
    core = master()
    for n in range(1, 10):
        core.process(0, packet(n * 2))
    core.flush()
    assert steps_in(ack(core, 0, resend=True))[-1][1] == 9
    (frame,) = ack(core, 4, resend=True)
    assert decode_output(frame).determinants[:8] == (5).to_bytes(8, "big")
    assert ack(core, 9, resend=True) == [] and core.counters["resent"] == 3


# -- checkpoints

def test_a_cut_may_be_committed_once_the_output_logger_has_what_precedes_it():
    core = master()
    core.process(0, packet(1))
    cut = core.cut()
    core.process(0, packet(2))
    assert not core.acknowledged_all(cut)
    ack(core, 1)
    assert core.acknowledged_all(cut)


class Still(Middlebox):
    """Changes its state when the frame says so only."""

    ports = ("inside", "outside")
    changes = Counter()

    def handle(self, frame, ctx):
        if frame == b"change":
            self.changes.add()
        if frame == b"fail":
            raise KeyError("the function's own fault")

    def tick(self, ctx):
        pass


def test_a_cut_may_wait_while_a_few_steps_changed_nothing():
    core = master(Still)
    assert not core.quiet, "nothing is durable yet"
    core.durable(core.cut())
    for n in range(1, QUIET_STEPS_MAX + 1):
        core.process(0, tick(n) if n % 2 else packet(n))
        assert core.quiet
    core.process(0, tick(n + 1))
    assert not core.quiet, "many are to be repeated, and fill the logs"
    core.durable(core.cut())
    assert core.quiet
    for n, frame in ((n + 2, b"change"), (n + 3, b"fail"), (n, b"late")):
        core.process(0, packet(n, frame))
        assert not core.quiet
        core.durable(core.cut())
        assert core.quiet


def test_durable_tells_both_loggers():
    core = master()
    for n in (1, 5):
        core.process(0, packet(n))
    frames = core.durable(core.cut())
    assert [frame[:6].hex() for frame in frames] == ["024654010007", "024654030007"]
    assert [decode_trim(frame) for frame in frames] == [(1, {0: (5, 2)}, 1)] * 2
    ack(core, 2)
    assert core.workers[0].log.trimmed == 2 and core.flush() == []


def test_a_cut_costs_the_same_for_any_size_of_state():
    """It copies nothing: the dirty records change hands."""
    core = master()
    before = {name: variable._dirty for name, variable in core.function.variables.items() if isinstance(variable, Map)}
    for n in range(1, 200):
        core.process(0, packet(n, b"drop %d" % n))
    changes = {name: dirty for name, _, dirty in core.cut().changes}
    assert before and all(changes[name] is dirty for name, dirty in before.items())


def test_a_restored_master_goes_on_exactly_as_the_one_that_was_cut():
    class Random(Stamp):
        def handle(self, frame, ctx):
            ctx.emit("inside", b"%d" % ctx.random())
    core, copy = master(Random), master(Random)
    core.workers[0].context.random_state = 12345
    for n in range(1, 50):
        core.process(0, packet(n))
    copy.load(checkpoint(core.cut()))
    assert contents(copy) == contents(core)
    assert ([o[2:] for o in outputs(core.process(0, packet(50)))] == [o[2:] for o in outputs(copy.process(0, packet(50)))])


def test_a_fresh_master_may_count_on_from_others_steps():
    core, logger = master(epoch=2), output_logger(epoch=1)
    released(logger, [frame for n in (1, 2, 3) for frame in master().process(0, packet(n))][:1])
    (prefix,) = logger.fence(2)
    core.start_at([prefix])
    assert released(logger, core.process(0, packet(9))) == [b"1 x 0"] and logger.logs[0].last == prefix + 1


def test_replay_of_everything_gives_the_same_state_and_the_same_outputs():
    core, logger = master(), output_logger()
    words = (b"send a", b"record ", b"drop b", b"many 3", b"fail c")
    items = [packet(n * 2, words[n % 5]) if n % 7 else tick(n * 2) for n in range(1, 200)]
    frames = [frame for item in items for frame in core.process(0, item)] + core.flush()
    for frame in frames:
        logger.receive(frame)
    copy, again, by_n = master(), [], {item.n: item for item in items}
    for _, n, extra in logger.logs[0].steps():
        again += copy.replay(0, by_n[n], extra)
    assert contents(copy) == contents(core)
    assert [(o.k, o.j, o.port, o.frame) for o in outputs(again)] == [(o.k, o.j, o.port, o.frame) for o in outputs(frames)]


def test_a_full_cut_is_a_base_that_holds_everything_and_deltas_go_on_from_it():
    """What a store that lost its checkpoints is filled with."""
    core, copy = master(), master()
    for n in range(1, 6):
        core.process(0, packet(n, b"drop %d" % n))
    core.durable(core.cut())
    core.process(0, packet(6, b"drop 6"))
    full = core.cut(full=True)
    assert full.base == 0 and full.id > 1
    copy.load(checkpoint(full))
    assert contents(copy) == contents(core)
    core.process(0, packet(7, b"drop 7"))
    delta = core.cut()
    assert delta.base == full.id
    copy.load(checkpoint(delta))
    assert contents(copy) == contents(core)


@pytest.mark.parametrize("name, detail", [("x", {1}), (b"x", "y"), ("x", "y" * 1001), ("x", "line\nline"), ("x", "\ud800")])
def test_an_event_that_can_not_be_told_fails_live_and_in_replay_alike(name, detail):
    """Else a step would be done half live, and whole in replay."""
    class Tells(Stamp):
        def handle(self, frame, ctx):
            self.total.add()
            ctx.event(name, detail)
            self.total.add()

    live, copy = master(Tells), master(Tells)
    live.process(0, packet(1))
    copy.replay(0, packet(1), None)
    assert contents(live) == contents(copy) and live.function.total.value == 1
    assert live.counters["function_errors"] == copy.counters["function_errors"] == 1


def test_the_text_of_a_functions_fault_is_bounded_and_printable():
    told = []

    class Faulty(Stamp):
        def handle(self, frame, ctx):
            raise ValueError("\ud800" + "x" * (1 << 20))

    core = master(Faulty, on_event=lambda name, detail: told.append(detail))
    core.process(0, packet(1))
    assert told[0].isascii() and len(told[0]) < 2000


def test_a_long_gap_is_resent_in_portions():
    """A gap of any length holds up packets for a bounded time; the next acknowledgement asks for the next portion."""
    core, logger = master(), output_logger()
    for n in range(1, 4001):
        core.process(0, packet(n, b"record x"))
    rounds = 0
    while logger.logs[0].last < 4000:
        frames = ack(core, logger.logs[0].last, resend=True)
        assert 0 < len(frames) <= RESENT_BATCHES_MAX
        released(logger, frames)
        rounds += 1
    assert rounds > 1


def test_without_a_durable_checkpoint_the_master_stops_before_the_output_log_is_full(monkeypatch):
    monkeypatch.setattr("middleboxes.core.master.UNDURABLE_MAX", 10)
    core = master()
    cut = core.cut()
    for n in range(1, 11):
        assert core.ready
        core.process(0, packet(n))
        ack(core, n)
    assert not core.ready
    core.durable(cut)
    assert not core.ready, "that checkpoint was cut before these steps"
    core.durable(core.cut())
    assert core.ready
