"""Bounds on what may wait in the queue, beside Gradio's `max_size`, which counts all events together."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import httpx  # which Gradio parses addresses with
from gradio import route_utils

from abn.ui.hardening.limits import SMALL
from abn.ui.hardening.queue_guard import waiting

MOST_IN_LINE = 40
MOST_BYTES = 200_000_000
"""That all requests that wait may have sent together."""
MOST_UNREAD = 200
"""Messages that a visitor may leave unread."""
MOST_UNREAD_IN_ALL = 1000
"""Messages that all visitors together may, some of half a megabyte; beyond it a visitor may `FEW_UNREAD`."""
FEW_UNREAD = 20
_LARGEST_EVENT = 10_000  # characters of what Gradio's page says of a click


def keep_places(page: gr.Blocks, slow: frozenset[str]) -> None:
    """Refuse an event, with a sentence, that would exceed one of the bounds:

    - events that wait for one slow line, so that it does not take every place of the queue;
    - bytes that all waiting requests have sent, and messages that nobody has read, which are kept in memory.

    Args:
        page: with its queue, not launched yet.
        slow: the `concurrency_id` of each such line.
    """
    queue = page._queue
    push = queue.push

    def make_room(asks: str) -> int:
        """Drop what those have not read who came first and wait for nothing; returns how many messages are left.

        Args:
            asks: the session that is here just now.
        """
        messages = queue.pending_messages_per_session
        unread = {session: left for session in list(messages) if (left := messages[session].qsize())}
        in_all = sum(unread.values())
        kept = waiting(queue) | {asks} if in_all > MOST_UNREAD_IN_ALL else ()
        for session, left in unread.items():
            if in_all <= MOST_UNREAD_IN_ALL:
                break
            if session not in kept:
                in_all -= left
                messages.pop(session, None)
        return in_all

    def refusal(body: Any, size: int) -> str | None:
        event = page.fns.get(body.fn_index)
        line = queue.event_queue_per_concurrency_id.get(event and event.concurrency_id)
        if line is not None and event.concurrency_id in slow and len(line.queue) >= MOST_IN_LINE:
            return f"{MOST_IN_LINE} others wait for something as slow; try again in a minute."
        most = FEW_UNREAD if make_room(body.session_hash) > MOST_UNREAD_IN_ALL else MOST_UNREAD
        messages = queue.pending_messages_per_session.get(body.session_hash)
        if messages is not None and messages.qsize() > most:
            return f"More than {most} messages wait to be read; read them first."
        held = sum(getattr(each, "size", 0) for each in queue.event_ids_to_events.values())
        if size > SMALL and held + size > MOST_BYTES:
            return "The requests of others fill the memory for those that wait; try again in a minute."
        return None

    async def fair(body: Any, request: Any, username: str | None) -> Any:
        if not _has_an_address(request):
            return False, "This request does not fit: the address in its headers is none.", "error"
        if not _is_small(body.event_data):
            return False, "This request does not fit: what it says of its event is too long.", "error"
        size = len(getattr(request, "_body", None) or b"")
        if (said := refusal(body, size)) is not None:
            return False, said, "queue_full"
        for copy in ("_body", "_json"):  # what was sent is in `body`, and the request is kept beside it
            if hasattr(request, copy):
                setattr(request, copy, None)
        success, name, state = await push(body, request, username)
        if success and name in queue.event_ids_to_events:
            queue.event_ids_to_events[name].size = size
        return success, name, state

    queue.push = fair


def _is_small(event_data: Any) -> bool:
    try:
        return event_data is None or len(json.dumps(event_data)) <= _LARGEST_EVENT
    except RecursionError:
        return False


def _has_an_address(request: Any) -> bool:
    """Whether Gradio can say where its files are, which it asks the headers of each request as it works on it."""
    try:
        route_utils.get_request_origin(request, "")
    except httpx.InvalidURL:
        return False
    return True
