"""Limits on requests to the Hub: within `watched`, each has a timeout and is sent once, and all of them together
take at most a number of bytes and of seconds.

huggingface_hub itself has timeouts of silence alone. It retries for minutes, waits as long as a `Retry-After` says,
and compares sizes only when a file is on the disk. The limits are set by event hooks and request extensions of its
HTTP client, which the whole process shares; the hooks act only on requests made within `watched`.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import constants, get_session
from huggingface_hub.utils import parse_ratelimit_headers, tqdm

from abn.common.texts import whole_number


class RefusedError(Exception):
    """Ends what huggingface_hub would try again; it retries on no exception of this type.

    Attributes:
        status: of an answer that it would retry on; None for a failed connection, or an address asked twice.
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
    """Requests that took longer than they may in all; of no type that huggingface_hub retries on."""


@dataclass
class Watch:
    """What the requests of one load have asked for and met.

    Attributes:
        timeout: seconds without a byte after which a request fails.
        max_bytes: that may arrive; None for any number.
        max_seconds: for all requests together.
        host: that was asked last, with its port where it is an unusual one.
        failure: the last one on the network; why a request was about to be sent again.
        received: bytes of files that arrived.
        expired: `max_seconds` are over, and the connections were shut down.
    """

    timeout: float
    max_bytes: int | None = None
    max_seconds: float = math.inf
    host: str | None = None
    failure: Exception | None = None
    received: int = 0
    expired: bool = False
    sent: set[tuple[str, str]] = field(default_factory=set)
    _sockets: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def trace(self, event: str, details: dict[str, Any]) -> None:
        """Called by the HTTP client for everything that happens to a request.

        Raises:
            RefusedError: instead of a failure to connect, on which huggingface_hub would make a new client.
            TooSlowError: for a connection made after the time was up.
        """
        what = event.partition(".")[2]
        if what.endswith(".failed"):
            self.failure = details["exception"]
            if what in ("connect_tcp.failed", "start_tls.failed"):
                raise RefusedError
        elif what == "connect_tcp.complete":
            with self._lock:
                # A duplicate, for TLS takes the socket over; shutting it down ends the connection of both.
                self._sockets.append(details["return_value"].get_extra_info("socket").dup())
            self.require_time()

    def require_time(self) -> None:
        if self.expired:
            raise TooSlowError

    def expire(self) -> None:
        """Shut the connections down, so that whoever reads from them stops, however steadily bytes arrive."""
        with self._lock:
            self.expired = True
            for connection in self._sockets:
                with suppress(OSError):  # closed by the server
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def expect(self, announced: str) -> None:
        """Refuse what the server announces, if it is too much."""
        number = whole_number(announced)
        if self.max_bytes is not None and number is not None and self.received + number > self.max_bytes:
            raise TooLargeError(number)

    def receive(self, number: int) -> None:
        """Count bytes that arrived, whatever was announced."""
        self.received += number
        if self.max_bytes is not None and self.received > self.max_bytes:
            raise TooLargeError


_WATCH: ContextVar[Watch | None] = ContextVar("_WATCH", default=None)
_HOOKING = threading.Lock()  # a hook set twice would take every request for its own repetition


class Metered(tqdm):
    """huggingface_hub's progress bar, which is told of every piece of a file before it is written."""

    def update(self, n: float | None = 1) -> bool | None:
        watch = _WATCH.get()
        if watch is not None:
            watch.receive(int(n or 0))
        return super().update(n)


@contextmanager
def watched(timeout: float, max_bytes: int | None = None, max_seconds: float = math.inf) -> Iterator[Watch]:
    """Limit every request that huggingface_hub makes inside, in this thread.

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
    timer = threading.Timer(min(max_seconds, threading.TIMEOUT_MAX), watch.expire)
    timer.daemon = True
    timer.start()
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)
        timer.cancel()
        watch.close()


def _before_request(request: Any) -> None:
    watch = _WATCH.get()
    if watch is None or request.url.path == "/api/agent-harnesses":  # not ours, and bounded by itself
        return
    watch.require_time()
    watch.host = request.url.netloc.decode("ascii")
    asked = (request.method, str(request.url))
    if asked in watch.sent:  # a retry, or a redirect that leads in a circle
        raise RefusedError
    watch.sent.add(asked)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), watch.timeout)
    request.extensions["trace"] = watch.trace
    request.headers["Connection"] = "close"  # a connection that outlived its watch would be known to no other one


def _after_response(response: Any) -> None:
    watch = _WATCH.get()
    if watch is None:
        return
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
