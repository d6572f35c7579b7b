"""Those who wait for something slow take no place from others, and nobody who waits is forgotten."""

from __future__ import annotations

from typing import Any

import gradio as gr

MOST_IN_ALL = 200
"""Events that may wait: each keeps what was sent with it in memory."""
MOST_IN_LINE = 40


def keep_places(page: gr.Blocks, slow: frozenset[str]) -> None:
    """Let no slow line grow so long that nobody else gets into the queue, whose places Gradio counts together.

    Nor may newer visitors take the messages of those who wait. Gradio keeps those of 2,000 sessions and drops them in
    the order in which they came, whoever still waits; the first message for one that was dropped then ends its
    queue, for everybody.

    Args:
        page: with its queue, not launched yet.
        slow: the `concurrency_id` of each such line.
    """
    queue = page._queue
    push, send_message = queue.push, queue.send_message
    messages = queue.pending_messages_per_session

    async def fair(body: Any, request: Any, username: str | None) -> Any:
        event = page.fns.get(body.fn_index)
        line = queue.event_queue_per_concurrency_id.get(event and event.concurrency_id)
        if line is not None and event.concurrency_id in slow and len(line.queue) >= MOST_IN_LINE:
            said = f"{MOST_IN_LINE} others wait for something as slow; try again in a minute."
            return False, said, "queue_full"
        for session in {body.session_hash, *(each.session_hash for each in queue.event_ids_to_events.values())}:
            if session in messages:
                messages.move_to_end(session)
        return await push(body, request, username)

    def send(event: Any, message: Any) -> None:
        if event.session_hash in messages:  # a visitor who has gone needs none
            send_message(event, message)

    queue.push, queue.send_message = fair, send
