"""The state of a middlebox as seen from outside: contents of variables, how two differ, a digest, JSON."""

import hashlib

from ..core.channel import pack
from ..core.columns import unpack_column
from ..core.state import Counter

_QUOTED_CHARS_MAX = 200


def contents(variables):
    """{name: the number of a Counter, or {key: value} of a Map} of *variables* {name: Variable}; a copy."""
    return {name: variable.value if isinstance(variable, Counter) else dict(variable) for name, variable in variables.items()}


def folded(variables, checkpoints):
    """What ``contents`` gives after *checkpoints* (a base first, then deltas on it), for variables of the kinds of *variables*."""
    found = {name: {} for name in variables}
    for checkpoint in checkpoints:
        if checkpoint.header["base"] == 0:
            found = {name: {} for name in variables}
        for name, *columns in checkpoint.records:
            removed, keys, values = map(unpack_column, columns)
            variable = found.setdefault(name, {})
            for key in removed:
                variable.pop(key, None)
            variable.update(zip(keys, values))
    return {name: items.get(None, 0) if isinstance(variables.get(name), Counter) else items for name, items in found.items()}


def differences(was, now):
    """Lines of text that say what in *now* is not as in *was* (both from ``contents``), one for each variable; order counts."""
    found = []
    for name in sorted({*was, *now}):
        if name not in was or name not in now:
            found.append(f"state variable {name!r} is only {'in the replay' if name in now else 'in the checkpoint'}")
            continue
        one, other = was[name], now[name]
        if not isinstance(one, dict) or not isinstance(other, dict):
            if one != other:
                found.append(f"state variable {name!r} is {_quoted(other)}, was {_quoted(one)}")
        elif list(one.items()) != list(other.items()):
            found.append(f"state variable {name!r}: {_first_difference(one, other)}")
    return found


def _first_difference(was, now):
    for item, other in zip(was.items(), now.items()):
        if item != other:
            return f"it has {_quoted(other)} where {_quoted(item)} was"
    return f"it has {len(now)} keys, had {len(was)}"


def _quoted(value):
    text = repr(value)
    return text if len(text) <= _QUOTED_CHARS_MAX else f"{text[:_QUOTED_CHARS_MAX]}..."


def digest(state):
    """SHA-256 (hex) of what ``contents`` gave: names, keys, values and their order."""
    total = hashlib.sha256()
    for name, value in sorted(state.items()):
        total.update(pack(name))
        for item in value.items() if isinstance(value, dict) else [(None, value)]:
            total.update(pack(item))
    return total.hexdigest()


def plain(value):
    """*value* of the state as JSON data: bytes as {"hex": ...}, tuples as lists, a Map as a list of [key, value] in its order."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return [[plain(key), plain(item)] for key, item in value.items()]
    return value
