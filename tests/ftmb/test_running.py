"""Where the result of an experiment may be written: told beforehand, and whatever kind of file it is."""

import json
import os
import threading

import pytest

from ftmb.errors import UsageError
from ftmb.running import check_writable, write_json


def test_a_check_changes_nothing(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old", encoding="ascii")
    check_writable(str(old))
    check_writable(str(new))
    check_writable(None)
    assert old.read_text(encoding="ascii") == "old" and not new.exists()


def test_what_cannot_be_written_is_named(tmp_path):
    for path in (str(tmp_path), "", str(tmp_path / "no" / "x")):
        for refuse in (check_writable, lambda path: write_json(path, {})):
            with pytest.raises(UsageError, match=f"--json: cannot write '{path}': "):
                refuse(path)


def test_a_link_stays_a_link(tmp_path):
    """So /dev/stdout is still there afterwards."""
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    check_writable(str(link))
    write_json(str(link), {"kills": 1})
    assert link.is_symlink() and json.loads(target.read_text(encoding="ascii")) == {"kills": 1}


def test_the_reader_of_a_pipe_gets_the_result_and_nothing_before(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text(encoding="ascii")), daemon=True)
    reader.start()
    check_writable(str(pipe))
    write_json(str(pipe), {"kills": 1})
    reader.join(10)
    assert json.loads(got[0]) == {"kills": 1}
