"""The message vocabulary: what fits is passed on unchanged, everything else raises MessageError."""

import pytest

from middleboxes.core.messages import _TYPES, REQUESTS, MessageError, check

VALUES = {int: 1, str: "x", bool: True, list: [], dict: {}, bytes: b"x"}


def good(kind):
    message = {"t": kind, **{name: VALUES[type_] for name, type_ in _TYPES[kind].items()}}
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
    args = {name: VALUES[type_] for name, type_ in REQUESTS[do].items()}
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
