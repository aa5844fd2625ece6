"""Messages of the control channel and of the services between nodes.

Every message is a map with a type ``t``; ``check`` is applied to whatever comes from the network,
before anything else looks at it. Tables here are the whole vocabulary; docs/protocol.md explains it.
"""

from math import isfinite

from .frames import WORKERS_MAX

#: Version of frames, messages and checkpoints; a peer with another version is refused by name.
VERSION = 4

#: A control message. Bulk data (checkpoints, inputs, determinants) travels in chunks below this.
MESSAGE_BYTES_MAX = 1 << 20

ROLES = ("input-logger", "master", "output-logger", "store", "spare")

#: the cause of a recovery that was asked for: nothing has failed
MOVED = "moved"

# What the controller asks of an agent (``do`` of a request), with the arguments it carries.
# A port is a map with `name`, `mac`, `address`, `address6` (a list, empty if it is left out), and of a logger `peer`: None, or {"group", "port"} that it faces.
REQUESTS = {
    # become the role; "master" starts from empty state and counts its steps from `start` (one k per worker) and takes no
    # input of an epoch below `inputs_from`; "spare" prefetches checkpoints, or (`hot`) repeats what the master does
    "store": {},
    # its inputs are numbered above `start` (one n per worker), with times (Unix, ns) not before `start_ns`; it trims as
    # the master of `master_epoch` says
    "input-logger": {"group_id": int, "workers": int, "ports": list, "function": str, "tick_interval_ms": int,
                     "log_bytes_max": int, "start": list, "start_ns": int, "master_epoch": int},
    # it stores and releases nothing before a checkpoint is durable that covers the epoch `covered_from`; 0: it need not wait. The
    # higher of this and the request's epoch is that of its frames
    "output-logger": {"group_id": int, "workers": int, "ports": list, "covered_from": int},
    "master": {"group_id": int, "workers": int, "ports": list, "function": str, "parameters": dict,
               "checkpoint_interval_ms": int, "store": list, "start": list, "inputs_from": int},
    "spare": {"group_id": int, "workers": int, "ports": list, "function": str, "parameters": dict,
              "checkpoint_interval_ms": int, "store": list, "input_logger": list,
              "output_logger": list, "hot": bool},
    # refuse everything below the request's epoch; of a master: all inputs below it
    "fence": {"role": str},
    # asked of a hot spare: it may go on as the master of this epoch as soon as its output logger's stream has ended for it; `recover` follows
    "go-ahead": {"input_logger": list, "output_logger": list, "inputs_from": int},
    # a spare becomes the master, for `cause` in words: `stored` is R, the recoverable prefix, one k per worker; `positions` [n, k] per
    # worker where the store's last checkpoint ends, empty if it has none; `inputs_from` as for "master"
    "recover": {"stored": list, "positions": list, "input_logger": list, "output_logger": list, "store": list,
                "cold": bool, "inputs_from": int, "cause": str},
    # asked of a master: another store; a new and empty output logger, whose frames are of `output_epoch`; no more inputs, and a last
    # checkpoint
    "use-store": {"store": list},
    "use-output-logger": {"output_epoch": int},
    "stop": {},
    # the answer to a master's event `bundle-wanted`: where its store and loggers are
    "bundle": {"store": list, "input_logger": list, "output_logger": list},
    # the process replaces itself, if it has no role
    "restart": {},
    # give the role up and become idle
    "retire": {"role": str},
}

_TYPES = {
    # agent -> controller
    "hello": {"node": str, "boot": int, "service": list, "roles": list},
    "beat": {"roles": list},
    "reply": {"id": int, "ok": bool, "error": str, "result": dict},
    "event": {"name": str, "group": str, "epoch": int, "detail": dict},
    # controller -> agent
    "request": {"id": int, "do": str, "group": str, "epoch": int, "args": dict},
    # master -> store, in chunks; the last one commits
    "checkpoint": {"group": str, "epoch": int, "id": int, "base": int, "last": bool, "data": bytes},
    "stored": {"group": str, "id": int},
    # spare -> store: everything after checkpoint `have` (0: all), or (`headers`) only the first chunk of the last one, now and
    # (`follow`) as it comes
    "subscribe": {"group": str, "have": int, "follow": bool, "headers": bool},
    # store -> spare; `last` ends one checkpoint, `id` 0 says: nothing (more) is stored
    "chunk": {"group": str, "id": int, "base": int, "last": bool, "data": bytes},
    # new master -> input logger: inputs after position n of each worker
    "inputs": {"group": str, "after": list},
    "input_batch": {"group": str, "worker": int, "frames": list, "end": bool},
    # new master -> output logger: determinants in (after, to] of each worker
    "determinants": {"group": str, "after": list, "to": list},
    # `released`: which outputs in that range left already, packed as outputlog.pack_keys does
    "determinant_batch": {"group": str, "worker": int, "data": bytes, "released": bytes, "end": bool},
    # hot spare -> input logger: all inputs after position n of each worker, as they are logged, until `unfollow_inputs`, which is
    # answered by the rest of them and an empty `input_batch` with `end` for each worker. `begin`, in the first: what the stream
    # begins after, one n per worker
    "follow_inputs": {"group": str, "after": list},
    "unfollow_inputs": {"group": str},
    "followed_inputs": {"group": str, "begin": list, "frames": list},
    # hot spare -> output logger: the determinants after step k of each worker, as they are stored. `batches`: [worker, encoded];
    # `covered`: steps whose outputs never leave again, one k per worker
    "follow_determinants": {"group": str, "after": list},
    "followed_determinants": {"group": str, "begin": list, "covered": list, "batches": list},
    # at a fence, or asked for: which outputs left and are not covered, and with `last` the end of the stream, at step `stored` of
    # each worker, the recoverable prefix
    "unfollow_determinants": {"group": str},
    "followed_end": {"group": str, "epoch": int, "worker": int, "stored": list, "released": bytes, "last": bool},
    # any service -> its client: the request can't be served
    "refused": {"group": str, "error": str},
}


# Numbers that would be taken for sizes, be packed into frames, or be waited for: least and greatest.
_EPOCH, _COUNT, _INTERVAL_MS = (0, (1 << 32) - 1), (0, (1 << 63) - 1), (1, 86_400_000)
_RANGES = {"epoch": _EPOCH, "master_epoch": _EPOCH, "inputs_from": _EPOCH, "output_epoch": _EPOCH, "group_id": (1, 0xFFFF), "workers": (1, WORKERS_MAX),
           "worker": (0, WORKERS_MAX - 1), "tick_interval_ms": _INTERVAL_MS, "checkpoint_interval_ms": _INTERVAL_MS,
           "log_bytes_max": _COUNT, "start_ns": _COUNT, "id": _COUNT, "base": _COUNT, "have": _COUNT}
# Texts that are kept and told: greatest length. An event's name may be the middlebox's own.
_LENGTHS = {"group": 64, "node": 64, "role": 64, "name": 1000}
# [host, TCP port]: of a service of a node
_HOST_CHARS_MAX = 64
_ADDRESSES = ("service", "store", "input_logger", "output_logger")

#: what the controller keeps and tells as JSON: text, finite numbers, lists and maps of them, no deeper than PLAIN_DEPTH_MAX
_PLAIN = ("hello", "beat", "reply", "event")
PLAIN_DEPTH_MAX = 8
_QUOTED_CHARS_MAX = 80


class MessageError(ValueError):
    """A message that is not of this vocabulary: unknown type, missing field, wrong type."""


def _check_fields(what, fields, value):
    for name, kind in fields.items():
        got = value.get(name)
        # bool is an int in Python, not on the wire
        if not isinstance(got, kind) or (kind is int and isinstance(got, bool)):
            raise MessageError(f"{what}: field {name!r} must be {kind.__name__}, is {type(got).__name__}")
        if name in _RANGES and not _RANGES[name][0] <= got <= _RANGES[name][1]:
            raise MessageError(f"{what}: field {name!r} must be from {_RANGES[name][0]} to {_RANGES[name][1]}, is {got}")
        if name in _LENGTHS and len(got) > _LENGTHS[name]:
            raise MessageError(f"{what}: field {name!r} has at most {_LENGTHS[name]} characters")
        if kind is list and name in _ADDRESSES and not _is_address(got):
            raise MessageError(f"{what}: field {name!r} must be a host and a port")
    if len(value) != len(fields):
        extra = sorted(str(k)[:_QUOTED_CHARS_MAX] for k in value if k not in fields)
        raise MessageError(f"{what}: unknown fields {extra[:5]}")


def _is_address(value):
    return (len(value) == 2 and type(value[0]) is str and type(value[1]) is int and 0 < value[1] < 65536
            and 0 < len(value[0]) <= _HOST_CHARS_MAX and value[0].isascii() and value[0].isprintable())


def _check_plain(what, value, depth=0):
    if depth > PLAIN_DEPTH_MAX:
        raise MessageError(f"{what}: nested deeper than {PLAIN_DEPTH_MAX}")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise MessageError(f"{what}: a key of type {type(key).__name__}")
            _check_plain(what, item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_plain(what, item, depth + 1)
    elif isinstance(value, float) and not isfinite(value) or not isinstance(value, (str, int, float, type(None))):
        raise MessageError(f"{what}: a value that JSON does not have, of type {type(value).__name__}")


def check(message):
    """Return *message* if it is of this vocabulary. Raises MessageError."""
    if not isinstance(message, dict):
        raise MessageError(f"a message is a map, not {type(message).__name__}")
    kind = message.get("t")
    fields = _TYPES.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise MessageError(f"unknown message type {kind!r:.{_QUOTED_CHARS_MAX}}")
    _check_fields(kind, {"t": str, **fields}, message)
    if kind == "request":
        args = REQUESTS.get(message["do"])
        if args is None:
            raise MessageError(f"unknown request {message['do']!r:.{_QUOTED_CHARS_MAX}}")
        _check_fields(f"request {message['do']}", args, message["args"])
    if kind in _PLAIN:
        _check_plain(kind, message)
    return message
