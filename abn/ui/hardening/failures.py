"""What fails beneath the page, in words for whoever asked and in few lines for whoever runs the server."""

from __future__ import annotations

import errno
import logging
import time
from collections import deque

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from abn.ui.hardening.limits import RequestTooLarge

FULL = "The server has no room for this file; try again later, or tell whoever runs this page."
FAILED = "The server could not answer this request."
MOST_LINES = 20  # a minute
_LOG = logging.getLogger(__name__)


class Few(logging.Filter):
    """So many records a minute, however many requests fail: nobody fills the host's disk with them."""

    def __init__(self, most: int = MOST_LINES, seconds: float = 60.0) -> None:
        super().__init__()
        self._most, self._seconds = most, seconds
        self._times: deque[float] = deque()

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        while self._times and self._times[0] < now - self._seconds:
            self._times.popleft()
        if len(self._times) >= self._most:
            return False
        self._times.append(now)
        if len(self._times) == self._most:
            record.msg = f"{record.msg} (what else fails now is not logged for a while)"
        return True


_LOG.addFilter(Few())
logging.getLogger("uvicorn.error").addFilter(Few())


class TellFailures:
    """ASGI middleware: what is raised beneath it is logged, with its traceback, and answered with a sentence.

    A disk that is full is answered with 507: Gradio's own route for uploads says "Internal Server Error".
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except RequestTooLarge:  # which the middleware around this one answers
            raise
        except ClientDisconnect:  # who was to be answered has gone
            return
        except Exception as error:
            if isinstance(error.__cause__, HTTPException):  # a stream that began, of a session that is gone
                return
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            if full:
                _LOG.error("%r could not be stored: %s", scope["path"], error.strerror)
            else:
                _LOG.error("%r failed", scope["path"], exc_info=error)
            if not answered:
                said, status = (FULL, 507) if full else (FAILED, 500)
                await JSONResponse({"error": said}, status_code=status)(scope, receive, send)
