import os
import subprocess
import sys
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder

from abn.ui import uploads


def test_folders_of_servers_that_are_gone_are_swept(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for name in (str(process.pid), str(os.getpid()), "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "picture.png").write_bytes(b"x")
    uploads.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {str(os.getpid()), "notes"}


def test_what_an_earlier_process_of_the_same_number_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setattr(uploads.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(uploads.atexit, "register", lambda *args, **kwargs: None)
    own = uploads.use_own_folder()
    (own / "picture.png").write_bytes(b"x")
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    assert uploads.use_own_folder() == own
    assert list(own.iterdir()) == []


def test_a_process_has_its_own_folder_and_leaves_none(tmp_path):
    code = (
        "import os; from abn.ui.uploads import use_own_folder; own = use_own_folder();"
        "assert os.environ['GRADIO_TEMP_DIR'] == str(own) and own.is_dir(); print(own)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "GRADIO_TEMP_DIR"}
    said = subprocess.run(
        [sys.executable, "-c", code], env={**environment, "TMPDIR": str(tmp_path)}, capture_output=True, text=True,
        cwd=Path(__file__).parents[1], check=True,
    )  # fmt: skip
    own = Path(said.stdout.strip())
    assert own.parent.parent == tmp_path
    assert not own.exists()


def test_in_the_hosts_folder_it_takes_one_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(uploads.atexit, "register", lambda *args, **kwargs: None)
    (tmp_path / "of another program").write_bytes(b"x")
    own = uploads.use_own_folder()
    assert own.parent.parent == tmp_path
    assert own.name == str(os.getpid())
    assert get_upload_folder() == str(own)
    assert list(own.iterdir()) == []
    assert (tmp_path / "of another program").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file"))
    with pytest.raises(
        SystemExit, match=r"^app\.py: no upload folder .*file \(Not a directory\); let GRADIO_TEMP_DIR"
    ):
        uploads.use_own_folder()
