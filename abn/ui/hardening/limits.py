"""Limits on what one request may send, since Gradio's `max_file_size` covers uploads alone.

How slowly a body may come, how many connections an address may have, and how often it may ask is for the reverse
proxy (`docs/public-server.md`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from gradio.route_utils import GradioMultiPartParser
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_REQUEST_BYTES = 30_000_000
"""Room for a picture of 20 MB written into JSON as base64."""
MAX_MARKS = 20_000
"""Brackets, braces and commas of a JSON body, each of which may become a value in memory many times its size."""
MOST_COMING = 1_000_000_000
"""Bytes of bodies in memory at once, of all visitors together; uploads go to the disk as they come."""
SMALL = 100_000  # bytes of a body that is taken however much the others send
LONGEST_UPLOAD_ID = 64
MOST_FILES = 10
"""Of one upload: each is an open file until the upload is whole. The page and gradio_client send one at a time."""

TOO_LARGE = (
    f"This request is larger than {MAX_REQUEST_BYTES // 1_000_000} MB, or has more than {MAX_MARKS:,} values; send a "
    "smaller picture."
)
BUSY = "The server is busy; try again in a minute."
LONG_NAME = "The upload's name is too long."
CHARSET = "A form has no charset; leave it out of the Content-Type."


class LimitRequests:
    """ASGI middleware: a body over the limits is neither held in memory nor parsed.

    Answers 413 for it; 503 where the bodies of others fill the memory; 400 where an upload's name is too long, since
    Gradio keeps every name, or a form names its encoding: Python takes hours to decode some.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if refused := _refusal(scope):
            status, said = refused
            await JSONResponse({"error": said}, status_code=status)(scope, receive, send)
            return
        kind = Headers(scope=scope).get("content-type", "").lower()
        # The parts of its form are files, which are not parsed.
        is_upload = scope["path"].endswith("/gradio_api/upload") and kind.startswith("multipart/")
        came = marks = 0

        async def counted() -> Message:
            nonlocal came, marks
            message = await receive()
            body = message.get("body", b"")
            came += len(body)
            if not is_upload:
                self._coming += len(body)
                marks += sum(map(body.count, (b"[", b"{", b",")))
            # FastAPI and Starlette answer an HTTPException of what they read, wherever they read it.
            if came > MAX_REQUEST_BYTES or marks > MAX_MARKS:
                raise HTTPException(413, TOO_LARGE)
            if self._coming > MOST_COMING and came > SMALL and not is_upload:
                raise HTTPException(503, BUSY)
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            if not is_upload:
                self._coming -= came


def _refusal(scope: Scope) -> tuple[int, str] | None:
    """(Status, sentence) for a request that is refused by its headers alone."""
    headers = Headers(scope=scope)  # of several of one name, the first, as whoever reads the body does
    kind, declared = headers.get("content-type", "").lower(), headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_REQUEST_BYTES:
        return 413, TOO_LARGE
    names = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("upload_id", [""])
    if max(map(len, names)) > LONGEST_UPLOAD_ID:
        return 400, LONG_NAME
    if kind.startswith("multipart/") and "charset" in kind:
        return 400, CHARSET
    return None


class UploadParser(GradioMultiPartParser):
    """Gradio's, for an upload of few files and nothing else: other parts are kept in memory, whatever their size."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"max_files": MOST_FILES, "max_fields": 0})
