"""What Gradio would keep for as long as the server runs, deleted in one sweep after the other.

`delete_cache` deletes the files that Gradio remembers to have stored. It leaves their empty folders, the parts of
uploads that broke off or were too large, the names of uploads, unread answers, every session until there are more
than its capacity, and holes of freed memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio.to_thread
import gradio as gr
from gradio.routes import file_upload_statuses
from gradio.utils import get_upload_folder

from abn.common.devices import hand_back_freed_memory
from abn.ui.hardening.queue_guard import waiting

MOST_UPLOADS = 1000  # whose progress is kept note of
_LOG = logging.getLogger(__name__)


def upkeep(page: gr.Blocks) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """For `app_kwargs["lifespan"]`: sweeps as often as the page's `delete_cache` says, whatever is of its age.

    Gradio has a sweep of its own, which ends for good when an upload comes while it looks, and of what it does not
    find it remembers the name for ever. Sessions are kept for twice as long.
    """
    every, age = page.delete_cache

    async def sweep() -> None:
        unread = set()
        while True:
            await asyncio.sleep(every)
            try:
                kept = set().union(*(getattr(block, "keep_in_cache", ()) for block in page.blocks.values()))
                await anyio.to_thread.run_sync(delete_older, Path(get_upload_folder()).resolve(), age, kept)
                forget_names(page)
                forget_sessions(page, 2 * age)
                unread = forget_unread(page, unread)
                forget_uploads()
                await anyio.to_thread.run_sync(hand_back_freed_memory)
            except Exception as error:  # the next sweep may succeed; what could not be deleted is for the host
                _LOG.warning("the sweep failed: %s", error)

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(sweep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return lifespan


def delete_older(folder: Path, age: float, kept: Collection[str]) -> None:
    """Delete the files below a folder that have not changed for `age` seconds, then folders empty as long.

    What cannot be deleted stays, and keeps nothing else from going.

    Args:
        kept: paths of files to leave, as Gradio has them: without links.
    """
    oldest = time.time() - age
    below = sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True)
    for path in below:
        with suppress(OSError):  # gone meanwhile, a folder that is not empty, or one that is not ours to empty
            if path.lstat().st_mtime > oldest or str(path) in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def forget_names(page: gr.Blocks) -> None:
    """Forget the files that are not there any more."""
    for names in page.temp_file_sets:
        there = list(names)  # at once: other threads add to them while files are looked for
        names.difference_update([name for name in there if not os.path.lexists(name)])


def forget_sessions(page: gr.Blocks, age: float) -> None:
    """Forget the sessions that were not used for `age` seconds; not those that wait for an answer.

    A session holds a copy of the page's configuration, about 0.2 MB.
    """
    holder = page.state_holder
    oldest = datetime.now() - timedelta(seconds=age)
    kept = waiting(page._queue)
    for session in [name for name, used in list(holder.time_last_used.items()) if used < oldest]:
        if session not in kept:
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)


def forget_unread(page: gr.Blocks, before: Collection[str]) -> set[str]:
    """Forget the messages that nobody has read since the last sweep, of sessions that are forgotten and do not wait.

    Args:
        before: what this answered at the last sweep.

    Returns:
        The sessions whose messages go at the next one.
    """
    queue = page._queue
    messages, pending = queue.pending_messages_per_session, queue.pending_event_ids_session
    kept = waiting(queue)
    idle = set(messages) - kept - set(page.state_holder.session_data)
    for session in idle & set(before):
        messages.pop(session, None)
    for session in [name for name, events in pending.items() if not events or name not in messages]:
        if session not in kept:
            pending.pop(session, None)
    return idle - set(before)


def forget_uploads() -> None:
    """Forget the oldest uploads of whose progress Gradio keeps note for ever."""
    for kept in (file_upload_statuses._signals, file_upload_statuses._statuses):
        for name in list(kept)[:-MOST_UPLOADS]:
            kept.pop(name, None)
