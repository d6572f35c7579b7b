"""What of Gradio this app replaces or reads that Gradio does not document, and the check that it is all there.

A function that a new version renames or calls differently would not fail: strangers would meet Gradio as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import gradio as gr

REPLACED = (
    ("gradio.routes", "cancel_tasks", "task_ids"),
    ("gradio.routes", "safe_aclose_iterator", "iterator"),
    ("gradio.route_utils", "get_fn", "blocks api_name body"),
    ("gradio.route_utils", "get_request_origin", "request route_path"),
    (
        "gradio.route_utils",
        "GradioMultiPartParser",
        "headers stream max_files max_fields upload_dir upload_id upload_progress max_file_size max_header_size",
    ),
    ("gradio.queueing", "Queue.push", "self body request username"),
    ("gradio.queueing", "Queue.send_message", "self event event_message"),
    ("gradio.utils", "LRUCache.__init__", "self max_size"),
    ("gradio.utils", "get_upload_folder", ""),
    ("gradio.blocks", "Blocks.preprocess_data", "self block_fn inputs state explicit_call"),
    (
        "gradio.blocks",
        "Blocks.process_api",
        "self block_fn inputs state request iterator session_hash event_id event_data in_event_listener "
        "simple_format explicit_call root_path oauth_token",
    ),
)
"""(module, name in it, its parameters) of what is replaced, overridden, or called as Gradio calls it."""

READ = (
    "_queue.pending_messages_per_session.max_size", "_queue.pending_event_ids_session", "_queue.event_ids_to_events",
    "_queue.event_queue_per_concurrency_id", "_queue.active_jobs", "_queue._asyncio_tasks", "fns", "temp_file_sets",
    "delete_cache",
)  # fmt: skip
"""Attributes of a page whose queue has been made."""

VALUES = (
    ("gradio.route_utils", "API_PREFIX", str),
    ("gradio.routes", "file_upload_statuses._signals", dict),
    ("gradio.routes", "file_upload_statuses._statuses", dict),
)
"""(module, name in it, its type)."""


class NotHardenedError(RuntimeError):
    """Gradio is not as the hardening expects it; the message says what differs, and the remedy."""


def require_internals(page: gr.Blocks) -> None:
    """Check `REPLACED`, `READ` and `VALUES`.

    Raises:
        NotHardenedError: for the first that is not there, or has other parameters.
    """
    problems = [
        first_difference(REPLACED),
        *(f"gradio.Blocks.{name} is missing" for name in READ if follow(page, name) is None),
        *(
            f"{module}.{name} is no {kind.__name__}"
            for module, name, kind in VALUES
            if not isinstance(follow(import_module(module), name), kind)
        ),
    ]
    if problem := next(filter(None, problems), None):
        raise NotHardenedError(
            f"this page is not served to strangers: {problem} in Gradio {gr.__version__}, so what guards the server "
            "against them would have no effect; install the version of Gradio that requirements.txt names"
        )


def first_difference(expected: Iterable[tuple[str, str, str]]) -> str | None:
    """What differs from a table such as `REPLACED`, in words; None where nothing does."""
    for module, name, parameters in expected:
        found = follow(import_module(module), name)
        if found is None:
            return f"{module}.{name} is missing"
        if found.__module__.startswith("abn."):  # replaced for an earlier page of this process
            continue
        if (there := " ".join(inspect.signature(found).parameters)) != parameters:
            return f"{module}.{name} takes ({', '.join(there.split())}), not ({', '.join(parameters.split())})"
    return None


def follow(start: Any, dotted: str) -> Any:
    """An attribute of an attribute …; None where there is none."""
    for name in dotted.split("."):
        start = getattr(start, name, None)
    return start
