"""``ftmb new-function NAME``: a network function that works, its test and a configuration to run it, as a place to begin.

It is an IPv4 hop that counts packets per source in a bounded table. Three files are written: NAME.py, test_NAME.py, NAME.yaml.
"""

import pathlib
import re

from .errors import UsageError

_TEMPLATES = pathlib.Path(__file__).parent / "skeleton"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: file of the skeleton -> what is written
_FILES = {"function.py.txt": "{name}.py", "test.py.txt": "test_{name}.py", "configuration.yaml.txt": "{name}.yaml"}


def write(name, directory="."):
    """Write the files for the function *name* into *directory*: their paths. Raises UsageError, before anything is written."""
    name = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise UsageError(f"new-function: {name!r} is no name for a module: lower-case letters, digits and _, at most 40, a letter first")
    directory = pathlib.Path(directory)
    paths = {template: directory / path.format(name=name) for template, path in _FILES.items()}
    for path in paths.values():
        if path.exists():
            raise UsageError(f"new-function: {path} is there already")
    words = {"@NAME@": name, "@CLASS@": "".join(part.capitalize() for part in name.split("_"))}
    try:
        for template, path in paths.items():
            text = (_TEMPLATES / template).read_text(encoding="utf-8")
            for word, value in words.items():
                text = text.replace(word, value)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"new-function: {error}") from error
    return list(paths.values())
