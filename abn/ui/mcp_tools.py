"""The endpoints as MCP tools: what Gradio's server does otherwise than people and this page's inputs expect.

Gradio writes a picture sent as a data: address into a folder that nobody sweeps, uploads it to itself, and
answers with Python's notation. Here the address goes on as it came, so that `PictureInput` limits, keeps and
deletes it like any other picture, and answers are JSON. Nothing else is accepted for a picture: what is no data:
address goes on too, and is refused by `PictureInput` with its sentence.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import gradio as gr
from starlette.types import ASGIApp, Receive, Scope, Send

from abn.ui.hardening.internals import first_difference

MCP_PATH = "/gradio_api/mcp"
REPLACED = tuple(
    ("gradio.mcp", f"GradioMCPServer.{name}", f"self {parameters}")
    for name, parameters in (
        ("get_fn_description", "block_fn tool_name"),
        ("simplify_filedata_schema", "schema"),
        ("convert_strings_to_filedata", "value filedata_positions"),
        ("postprocess_output_data", "data root_url"),
        ("_execute_tool_without_progress", "job"),
    )
)


class EitherSlash:
    """ASGI middleware: the server's address without its final slash is answered too.

    Gradio redirects there (307), which some MCP clients do not follow with a body, and behind a proxy to `http:`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(MCP_PATH):
            scope = scope | {"path": f"{scope['path']}/", "raw_path": scope.get("raw_path", b"") + b"/"}
        await self.app(scope, receive, send)


def adapt(page: gr.Blocks) -> None:
    """Change a launched page's MCP server so; nothing happens where it has none.

    Raises:
        RuntimeError: where Gradio could not start it, or is not as it is expected here.
    """
    server = page.mcp_server_obj
    if server is None:
        if problem := getattr(page, "mcp_error", None):
            raise RuntimeError(problem)
        return
    if problem := first_difference(REPLACED):
        raise RuntimeError(f"{problem} in Gradio {gr.__version__}; install the version that requirements.txt names")
    tool_described, described = server.get_fn_description, server.simplify_filedata_schema
    written = server.postprocess_output_data

    def describe(schema: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
        simplified, positions = described(schema)
        for (name,) in positions:
            simplified["properties"][name]["format"] = "data:image/png;base64,… (or another type of picture)"
        return simplified, positions

    def as_sent(value: dict[str, Any], positions: list[list[str | int]]) -> dict[str, Any]:
        return {name: {"url": sent} if [name] in positions else sent for name, sent in value.items()}

    def as_json(values: list[Any], root_url: str) -> list[Any]:
        return written([json.dumps(v) if isinstance(v, dict | list) else v for v in values], root_url)

    def describe_tool(*called: Any) -> tuple[str, dict[str, str]]:
        # Gradio adds a sentence on an upload tool that this server does not have.
        description, parameters = tool_described(*called)
        return description.removesuffix(server._file_data_tool_description), parameters

    async def wait(job: Any) -> list[Any]:
        # Gradio waits in a thread, of those that every request needs for a moment.
        return [await asyncio.wrap_future(job.future)]

    server._execute_tool_without_progress = wait
    server.get_fn_description = describe_tool
    server.simplify_filedata_schema = describe
    server.convert_strings_to_filedata = as_sent
    server.postprocess_output_data = as_json
