"""Loading in slices: the same state as all at once, a bounded slice, and nothing of what breaks off."""

import pytest

from middleboxes.core import checkpoint as checkpoints
from middleboxes.core import loading
from middleboxes.core.channel import pack
from middleboxes.core.checkpoint import CheckpointError, Folded
from middleboxes.core.loading import WAITING_MAX, Loader, load_in_slices

from .boxes import assembled, checkpoint, contents, master, packet


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    monkeypatch.setattr(loading, "KEYS_PER_SLICE", 10)
    monkeypatch.setattr(checkpoints, "KEYS_PER_SLICE", 10)
    monkeypatch.setattr(checkpoints, "KEYS_PER_CHUNK", 4)


def source(keys=50):
    core = master()
    for n in range(1, keys + 1):
        core.process(0, packet(n, b"drop %d" % n))
    return core


def give(loader, cut):
    for data in cut.chunks():
        loader.chunk(cut.id, data, False)
    loader.chunk(cut.id, b"", True)


def test_in_slices_it_is_the_same_state_and_no_slice_is_large():
    core = source()
    base = checkpoint(core.cut())
    core.process(0, packet(51, b"drop new"))
    delta = checkpoint(core.cut())
    copy = master()
    sizes = [*load_in_slices(copy, base), *load_in_slices(copy, delta)]
    assert contents(copy) == contents(core) and len(sizes) >= 5
    assert max(sizes) < 10 + 4, "a slice ends with a record"
    # a base on a large state: it is forgotten in slices, too
    assert len(list(load_in_slices(copy, base))) >= 2 * 5 and len(copy.function.variables["seen"]) == 50


def test_a_loader_loads_in_order_and_says_when_it_is_idle():
    core, copy = source(5), master()
    loader = Loader(copy)
    assert loader.idle and not loader.step()
    give(loader, first := core.cut())
    while loader.step():
        pass
    for n in range(6, 56):
        core.process(0, packet(n, b"drop %d" % n))
    give(loader, core.cut())
    core.process(0, packet(56, b"drop new"))
    give(loader, second := core.cut())
    assert not loader.idle and (loader.taken_id, copy.checkpoint_id) == (second.id, first.id)
    give(loader, first)                     # it has that one already
    steps = 0
    while loader.step():
        steps += 1
    assert loader.idle and steps >= 5 and contents(copy) == contents(core) and copy.checkpoint_id == second.id


def begin(loader, cut):
    """Give all of *cut* but its end, and load what can be."""
    for data in cut.chunks():
        loader.chunk(cut.id, data, False)
    while loader.step():
        pass


def test_half_a_delta_leaves_no_trace():
    core, copy = source(), master()
    loader = Loader(copy)
    give(loader, core.cut())
    while loader.step():
        pass
    before = contents(copy)
    core.process(0, packet(51, b"drop new"))
    begin(loader, core.cut())
    loader.restart()
    assert loader.idle and not loader.step() and contents(copy) == before


def test_half_a_base_leaves_no_trace_where_another_checkpoint_is_loaded():
    core, copy = source(), master()
    copy.load(checkpoint(core.cut()))
    before, loader = contents(copy), Loader(copy)
    core.process(0, packet(51, b"drop new"))
    begin(loader, core.cut(True))
    assert loader.idle and contents(copy) == before
    loader.restart()
    give(loader, core.cut(True))
    while loader.step():
        pass
    assert contents(copy) == contents(core)


def test_a_base_is_loaded_as_it_comes_where_nothing_is_and_forgotten_if_it_breaks_off():
    core, copy = source(), master()
    loader, cut = Loader(copy), core.cut(True)
    begin(loader, cut)
    assert len(copy.function.variables["seen"]) == 50 and not loader.idle and (loader.taken_id, copy.checkpoint_id) == (0, 0)
    loader.restart()
    assert loader.idle and not loader.step()
    del core.function.seen[b"1"]
    begin(loader, other := core.cut(True))
    loader.chunk(other.id, b"", True)
    while loader.step():
        pass
    assert loader.idle and contents(copy) == contents(core) and loader.taken_id == copy.checkpoint_id == other.id


def test_a_record_that_does_not_fit_fails_a_base_that_is_coming():
    core, copy = source(), master()
    loader, (first, *_) = Loader(copy), core.cut(True).chunks()
    loader.chunk(1 << 40, first, False)
    with pytest.raises(CheckpointError, match="unknown"):
        loader.chunk(1 << 40, pack([None, [["unknown", [], [1], [2]]]]), False)


def test_beyond_the_bound_the_oldest_are_loaded_at_once():
    core, copy = source(5), master()
    loader = Loader(copy)
    for n in range(6, 6 + WAITING_MAX + 3):
        give(loader, core.cut())
        core.process(0, packet(n, b"drop %d" % n))
    assert copy.checkpoint_id > 0
    while loader.step():
        pass
    give(loader, core.cut())
    while loader.step():
        pass
    assert contents(copy) == contents(core)


def test_a_checkpoint_that_does_not_fit_changes_nothing():
    core, copy = source(), master()
    item = checkpoint(core.cut())
    with pytest.raises(CheckpointError, match="unknown"):
        next(load_in_slices(copy, item._replace(records=[*item.records, ("unknown", (), (1,), (2,))])))
    assert contents(copy) == contents(master())


def test_a_store_folds_in_slices_and_is_durable_before():
    core, folded = source(), Folded()
    chunks, item = [], checkpoint(core.cut())
    folded.fold(chunks, item)
    assert folded.id == item.header["id"], "durable"
    slices = 0
    while folded.fold_slice():
        slices += 1
    assert slices >= 5
    folded.fold(chunks, checkpoint(core.cut()))         # the one before is folded by then
    assert assembled(folded.everything())[1].header["keys"]["seen"] == 50
    (number, _, header_only), = folded.headers_since(0)
    assert number == folded.id and len(list(header_only)) == 1 and folded.headers_since(folded.id) == []
