"""Who waits for something slow takes no place from those who wait for something fast."""

from __future__ import annotations

from typing import Any

import gradio as gr

MOST_IN_ALL = 200
"""Events that may wait: each keeps what was sent with it in memory."""
MOST_IN_LINE = 40


def keep_places(page: gr.Blocks, slow: frozenset[str]) -> None:
    """Let no slow line grow so long that nobody else gets into the queue, whose places Gradio counts together.

    Args:
        page: with its queue, not launched yet.
        slow: the `concurrency_id` of each such line.
    """
    queue = page._queue
    push = queue.push

    async def fair(body: Any, request: Any, username: str | None) -> Any:
        event = page.fns.get(body.fn_index)
        line = queue.event_queue_per_concurrency_id.get(event and event.concurrency_id)
        if line is not None and event.concurrency_id in slow and len(line.queue) >= MOST_IN_LINE:
            said = f"{MOST_IN_LINE} others wait for something as slow; try again in a minute."
            return False, said, "queue_full"
        return await push(body, request, username)

    queue.push = fair
