"""The load's datagrams: each is taken once, and what was changed on its way is seen."""

from ftmb.soak.load import NUMBERS_MAX, Arrivals, datagram


def test_a_datagram_is_taken_once_in_any_order():
    arrivals = Arrivals()
    assert [arrivals.take(datagram(3, number)) for number in (0, 9, 1, 9, 0)] == [3, 3, 3, None, None]
    assert arrivals.counts == {"received": 5, "repeated": 2, "damaged": 0}


def test_what_was_changed_or_nobody_sends_is_damaged():
    arrivals, good = Arrivals(), datagram(3, 7)
    for bad in (good[:20] + b"x" + good[21:], good[:-1], good + b"x", b"", datagram(1, NUMBERS_MAX)):
        assert arrivals.take(bad) is None
    assert arrivals.counts == {"received": 0, "repeated": 0, "damaged": 5}
