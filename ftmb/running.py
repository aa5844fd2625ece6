"""What commands that run a whole experiment share: bounded numbers, the JSON file, an end that is not interrupted."""

import argparse
import contextlib
import json
import os
import signal

from .errors import UsageError


def between(least, most):
    """A type for argparse: an integer from *least* to *most*."""
    def convert(text):
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}, is {value}")
        return value
    convert.__name__ = "number"         # argparse names it in its messages
    return convert


def check_writable(path):
    """Raises UsageError unless the file *path* (or None) can be written later."""
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK) or os.path.isdir(path):
        raise UsageError(f"--json: cannot write {path}")


def write_json(path, result):
    """Write *result* to *path* so that a reader sees all of it or the file before."""
    beside = f"{path}.{os.getpid()}"
    with open(beside, "w", encoding="ascii") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    os.replace(beside, path)


@contextlib.contextmanager
def undisturbed():
    """Removing things is not interrupted by a second Ctrl-C."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {signal_number: signal.signal(signal_number, signal.SIG_IGN) for signal_number in numbers}
    try:
        yield
    finally:
        for signal_number, handler in old.items():
            signal.signal(signal_number, handler)
