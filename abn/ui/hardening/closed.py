"""Gradio's routes that this page does not use, answered with 404.

Some leave files behind that no sweep deletes, some fetch an address that the caller names, some write a session to
the disk or the words of a caller to the log, some parse forms; none goes through the queue with its limits.
"""

from __future__ import annotations

import re

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_API = "/gradio_api/"
_CLOSED = re.compile(
    r"(?:process_recording|component_server|deep_link|stream|custom_component|run-history|runs|monitoring|profiling|dev"
    r"|login)(?![a-z_])"
    r"|proxy=|(?:undo-)?vibe-|file[=/]\s*[a-z][a-z0-9+.-]+:/",
    re.IGNORECASE,
)
"""What follows the API's prefix. A file has a path, which on Windows begins with a letter and a colon, no address."""


class CloseUnused:
    """ASGI middleware: what is closed is answered as what does not exist."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_closed(scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))):
            await PlainTextResponse("Not Found", status_code=404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def is_closed(path: str) -> bool:
    """Whether a path, decoded, is of a route that is closed; behind whatever a proxy puts before it."""
    _, found, rest = path.partition(_API)
    return _CLOSED.match(rest if found else path.lstrip("/")) is not None
