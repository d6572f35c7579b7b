"""An upload that the server's disk has no room for, in words: Gradio's own route says "Internal Server Error"."""

from __future__ import annotations

import errno
import logging

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FULL = "The server has no room for this file; try again later, or tell whoever runs this page."
_LOG = logging.getLogger(__name__)


class TellFullDisk:
    """ASGI middleware: a disk that is full is answered with 507, and logged in a line for whoever runs the server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or answered or scope["type"] != "http":
                raise
            _LOG.error("%s could not be stored: %s", scope["path"], error.strerror)
            await JSONResponse({"error": FULL}, status_code=507)(scope, receive, send)
