"""A bundle is read whole or refused with BundleError, whatever is in the file, and a replay of what was read ends with ReplayError at worst."""

import io
import json
import struct
import zipfile

import pytest

from middleboxes.core.step import ReplayError
from middleboxes.replay import Bundle, BundleError, archive
from middleboxes.replay.archive import CONTENT_BYTES_MAX
from tests.replay.samples import recording
from tests.replay.test_replay import FUNCTION, saved, words
from middleboxes.functions import load
from middleboxes.sdk.conformance import Subject

from . import generate

MIB = 1 << 20


@pytest.fixture(scope="module")
def samples():
    """Files: of one worker with and without a result, of four."""
    given = (b"a", None, b"b", b"dice", b"poison")
    trace = Subject(load("shared-counter"), steps=60).trace
    shared = recording(load("shared-counter"), {}, trace, 4).bundle("shared-counter")
    return [saved(words(*given).bundle(FUNCTION)), saved(words(*given).bundle(FUNCTION, end=False)), saved(shared)]


def parts_of(data):
    """(manifest, {name: bytes}) of a sound file."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        found = {name: file.read(name) for name in file.namelist()}
    return json.loads(found.pop(archive.MANIFEST)), found


def try_out(path):
    """Read it and replay it, if that can be."""
    try:
        replay = Bundle.load(path).replay()
    except BundleError as error:
        assert str(path) in str(error) or "does not fit" in str(error)
        return
    try:
        for step in replay:
            assert step.traceback or step.error is None
    except ReplayError as error:
        assert str(error)
    assert len(replay.digest) == 64


def test_a_damaged_file_is_refused(campaign, samples, tmp_path):
    path = tmp_path / "a.zip"
    for rng in campaign:
        path.write_bytes(generate.damaged(rng, rng.choice(samples)) if rng.random() < 0.95 else generate.noise(rng, 5000))
        try_out(path)


def test_parts_that_lie_with_the_right_digests_are_refused(campaign, samples, tmp_path):
    path = tmp_path / "a.zip"
    for rng in campaign:
        manifest, parts = parts_of(rng.choice(samples))
        if rng.random() < 0.4:
            del manifest["parts"]
            manifest = json.loads(json.dumps(generate.mutated(rng, manifest), default=repr))
            if not isinstance(manifest, dict):
                continue
        else:
            name = rng.choice(sorted(parts))
            parts[name] = generate.damaged(rng, parts[name])
        with open(path, "wb") as file:
            archive.write(file, manifest, parts)
        try_out(path)


def test_what_a_file_claims_of_sizes_takes_no_memory(samples, tmp_path, memory):
    path = tmp_path / "a.zip"
    sound = samples[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(archive.MANIFEST, "{}")
        with file.open("inputs.pcapng", "w") as member:
            for _ in range(CONTENT_BYTES_MAX // MIB + 1):
                member.write(bytes(MIB))
    held = path.read_bytes()
    claims = [(held, "the bound is"), (sound + b"x" * 30, "cut off"), (sound[:-22] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9999, 9999, 1 << 30, 0, 0), "entries"),
              (b"PK\6\7" + bytes(16) + sound[-22:], "not an archive"), (b"", "cut off"), (bytes(21), "cut off")]
    for data, why in claims:
        path.write_bytes(data)
        before = memory()
        with pytest.raises(BundleError, match=why):
            Bundle.load(path)
        assert memory() - before < 2 * MIB


@pytest.mark.parametrize("name", ["nothing", ".", "/dev/null"])
def test_what_is_no_file_is_refused(name):
    with pytest.raises(BundleError, match=name):
        Bundle.load(name)


def test_another_version_is_named(samples, tmp_path):
    manifest, parts = parts_of(samples[0])
    for field, value in (("version", 2), ("protocol", 99), ("version", "1"), ("format", "other")):
        with open(tmp_path / "a.zip", "wb") as file:
            archive.write(file, {**manifest, field: value}, parts)
        with pytest.raises(BundleError, match=field if field != "format" else "not one of a bundle"):
            Bundle.load(tmp_path / "a.zip")
