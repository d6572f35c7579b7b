"""Bounds: within `watched`, no request to the Hub is silent for long, none is sent twice, and no more than a
named number of bytes and of seconds is taken.

huggingface_hub retries on its own, for minutes when a server hangs, and waits as long as a `Retry-After` says; after
a connection that failed it does so with a new client, which knows no bounds; what arrives it counts only when all is
on the disk. Its client is shared by the whole process; the hooks set here act only in the context that asked for
them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx2
from huggingface_hub import constants, get_session
from huggingface_hub.utils import parse_ratelimit_headers, tqdm

from abn.common.texts import whole_number


class RefusedError(Exception):
    """A request that was not sent again, or an answer that was not used.

    Of no type that huggingface_hub retries on.

    Attributes:
        status: of the answer, or None for a request that was not sent.
        retry_after: what the server says of when to ask again, in seconds or as a date, or None.
    """

    def __init__(self, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(status)
        self.status, self.retry_after = status, retry_after


class TooLargeError(Exception):
    """An answer with more bytes than may be taken; of no type that huggingface_hub retries on.

    Attributes:
        announced: bytes the server spoke of, or None where it sent more than it had said.
    """

    def __init__(self, announced: int | None = None) -> None:
        super().__init__(announced)
        self.announced = announced


class TooSlowError(Exception):
    """Files that took longer than they may, though something kept arriving; of no type that is retried on."""


@dataclass
class Watch:
    """What one load has asked for and met.

    Attributes:
        timeout: seconds of silence after which a server counts as hanging.
        max_bytes: that may arrive; None for any number.
        max_seconds: that all of it may take.
        host: that was asked last, with its port where it is an unusual one.
        failure: the last one on the network; why a request was about to be sent again.
        received: bytes of files that arrived.
    """

    timeout: float
    max_bytes: int | None = None
    max_seconds: float = math.inf
    host: str | None = None
    failure: Exception | None = None
    received: int = 0
    sent: set[tuple[str, str]] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)

    def trace(self, event: str, details: dict[str, Any]) -> None:
        """Called by the HTTP client for everything that happens to a request.

        Raises:
            RefusedError: instead of a failure to connect, on which huggingface_hub would make a new client.
        """
        what = event.partition(".")[2]
        if what.endswith(".failed"):
            self.failure = details["exception"]
            if what in ("connect_tcp.failed", "start_tls.failed"):
                raise RefusedError
        elif what in ("connect_tcp.complete", "start_tls.complete"):
            _bound(details["return_value"])

    def expect(self, announced: str) -> None:
        """Refuse what the server announces, if it is too much."""
        number = whole_number(announced)
        if self.max_bytes is not None and number is not None and self.received + number > self.max_bytes:
            raise TooLargeError(number)

    def seconds_left(self) -> float:
        """Until the time is up; then a refusal to go on. A server that sends a byte now and then is never silent."""
        left = self.started + self.max_seconds - time.monotonic()
        if left <= 0:
            raise TooSlowError
        return left

    def receive(self, number: int) -> None:
        """Count bytes that arrived, whatever was announced."""
        self.received += number
        if self.max_bytes is not None and self.received > self.max_bytes:
            raise TooLargeError


_WATCH: ContextVar[Watch | None] = ContextVar("_WATCH", default=None)
_HOOKING = threading.Lock()  # a hook set twice would take every request for its own repetition


class Metered(tqdm):
    """huggingface_hub's progress bar, which sees every piece of a file before the disk does."""

    def update(self, n: float | None = 1) -> bool | None:
        watch = _WATCH.get()
        if watch is not None:
            watch.receive(int(n or 0))
        return super().update(n)


class _Timed(httpx2.SyncByteStream):
    """An answer's body, with a look at the clock at every piece that comes from the network."""

    def __init__(self, stream: httpx2.SyncByteStream, watch: Watch) -> None:
        self._stream, self._watch = stream, watch

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._watch.seconds_left()
            yield piece

    def close(self) -> None:
        self._stream.close()


def _bound(stream: Any) -> None:
    """Let what is read from a connection, and written to it, end when a watch's time is up.

    A head or a body may come byte by byte, each in time for the client, which starts to count anew then.
    """
    stream.read, stream.write = _in_time(stream.read), _in_time(stream.write)


def _in_time(action: Callable[..., Any]) -> Callable[..., Any]:
    def bounded(data: Any, timeout: float | None = None) -> Any:
        watch = _WATCH.get()
        if watch is None:  # the connection outlives the load that made it
            return action(data, timeout)
        left = watch.seconds_left()
        try:
            return action(data, left if timeout is None else min(timeout, left))
        except Exception:
            watch.seconds_left()
            raise

    return bounded


@contextmanager
def watched(timeout: float, max_bytes: int | None = None, max_seconds: float = math.inf) -> Iterator[Watch]:
    """Bound every request huggingface_hub makes inside, in this thread.

    Args:
        timeout, max_bytes, max_seconds: see `Watch`. Bytes are counted where `Metered` is the progress bar.

    Raises:
        RefusedError: inside, instead of a retry; and for an answer that huggingface_hub would retry on.
        TooLargeError: inside, for more than `max_bytes`.
        TooSlowError: inside, after `max_seconds`.
    """
    with _HOOKING:
        hooks = get_session().event_hooks
        for kind, hook in (("request", _before_request), ("response", _after_response)):
            if hook not in hooks[kind]:
                hooks[kind].append(hook)
    watch = Watch(timeout, max_bytes, max_seconds)
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


def _before_request(request: Any) -> None:
    watch = _WATCH.get()
    if watch is None or request.url.path == "/api/agent-harnesses":  # not ours, and bounded by itself
        return
    watch.seconds_left()
    watch.host = request.url.netloc.decode("ascii")
    asked = (request.method, str(request.url))
    if asked in watch.sent:  # a retry, or a redirect that leads in a circle
        raise RefusedError
    watch.sent.add(asked)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), watch.timeout)
    request.extensions["trace"] = watch.trace


def _after_response(response: Any) -> None:
    watch = _WATCH.get()
    if watch is None:
        return
    response.stream = _Timed(response.stream, watch)
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise RefusedError(response.status_code, _when_to_ask_again(response.headers))
    watch.expect(response.headers.get(constants.HUGGINGFACE_HEADER_X_LINKED_SIZE, ""))
    watch.expect(response.headers.get("Content-Length", ""))
    # Without this header the file comes by plain HTTP: hf_xet has waits and retries that nothing here bounds.
    response.headers.pop(constants.HUGGINGFACE_HEADER_X_XET_HASH, None)


def _when_to_ask_again(headers: Any) -> str | None:
    limit = parse_ratelimit_headers(headers)  # how the Hub itself says it; proxies and storage use the older header
    if limit is not None and limit.remaining == 0:
        return str(limit.reset_in_seconds)
    return headers.get("Retry-After")
