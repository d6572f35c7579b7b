"""Files and folders that are whole or not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from abn.common.files import replace_file, replace_folder
from tests.conftest import HOME


def fill(folder, text):
    replace_folder(folder, lambda scratch: (scratch / "a.txt").write_text(text))


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "made" / "bundle"
    fill(folder, "first")
    (folder / "stray.txt").write_text("of before")
    fill(folder, "second")
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("a.txt", "second")]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_cannot_be_filled_leaves_the_old_one(tmp_path):
    folder = tmp_path / "bundle"
    fill(folder, "first")

    def fail(scratch):
        (scratch / "a.txt").write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        replace_folder(folder, fail)
    assert (folder / "a.txt").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.process
@pytest.mark.parametrize("replace", ["replace_file", "replace_folder"])
def test_a_kill_leaves_nothing_under_the_name(tmp_path, replace):
    code = f"""
import os, pathlib
from abn.common.files import {replace}

def write(scratch):
    (scratch / "a.txt" if scratch.is_dir() else scratch).write_text("half")
    os._exit(9)

{replace}(pathlib.Path({str(tmp_path / "named")!r}), write)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=HOME, check=False).returncode == 9
    assert not (tmp_path / "named").exists()
    assert [path.name.startswith(".named.") for path in tmp_path.iterdir()] == [True]


def test_a_file_of_the_name_is_not_taken_away_by_a_folder(tmp_path):
    replace_file(tmp_path / "bundle", lambda scratch: scratch.write_text("a file"))
    with pytest.raises(OSError):  # noqa: PT011, which one depends on the system
        fill(tmp_path / "bundle", "a folder")
    assert (tmp_path / "bundle").read_text() == "a file"
