"""The shape of the code, enforced: who may import whom, nothing that evaluates input, small documented files."""

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 10):
    pytest.skip("needs sys.stdlib_module_names", allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ftmb", "middleboxes", "ryu_app", "topologies")
LINES_MAX = 400

#: what the pure parts may use of the standard library: nothing that does I/O, waits, or knows the time
PURE = frozenset("bisect collections dataclasses enum functools hashlib heapq hmac ipaddress itertools math operator struct"
                 " traceback typing zlib".split())
STANDARD = frozenset(sys.stdlib_module_names)

#: a directory or file -> (standard library, others) that it may import; the longest name that fits decides
RULES = {
    "middleboxes": (STANDARD, {"msgpack", "middleboxes"}),
    "middleboxes/core": (PURE, {"msgpack", "middleboxes.core"}),
    "middleboxes/sdk": (PURE, {"middleboxes.core", "middleboxes.sdk"}),
    # for tests of functions: it looks at clocks and sources, and runs another process
    "middleboxes/sdk/conformance": (STANDARD, {"middleboxes.core", "middleboxes.sdk"}),
    "middleboxes/functions": (PURE, {"middleboxes.core", "middleboxes.sdk", "middleboxes.functions"}),
    "middleboxes/functions/__init__.py": (PURE | {"importlib"}, {"middleboxes.sdk", "middleboxes.functions"}),
    # reads and writes files
    "middleboxes/replay": (STANDARD, {"middleboxes.core", "middleboxes.sdk", "middleboxes.functions", "middleboxes.replay"}),
    "ryu_app": (STANDARD, {"eventlet", "networkx", "middleboxes.core", "ryu_app"}),
    "ryu_app/app.py": (STANDARD, {"eventlet", "ryu", "middleboxes.core", "ryu_app"}),
    "ryu_app/launcher.py": (STANDARD, {"eventlet", "ryu", "ryu_app"}),
    "topologies": (STANDARD, {"mininet", "topologies"}),
    "ftmb": (STANDARD, {"yaml", "middleboxes", "ryu_app", "topologies", "ftmb"}),
}

#: what would evaluate or execute what it is given
EVALUATING = frozenset(("pickle", "marshal", "shelve", "dill", "cloudpickle"))
EVALUATING_CALLS = frozenset(("eval", "exec", "compile", "__import__"))

MACHINE_PATH = re.compile(r"(?<![\w.])/(home|Users|root|work)/\w")


#: an import in a compiled module, whatever is in its parentheses; cimports are of Cython's own and of C's headers
IMPORT = re.compile(r"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+(?:\([^)]*\)|[^\n]+))", re.MULTILINE)
CIMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?cimport[ \t]+([\w.]+)", re.MULTILINE)
CIMPORTED = frozenset(("cython", "cpython", "libc", "posix"))


def shipped():
    """The path of each shipped Python file, relative to the root."""
    return sorted(str(path.relative_to(ROOT)) for package in PACKAGES for kind in ("*.py", "*.pyx", "*.pxd")
                  for path in (ROOT / package).rglob(kind))


def parsed(path, source):
    """*source* as a tree; of a compiled module its docstring, imports and calls of what evaluates."""
    if path.endswith(".py"):
        return ast.parse(source)
    lines = [match[1] for match in IMPORT.finditer(source)]
    lines += [f"from {match[1]} import {match[2]}" if match[1] else f"import {match[2]}" for match in CIMPORT.finditer(source)
              if (match[1] or match[2]).split(".")[0] not in CIMPORTED]
    lines += [f"{name}(...)" for name in sorted(EVALUATING_CALLS) if re.search(rf"(?<![\w.]){name}\(", source)]
    docstring = re.match(r'""".+?"""', source, re.DOTALL)
    return ast.parse("\n".join([docstring[0] if docstring else "...", *lines]))


def rule_for(path):
    return RULES[max((name for name in RULES if path == name or path.startswith(name + "/")), key=len)]


def imports(path, source):
    """The absolute name of each module that *source*, the file at *path*, imports anywhere in it."""
    package = Path(path).parent.parts
    for node in ast.walk(parsed(path, source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            # "from . import x" may name a module
            yield from ([f"{module}.{alias.name}" for alias in node.names] if node.level and not node.module else [module])


def forbidden_imports(path, source):
    """What *source*, the file at *path*, imports and may not."""
    standard, others = rule_for(path)
    wrong = []
    for name in imports(path, source):
        parts = name.split(".")
        prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
        if parts[0] not in standard and not prefixes & others:
            wrong.append(name)
    return wrong


def evaluating(source, path="x.py"):
    """The lines of *source* where something that it is given could be evaluated or unpickled."""
    lines = []
    for node in ast.walk(parsed(path, source)):
        names = ()
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").split(".")[0]]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EVALUATING_CALLS:
            lines.append(node.lineno)
        if EVALUATING & set(names):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", shipped())
class TestEveryFile:
    def test_imports_only_what_it_may(self, path):
        assert forbidden_imports(path, (ROOT / path).read_text()) == []

    def test_evaluates_and_unpickles_nothing(self, path):
        assert evaluating((ROOT / path).read_text(), path) == []

    def test_says_what_it_is(self, path):
        tree = parsed(path, (ROOT / path).read_text())
        assert not tree.body or ast.get_docstring(tree), "a module opens with its docstring"

    def test_is_small(self, path):
        assert len((ROOT / path).read_text().splitlines()) <= LINES_MAX


def tree_files():
    """Every text file of the project, by walking what belongs to it."""
    for top in (*PACKAGES, "tests", "scripts", "docs", ".ci"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so":
                yield path
    yield from (path for path in sorted(ROOT.iterdir()) if path.suffix in (".md", ".cfg", ".toml"))


def test_no_path_of_somebodys_machine_is_in_the_tree():
    found = []
    for path in tree_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert found == []


# -- the checks themselves can fail

@pytest.mark.parametrize("path, source", [
    ("middleboxes/core/x.py", "import socket"),
    ("middleboxes/core/x.py", "import os.path"),
    ("middleboxes/core/x.py", "from time import monotonic"),
    ("middleboxes/core/x.py", "def f():\n    import random"),
    ("middleboxes/core/x.py", "import threading, struct"),
    ("middleboxes/core/x.py", "from ..sdk import Map"),
    ("middleboxes/core/x.py", "from .. import runtime"),
    ("middleboxes/core/x.py", "import ryu_app.app"),
    ("middleboxes/sdk/x.py", "from ..runtime import loop"),
    ("middleboxes/sdk/x.py", "import msgpack"),
    ("middleboxes/functions/x.py", "import select"),
    ("middleboxes/functions/x.py", "import importlib"),
    ("middleboxes/replay/x.py", "from ..runtime import loop"),
    ("middleboxes/runtime/x.py", "import eventlet"),
    ("middleboxes/runtime/x.py", "from ryu.lib import hub"),
    ("middleboxes/runtime/x.py", "import mininet.net"),
    ("middleboxes/runtime/x.py", "import ftmb.cli"),
    ("ryu_app/steering.py", "from ryu.base import app_manager"),
    ("ryu_app/app.py", "import middleboxes.runtime"),
    ("ryu_app/app.py", "import ftmb"),
    ("topologies/x.py", "import networkx"),
    ("topologies/x.py", "from ryu_app import paths"),
    ("middleboxes/core/x.pyx", "cdef int a\n\nfrom time import monotonic"),
    ("middleboxes/core/x.pyx", "def f():\n    import socket"),
    ("middleboxes/core/x.pyx", "from ..sdk.packet cimport Packet"),
    ("middleboxes/sdk/x.pyx", "from ..core import (state,\n    frames)\nfrom ..runtime import (loop,\n    node)"),
])
def test_a_forbidden_import_is_found(path, source):
    assert forbidden_imports(path, source)


@pytest.mark.parametrize("path, source", [
    ("middleboxes/core/x.py", "import struct\nfrom .frames import Input\nfrom . import state\nimport msgpack"),
    ("middleboxes/functions/x.py", "from ..sdk import Map\nfrom ..sdk.packet import UDP"),
    ("middleboxes/runtime/x.py", "import socket\nfrom ..core.frames import Input"),
    ("ryu_app/app.py", "from ryu.base import app_manager\nfrom .steering import wanted"),
    ("ftmb/demo/x.py", "from topologies import network\nfrom ..errors import Oops"),
    ("middleboxes/core/x.pyx", "cimport cython\nfrom libc.string cimport memcpy\nfrom .frames import (Input,\n    Output)"),
])
def test_allowed_imports_are_not_complained_about(path, source):
    assert forbidden_imports(path, source) == []


@pytest.mark.parametrize("source", ["import pickle", "from pickle import loads", "def f():\n    return eval('1')", "exec('x')",
                                    "import marshal as m", "__import__('os')"])
def test_evaluation_is_found(source):
    assert evaluating(source)
    assert evaluating(f'"""A module."""\ncdef int a\n{source}', "x.pyx")


@pytest.mark.parametrize("line, found", [("cd /" + "home/me/project", True), ("run in /" + "work/main", True),
                                         ("https://host/home/page", False), ("/run/ftmb", False)])
def test_machine_paths_are_found(line, found):
    assert bool(MACHINE_PATH.search(line)) == found
