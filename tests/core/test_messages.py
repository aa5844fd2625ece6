"""The message vocabulary: what fits is passed on unchanged, everything else raises MessageError."""

import pytest

from middleboxes.core.messages import _ADDRESSES, _TYPES, REQUESTS, MessageError, check

VALUES = {int: 1, str: "x", bool: True, list: [], dict: {}, bytes: b"x"}


def value(name, kind):
    return ["10.0.0.1", 9778] if kind is list and name in _ADDRESSES else VALUES[kind]


def good(kind):
    message = {"t": kind, **{name: value(name, type_) for name, type_ in _TYPES[kind].items()}}
    if kind == "request":
        message.update(do="fence", args={"role": "store"})
    return message


@pytest.mark.parametrize("kind", sorted(_TYPES))
def test_every_type_accepts_its_fields_and_no_others(kind):
    message = good(kind)
    assert check(message) is message
    for name in message:
        with pytest.raises(MessageError):
            check({key: value for key, value in message.items() if key != name})
        with pytest.raises(MessageError):
            check({**message, name: 1.5})
    with pytest.raises(MessageError, match="more"):
        check({**message, "more": 1})


@pytest.mark.parametrize("do", sorted(REQUESTS))
def test_every_request_accepts_its_arguments_and_no_others(do):
    args = {name: value(name, type_) for name, type_ in REQUESTS[do].items()}
    message = {**good("request"), "do": do, "args": args}
    assert check(message) is message
    for name in args:
        with pytest.raises(MessageError, match=name):
            check({**message, "args": {key: value for key, value in args.items() if key != name}})
    with pytest.raises(MessageError, match="more"):
        check({**message, "args": {**args, "more": 1}})


@pytest.mark.parametrize("message", [None, 1, [], "x", {}, {"t": None}, {"t": []}, {"t": "nonsense"}, {1: 2},
                                     {**good("request"), "do": "nonsense"}, {**good("stored"), "id": True}])
def test_nonsense_is_refused(message):
    with pytest.raises(MessageError):
        check(message)


@pytest.mark.parametrize("kind, name, values", [
    ("event", "epoch", (-1, 2**32)), ("request", "epoch", (-1, 2**32)), ("input_batch", "worker", (-1, 12)), ("stored", "id", (-1, 2**63)),
    ("hello", "service", ([], ["10.0.0.1"], ["10.0.0.1", 0], ["10.0.0.1", 65536], ["10.0.0.1", True], ["", 80], ["x" * 65, 80], ["\u0661", 80], [b"x", 80]))])
def test_numbers_and_addresses_that_nothing_has_are_refused(kind, name, values):
    for wrong in values:
        with pytest.raises(MessageError, match=name):
            check({**good(kind), name: wrong})


def test_a_number_of_workers_is_no_size_to_take_memory_by():
    args = {name: value(name, type_) for name, type_ in REQUESTS["output-logger"].items()}
    for wrong in (0, -1, 13, 2**40):
        with pytest.raises(MessageError, match="workers"):
            check({**good("request"), "do": "output-logger", "args": {**args, "workers": wrong}})


@pytest.mark.parametrize("wrong", [b"x", float("nan"), float("inf"), {1: 2}, {"x": {b"y": 1}}, [[[[[[[[[[1]]]]]]]]]]])
def test_what_the_controller_tells_as_json_must_be_json(wrong):
    for kind, name in (("beat", "roles"), ("hello", "roles"), ("reply", "result"), ("event", "detail")):
        there = [wrong] if name == "roles" else {"x": wrong}
        with pytest.raises(MessageError):
            check({**good(kind), name: there})


def test_an_error_quotes_little_of_what_came():
    for message in ({"t": "x" * 100_000}, {**good("request"), "do": "x" * 100_000}, {**good("beat"), **{"x" * 10_000 + str(n): 1 for n in range(100)}}):
        with pytest.raises(MessageError) as raised:
            check(message)
        assert len(str(raised.value)) < 1000
