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
    """Raises UsageError unless the file *path* (or None) can be written later; it stays as it is."""
    if path is None:
        return
    existed = os.path.exists(path)
    if existed and not os.path.isfile(path) and not os.path.isdir(path):
        return      # a pipe or a device: its reader would notice a first try
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise UsageError(f"--json: cannot write {path!r}: {error.strerror}") from error
    if not existed:
        os.unlink(os.path.realpath(path))


def write_json(path, result):
    """Write *result* to *path*, whatever that is: a file, a pipe, /dev/stdout. Raises UsageError."""
    text = json.dumps(result, indent=1) + "\n"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"--json: cannot write {path!r}: {error.strerror}") from error


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
