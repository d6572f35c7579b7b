"""What a running server forgets: broken uploads, empty folders, sessions."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest

from abn.ui import words
from abn.ui.hardening import upkeep
from abn.ui.page.picture_input import GuardedBlocks
from tests.conftest import run_apart


def aged(path: Path, seconds: float) -> Path:
    os.utime(path, (time.time() - seconds,) * 2, follow_symlinks=False)
    return path


def test_old_files_and_old_empty_folders_go_and_what_is_kept_stays(tmp_path):
    for name in ("old", "kept", "mixed", "fresh", "empty"):
        (tmp_path / name).mkdir()
    aged_file = aged(_write(tmp_path / "old" / "picture.png"), 100)
    kept = aged(_write(tmp_path / "kept" / "example.png"), 100)
    aged(_write(tmp_path / "mixed" / "a.png"), 100)
    _write(tmp_path / "mixed" / "b.png")
    aged(_write(tmp_path / "tmpabc"), 100)
    for name in ("old", "kept", "mixed", "empty"):
        aged(tmp_path / name, 100)
    upkeep.delete_older(tmp_path, 50, {str(kept)})
    assert not aged_file.exists()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    # A folder changed when its file went: it goes at the next sweep.
    assert left == {"old", "kept", "kept/example.png", "mixed", "mixed/b.png", "fresh"}
    aged(tmp_path / "old", 100)
    upkeep.delete_older(tmp_path, 50, {str(kept)})
    assert not (tmp_path / "old").exists()


def test_the_pages_examples_stay_also_where_the_folder_is_a_link(tmp_path, monkeypatch):
    """As on macOS, where the temporary folder is one: Gradio names what it keeps without links."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "link"))
    kept, other = (aged(_write(real / name), 100) for name in ("kept.png", "other.png"))
    swept = threading.Event()
    monkeypatch.setattr(upkeep, "hand_back_freed_memory", swept.set)  # the last step of a sweep
    with GuardedBlocks(analytics_enabled=False, delete_cache=(0.05, 50)) as page:
        gr.Number(1).keep_in_cache = {str(kept.resolve())}

    async def run():
        async with upkeep.upkeep(page)(None):
            assert await asyncio.to_thread(swept.wait, 60)

    page._queue, page.state_holder = (
        SimpleNamespace(event_ids_to_events={}, pending_messages_per_session={}, pending_event_ids_session={}),
        SimpleNamespace(time_last_used={}, session_data={}),
    )
    run_apart(run())
    assert kept.exists() and not other.exists()


def test_names_of_files_that_are_gone_are_forgotten(tmp_path):
    there, gone = str(_write(tmp_path / "a.png")), str(tmp_path / "b.png")
    sets = [{there, gone}, {gone}, set()]
    upkeep.forget_names(SimpleNamespace(temp_file_sets=sets))
    assert sets == [{there}, set(), set()]


def test_names_may_be_added_while_others_are_looked_for(tmp_path, monkeypatch):
    names = {str(tmp_path / "a.png"), str(tmp_path / "b.png")}
    added = iter(str(_write(tmp_path / f"new-{i}.png")) for i in range(9))
    lexists = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda name: names.add(next(added)) or lexists(name))
    upkeep.forget_names(SimpleNamespace(temp_file_sets=[names]))
    assert sorted(Path(name).name for name in names) == ["new-0.png", "new-1.png"]


def test_a_link_is_deleted_and_not_followed(tmp_path):
    (tmp_path / "cache").mkdir()
    outside = aged(_write(tmp_path / "outside.png"), 100)
    (tmp_path / "cache" / "link").symlink_to(outside)
    aged(tmp_path / "cache" / "link", 100)
    upkeep.delete_older(tmp_path / "cache", 50, ())
    assert outside.exists()
    assert not (tmp_path / "cache" / "link").is_symlink()


def test_what_cannot_be_deleted_keeps_nothing_else_from_going(tmp_path, monkeypatch):
    others = aged(_write(tmp_path / "of-another"), 100)
    own = [aged(_write(tmp_path / name), 100) for name in ("a.png", "z.png")]
    unlink = Path.unlink

    def refuse(path, *rest, **named):
        if path == others:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
        unlink(path, *rest, **named)

    monkeypatch.setattr(Path, "unlink", refuse)
    upkeep.delete_older(tmp_path, 50, ())
    assert others.exists()
    assert not any(path.exists() for path in own)


def _write(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with GuardedBlocks(analytics_enabled=False, delete_cache=(1, 30)) as page:
            number = gr.Number(1, minimum=0)
            gr.Button().click(lambda value: value + 1, number, number, api_name="next")
        page.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True,
            app_kwargs={"lifespan": upkeep.upkeep(page)},
        )  # fmt: skip
        yield page
        page.close()


def call(page, **session: str) -> str:
    url = f"{page.local_url}gradio_api/call/next"
    event = httpx.post(url, json={"data": [4], **session}, timeout=60).json()["event_id"]
    return httpx.get(f"{url}/{event}", timeout=60).text


def test_a_call_that_names_no_session_leaves_none(page):
    for _ in range(3):
        assert json.loads(call(page).split("data: ")[-1]) == [5]
    assert list(page.state_holder.session_data) == []
    assert page.state_holder.time_last_used == {}


def test_a_session_is_kept_while_it_is_used(page):
    call(page, session_hash="visitor")
    assert "visitor" in page.state_holder.session_data
    upkeep.forget_sessions(page, 60)
    assert "visitor" in page.state_holder.session_data
    page.state_holder.time_last_used["visitor"] = datetime.now() - timedelta(seconds=61)
    upkeep.forget_sessions(page, 60)
    assert page.state_holder.session_data == {}


def test_a_session_that_waits_for_an_answer_is_kept_however_long_it_takes(page):
    call(page, session_hash="waits")
    page.state_holder.time_last_used["waits"] = datetime.now() - timedelta(seconds=61)
    page._queue.event_ids_to_events["an-event"] = SimpleNamespace(session_hash="waits")
    upkeep.forget_sessions(page, 60)
    assert "waits" in page.state_holder.session_data
    del page._queue.event_ids_to_events["an-event"]
    upkeep.forget_sessions(page, 60)
    assert "waits" not in page.state_holder.session_data


def test_messages_that_nobody_reads_go_at_the_second_sweep(page):
    queue = page._queue
    url = f"{page.local_url}gradio_api/call/next"
    event = httpx.post(url, json={"data": [4]}, timeout=60).json()["event_id"]
    while queue.event_ids_to_events:
        time.sleep(0.01)
    assert event in queue.pending_messages_per_session
    idle = upkeep.forget_unread(page, ())
    assert event in idle and event in queue.pending_messages_per_session
    upkeep.forget_unread(page, idle)
    assert event not in queue.pending_messages_per_session
    assert event not in queue.pending_event_ids_session


def test_a_session_that_is_kept_keeps_its_messages(page):
    call(page, session_hash="visitor")
    messages = page._queue.pending_messages_per_session
    for _ in range(3):
        upkeep.forget_unread(page, set(messages))
        assert "visitor" in messages
    page.state_holder.session_data.clear()
    page.state_holder.time_last_used.clear()


def test_uploads_are_forgotten_the_oldest_first(monkeypatch):
    statuses = type(upkeep.file_upload_statuses)()
    monkeypatch.setattr(upkeep, "file_upload_statuses", statuses)
    monkeypatch.setattr(upkeep, "MOST_UPLOADS", 2)
    for name in "abc":
        statuses.track(name)
    upkeep.forget_uploads()
    assert list(statuses._statuses) == list(statuses._signals) == ["b", "c"]


def test_a_running_server_sweeps_by_itself(page):
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    aged(_write(folder / "tmp-of-an-upload-that-broke-off"), 100)
    call(page, session_hash="visitor")
    page.state_holder.time_last_used["visitor"] = datetime.now() - timedelta(seconds=61)
    deadline = time.monotonic() + 60
    while (page.state_holder.session_data or any(folder.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(folder.iterdir()) == []
    assert page.state_holder.session_data == {}


def test_a_refusal_stays_on_the_page_until_it_is_read(page):
    """Also Gradio's own: the page points at it."""

    async def refused() -> gr.Error:
        with pytest.raises(gr.Error) as caught:
            await page.process_api(next(iter(page.fns)), [-5], state=None, request=None)
        return caught.value

    error = run_apart(refused())
    assert "less than minimum value 0" in error.message
    assert error.duration is None


def test_the_page_says_how_long_a_picture_is_kept():
    assert words.kept(3600).endswith("after at most 120 minutes.")
    assert words.kept(20).endswith("after at most a minute.")
