"""Bounded waits: within `watched`, no request to the Hub is silent for long, and none is sent twice.

huggingface_hub retries on its own, for minutes when a server hangs, and waits as long as a `Retry-After` says.
Its client is shared by the whole process; the hooks set here act only in the context that asked for them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import constants, get_session


class RefusedError(Exception):
    """A request that was not sent again, or an answer that was not used.

    Of no type that huggingface_hub retries on.

    Attributes:
        status: of the answer, or None for a request that was not sent.
        retry_after: the header's value, or None.
    """

    def __init__(self, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(status)
        self.status, self.retry_after = status, retry_after


@dataclass
class Watch:
    """What one load has asked for and met.

    Attributes:
        timeout: seconds of silence after which a server counts as hanging.
        failure: the last one on the network; why a request was about to be sent again.
    """

    timeout: float
    failure: Exception | None = None
    sent: set[tuple[str, str]] = field(default_factory=set)

    def trace(self, event: str, details: dict[str, Any]) -> None:
        """Called by the HTTP client for everything that happens to a request."""
        if event.endswith(".failed"):
            self.failure = details["exception"]


_WATCH: ContextVar[Watch | None] = ContextVar("_WATCH", default=None)
_HOOKING = threading.Lock()  # a hook set twice would take every request for its own repetition


@contextmanager
def watched(timeout: float) -> Iterator[Watch]:
    """Bound every request huggingface_hub makes inside, in this thread.

    Raises:
        RefusedError: inside, instead of a retry; and for an answer that huggingface_hub would retry on.
    """
    with _HOOKING:
        hooks = get_session().event_hooks
        for kind, hook in (("request", _before_request), ("response", _after_response)):
            if hook not in hooks[kind]:
                hooks[kind].append(hook)
    watch = Watch(timeout)
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


def _before_request(request: Any) -> None:
    watch = _WATCH.get()
    if watch is None or request.url.path == "/api/agent-harnesses":  # not ours, and bounded by itself
        return
    asked = (request.method, str(request.url))
    if asked in watch.sent:  # a retry, or a redirect that leads in a circle
        raise RefusedError
    watch.sent.add(asked)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), watch.timeout)
    request.extensions["trace"] = watch.trace


def _after_response(response: Any) -> None:
    if _WATCH.get() is None:
        return
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise RefusedError(response.status_code, response.headers.get("Retry-After"))
    # Without this header the file comes by plain HTTP: hf_xet has waits and retries that nothing here bounds.
    response.headers.pop(constants.HUGGINGFACE_HEADER_X_XET_HASH, None)
