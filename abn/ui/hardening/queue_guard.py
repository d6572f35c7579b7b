"""Ways in which one visitor could stop Gradio's queue for everybody until a restart, each closed here.

- Cancelling. A job that computes loses its place in the queue while its thread goes on, so more run at once than
  `concurrency_limit` says; one cancelled just before it begins never gives its place back; cancelling a generator
  holds the lock that every other event needs to end. Here a cancelled job keeps its place until it ends, and its
  answer is not sent.
- Messages. Those of the last 2,000 sessions are kept; older ones are dropped even of sessions that wait, and the
  next message for a dropped session ends the queue's loop. Here sessions that wait are kept, and messages for a
  dropped one are discarded.
- Names. A session's name may have any length and is kept; one that contains the separator of Gradio's task names
  breaks the cancelling of others. Here its length is bounded, and the separator is refused.
- Sessions. Any request makes one, even for an endpoint that does not exist, and each evicts an older visitor's. Here
  it is made when its event is worked on.
"""

from __future__ import annotations

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
    routes.cancel_tasks, routes.safe_aclose_iterator, route_utils.get_fn = _cancel, _close_iterator, _known
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


_cancel_tasks, _get_fn = routes.cancel_tasks, route_utils.get_fn
_MARK = "<gradio-sep>"


async def _cancel(task_ids: set[str]) -> list[str]:
    """Gradio's `cancel_tasks`, whose tasks are named "session_function"; a guarded queue's jobs are disowned.

    They go on, and what they found still reaches the visitor's session, though not the page.
    """
    ours = set()
    for queue in _GUARDED:
        for event in (each for job in queue.active_jobs for each in job or ()):
            if f"{event.session_hash}_{event.fn._id}" in task_ids:
                event.alive = False
        ours |= {task.get_name().rpartition(_MARK)[0] for task in queue._asyncio_tasks}
    return await _cancel_tasks(task_ids - ours) if task_ids - ours else []


async def _close_iterator(iterator: Any) -> None:
    """For `/cancel`, which holds a lock meanwhile that all events need to end; the job closes its own at its end."""


def _known(blocks: gr.Blocks, api_name: str | None, body: Any) -> Any:
    """Gradio's `get_fn`, which makes a session whatever it is asked for."""
    if blocks._queue not in _GUARDED:
        return _get_fn(blocks, api_name, body)
    session = body.session_hash or ""
    if len(session) > LONGEST_NAME or _MARK in session:
        raise HTTPException(400, f"A session's name has at most {LONGEST_NAME} characters, and no {_MARK}.")
    found = blocks.fns.get(body.fn_index)
    if body.fn_index is None:
        found = next((each for each in blocks.fns.values() if each.api_name == api_name), None)
    if found is None:
        raise HTTPException(404, "There is no such endpoint.")
    return found
