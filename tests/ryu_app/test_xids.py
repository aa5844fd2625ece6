"""Transaction ids: a barrier is never forgotten, and what it confirms is."""

from ryu_app import xids
from ryu_app.xids import QUESTION, Barrier, Xids


def test_no_number_of_changes_pushes_a_barrier_out(monkeypatch):
    monkeypatch.setattr(xids, "CHANGES_MAX", 10)
    known = Xids()
    known.note(1, Barrier(7))
    for xid in range(2, 100):
        known.note(xid, "a change")
    assert len(known) == 11 and known.confirmed(1) == 7


def test_a_barriers_reply_forgets_what_came_before_it_and_only_that():
    known = Xids()
    known.note(1, "first")
    known.note(2, QUESTION)
    known.note(3, Barrier(7))
    known.note(4, "later")
    assert known.confirmed(3) == 7 and known.confirmed(3) is None
    assert known.refused(1) is None and known.refused(4) == "later" and len(known) == 0


def test_a_refused_change_is_known_by_its_text_and_a_strangers_by_nothing():
    known = Xids()
    known.note(1, "a change")
    known.note(2, QUESTION)
    assert known.refused(1) == "a change" and known.refused(2) is QUESTION and known.refused(3) is None
