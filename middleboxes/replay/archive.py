"""The file of a bundle: a zip archive of a manifest and parts, each with its digest; bounded, and checked before it is believed.

What a file claims about sizes is compared with the bounds before memory is taken for it: the file's own size, the
length of its directory, and the unpacked size of each member.
"""

import hashlib
import json
import os
import stat
import struct
import zipfile
import zlib

from .errors import BundleError

#: all parts of a bundle together, unpacked, and of the manifest alone
CONTENT_BYTES_MAX = 256 << 20
MANIFEST_BYTES_MAX = 2 << 20
MANIFEST = "manifest.json"
_FILE_BYTES_MAX = CONTENT_BYTES_MAX + MANIFEST_BYTES_MAX
_END = struct.Struct("<4s4H2LH")        # end of the directory: magic, disks, entries, bytes and place of the directory, comment
_END64_BYTES = 20
_MEMBERS_MAX, _DIRECTORY_BYTES_MAX = 16, 4096
_DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, LookupError,
           ValueError, TypeError, struct.error, OverflowError)


def write(file, manifest, parts):
    """Write *manifest* (JSON data) and *parts* {name: bytes} to a binary *file*. Raises BundleError if that is too much, OSError."""
    size = sum(map(len, parts.values()))
    if size > CONTENT_BYTES_MAX:
        raise BundleError(f"its parts have {size} bytes, the bound is {CONTENT_BYTES_MAX}")
    told = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()}
    text = json.dumps({**manifest, "parts": told}, indent=1).encode()
    if len(text) > MANIFEST_BYTES_MAX:
        raise BundleError(f"its manifest has {len(text)} bytes, the bound is {MANIFEST_BYTES_MAX}")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in {MANIFEST: text, **parts}.items():
            archive.writestr(name, data)


def read(path):
    """(manifest, {name: bytes}) of the file at *path*, digests checked. Raises BundleError."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BundleError("it is not a file")
        with open(path, "rb") as file:
            return _read(file)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{path} is no bundle that can be used: {error}") from error


def _read(file):
    _check_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = _sizes(archive)
            manifest = json.loads(_member(archive, MANIFEST, sizes))
            parts = {name: _member(archive, name, sizes) for name in sizes if name != MANIFEST}
    except BundleError:
        raise
    except RecursionError as error:
        raise BundleError("its manifest is nested too deeply") from error
    except _DAMAGE as error:
        raise BundleError(f"damaged: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("parts"), dict):
        raise BundleError("its manifest is not one of a bundle")
    _check_digests(manifest["parts"], parts)
    return manifest, parts


def _check_directory(file):
    """What zipfile would read whole: the directory must be as short as one of ours."""
    size = os.fstat(file.fileno()).st_size
    if size > _FILE_BYTES_MAX:
        raise BundleError(f"it has {size} bytes, the bound is {_FILE_BYTES_MAX}")
    if size < _END.size:
        raise BundleError("cut off: it is shorter than an empty archive")
    behind = min(size, _END.size + _END64_BYTES)
    file.seek(-behind, os.SEEK_END)
    tail = file.read(behind)
    magic, _, _, _, entries, directory_bytes, _, comment = _END.unpack(tail[-_END.size:])
    if magic != b"PK\x05\x06" or comment or tail.startswith(b"PK\x06\x07"):
        raise BundleError("cut off, or not an archive of a bundle")
    if entries > _MEMBERS_MAX or directory_bytes > _DIRECTORY_BYTES_MAX:
        raise BundleError(f"its directory has {entries} entries in {directory_bytes} bytes, a bundle's has fewer")
    file.seek(0)


def _sizes(archive):
    """{name: unpacked bytes} of all members, within the bounds."""
    sizes = {}
    for info in archive.infolist():
        if info.filename in sizes or info.flag_bits & 1:
            raise BundleError(f"its member {info.filename!r:.80} is there twice, or encrypted")
        sizes[info.filename] = info.file_size
    if MANIFEST not in sizes:
        raise BundleError(f"it has no {MANIFEST}")
    if sizes[MANIFEST] > MANIFEST_BYTES_MAX or sum(sizes.values()) - sizes[MANIFEST] > CONTENT_BYTES_MAX:
        raise BundleError(f"its members would have {sum(sizes.values())} bytes, the bound is {CONTENT_BYTES_MAX}")
    return sizes


def _member(archive, name, sizes):
    with archive.open(name) as member:
        data = member.read(sizes[name] + 1)
    if len(data) != sizes[name]:
        raise BundleError(f"its member {name!r:.80} has not the length that is told")
    return data


def _check_digests(told, parts):
    if set(told) != set(parts):
        raise BundleError("its manifest and its parts do not name the same things")
    for name, data in parts.items():
        if told[name] != {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}:
            raise BundleError(f"{name} is not what was written: its digest differs")
