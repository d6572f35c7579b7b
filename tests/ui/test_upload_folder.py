import os
import subprocess
import sys
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder

from abn.ui import upload_folder

SERVER = (
    "import sys, time; from abn.ui.upload_folder import use_own_folder; print(use_own_folder(), flush=True); {then}"
)


def start(tmp_path, then):
    """A process with an upload folder of its own, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER.format(then=then)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return process, Path(process.stdout.readline().strip())


@pytest.mark.process
def test_folders_of_servers_that_are_gone_are_swept_and_those_of_others_stay(tmp_path):
    killed, left = start(tmp_path, "time.sleep(600)")
    alive, kept = start(tmp_path, "time.sleep(600)")
    try:
        for folder in (left, kept):
            (folder / "picture.png").write_bytes(b"x")
        notes = left.parent / "notes"
        notes.mkdir()
        killed.kill()
        killed.wait()
        upload_folder.sweep(left.parent)
        assert {path.name for path in left.parent.iterdir()} == {kept.name, f"{kept.name}.lock", "notes"}
        assert (kept / "picture.png").exists()
    finally:
        for process in (killed, alive):
            process.kill()
            process.wait()
    upload_folder.sweep(left.parent)
    assert list(left.parent.iterdir()) == [notes]


def test_a_lock_that_another_swept_before_it_was_held_is_not_relied_on(tmp_path, monkeypatch):
    taken = []

    class Swept(upload_folder.FileLock):
        def acquire(self, *arguments, **options):
            got = super().acquire(*arguments, **options)
            if not taken:
                os.unlink(self.lock_file)
            taken.append(self.lock_file)
            return got

    monkeypatch.setattr(upload_folder, "FileLock", Swept)
    own, lock = upload_folder._locked_folder(tmp_path)
    assert str(own) != taken[0].removesuffix(".lock")
    assert lock.is_locked and sorted(path.name for path in tmp_path.iterdir()) == [own.name, f"{own.name}.lock"]
    lock.release(force=True)


@pytest.mark.process
def test_a_process_has_its_own_folder_and_leaves_none(tmp_path):
    code = (
        "import os; from abn.ui.upload_folder import use_own_folder; own = use_own_folder();"
        "assert os.environ['GRADIO_TEMP_DIR'] == str(own / 'uploads') and own.is_dir(); print(own)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "GRADIO_TEMP_DIR"}
    said = subprocess.run(
        [sys.executable, "-c", code], env={**environment, "TMPDIR": str(tmp_path)}, capture_output=True, text=True,
        cwd=Path(__file__).parents[2], check=True,
    )  # fmt: skip
    own = Path(said.stdout.strip())
    assert own.parent.parent == tmp_path
    assert list(own.parent.iterdir()) == []


def test_in_the_hosts_folder_it_takes_one_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(upload_folder.atexit, "register", lambda *args, **kwargs: None)
    (tmp_path / "of another program").write_bytes(b"x")
    own = upload_folder.use_own_folder()
    assert own.parent.parent == tmp_path
    assert get_upload_folder() == str(own / "uploads")
    assert list(own.rglob("*")) == [own / "uploads"]
    assert (tmp_path / "of another program").exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="asks who owns a folder, in the way of POSIX")
def test_a_folder_that_somebody_else_made_under_its_name_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(upload_folder.atexit, "register", lambda *args, **kwargs: None)
    (tmp_path / "elsewhere").mkdir()
    taken = tmp_path / f"adaptive-bias-networks-{os.getuid()}"
    taken.symlink_to(tmp_path / "elsewhere")
    own = upload_folder.use_own_folder()
    assert own.parent not in (taken, tmp_path / "elsewhere") and own.parent.stat().st_mode & 0o077 == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []
    monkeypatch.setattr(
        upload_folder.os, "getuid", lambda: 4711
    )  # whose name is free, and whose folder is not theirs
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "adaptive-bias-networks-4711").write_bytes(b"x")
    other = upload_folder.use_own_folder()
    assert other.parent != tmp_path / "adaptive-bias-networks-4711"


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="asks who owns a folder, in the way of POSIX")
def test_folders_made_for_want_of_the_usual_one_are_swept_too(monkeypatch, tmp_path):
    monkeypatch.setattr(upload_folder.atexit, "register", lambda *args, **kwargs: None)
    usual = tmp_path / f"adaptive-bias-networks-{os.getuid()}"
    usual.write_bytes(b"x")
    process, left = start(tmp_path, "time.sleep(600)")
    (left / "picture.png").write_bytes(b"x")
    process.kill()
    process.wait()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    own = upload_folder.use_own_folder()
    assert {path.name for path in tmp_path.iterdir()} == {usual.name, own.parent.name} and not left.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file"))
    with pytest.raises(
        SystemExit, match=r"^app\.py: no upload folder .*file \(Not a directory\); let GRADIO_TEMP_DIR"
    ):
        upload_folder.use_own_folder()
