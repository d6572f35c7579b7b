"""The endpoints as MCP tools: what Gradio's server does otherwise than people and this app's guards expect.

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


def adapt(page: gr.Blocks) -> None:
    """Change a launched page's MCP server so; nothing happens where it has none.

    Raises:
        RuntimeError: where Gradio could not start it.
    """
    server = page.mcp_server_obj
    if server is None:
        if problem := getattr(page, "mcp_error", None):
            raise RuntimeError(problem)
        return
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
