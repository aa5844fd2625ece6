"""The directory where bundles are kept: a bound in number and in bytes, the oldest go first; nothing else there is touched."""

import contextlib
import os
import re
import time

from .errors import BundleError

_NAME = re.compile(r"ftmb-[a-z0-9_-]{1,64}-\d+-\d{8}T\d{6}Z-[a-z0-9_-]{1,64}(-\d+)?\.zip")
_PARTIAL = re.compile(r"\.ftmb-\d+\.partial")
_UNUSUAL = re.compile(r"[^a-z0-9_-]")
#: what a writer that died left behind
_PARTIAL_S_MAX = 600


def save(bundle, directory, count_max, bytes_max):
    """Write *bundle* into *directory* (made if it is not there), then let the oldest go: the path. Raises BundleError, OSError.

    At most *count_max* bundles with *bytes_max* bytes are left; one that alone is larger is not kept.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    _remove_partials(directory)
    partial = os.path.join(directory, f".ftmb-{os.getpid()}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            bundle.save(file)
            size = file.tell()
        if size > bytes_max:
            raise BundleError(f"it has {size} bytes, the bound of its directory is {bytes_max}")
        path = _free_path(directory, bundle)
        os.rename(partial, path)
    except BaseException:
        _remove(partial)
        raise
    prune(directory, count_max, bytes_max)
    return path


def _free_path(directory, bundle):
    """A path that nothing has yet. Two writers of one second, node, group and epoch do not exist; one that repeats itself does."""
    words = [_UNUSUAL.sub("_", word.lower())[:64] or "_" for word in (bundle.group, bundle.node)]
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(bundle.created_ns // 1_000_000_000))
    name = f"ftmb-{words[0]}-{bundle.epoch}-{when}-{words[1]}"
    path, number = os.path.join(directory, f"{name}.zip"), 1
    while os.path.exists(path):
        number += 1
        path = os.path.join(directory, f"{name}-{number}.zip")
    return path


def prune(directory, count_max, bytes_max):
    """Remove the oldest bundles until at most *count_max* with at most *bytes_max* bytes are left."""
    found = []
    for entry in os.scandir(directory):
        if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            found.append((status.st_mtime_ns, entry.path, status.st_size))
    found.sort(reverse=True)
    total = 0
    for number, (_, path, size) in enumerate(found):
        total += size
        if number >= count_max or total > bytes_max:
            _remove(path)


def _remove_partials(directory):
    for entry in os.scandir(directory):
        if _PARTIAL.fullmatch(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > _PARTIAL_S_MAX:
            _remove(entry.path)


def _remove(path):
    """Remove it, if another process has not."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
