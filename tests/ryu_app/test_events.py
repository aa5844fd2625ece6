"""The event log and its streams: numbers, bounds, and what happens to a client that does not keep up."""

import json

import eventlet
import pytest

from ryu_app import events as module
from ryu_app.events import EVENTS_MAX, QUEUE_EVENTS_MAX, STREAMS_MAX, EventLog
from ryu_app.refusal import Unavailable


def numbers(events):
    return [event["number"] for event in events]


def filled(count):
    log = EventLog()
    for _ in range(count):
        log.add({"what": "x"})
    return log


def piece(data):
    """(id, event) of one server-sent event."""
    first, second, *rest = data.decode().split("\n")
    assert rest == ["", ""] and first.startswith("id: ") and second.startswith("data: ")
    return int(first[4:]), json.loads(second[6:])


def test_events_are_numbered_and_told_after_a_number():
    log = filled(3)
    assert numbers(log.since(0)) == [1, 2, 3] and numbers(log.since(2)) == [3]
    assert log.since(3) == log.since(99) == []


def test_the_oldest_events_go_and_the_numbers_show_it():
    log = filled(EVENTS_MAX + 5)
    assert numbers(log.since(0)) == numbers(log.since(5)) == list(range(6, EVENTS_MAX + 6))
    assert numbers(log.since(EVENTS_MAX + 4)) == [EVENTS_MAX + 5]


def test_a_stream_tells_what_was_and_what_comes():
    log = filled(2)
    stream = log.follow(1)
    assert next(stream).startswith(b":"), "a comment at once, so that the client sees that it is connected"
    assert piece(next(stream)) == (2, {"number": 2, "what": "x"})
    with eventlet.Timeout(5):
        coming = eventlet.spawn(next, stream)
        eventlet.sleep(0)
        log.add({"what": "new\nline"})
        assert piece(coming.wait()) == (3, {"number": 3, "what": "new\nline"})


def test_a_silent_stream_is_kept_alive_so_that_a_client_that_is_gone_is_noticed(monkeypatch):
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.001)
    stream = EventLog().follow(0)
    next(stream)
    assert next(stream).startswith(b":")


def test_a_stream_that_is_closed_ends_for_who_waits_and_gives_its_place_back():
    log = EventLog()
    stream = log.follow(0)
    next(stream)
    with eventlet.Timeout(5):
        waiting = eventlet.spawn(list, stream)
        eventlet.sleep(0)
        stream.close()
        stream.close()
        assert waiting.wait() == [] and log.streams == 0
    log.add({"what": "x"})


def test_no_more_streams_than_the_limit():
    log = EventLog()
    streams = [log.follow(0) for _ in range(STREAMS_MAX)]
    with pytest.raises(Unavailable):
        log.follow(0)
    assert log.counters["streams_refused"] == 1
    streams[0].close()
    assert log.follow(0) and log.streams == STREAMS_MAX


def test_a_client_that_does_not_read_is_dropped_at_the_bound_and_the_others_go_on():
    log = filled(EVENTS_MAX)
    slow, dropped = log.follow(0), []
    slow.on_drop = lambda: dropped.append(1)
    quick = log.follow(EVENTS_MAX)
    next(quick)
    for number in range(QUEUE_EVENTS_MAX - EVENTS_MAX):
        log.add({"what": "x"})
        assert piece(next(quick))[0] == EVENTS_MAX + number + 1
    assert dropped == [] and len(slow._waiting) == QUEUE_EVENTS_MAX
    log.add({"what": "one too many"})
    assert dropped == [1] and log.counters["streams_dropped"] == 1 and log.streams == 1
    assert len(slow._waiting) == 0 and piece(next(quick))[1]["what"] == "one too many"
