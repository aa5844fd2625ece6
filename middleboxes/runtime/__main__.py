"""python -m middleboxes.runtime NODE.json: one node process. Exit code 2: it can't be started as configured."""

import json
import os
import sys

from .awake import WHEN
from .keeper import keep
from .link import LinkError
from .memory import make_ready
from .node import Node


def read_settings(path):
    """(settings, key) of a node file. Raises OSError and ValueError with what and where."""
    with open(path, encoding="utf-8") as file:
        try:
            settings = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    for name, kind in (("node", str), ("key_file", str), ("controller", list), ("service", list),
                       ("data_interface", str), ("heartbeat_interval_ms", int)):
        if not isinstance(settings.get(name), kind):
            raise ValueError(f"{path}: {name!r} must be given, as {kind.__name__}")
    functions = settings.get("functions", [])
    if not isinstance(functions, list) or any(type(function) is not str for function in functions):
        raise ValueError(f"{path}: 'functions' must be a list of names")
    if settings.get("stay_awake", WHEN[0]) not in WHEN:
        raise ValueError(f"{path}: 'stay_awake' must be one of {', '.join(WHEN)}")
    _check_bundles(path, settings.get("bundles"))
    with open(settings["key_file"], encoding="ascii") as file:
        try:
            key = bytes.fromhex(file.read().strip())
        except ValueError as error:
            raise ValueError(f"{settings['key_file']}: the key is not hexadecimal") from error
    if len(key) != 32:
        raise ValueError(f"{settings['key_file']}: the key has {len(key)} bytes, it must have 32")
    return settings, key


def _check_bundles(path, bundles):
    """Raise ValueError unless *bundles* of a node file is None, or says where bundles are kept and how many."""
    if bundles is None:
        return
    if not isinstance(bundles, dict) or set(bundles) != {"directory", "count_max", "bytes_max"} or not isinstance(bundles["directory"], str):
        raise ValueError(f"{path}: 'bundles' must have 'directory', 'count_max' and 'bytes_max'")
    for name in ("count_max", "bytes_max"):
        if type(bundles[name]) is not int or bundles[name] < 1:
            raise ValueError(f"{path}: 'bundles.{name}' must be a number from 1 on")


def main():
    """Run the node; returns the exit code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m middleboxes.runtime NODE.json", file=sys.stderr)
        return 2
    try:
        node = Node(*read_settings(sys.argv[1]))
    except (OSError, ValueError, LinkError) as error:
        print(f"ftmb node: {error}", file=sys.stderr)
        return 2
    for prepare, without in ((make_ready, "its pages come one by one, a failover to it takes longer"), (keep, "its death will be noticed later"),
                             (node.stay_awake, "processors sleep between packets, which take longer")):
        try:
            prepare()
        except OSError as error:
            node.log(f"{without}: {error}")
    try:
        node.run()
    except KeyboardInterrupt:
        return 130
    # restart: as a new program, which loads what is new of its code; sockets and pipes are not inherited
    os.execv(sys.executable, [sys.executable, "-m", "middleboxes.runtime", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
