"""The REST interface, without the web server: a request in, an Answer out.

    GET    /ftmb/status                what runs where, groups, nodes, failovers (docs: ``ftmb status --json``)
    GET    /ftmb/groups                the groups of it
    GET    /ftmb/groups/NAME           one of them
    GET    /ftmb/nodes                 the nodes of it
    GET    /ftmb/events                the last events, oldest first; ?since=N for those after number N
    GET    /ftmb/events/stream         the same and those to come, as server-sent events (text/event-stream)
    POST   /ftmb/groups/NAME/move      move the master, {"to": node or null, "reload": bool}; answers when it is done
    POST   /ftmb/groups/NAME/decide    what to do with a group whose state is lost, {"policy": "last-checkpoint" or "empty"}
    POST   /ftmb/nodes/NAME/drain      give the node's roles to others, and no new ones to it
    POST   /ftmb/nodes/NAME/undrain    it may have roles again
    DELETE /ftmb/rules                 remove every entry of ours from the switches, until the controller starts again

What changes something needs the header X-FTMB-Key: the deployment's key in hex. Errors are {"error": text} with
400 (malformed), 401 (no key), 404, 405, 409 (refused as things are), 411 and 413 (body without or with too great a
length), 503 (can't now, or failed) and 504 (begun, but not done in time).
"""

import hmac
import json
from typing import Any, Mapping, NamedTuple

from .refusal import Late, Refused, Unavailable

#: a body is refused by its announced length, before it is read
BODY_BYTES_MAX = 64 << 10
POLICIES = ("last-checkpoint", "empty")
_NAME = "NAME"
_ROUTES = {
    ("status",): {"GET": "_status"},
    ("groups",): {"GET": "_groups"},
    ("groups", _NAME): {"GET": "_group"},
    ("groups", _NAME, "move"): {"POST": "_move"},
    ("groups", _NAME, "decide"): {"POST": "_decide"},
    ("nodes",): {"GET": "_nodes"},
    ("nodes", _NAME, "drain"): {"POST": "_drain"},
    ("nodes", _NAME, "undrain"): {"POST": "_undrain"},
    ("events",): {"GET": "_events"},
    ("events", "stream"): {"GET": "_stream"},
    ("rules",): {"DELETE": "_withdraw"},
}
_PATHS = ", ".join("/ftmb/" + "/".join(route) for route in _ROUTES)
_STATUS_OF = {Refused: 409, Unavailable: 503, Late: 504}


class Answer(NamedTuple):
    """*value* is a JSON value, or the Stream of an event stream."""
    status: int
    value: Any
    headers: Mapping[str, str] = {}


class _Wrong(Exception):
    """The request is answered with an error."""

    def __init__(self, status, text, **headers):
        super().__init__(text)
        self.status, self.headers = status, headers


class _Request(NamedTuple):
    """What a handler may need: the path's NAME (or None), and the rest as ``Rest.handle`` got it."""
    name: Any
    query: Mapping[str, str]
    headers: Mapping[str, str]
    read: Any


class Rest:
    """Answers requests. *key*: the deployment's. *operations* has, with JSON values in and out,

    ``status()``, ``events(since)``, ``stream(since)``, ``move(group, to, reload)``, ``decide(group, policy)``,
    ``drain(node)``, ``undrain(node)`` and ``withdraw()``; those that change something may raise Refused, Unavailable or Late.
    """

    def __init__(self, key, operations):
        self._key, self._operations = key.hex().encode(), operations

    def handle(self, method, path, query, headers, read=lambda count: b""):
        """The Answer to a request; *query* and *headers* are maps of text, *read(count)* takes bytes of the body."""
        try:
            name, methods = _find(path)
            if method not in methods:
                raise _Wrong(405, f"{path[:200]} takes {', '.join(methods)}", Allow=", ".join(methods))
            if method != "GET":
                self._authenticate(headers)
            return Answer(200, getattr(self, methods[method])(_Request(name, query, headers, read)))
        except _Wrong as wrong:
            return Answer(wrong.status, {"error": str(wrong)}, wrong.headers)
        except tuple(_STATUS_OF) as refusal:
            return Answer(_STATUS_OF[type(refusal)], {"error": str(refusal)})

    def _authenticate(self, headers):
        given = headers.get("X-FTMB-Key", "").encode(errors="replace")
        if not hmac.compare_digest(given, self._key):
            raise _Wrong(401, "the header X-FTMB-Key must hold the deployment's key in hex")

    # -- what is

    def _status(self, _):
        return self._operations.status()

    def _groups(self, _):
        return self._operations.status()["groups"]

    def _nodes(self, _):
        return self._operations.status()["hosts"]

    def _group(self, request):
        return _named("group", self._groups(request), request.name)

    def _events(self, request):
        return self._operations.events(_since(request.query))

    def _stream(self, request):
        return self._operations.stream(_since(request.query))

    # -- what changes something

    def _move(self, request):
        wanted = _fields(_body(request), to=(str, type(None)), reload=(bool,))
        self._group(request)
        to = wanted.get("to")
        if to is not None and all(node["name"] != to for node in self._nodes(request)):
            raise _Wrong(400, f"there is no node {to[:64]!r} to move to")
        return self._operations.move(request.name, to, wanted.get("reload", False))

    def _decide(self, request):
        wanted = _fields(_body(request), policy=(str,))
        self._group(request)
        if wanted.get("policy") not in POLICIES:
            raise _Wrong(400, f"policy must be {' or '.join(POLICIES)}")
        return self._operations.decide(request.name, wanted["policy"])

    def _drain(self, request):
        return self._of_node(request, self._operations.drain)

    def _undrain(self, request):
        return self._of_node(request, self._operations.undrain)

    def _of_node(self, request, operation):
        _fields(_body(request))
        _named("node", self._nodes(request), request.name)
        return operation(request.name)

    def _withdraw(self, _):
        return self._operations.withdraw()


def _find(path):
    """(NAME or None, {method: handler}) of *path*."""
    parts = tuple(path.split("/", 5)[1:])
    if parts[:1] == ("ftmb",):
        parts = parts[1:]
        if parts in _ROUTES and _NAME not in parts:
            return None, _ROUTES[parts]
        found = _ROUTES.get((*parts[:1], _NAME, *parts[2:]))
        if found is not None and len(parts) > 1:
            return parts[1], found
    raise _Wrong(404, f"no such path; there are: {_PATHS}")


def _named(what, items, name):
    for item in items:
        if item["name"] == name:
            return item
    raise _Wrong(404, f"there is no {what} {name[:64]!r}")


def _since(query):
    since = query.get("since", "0")
    if not (since.isascii() and since.isdigit() and len(since) < 20):
        raise _Wrong(400, "since must be a number")
    return int(since)


def _body(request):
    """The JSON map in the body; without a body an empty one."""
    if request.headers.get("Transfer-Encoding"):
        raise _Wrong(411, "send the body with its Content-Length")
    length = request.headers.get("Content-Length") or "0"
    if not (length.isascii() and length.isdigit()):
        raise _Wrong(400, "Content-Length must be a number")
    if len(length) > 10 or int(length) > BODY_BYTES_MAX:
        raise _Wrong(413, f"a body has at most {BODY_BYTES_MAX} bytes")
    if int(length) == 0:
        return {}
    data = request.read(int(length))
    if len(data) != int(length):
        raise _Wrong(400, "the body is shorter than its Content-Length")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Wrong(400, f"the body is not JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise _Wrong(400, "the body must be a JSON object")
    return value


def _fields(value, **kinds):
    """*value* if it has no other keys than those of *kinds*, of these types."""
    for key, item in value.items():
        if key not in kinds:
            raise _Wrong(400, f"unknown key {key[:64]!r}; allowed: {', '.join(kinds) or 'none'}")
        if not isinstance(item, kinds[key]):
            raise _Wrong(400, f"{key} must be {' or '.join(_KINDS[kind] for kind in kinds[key])}")
    return value


_KINDS = {str: "text", type(None): "null", bool: "true or false"}
