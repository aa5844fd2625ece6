"""What can be seen in the text of a function: where it depends on the order of a set, and where it keeps state in its module.

The order of a set of text or bytes differs between processes, and nothing at run time tells. So the source is read: what is a set by its making
(a display, ``set()``, a comprehension, set arithmetic, a name or attribute that is given such a value) may not be gone
through, taken from, or made into something that has an order, unless by what does not care (``sorted``, ``len``, ``min``, ``sum`` ...).
"""

import ast
import inspect
import sys
import textwrap

_MAKERS = ("set", "frozenset")
_SET_METHODS = ("union", "intersection", "difference", "symmetric_difference", "copy")
_SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub)
#: what goes through its argument in order
_ORDERED = ("list", "tuple", "iter", "enumerate", "map", "filter", "zip", "next", "dict")
#: what does not care about the order of what it goes through
_UNORDERED = ("sorted", "len", "min", "max", "any", "all", "set", "frozenset", "sum")


#: Python 3.9 can't tell: there it is what a function may not call, and what is built in
_LIBRARY = getattr(sys, "stdlib_module_names", frozenset((*sys.builtin_module_names, "random", "secrets", "uuid", "datetime", "socket",
                                                          "tempfile", "threading", "contextlib", "struct", "enum", "typing")))


def is_library(module):
    """Whether *module* (a name) is of Python's standard library."""
    return module.partition(".")[0] in _LIBRARY


def code_faults(cls):
    """["file:line: what is wrong"] of the modules of *cls* and its bases, and of what they use from their own packages."""
    faults = []
    for module in _modules(cls):
        try:
            source, path = inspect.getsource(module), inspect.getsourcefile(module)
        except (OSError, TypeError):
            continue        # typed in, there is no text
        others = _other_functions(cls, module)
        faults += [f"{path}:{line}: {text}" for line, text in (*set_order_faults(source), *module_state_faults(source)) if not any(line in lines for lines in others)]
    return faults


def _other_functions(cls, module):
    """The lines (ranges) of the network functions in *module* that *cls* has nothing to do with."""
    found = []
    for value in vars(module).values():
        if isinstance(value, type) and hasattr(value, "instances") and value.__module__ == module.__name__ and value not in cls.__mro__:
            lines, first = inspect.getsourcelines(value)
            found.append(range(first, first + len(lines)))
    return found


def _modules(cls):
    """The modules of *cls*, its bases and of what they import from the same package, but those of the library."""
    found, waiting = {}, [base.__module__ for base in cls.__mro__]
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if module is None or name in found or name.startswith(("middleboxes.core", "middleboxes.sdk")):
            continue
        if is_library(name):
            continue
        found[name] = module
        package = name.rpartition(".")[0]
        waiting += [user for value in vars(module).values() if (user := getattr(value, "__module__", None))
                    and isinstance(user, str) and package and user.startswith(package + ".")]
    return [found[name] for name in sorted(found)]


def set_order_faults(source):
    """[(line, what is wrong)] of Python *source*."""
    tree = ast.parse(textwrap.dedent(source))
    finder = _Finder(_set_names(tree))
    finder.visit(tree)
    return sorted(finder.faults)


def module_state_faults(source):
    """[(line, what is wrong)]: where functions of Python *source* change a variable of their module."""
    tree = ast.parse(source)
    names = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)}
    found = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            own = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            own.update(argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg))
            rebound = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
            for name in (names - own) | rebound:
                found.update((node.lineno, f"changes {name}, a variable of the module: it would be lost in a failover")
                             for node in ast.walk(function) if _changes(node, name, "."))
    return sorted(found)


def _set_names(tree):
    """Names and attributes that are given a set somewhere."""
    names, grown = set(), True
    while grown:
        grown = False
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, (ast.AnnAssign, ast.NamedExpr)) else []
            for target in targets:
                name = _name(target)
                if name and name not in names and node.value is not None and _is_set(node.value, names):
                    names.add(name)
                    grown = True
    return names


def _name(node):
    """What a name or an attribute is called: "x" or ".x"; None for others."""
    if isinstance(node, ast.Name):
        return node.id
    return "." + node.attr if isinstance(node, ast.Attribute) else None


def _is_set(node, names):
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id in _MAKERS
        return isinstance(node.func, ast.Attribute) and node.func.attr in _SET_METHODS and _is_set(node.func.value, names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, _SET_OPERATORS):
        return any(_is_set(side, names) or _is_keys(side) for side in (node.left, node.right))
    if isinstance(node, ast.IfExp):
        return _is_set(node.body, names) or _is_set(node.orelse, names)
    return _name(node) in names


def _is_keys(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items") and not node.args


class _Finder(ast.NodeVisitor):
    """Collects where a set's order is used."""

    def __init__(self, names):
        self.faults = set()
        self._names = names
        self._careless = set()      # comprehensions whose order nobody sees

    def _check(self, node):
        if _is_set(node, self._names):
            self.faults.add((node.lineno, "depends on the order of a set, which differs between processes: sort it first"))

    def visit_For(self, node):
        self._check(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node):
        self._check(node.value)
        self.generic_visit(node)

    def visit_Call(self, node):
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name in _UNORDERED:
            self._careless.update(id(argument) for argument in node.args)
            self._careless.update(id(argument.value) for argument in node.args if isinstance(argument, ast.Starred))
        if name in _ORDERED:
            for argument in node.args:
                self._check(argument)
        if isinstance(node.func, ast.Attribute):
            if node.func.attr == "join" and node.args:
                self._check(node.args[0])
            if node.func.attr == "pop" and not node.args:
                self._check(node.func.value)
        self.generic_visit(node)

    def visit_Set(self, node):
        for element in node.elts:       # {*a, *b} is a set again
            self.visit(element.value if isinstance(element, ast.Starred) else element)

    def visit_ListComp(self, node):
        if id(node) not in self._careless:
            for generator in node.generators:
                self._check(generator.iter)
        self.generic_visit(node)

    visit_GeneratorExp = visit_DictComp = visit_ListComp


def assignment_line(cls, name):
    """"file:line" of where the code of *cls* seems to change *name* (a global or an attribute)."""
    for base in cls.__mro__:
        module = sys.modules.get(base.__module__)
        try:
            tree, path = ast.parse(inspect.getsource(module)), inspect.getsourcefile(module)
        except (OSError, TypeError):
            continue
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and function.name not in ("__init__", "configure"):
                for node in ast.walk(function):
                    if _changes(node, name):
                        return f"{path}:{node.lineno}"
    return f"{cls.__module__}.{cls.__name__}"


def _changes(node, name, other=None):
    """Whether *node* assigns to *name*, an item of it or an attribute of that name (or *other* instead), or calls a method of it."""
    names = (name, other or "." + name)
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.Delete)):
        targets = node.targets if not isinstance(node, ast.AugAssign) else [node.target]
        return any(_name(target.value if isinstance(target, ast.Subscript) else target) in names for target in targets)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _name(node.func.value) in names and (
        node.func.attr in ("append", "add", "update", "pop", "setdefault", "clear", "extend", "remove", "discard", "insert", "popitem"))
