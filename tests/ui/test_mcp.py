"""`--mcp`: the endpoints as tools, asked by an MCP client."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from abn.app.inspector.changes import Change
from abn.app.inspector.visitors import Pairs
from abn.app.pictures.fitting import fit
from abn.app.pictures.reading import read_picture
from abn.common.data import CLASS_NAMES
from abn.interpret.attribution.attribute import METHODS
from abn.ui import serving
from abn.ui.page.build import build_page
from tests.conftest import HOME

SHIP = HOME / "assets" / "examples" / "ship.png"
OPTIONS = [option.name for method in METHODS.values() for option in method.options]
needs_mcp = pytest.mark.skipif(
    importlib.util.find_spec("mcp") is None and not os.environ.get("CI"),
    reason="the package mcp is not installed: pip install 'gradio[mcp]'",
)


@pytest.fixture(scope="module")
def uploads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mcp-uploads")


@pytest.fixture(scope="module")
def address(inspector, uploads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        page = build_page(Pairs(inspector, folders=False), [])
        yield serving.launch(page, "127.0.0.1", serving.free_port("127.0.0.1"), mcp=True) + "gradio_api/mcp/"
        page.close()


def talk(address: str, ask):
    """What `ask(session)` returns, in a session with the server."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def conversation():
        async with (
            streamable_http_client(address) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await ask(session)

    # In a thread of its own: the browser tests of the same run keep an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, conversation()).result()


def call(address: str, tool: str, **arguments) -> tuple[bool, str]:
    """(whether it went wrong, the text of the answer)."""
    answer = talk(address, lambda session: session.call_tool(tool, arguments))
    assert len(answer.content) == 1
    return answer.isError, answer.content[0].text


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


@needs_mcp
def test_the_tools_are_the_documented_endpoints_described_and_typed(address):
    tools = {tool.name: tool for tool in talk(address, lambda session: session.list_tools()).tools}
    assert set(tools) == {"inspect_picture", "attribute_picture", "intervene_on_picture"}
    assert tools["inspect_picture"].description.startswith("Classify a picture with both networks.")
    assert "upload_file_to_gradio" not in tools["inspect_picture"].description
    attribution, change = (tools[f"{name}_picture"].inputSchema for name in ("attribute", "intervene_on"))
    assert list(attribution["properties"]) == ["image", "fit_mode", "target", "against", "method", *OPTIONS]
    assert attribution["required"] == change["required"] == ["image"]
    assert "one vector: the whole weight on the vector" in change["properties"]["gates"]["description"]
    for parameter in [*attribution["properties"].values(), *change["properties"].values()]:
        assert parameter["type"] in ("string", "integer", "number", "boolean")
        assert len(parameter["description"]) > 10
    assert attribution["properties"]["method"]["enum"] == list(METHODS)
    assert set(CLASS_NAMES) < set(attribution["properties"]["target"]["enum"])
    assert attribution["properties"]["image"]["format"].startswith("data:image/png;base64,")


@needs_mcp
def test_a_picture_is_inspected(address, inspector):
    failed, text = call(address, "inspect_picture", image=data_url(SHIP.read_bytes()))
    assert not failed, text
    said = json.loads(text)
    expected = inspector.inspect(fit(read_picture(SHIP)).pixels)
    for side, network in zip(("baseline", "dmb"), expected.networks, strict=True):
        np.testing.assert_allclose(list(said[side]["raw_softmax"].values()), network.probabilities, atol=1e-6)
    np.testing.assert_allclose(
        said["dmb"]["blocks"]["layer3.1"]["factors"], expected.dmb.block("layer3.1").factors, atol=1e-6
    )


@needs_mcp
def test_a_class_is_attributed(address, inspector):
    failed, text = call(
        address, "attribute_picture", image=data_url(SHIP.read_bytes()), target="ship", method="grad_cam",
        stage="layer2", relu=False,
    )  # fmt: skip
    assert not failed, text
    pair = inspector.attribute(
        fit(read_picture(SHIP)).pixels, "ship", None, "grad_cam", {"stage": "layer2", "relu": False}
    )
    np.testing.assert_allclose(json.loads(text)["dmb"]["map"], pair.maps[1], rtol=1e-4, atol=1e-6)


@needs_mcp
def test_a_factor_is_changed(address, inspector):
    failed, text = call(
        address, "intervene_on_picture", image=data_url(SHIP.read_bytes()), block="layer3.1", channel=0, factor=0
    )
    assert not failed, text
    expected = inspector.intervene(fit(read_picture(SHIP)).pixels, Change("layer3.1", channel=0, factor=0))
    said = json.loads(text)
    assert said["after"]["blocks"]["layer3.1"]["factors"][0] == 0
    np.testing.assert_allclose(list(said["after"]["raw_softmax"].values()), expected.after.probabilities, atol=1e-6)


@needs_mcp
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (str(SHIP), "No uploaded picture was received"),
        ("http://127.0.0.1:9/x.png", "No uploaded picture was received"),
        (f"file://{SHIP}", "No uploaded picture was received"),
        ({"path": str(SHIP), "meta": {"_type": "gradio.FileData"}}, "is not of type 'string'"),
        (data_url(b"just words"), "not a picture that can be read here"),
        ("data:image/png;base64,%%%", "base64"),
    ],
)
def test_nothing_but_a_picture_in_the_request_is_read(address, image, message):
    failed, text = call(address, "inspect_picture", image=image)
    assert failed
    assert message in text
    assert "raw_softmax" not in text


@needs_mcp
def test_what_was_sent_lies_where_it_is_swept(address, uploads, monkeypatch):
    from gradio import mcp

    written = []
    monkeypatch.setattr(mcp.processing_utils, "save_base64_to_cache", lambda *args, **kwargs: written.append(args))
    before = {path for path in uploads.rglob("*") if path.is_file()}
    call(address, "inspect_picture", image=data_url(b"GIF89a" + os.urandom(20)))
    assert written == []
    assert len({path for path in uploads.rglob("*") if path.is_file()} - before) == 1


@needs_mcp
@pytest.mark.parametrize("final", ["", "/"])
@pytest.mark.parametrize("query", ["", "?tools=inspect_picture"])
def test_the_address_is_answered_with_and_without_its_final_slash(address, final, query):
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(address.rstrip("/") + final + query, json=asked, headers=headers, timeout=60)
    assert answer.status_code == 200 and answer.history == []
    assert '"inspect_picture"' in answer.text


def test_without_the_package_the_app_says_what_to_install(monkeypatch):
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"install it with: pip install 'gradio\[mcp\]'"):
        serving.serve(None, "127.0.0.1", None, mcp=True)
