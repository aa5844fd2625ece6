"""Where bundles are kept: bounded, the oldest go, and nothing of others."""

import os

import pytest

from middleboxes.replay import BundleError
from middleboxes.replay.keep import prune, save
from tests.replay.test_replay import FUNCTION, words

SECOND_NS = 1_000_000_000


def bundle(number):
    return words(b"a", None, b"b").bundle(FUNCTION, group="My group", node="m2", epoch=number, created_ns=1_700_000_000 * SECOND_NS)


def test_the_newest_are_kept_and_what_is_not_ours_stays(tmp_path):
    others = ["ftmb-notes.zip", "ftmb-nat-1-20260101T000000Z-m1.zip.bak", ".ftmb-x.partial", "a.zip"]
    for name in others:
        (tmp_path / name).write_bytes(bytes(5000))
    (tmp_path / "ftmb-nat-1-20260101T000000Z-m1.zip").mkdir()
    paths = []
    for number in range(5):
        paths.append(save(bundle(number), tmp_path, 3, 1 << 20))
        os.utime(paths[-1], ns=(number * SECOND_NS, number * SECOND_NS))
    assert os.path.basename(paths[0]) == "ftmb-my_group-0-20231114T221320Z-m2.zip"
    assert sorted(path for path in paths if os.path.exists(path)) == paths[2:]
    assert all((tmp_path / name).exists() for name in (*others, "ftmb-nat-1-20260101T000000Z-m1.zip"))


def test_bytes_are_bounded_too(tmp_path):
    paths = []
    for number in range(4):
        paths.append(save(bundle(number), tmp_path, 100, 1 << 20))
        os.utime(paths[-1], ns=(number * SECOND_NS, number * SECOND_NS))
    size = os.path.getsize(paths[-1])
    prune(tmp_path, 100, 2 * size + size // 2)
    assert [path for path in paths if os.path.exists(path)] == paths[2:]


def test_one_that_is_too_large_is_not_kept_and_costs_no_other(tmp_path):
    path = save(bundle(1), tmp_path, 3, 1 << 20)
    with pytest.raises(BundleError, match="the bound of its directory is 100"):
        save(bundle(2), tmp_path, 3, 100)
    assert [entry.path for entry in os.scandir(tmp_path)] == [path]


def test_a_repeated_name_and_an_old_half_file(tmp_path):
    half, old = tmp_path / ".ftmb-1.partial", tmp_path / ".ftmb-2.partial"
    half.write_text("x")
    old.write_text("x")
    os.utime(old, (0, 0))
    first, second = save(bundle(1), tmp_path, 3, 1 << 20), save(bundle(1), tmp_path, 3, 1 << 20)
    assert first != second and os.path.exists(first) and half.exists() and not old.exists()
