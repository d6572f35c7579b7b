"""A limit on what one request may send, since Gradio's own limit covers uploads alone."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_REQUEST_BYTES = 30_000_000
"""Room for a picture of 20 MB written into JSON as base64."""


class RequestTooLarge(Exception):  # noqa: N818  (an event, not an error of ours)
    """More bytes came than the limit."""


class LimitRequests:
    """ASGI middleware: a body over the limit is answered with 413 and never held in memory."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_REQUEST_BYTES) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": f"This request is larger than {self.max_bytes // 1_000_000} MB; send a smaller picture."},
            status_code=413,
        )
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await refusal(scope, receive, send)
            return
        came, answered, refused = 0, False, False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self.max_bytes:
                raise RequestTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered, refused
            if came > self.max_bytes and not answered:
                # The application turned the exception into an answer of its own; ours says why.
                if not refused:
                    refused = True
                    await refusal(scope, receive, send)
                return
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except RequestTooLarge:
            if not answered and not refused:
                await refusal(scope, receive, send)
