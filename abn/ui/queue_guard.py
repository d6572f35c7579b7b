"""What one visitor could do to Gradio's queue for everybody, until the server is started anew, and cannot here.

- Cancelling a task that computes frees its place while its thread goes on, and of one that has not begun it keeps the
  place for ever. Here a job that is cancelled keeps its place until it ends, and its answer is sent to nobody.
- The messages of 2,000 sessions are kept, and dropped in the order in which they came, whoever still waits; the first
  message for one that was dropped ends the queue. Here those who wait stay, and who has gone gets none.
- A session's name may be of any length and is kept. Here it has an end; and whoever asks for what is not there is
  told so before a session is made.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from weakref import WeakSet

import gradio as gr
from fastapi import HTTPException
from gradio import route_utils, routes
from gradio.queueing import Queue
from gradio.utils import LRUCache

LONGEST_NAME = 100  # of a session; a browser's has about 11 characters, gradio_client's 36
_GUARDED: WeakSet[Queue] = WeakSet()


class _Messages(LRUCache):
    def __delitem__(self, session: str) -> None:
        if session in self:  # two streams of one session may end, each of which deletes it
            super().__delitem__(session)


def guard(page: gr.Blocks) -> None:
    """Guard a page's queue; call it before the page is launched."""
    queue = page._queue
    queue.pending_messages_per_session = messages = _Messages(queue.pending_messages_per_session.max_size)
    push, send_message = queue.push, queue.send_message

    async def push_newest(body: Any, request: Any, username: str | None) -> Any:
        for session in {body.session_hash} | waiting(queue):
            if session in messages:
                messages.move_to_end(session)
        return await push(body, request, username)

    def send(event: Any, message: Any) -> None:
        if event.session_hash in messages:
            send_message(event, message)

    queue.push, queue.send_message = push_newest, send
    _GUARDED.add(queue)


def waiting(queue: Queue) -> set[str]:
    """The sessions that wait for an answer."""
    return {event.session_hash for event in list(queue.event_ids_to_events.values())}


async def _disown(task_ids: Collection[str]) -> list[str]:
    """In place of Gradio's `cancel_tasks`; its tasks are named "session_function"."""
    for queue in _GUARDED:
        for job in queue.active_jobs:
            for event in job or ():
                if f"{event.session_hash}_{event.fn._id}" in task_ids:
                    event.alive = False
    return []


_get_fn = route_utils.get_fn


def _known(blocks: gr.Blocks, api_name: str | None, body: Any) -> Any:
    """Gradio's `get_fn`, which makes a session whatever it is asked for."""
    if len(body.session_hash or "") > LONGEST_NAME:
        raise HTTPException(400, f"The session's name has more than {LONGEST_NAME} characters.")
    there = (
        any(each.api_name == api_name for each in blocks.fns.values())
        if body.fn_index is None
        else body.fn_index in blocks.fns
    )
    if not there:
        raise HTTPException(404, "There is no such endpoint.")
    return _get_fn(blocks, api_name, body)


routes.cancel_tasks = _disown
route_utils.get_fn = _known
