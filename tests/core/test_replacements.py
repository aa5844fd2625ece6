"""What a master and an input logger do when a role around them is replaced (docs/protocol.md, rules 14 to 20)."""

import pytest

from middleboxes.core.checkpoint import COVERED
from middleboxes.core.frames import HOP_TRIM, InputEncoder, decode_input, decode_trim, encode_ack, hop_of, virtual_mac
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.recovery import LiveBuffer, Recovery

from .boxes import GROUP, MAC, checkpoint, master, output_logger, packet, released


def ack(core, k, resend=True, epoch=1):
    return core.acknowledged(encode_ack(GROUP, MAC, epoch, 0, k, resend))


def trims(frames):
    return [decode_trim(frame) for frame in frames if hop_of(frame)[1] == HOP_TRIM]


def run(core, first, last):
    """Inputs *first* to *last*; the frames."""
    return [frame for n in range(first, last + 1) for frame in core.process(0, packet(n))] + core.flush()


# -- input logger

def test_a_new_input_logger_begins_where_the_master_stands():
    """Numbers above, times not before, and TRIM frames of the living master's epoch."""
    core = master()
    run(core, 1, 5)
    start, start_ns = core.fence_inputs(3)
    assert start == [5] and start_ns == packet(5).timestamp_ns
    inputs = InputLogger(GROUP, MAC, 1, 3, 1 << 20, start=start, start_ns=start_ns, master_epoch=1)
    epoch, _, item = decode_input(inputs.accept(0, b"x", 7))
    assert (epoch, item.n, item.timestamp_ns) == (3, 6, start_ns)
    inputs.trim(3, {0: (6, 6)})
    assert len(inputs.after(0, 5, 10)[0]) == 1, "epoch 3 is not its master's"
    inputs.trim(1, {0: (4, 4)})
    assert len(inputs.after(0, 0, 10)[0]) == 1, "a checkpoint from before its beginning covers nothing of its own"
    inputs.trim(1, {0: (6, 6)})
    assert inputs.after(0, 5, 10) == ([], True)
    inputs.fence(4)
    assert (inputs.epoch, inputs.master_epoch) == (4, 4)


def test_inputs_of_a_former_input_logger_are_refused_and_counted():
    """By a recovering spare, too: the live ones in its buffer."""
    core, buffer = master(), LiveBuffer()
    core.load(checkpoint(master().cut()))
    core.begin(5, 4)
    recovery = Recovery(core, [0], buffer)
    recovery.loaded()
    recovery.determinants(0, b"", True)
    recovery.inputs(0, [], True)
    encode = InputEncoder(GROUP, MAC).encode
    for epoch, n in ((3, 1), (4, 1), (3, 2), (5, 2)):
        buffer.add(encode(epoch, 0, packet(n)))
    recovery.step(100)
    assert recovery.finished and recovery.joined
    assert core.workers[0].n == 2 and core.counters["refused_inputs"] == 2 and core.counters["late_inputs"] == 0


def test_a_stopped_master_takes_no_inputs():
    core = master()
    assert not core.stopped and core.inputs_from == 0
    core.stop()
    assert core.stopped and core.inputs_from > (1 << 32) - 1, "no epoch is high enough"
    core.fence_inputs(9)
    assert core.stopped


# -- output logger

def test_checkpoints_for_a_new_output_logger_wait_for_nobody_until_one_is_durable():
    """The one that was being made, too, and it does not end this; the next ones wait again."""
    core = master()
    run(core, 1, 3)
    before = core.cut()
    assert not core.acknowledged_all(before)
    core.use_output_log(3, 2)
    assert core.acknowledged_all(before)
    core.durable(before)
    run(core, 4, 5)
    cut = core.cut()
    assert core.acknowledged_all(cut)
    core.durable(cut)
    run(core, 6, 6)
    cut = core.cut()
    assert not core.acknowledged_all(cut)
    ack(core, 6, epoch=1)
    assert not core.acknowledged_all(cut), "the former one's"
    ack(core, 6, epoch=2)
    assert core.acknowledged_all(cut)


def test_a_new_output_logger_releases_what_waits_when_the_checkpoint_is_durable():
    """And nothing before that; afterwards determinants are stored and outputs released as ever."""
    core, former, new = master(), output_logger(), output_logger(covered_from=2)
    assert len(released(former, run(core, 1, 4))) == 4
    ack(core, 4)
    core.use_output_log(3, 2)
    assert released(new, run(core, 5, 6)) == []
    assert ack(core, 0, epoch=2) == [], "of what it lacks nobody has all"
    _, trim = core.durable(core.cut())
    assert [frame for _, frame in new.trim(*decode_trim(trim))] == [b"5 x 0", b"6 x 0"]
    assert released(new, run(core, 7, 7)) == [b"7 x 0"]
    assert new.fence(4) == [7]


def test_what_a_late_switch_leads_to_a_former_output_logger_counts_no_more():
    """It lets out and acknowledges nothing that the new one lacks, and that the master would forget. The new one gets it all the same."""
    core, former, new = master(), output_logger(), output_logger(covered_from=2)
    released(former, run(core, 1, 4))
    core.use_output_log(3, 2)
    _, trim = core.durable(core.cut())
    strayed = run(core, 5, 6)
    assert released(former, strayed) == [] and former.counters["later_epoch"] == len(strayed)
    former.trim(*decode_trim(trim))
    assert (former.logs[0].last, former.logs[0].trimmed) == (4, 0)
    assert [core.acknowledged(frame) for frame in former.acknowledge(0)[0]] == [[]]
    assert core.workers[0].log.trimmed == 0
    new.trim(*decode_trim(trim))
    asked = [frame for answer in new.acknowledge(0)[0] for frame in core.acknowledged(answer)]
    assert released(new, asked) == [] and new.logs[0].last == 6
    for frame in new.acknowledge(10**9)[0]:
        core.acknowledged(frame)
    assert core.workers[0].log.trimmed == 6


def test_who_asks_for_what_a_durable_checkpoint_covers_is_told_so():
    core, new = master(), output_logger()
    run(core, 1, 4)
    ack(core, 4)
    core.durable(core.cut())
    frames = run(core, 5, 6)
    assert released(new, frames) == []
    answer = ack(core, 0)
    assert trims(answer) == [(1, {0: (4, 4)}, 1)] and answer[0][:6] == virtual_mac("output-logger", GROUP)
    new.trim(*trims(answer)[0])
    assert released(new, answer[1:]) == [b"5 x 0", b"6 x 0"] and new.logs[0].last == 6
    assert ack(core, 6) == [] and ack(core, 4, resend=False) == []


def test_a_recovered_master_tells_what_was_durable_before_its_time():
    """An output logger that was fenced before it heard of the last checkpoint waits for steps that nobody has."""
    core, new = master(), output_logger()
    run(core, 1, 4)
    copy = master()
    copy.load(checkpoint(core.cut()))
    copy.begin(1, 0)
    assert trims(ack(copy, 0)) == [(1, {0: (4, 4)}, 1)]
    assert released(new, run(copy, 5, 5)) == []
    assert trims(ack(master(), 0)) == [], "nothing is durable"


@pytest.mark.parametrize("told_in_between", [False, True])
def test_a_new_output_logger_begins_only_when_a_checkpoint_covers_it(told_in_between):
    """Whatever becomes durable before and is sent again; should the master die, the former one has all that left."""
    core, new = master(), output_logger(covered_from=3)
    assert released(new, run(core, 1, 4)) == [] and ack(core, 0, epoch=3) == [], "the master has not heard of it"
    early = core.cut()
    core.use_output_log(4, 3)
    if told_in_between:
        assert [frame for trim in trims(core.durable(early)) for frame in new.trim(*trim)] == []
    assert released(new, run(core, 5, 6)) == []
    answer = ack(core, 0, epoch=3)
    assert [frame for trim in trims(answer) for frame in new.trim(*trim)] == []
    determinants = [frame for frame in answer if hop_of(frame)[1] != HOP_TRIM]
    assert determinants and released(new, determinants) == [] and new.logs[0].last == 0
    assert new.counters["early_trims"] == 2 * told_in_between
    covering = core.cut()
    run(core, 7, 7)
    left = [frame for trim in trims(core.durable(covering)) for _, frame in new.trim(*trim)]
    assert left == [b"5 x 0", b"6 x 0"] and not new.covered_from


# -- what is covered

def test_a_cut_says_which_replacements_it_covers():
    """In whatever order the master was told: the highest epoch alone would say too much."""
    core = master()
    assert core.cut().covers == dict.fromkeys(COVERED, 1)
    core.fence_inputs(3)
    cut = core.cut()
    core.use_output_log(2, 2)
    core.use_store(4)
    assert cut.covers == {"input-logger": 3, "output-logger": 1, "store": 1}
    assert checkpoint(core.cut(full=True)).header["covers"] == {"input-logger": 3, "output-logger": 2, "store": 4}
    core.begin(7, 3)
    assert core.cut().covers == dict.fromkeys(COVERED, 7) and core.output_epoch == 7


@pytest.mark.parametrize("tell, output_epochs", [("fence_inputs", [(), ()]), ("use_output_log", [(4,), (3,)]), ("use_store", [(), ()])])
def test_a_request_that_comes_late_takes_nothing_back(tell, output_epochs):
    core = master()
    getattr(core, tell)(5, *output_epochs[0])
    getattr(core, tell)(4, *output_epochs[1])
    assert sorted(core.covers.values()) == [1, 1, 5] and core.output_epoch == max([1, *output_epochs[0]])
