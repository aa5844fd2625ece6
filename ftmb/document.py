"""Typed reading of a YAML document: every error names file and line.

Only plain data is made (PyYAML's safe tags). The functions take composed nodes, so that a wrong value
can be pointed at wherever it stands.
"""

import json

import yaml

from .errors import UsageError

#: A configuration is a page or two; anything larger is not one.
DOCUMENT_BYTES_MAX = 1 << 20

_INTEGER, _STRING = "tag:yaml.org,2002:int", "tag:yaml.org,2002:str"


class ConfigurationError(UsageError):
    """The document is not what it must be; the text begins with ``file:line:``."""


def fail(node, message):
    """Raise ConfigurationError about *node*."""
    raise ConfigurationError(f"{node.start_mark.name}:{node.start_mark.line + 1}: {message}")


def compose(text, name):
    """The root node of the one document in *text*; *name* is the file's, for errors. Raises ConfigurationError."""
    if len(text) > DOCUMENT_BYTES_MAX:
        raise ConfigurationError(f"{name}:1: longer than {DOCUMENT_BYTES_MAX} bytes")
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        loader.name = name
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigurationError(f"{name}:{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{name}:1: not YAML: {str(error).splitlines()[0]}") from error
    finally:
        if loader is not None:      # it refuses some characters before it is made
            loader.dispose()
    if root is None:
        raise ConfigurationError(f"{name}:1: the file is empty")
    return root


def mapping(node, what):
    """{key: value node} of a mapping with text keys, in its order."""
    if not isinstance(node, yaml.MappingNode):
        fail(node, f"{what} must be a mapping")
    result = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != _STRING:
            fail(key, f"{what}: keys must be text")
        if key.value in result:
            fail(key, f"{what}: {key.value!r} is given twice")
        result[key.value] = value
    return result


def fields(node, what, required=(), optional=()):
    """{key: value node} of a mapping whose keys are known."""
    result = mapping(node, what)
    allowed = [*required, *optional]
    for key, _value in node.value:
        if key.value not in allowed:
            fail(key, f"{what}: unknown key {key.value!r} (allowed: {', '.join(allowed)})")
    for key in required:
        if key not in result:
            fail(node, f"{what}: {key!r} is missing (required: {', '.join(required)})")
    return result


def sequence(node, what):
    """The nodes of a list."""
    if not isinstance(node, yaml.SequenceNode):
        fail(node, f"{what} must be a list")
    return node.value


def string(node, what):
    """A text scalar."""
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING:
        fail(node, f"{what} must be text{' (put it in quotes)' if isinstance(node, yaml.ScalarNode) else ''}")
    return node.value


def choice(node, what, allowed):
    """A text scalar, one of *allowed*."""
    value = string(node, what)
    if value not in allowed:
        fail(node, f"{what} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def integer(node, what, low, high):
    """A whole number from *low* to *high*."""
    value = plain(node, what) if isinstance(node, yaml.ScalarNode) and node.tag == _INTEGER else None
    if value is None or not low <= value <= high:
        fail(node, f"{what} must be a whole number from {low} to {high}")
    return value


def plain(node, what):
    """Any data that JSON can hold."""
    try:
        value = yaml.constructor.SafeConstructor().construct_document(node)
        json.dumps(value, allow_nan=False)
    except yaml.constructor.ConstructorError as error:
        fail(node, f"{what}: {error.problem}")
    except (TypeError, ValueError, RecursionError) as error:
        fail(node, f"{what} must be plain data (text, numbers, lists, mappings): {error}")
    return value
