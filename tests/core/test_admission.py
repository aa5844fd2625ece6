"""Who may connect: places in all, for strangers, and for strangers of one host."""

from middleboxes.core.admission import CONNECTIONS_MAX, HALF_OPEN_MAX, HALF_OPEN_PER_HOST_MAX, Admission, is_told


def fill(admission, count, host=None, first=0):
    """Add connections *first*, ... of hosts of their own, or of *host*; returns what had to be closed."""
    return [admission.add(number, host or f"h{number}") for number in range(first, first + count)]


def test_half_open_connections_of_one_host_are_limited_and_others_come_in():
    admission = Admission()
    fill(admission, HALF_OPEN_PER_HOST_MAX, "a")
    assert "have not authenticated" in admission.refusal("a") and admission.refusal("b") is None
    assert admission.counters["refused"] == 1
    admission.authenticated(0)
    assert admission.refusal("a") is None


def test_the_oldest_stranger_makes_room_never_who_has_authenticated():
    admission = Admission()
    assert fill(admission, HALF_OPEN_MAX) == [None] * HALF_OPEN_MAX
    admission.authenticated(0)
    assert fill(admission, 2, first=HALF_OPEN_MAX) == [None, 1]
    assert admission.counters["half_open_dropped"] == 1
    admission.remove(1)
    assert admission.counters["unauthenticated"] == 1 and len(admission) == HALF_OPEN_MAX + 1


def test_all_connections_together_are_limited():
    admission = Admission()
    for number in range(CONNECTIONS_MAX):
        assert admission.refusal("a") is None
        admission.add(number, "a")
        admission.authenticated(number)
    assert "are open" in admission.refusal("b")
    admission.remove(7)
    admission.remove(7)
    admission.authenticated(7)
    assert admission.refusal("b") is None and len(admission) == CONNECTIONS_MAX - 1
    assert admission.counters["unauthenticated"] == 0, "those that end after having authenticated are no strangers"


def test_a_log_is_told_of_ever_fewer_of_many():
    assert [count for count in range(1, 100) if is_told(count)] == [1, 2, 4, 8, 16, 32, 64]
