"""One visitor, who speaks the queue's HTTP protocol: uploads a file, calls an endpoint, reads its stream."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def require_loopback(url: str) -> str:
    """The address, which must be of this machine: nobody else's server is put under load.

    Raises:
        ValueError: for any other.
    """
    if urlsplit(url).hostname not in LOOPBACK:
        raise ValueError(f"{url!r} is not an address of this machine; expected http://127.0.0.1:PORT")
    return url.rstrip("/") + "/"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        kind: "complete", "error", or "lost" where no answer came.
        content: the endpoint's result, or the error's sentence (None for an empty one).
        text: the answer as it was sent.
        size: bytes of the answer as sent.
        seconds: from the first byte sent to the last one received, the upload included.
    """

    kind: str
    content: Any
    text: str
    size: int
    seconds: float


class Visitor:
    """Use it from one thread; it keeps its connection."""

    def __init__(self, url: str, timeout: float = 120, session: str | None = None) -> None:
        """
        Args:
            timeout: seconds without a byte after which an answer is lost.
            session: one for all calls, as a browser's page has; None makes Gradio start one for each call.
        """
        self._session = {} if session is None else {"session_hash": session}
        self.http = httpx.Client(base_url=require_loopback(url) + "gradio_api/", timeout=timeout)
        endpoints = self.http.get("info").raise_for_status().json()["named_endpoints"]
        self._defaults = {
            name.lstrip("/"): {p["parameter_name"]: p.get("parameter_default") for p in endpoint["parameters"]}
            for name, endpoint in endpoints.items()
        }

    def upload(self, content: bytes, name: str) -> dict[str, Any]:
        """
        Returns:
            What stands for the file in a call.
        """
        answer = self.http.post("upload", files={"files": (name, content)}).raise_for_status()
        return {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def ask(self, endpoint: str, content: bytes | None = None, name: str = "picture.png", **values: Any) -> Answer:
        """Call an endpoint.

        Args:
            content: a file to upload as `image`; None sends no picture.
            values: of its parameters; the others have their defaults.
        """
        started = time.perf_counter()
        try:
            if content is not None:
                values["image"] = self.upload(content, name)
            data = list((self._defaults[endpoint] | values).values())
            called = self.http.post(f"call/{endpoint}", json={"data": data} | self._session).raise_for_status()
            event = called.json()["event_id"]
            body = self.http.get(f"call/{endpoint}/{event}").raise_for_status().content
        except httpx.HTTPError as error:
            return Answer("lost", type(error).__name__, "", 0, time.perf_counter() - started)
        seconds = time.perf_counter() - started
        kind, text = last_event(body.decode())
        content = json.loads(text) if kind in ("complete", "error") else None
        if kind == "complete":
            content = content[0]
        elif kind == "error":
            content = content.get("error") if isinstance(content, dict) else content
        return Answer(kind if kind in ("complete", "error") else "lost", content, text, len(body), seconds)


def last_event(stream: str) -> tuple[str, str]:
    """Kind and data of a stream's last event that is no heartbeat."""
    kind, data = "", ""
    for block in stream.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("event", "heartbeat") != "heartbeat":
            kind, data = fields["event"], fields.get("data", "null")
    return kind, data
