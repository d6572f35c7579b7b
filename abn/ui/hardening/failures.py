"""What fails beneath the page: a sentence for whoever asked, a bounded number of log lines for the host."""

from __future__ import annotations

import errno
import logging
import time
from collections import deque

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

FULL = "The server has no room for this file; try again later, or tell whoever runs this page."
FAILED = "The server could not answer this request."
MOST_LINES = 20  # a minute
LOGGERS = (__name__, "uvicorn.error", "abn.ui.page.picture_input")
_LOG = logging.getLogger(__name__)


class RateLimit(logging.Filter):
    """So many records a minute, however many requests fail: strangers cannot fill the host's disk with them."""

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


def limit_logs() -> None:
    """Bound what `LOGGERS` write; once, however often it is called."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, RateLimit) for each in logger.filters):
            logger.addFilter(RateLimit())


def answer_failure(request: Request, error: Exception) -> Response:
    """507 where the disk is full (Gradio's own route for uploads says "Internal Server Error"), 500 otherwise."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _LOG.error("%r could not be stored: %s", request.url.path, error.strerror)
        return JSONResponse({"error": FULL}, status_code=507)
    if not isinstance(error, ClientDisconnect):
        _LOG.error("%r failed", request.url.path, exc_info=error)
    return JSONResponse({"error": FAILED}, status_code=500)


EXCEPTION_HANDLERS = {OSError: answer_failure, ClientDisconnect: answer_failure}
"""For `app_kwargs`. Any other exception is answered with 500 by Starlette and logged by uvicorn, as it is anyway."""
