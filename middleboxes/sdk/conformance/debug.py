"""The debug mode: a function's class that looks, step by step, for what would break a replay, and names the line.

    function: debug:mypackage.mymodule:MyFunction       in a configuration
    debugged(MyFunction)                                in a test

A step fails with DebugError (which is told as any fault of a function) if it

- sets an attribute, or changes a dict, list or set, that is not a declared variable (of the instance, what it is made of, its class,
  or its module): that state would be lost in a failover,
- calls a clock, ``random``, ``hash``, ``id``, or anything of the operating system, outside of ``ctx.record``,
- keeps a value that is not immutable.

It costs several times the function's own time.
"""

import random
import sys
import traceback
from contextlib import contextmanager
from types import FunctionType, ModuleType

from ...core.sharing import _Accessor
from ...core.state import Variable
from ...core.step import RecordError, ReplayError, StepContext
from .code import assignment_line, is_library

#: functions written in C, by module, that a step may not call: all of a module (None), or some
_FORBIDDEN = {"time": None, "_random": None, "posix": None, "_socket": None, "_uuid": None, "io": None, "_io": None, "select": None,
              "builtins": ("hash", "id", "open", "input")}
#: Python files of the standard library that may not be entered
_FORBIDDEN_FILES = ("random.py", "secrets.py", "uuid.py", "datetime.py", "_pydatetime.py", "socket.py", "tempfile.py", "threading.py")
_PLAIN = (int, float, str, bytes, bool, type(None), tuple, frozenset)
_WATCHED = (int, float, str, bytes, tuple, dict, list, set)
_MARK = "_debug_frozen"


class DebugError(RuntimeError):
    """A step did what a replay could not repeat; the message names file and line."""


def debugged(cls):
    """A class like *cls* whose every step is watched; its name stays, so that checkpoints fit."""

    class Debugged(cls):
        def configure(self, parameters):
            super().configure(parameters)
            _freeze(self, f"{cls.__name__} instance", set())
            object.__setattr__(self, _MARK, True)

        def __setattr__(self, name, value):
            if _MARK in self.__dict__:
                raise DebugError(f"{_place(sys._getframe(1))}: attribute {name!r} is not a declared variable: it would be lost in a failover")
            super().__setattr__(name, value)

        def handle(self, frame, ctx):
            with _watched(cls, self):
                super().handle(frame, ctx)

        def tick(self, ctx):
            with _watched(cls, self):
                super().tick(ctx)

    for name, value in _class_containers(cls):
        setattr(Debugged, name, _frozen(value, f"{cls.__name__}.{name}"))
    Debugged.__name__, Debugged.__qualname__, Debugged.__module__ = cls.__name__, cls.__qualname__, cls.__module__
    Debugged.__doc__ = cls.__doc__
    return Debugged


def _class_containers(cls):
    """(name, value) of the dicts, lists and sets in the body of *cls* and its bases."""
    for base in reversed(cls.__mro__[:-1]):
        for name, value in vars(base).items():
            if type(value) in (dict, list, set) and not name.startswith("__"):
                yield name, value


# --- one step

@contextmanager
def _watched(cls, instance):
    """Run a step; raise DebugError for the first thing that it may not do."""
    watch, before = _Calls(), _snapshot(cls, instance)
    outer = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    except (ReplayError, RecordError, DebugError):
        raise
    except Exception as error:
        sys.setprofile(outer)
        raise DebugError(f"{_place_of(error)}: {type(error).__name__}: {error}") from error
    finally:
        sys.setprofile(outer)
    if watch.found:
        raise DebugError(watch.found)
    after = _snapshot(cls, instance)
    for name, value in after.items():
        if before.get(name) != value:
            raise DebugError(f"{assignment_line(cls, name)}: {name!r} is changed by a step and is not a declared variable: it would be"
                             " lost in a failover")


class _Calls:
    """A profile function that notes the first forbidden call."""

    def __init__(self):
        self.found = None

    def __call__(self, frame, event, argument):
        if self.found:
            return
        if event == "c_call":
            name = _forbidden_call(argument)
        elif event == "call" and frame.f_code.co_filename.endswith(_FORBIDDEN_FILES) and _is_library(frame):
            name, frame = frame.f_code.co_name, frame.f_back
        else:
            return
        if name and not _recorded(frame):
            self.found = f"{_place(frame)}: calls {name}, whose value a replay would not repeat: use ctx.now_ns, ctx.random() or ctx.record"


def _forbidden_call(function):
    """The name of *function*, written in C, if a step may not call it."""
    owner, name = getattr(function, "__self__", None), function.__name__
    module = function.__module__ or (owner.__name__ if isinstance(owner, ModuleType) else None)
    if isinstance(owner, random.Random) or name in ("now", "utcnow", "today") and isinstance(owner, type):
        return getattr(function, "__qualname__", name)
    if module in _FORBIDDEN and (_FORBIDDEN[module] is None or name in _FORBIDDEN[module]) and isinstance(owner, (ModuleType, type(None))):
        return f"{module}.{name}"
    return None


def _is_library(frame):
    return is_library(frame.f_globals.get("__name__", ""))


def _recorded(frame):
    """Whether *frame* runs inside of ctx.record."""
    while frame is not None:
        if frame.f_code is StepContext._outcome.__code__:
            return True
        frame = frame.f_back
    return False


def _is_ours(module):
    """Whether code of *module* (its name) is that of the library, not of a function."""
    return module.startswith(("middleboxes.core", "middleboxes.sdk")) or is_library(module)


def _place(frame):
    """file:line of the innermost frame that is the function's own."""
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _place_of(error):
    """The same of an exception."""
    place = "?"
    for frame, line in traceback.walk_tb(error.__traceback__):
        if place == "?" or not _is_ours(frame.f_globals.get("__name__", "")):
            place = f"{frame.f_code.co_filename}:{line}"
    return place


# --- what is not declared must not change

def _refusing(kind, methods):
    """A subclass of *kind* whose changing *methods* raise."""
    def refuse(self, *_arguments, **_options):
        raise DebugError(f"{_place(sys._getframe(1))}: a {kind.__name__} of {self.owner} is changed by a step and is not a declared variable: it"
                         " would be lost in a failover")
    return type(f"Frozen{kind.__name__.capitalize()}", (kind,), dict.fromkeys(methods, refuse))


_FROZEN = {dict: _refusing(dict, ("__setitem__", "__delitem__", "pop", "popitem", "setdefault", "update", "clear", "__ior__")),
           list: _refusing(list, ("__setitem__", "__delitem__", "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse",
                                  "__iadd__", "__imul__")),
           set: _refusing(set, ("add", "discard", "remove", "pop", "clear", "update", "difference_update", "intersection_update",
                                "symmetric_difference_update", "__ior__", "__iand__", "__isub__", "__ixor__"))}


def _frozen(value, owner):
    """A copy of a dict, list or set, and of those in it, that can't be changed."""
    if type(value) not in _FROZEN:
        return value
    if type(value) is dict:
        items = {key: _frozen(item, owner) for key, item in value.items()}
    elif type(value) is list:
        items = [_frozen(item, owner) for item in value]
    else:
        items = value
    copy = _FROZEN[type(value)](items)
    copy.owner = owner
    return copy


def _is_object(value):
    return hasattr(value, "__dict__") and not isinstance(value, (*_PLAIN, type, FunctionType, ModuleType, Variable, _Accessor))


def _freeze(owner, name, seen):
    """Freeze the containers of *owner* and of the objects that it is made of, those that it got from the core excepted."""
    seen.add(id(owner))
    for attribute, value in list(vars(owner).items()):
        if attribute in ("whole_state", "port"):
            continue
        if type(value) in _FROZEN:
            object.__setattr__(owner, attribute, _frozen(value, f"{name}.{attribute}"))
        elif _is_object(value) and not _is_ours(type(value).__module__) and id(value) not in seen:
            _freeze(value, f"{name}.{attribute}", seen)


def _text(value):
    """*value* as text that changes when something plain in it does; declared variables may change."""
    if isinstance(value, (Variable, _Accessor)):
        return "variable"
    if isinstance(value, (tuple, list, set, frozenset)):
        return f"{type(value).__name__}({', '.join(map(_text, value))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{key!r}: {_text(item)}' for key, item in value.items())})"
    return repr(value) if isinstance(value, (int, float, str, bytes, type(None))) else type(value).__name__


def _snapshot(cls, instance):
    """{attribute or global name: text} of the plain values that a step could change unseen."""
    found = {}
    for base in cls.__mro__:
        module = sys.modules.get(base.__module__)
        if module is None or _is_ours(base.__module__):
            continue
        for owner in (module, base):
            found.update((name, _text(value)) for name, value in vars(owner).items() if type(value) in _WATCHED and not name.startswith("__"))
    for value in vars(instance).values():
        if _is_object(value) and not _is_ours(type(value).__module__):
            found.update((name, _text(item)) for name, item in vars(value).items())
    return found
