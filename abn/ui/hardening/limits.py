"""Limits on what one request may send, and all together, since Gradio's own limit covers uploads alone."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

from gradio.route_utils import GradioMultiPartParser
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_REQUEST_BYTES = 30_000_000
"""Room for a picture of 20 MB written into JSON as base64."""
MOST_SILENCE = 60.0  # seconds in the middle of a body
MOST_SECONDS = 900.0  # for all of a body: a file of 20 MB on a line of 0.2 MBit/s
MOST_COMING = 1_000_000_000
"""Bytes of bodies that are held in memory at once, of all visitors together; uploads go to the disk as they come."""
SMALL = 100_000  # bytes of a body that is taken however much the others send
LONGEST_UPLOAD_ID = 64
MOST_FILES = 10
"""Of one upload: each is an open file until the upload is whole. The page and gradio_client send one at a time."""
MAX_MARKS = 20_000
"""Brackets, braces and commas of a JSON body, each of which may become a value in memory many times its size."""


class RequestTooLarge(Exception):  # noqa: N818  (an event, not an error of ours)
    """More bytes or values came than the limit, or than there is room for now."""


class LimitRequests:
    """ASGI middleware: a body over the limits is neither held in memory nor taken apart.

    It is answered with 413; with 503 where the bodies of others fill the memory, and with 400 where an upload's name
    is too long or a form is in an encoding of its own choice: some take hours to read.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int = MAX_REQUEST_BYTES,
        max_marks: int = MAX_MARKS,
        most_silence: float = MOST_SILENCE,
    ) -> None:
        self.app, self.max_bytes, self.max_marks, self.most_silence = app, max_bytes, max_marks, most_silence
        self._coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = JSONResponse(
            {
                "error": f"This request is larger than {self.max_bytes // 1_000_000} MB, or has more than "
                f"{self.max_marks:,} values; send a smaller picture."
            },
            status_code=413,
        )
        busy = JSONResponse({"error": "The server is busy; try again in a minute."}, status_code=503)
        headers = Headers(scope=scope)  # of several of one name, the first, as whoever reads the body does
        kind = headers.get("content-type", "").lower()
        # The parts of its form are files, which nobody takes apart on the way.
        is_upload = scope.get("path", "").endswith("/gradio_api/upload") and kind.startswith("multipart/")
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await refusal(scope, receive, send)
            return
        # Gradio keeps the name of every upload that somebody asks about.
        named = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("upload_id", [""])
        if max(map(len, named)) > LONGEST_UPLOAD_ID:
            await JSONResponse({"error": "The upload's name is too long."}, status_code=400)(scope, receive, send)
            return
        if kind.startswith("multipart/") and "charset" in kind:
            said = "A form has no charset; leave it out of the Content-Type."
            await JSONResponse({"error": said}, status_code=400)(scope, receive, send)
            return
        ends = asyncio.get_running_loop().time() + MOST_SECONDS
        came, marks, whole, answered, refused, full = 0, 0, False, False, False, False

        def too_much() -> bool:
            return full or came > self.max_bytes or marks > self.max_marks

        async def refuse() -> None:
            await (busy if full else refusal)(scope, receive, send)

        async def counted() -> Message:
            nonlocal came, marks, whole, full
            try:
                # What came of a body that stops coming is not kept open for ever; after it, whoever listens may wait.
                most = min(self.most_silence, ends - asyncio.get_running_loop().time())
                message = await (receive() if whole else asyncio.wait_for(receive(), most))
            except TimeoutError:
                return {"type": "http.disconnect"}
            whole = not message.get("more_body", False)
            body = message.get("body", b"")
            came += len(body)
            if not is_upload:
                self._coming += len(body)
                full = full or (self._coming > MOST_COMING and came > SMALL)
                marks += sum(map(body.count, (b"[", b"{", b",")))
            if too_much():
                raise RequestTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered, refused
            if too_much() and not answered:
                # The application turned the exception into an answer of its own; ours says why.
                if not refused:
                    refused = True
                    await refuse()
                return
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except RequestTooLarge:
            if not answered and not refused:
                await refuse()
        finally:
            if not is_upload:
                self._coming -= came


class UploadParser(GradioMultiPartParser):
    """Gradio's, for an upload of few files and nothing else: other parts are kept in memory, whatever their size."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"max_files": MOST_FILES, "max_fields": 0})
