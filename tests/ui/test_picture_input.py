"""Pictures through Gradio: as a unit, by plain HTTP and by gradio_client against a small running app."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio.data_classes import ImageData
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from abn.ui.page import picture_input
from abn.ui.page.kept_files import KeptImage
from abn.ui.page.picture_input import GuardedBlocks, PictureInput

META = {"_type": "gradio.FileData"}
NOT_UPLOADED = "No uploaded picture was received"
FOREIGN = "This file is not a picture that can be read here"


def encoded(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def noise(width: int = 13, height: int = 9) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def see(picture: Image.Image | None, number: float = 0) -> str:
    return "nothing" if picture is None else f"{picture.mode} {picture.size} {picture.getpixel((0, 0))} {number:g}"


def build() -> GuardedBlocks:
    with GuardedBlocks(analytics_enabled=False) as demo:
        picture, number, text = PictureInput(label="Picture"), gr.Number(1), gr.Textbox()
        button = gr.Button()
        button.click(see, [picture, number], text, api_name="see")
        button.click(lambda value: str(value), number, text, api_name="number")
        button.click(lambda value: value, picture, KeptImage(format="png"), api_name="echo")
        button.click(lambda: PictureInput(label="Renamed"), None, picture, api_name="rename")
        button.click(lambda value: see(value), picture, text, api_name="file")
        button.click(len, gr.File(type="binary"), number, api_name="size")
    return demo


@dataclass
class App:
    url: str
    folder: Path  # the upload cache
    client: Client
    http: httpx.Client
    demo: GuardedBlocks

    def upload(self, content: bytes, name: str = "picture.png") -> str:
        answer = httpx.post(f"{self.url}gradio_api/upload", files={"files": (name, content)}, timeout=60)
        answer.raise_for_status()
        return answer.json()[0]

    def call(self, *values: Any, name: str = "see", session: str | None = None) -> tuple[str, Any]:
        """Answer of the one-step call: ("complete", data) or ("error", its description)."""
        answer = self.post(f"run/{name}", values, session)
        assert answer.status_code in (200, 500)
        assert "Traceback" not in answer.text
        return ("complete", answer.json()["data"]) if answer.status_code == 200 else ("error", answer.json())

    def stream(self, *values: Any, name: str = "see") -> tuple[str, Any]:
        """The same through the queue."""
        started = self.post(f"call/{name}", values)
        stream = httpx.get(f"{self.url}gradio_api/call/{name}/{started.json()['event_id']}", timeout=30).text
        event, data = (line.split(": ", 1)[1] for line in stream.strip().splitlines()[-2:])
        return event, json.loads(data)

    def post(self, path: str, values: tuple, session: str | None = None) -> httpx.Response:
        body = {"data": values} | ({"session_hash": session} if session else {})
        headers = {"Content-Type": "application/json"}
        return self.http.post(f"{self.url}gradio_api/{path}", content=json.dumps(body), headers=headers, timeout=30)

    def refusal(self, *values: Any, name: str = "see") -> str:
        event, data = self.call(*values, name=name)
        assert event == "error", data
        assert str(self.folder) not in data["error"]
        assert ".py" not in data["error"]
        return data["error"]


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        demo = build()
        _, url, _ = demo.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, max_file_size=PictureInput.max_bytes
        )
        client = Client(
            url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")), httpx_kwargs={"timeout": 60}
        )
        with httpx.Client() as http:
            yield App(url, folder, client, http, demo)
        demo.close()


@pytest.fixture
def downloads(monkeypatch) -> list[str]:
    """Addresses that Gradio set out to fetch."""
    asked = []

    async def download(url, *args, **kwargs):
        asked.append(url)
        raise ConnectionError(url)

    for function in ("async_ssrf_protected_download", "async_ssrf_protected_get", "ssrf_protected_download"):
        monkeypatch.setattr(f"gradio.processing_utils.{function}", download)
    return asked


# The component alone


@pytest.fixture
def component(tmp_path, monkeypatch) -> PictureInput:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return PictureInput()


def test_it_hands_over_an_rgb_picture(component, tmp_path):
    file = tmp_path / "cache" / "a.tif"
    file.write_bytes(encoded(noise().convert("CMYK"), "TIFF"))
    picture = component.preprocess(ImageData(path=str(file)))
    assert (picture.mode, picture.size) == ("RGB", (13, 9))
    assert component.preprocess(None) is None


def test_without_the_guard_too_it_opens_nothing_outside_the_cache(component, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(noise()))
    (tmp_path / "cache" / "link.png").symlink_to(outside)
    (tmp_path / "cache" / "loop.png").symlink_to(tmp_path / "cache" / "loop.png")
    for payload in (
        ImageData(path=str(outside)),
        ImageData(path=str(tmp_path / "cache" / ".." / "outside.png")),
        ImageData(path=str(tmp_path / "cache" / "link.png")),
        ImageData(path="file://" + str(outside)),
        ImageData(path="http://127.0.0.1:1/x.png"),
        ImageData(url="http://127.0.0.1:1/x.png"),
        ImageData(path="\0"),
        ImageData(path=""),
        ImageData(),
    ):
        with pytest.raises(gr.Error, match=NOT_UPLOADED):
            component.preprocess(payload)
    for name in ("loop.png", "deleted.png", ""):
        with pytest.raises(gr.Error, match="no longer kept|No uploaded"):
            component.preprocess(ImageData(path=str(tmp_path / "cache" / name)))


def test_sizes_are_limited_for_files_and_data_addresses(component, tmp_path, monkeypatch):
    content = encoded(noise())
    file = tmp_path / "cache" / "a.png"
    file.write_bytes(content)
    monkeypatch.setattr(component, "max_bytes", len(content))
    assert component.preprocess(ImageData(path=str(file))).size == (13, 9)
    assert component.preprocess(ImageData(url=data_url(content))).size == (13, 9)
    monkeypatch.setattr(component, "max_bytes", len(content) - 10)
    for payload in (ImageData(path=str(file)), ImageData(url=data_url(content))):
        with pytest.raises(gr.Error, match="MB are accepted"):
            component.preprocess(payload)


def test_messages_are_escaped(component, tmp_path, monkeypatch):
    def refuse(_):
        raise picture_input.PictureError("<img src=x>")

    monkeypatch.setattr(picture_input, "read_picture", refuse)
    (tmp_path / "cache" / "a.png").write_bytes(b"x")
    with pytest.raises(gr.Error) as caught:
        component.preprocess(ImageData(path=str(tmp_path / "cache" / "a.png")))
    assert caught.value.message == "&lt;img src=x&gt;"
    assert not caught.value.print_exception


def test_the_page_gets_the_options_of_an_image():
    config = PictureInput(label="Here", sources=["upload"]).get_config()
    assert (config["name"], config["label"], config["sources"]) == ("image", "Here", ["upload"])
    assert set(config) == set(gr.Image().get_config())


def test_a_value_shown_keeps_its_pixels(component):
    shown = component.postprocess(noise())
    assert np.array_equal(np.asarray(Image.open(shown.path)), np.asarray(noise()))


# Through HTTP


@pytest.mark.parametrize("format", ["PNG", "TIFF"])  # the others in tests/app/test_pictures.py
def test_uploaded_pictures_are_read(app, format):
    path = app.upload(encoded(Image.new("RGB", (13, 9)), format), f"a.{format.lower()}")
    assert app.call({"path": path, "meta": META}, 1) == ("complete", ["RGB (13, 9) (0, 0, 0) 1"])
    assert app.stream({"path": path}, 1) == ("complete", ["RGB (13, 9) (0, 0, 0) 1"])


def test_no_picture_is_none(app):
    assert app.call(None, 1) == ("complete", ["nothing"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is a drawing"),
        (encoded(noise())[:300], "This PNG file is damaged"),
        (encoded(Image.new("1", (8000, 8000))), "This picture has 8,000 × 8,000 pixels"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.svg", "<img src=x>.gif"])
def test_a_bad_file_gets_one_sentence_whatever_its_name(app, content, sentence, name):
    path = app.upload(content, name)
    said = app.refusal({"path": path, "meta": META, "orig_name": name}, 1)
    assert said.startswith(sentence)
    assert said.endswith(".")
    event, data = app.stream({"path": path, "meta": META}, 1)
    assert (event, data["error"]) == ("error", said)


def test_an_empty_file_gets_a_sentence(app, component):
    path = Path(os.environ["GRADIO_TEMP_DIR"]) / "empty.png"
    path.write_bytes(b"")
    with pytest.raises(gr.Error, match="The file is empty"):
        component.preprocess(ImageData(path=str(path)))


def test_files_of_the_server_are_not_read(app, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(noise()))
    link = app.folder / "link.png"
    if not link.exists():
        link.symlink_to(secret)
    for path in (
        "/etc/passwd", "/etc/no-such-file", str(secret), f"file://{secret}", os.path.relpath(secret),
        f"{app.folder}/../{secret.name}", str(link), "~/x.png", "\0", "x" * 5000, "\ud800", "",
    ):  # fmt: skip
        for value in ({"path": path, "meta": META}, {"path": path}, {"path": path, "meta": META, "is_stream": True}):
            for name, values in (("see", (value, 1)), ("echo", (value,))):
                assert app.refusal(*values, name=name).startswith(NOT_UPLOADED)


def test_addresses_are_not_fetched(app, downloads):
    for url in ("http://127.0.0.1:7860/x.png", "http://example.com/x.png", "HTTPS://example.com/x.png", "ftp://x/y"):
        for value in (
            {"path": url, "meta": META},
            {"path": url},
            {"url": url},
            {"path": None, "url": url, "meta": META},
            {"path": url, "url": data_url(encoded(noise())), "meta": META},
            {"nested": [{"path": url, "meta": META}]},
        ):
            assert app.refusal(value, 1).startswith(NOT_UPLOADED)
    assert downloads == []


def test_other_inputs_do_not_fetch_either(app, downloads):
    for value in (
        {"path": "http://example.com/x.png", "meta": META},
        [{"deep": {"path": "/etc/passwd", "meta": META}}],
        {"path": "x", "meta": None},
    ):
        assert app.refusal(value, name="number").startswith(NOT_UPLOADED)
    assert downloads == []
    assert app.call(5, name="number") == ("complete", ["5"])


@pytest.mark.parametrize(
    "value",
    [
        "x.png",
        3,
        True,
        [],
        [1, 2],
        {},
        {"path": 3},
        {"path": ["/etc/passwd"]},
        {"meta": META},
        {"url": 5},
        {"path": "x", "meta": None},
        {"path": "x", "meta": "x"},
        {"path": "x", "size": "many", "meta": META},
    ],
)
def test_nonsense_gets_the_same_sentence(app, value):
    assert app.refusal(value, 1).startswith(NOT_UPLOADED)


def test_too_few_values_and_too_deep_ones_get_a_sentence(app):
    assert app.refusal() == "This call takes 2 values; 0 were sent."
    deep: list = []
    for _ in range(300):
        deep = [deep]
    assert "levels deep" in app.refusal(deep, name="number")


def test_data_addresses_are_read_up_to_the_limit(app):
    assert app.call({"url": data_url(encoded(Image.new("RGB", (5, 4))))}, 2)[1] == ["RGB (5, 4) (0, 0, 0) 2"]
    assert app.refusal({"url": data_url(b"text")}, 1).startswith(FOREIGN)
    assert app.refusal({"url": data_url(b"")}, 1).startswith("The file is empty")
    assert "base64" in app.refusal({"url": "data:image/svg+xml,<svg/>"}, 1)
    assert "broken" in app.refusal({"url": "data:image/png;base64,%%%%"}, 1)
    too_large = "data:image/png;base64," + "A" * (PictureInput.max_bytes * 4 // 3 + 100)
    assert app.refusal({"url": too_large}, 1) == "The file has 20.0 MB; at most 20 MB are accepted."
    listed = [file for file in app.folder.rglob("*") if file.is_file() and file.stat().st_size > 1_000_000]
    assert listed == []


def test_a_picture_from_a_data_address_is_swept_also_where_another_input_is_refused(app):
    from gradio.route_utils import delete_files_created_by_app

    content = encoded(Image.new("RGB", (11, 7), (1, 2, 3)))

    def stored():
        return [file for file in app.folder.rglob("*") if file.is_file() and file.read_bytes() == content]

    for second in ({"path": "/etc/passwd", "meta": META}, 1):
        app.call({"url": data_url(content)}, second)
        assert len(stored()) == 1
        delete_files_created_by_app(app.demo, age=None)
        assert stored() == []


def test_a_session_does_not_keep_what_was_sent(app, monkeypatch):
    kept = []
    original = gr.blocks.SessionState._update_value_in_config
    monkeypatch.setattr(
        gr.blocks.SessionState,
        "_update_value_in_config",
        lambda self, key, value: (kept.append(value), original(self, key, value))[1],
    )
    value = {"url": data_url(encoded(noise(200, 200))), "mime_type": "x" * 9999}
    assert app.call(value, 1, session="some-session")[0] == "complete"
    assert kept
    assert all(len(json.dumps(value)) < 1000 for value in kept)


def test_a_larger_upload_is_stopped(app):
    answer = httpx.post(
        f"{app.url}gradio_api/upload", files={"files": ("a.png", b"x" * (PictureInput.max_bytes + 1))}, timeout=30
    )
    assert answer.status_code == 413
    assert str(app.folder) not in answer.text


@pytest.mark.parametrize(
    ("writes", "name"),
    [
        ("abn.ui.page.picture_input.keep", "see"),  # a picture that comes in
        ("abn.ui.page.kept_files.keep", "echo"),  # one that goes out
        ("tests.ui.test_picture_input.see", "file"),  # a file that is made
    ],
)
def test_a_full_disk_is_told_as_such(app, monkeypatch, writes, name):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(app.folder / "a.png"))

    monkeypatch.setattr(writes, full)
    values = ({"url": data_url(encoded(noise()))}, 1)[: 2 if name == "see" else 1]
    said = app.refusal(*values, name=name)
    assert (
        said == "The server's disk is full, or cannot be written to; try again later, or tell whoever runs this page."
    )
    assert app.stream(*values, name=name)[1]["error"] == said


def test_a_sent_file_that_is_gone_is_told_as_such(app):
    missing = str(app.folder / "gone" / "result.json")
    assert app.refusal({"path": missing, "meta": META}, name="size") == picture_input._GONE


def test_the_component_survives_an_update(app):
    """Gradio makes a changed component anew from its options, for the session that changed it."""
    session = "renaming-session"
    assert app.call(name="rename", session=session)[0] == "complete"
    path = app.upload(encoded(Image.new("RGB", (3, 3))))
    assert app.call({"path": path, "meta": META}, 1, session=session) == ("complete", ["RGB (3, 3) (0, 0, 0) 1"])
    assert app.call({"path": "/etc/passwd", "meta": META}, 1, session=session)[0] == "error"


def test_the_server_goes_on_under_many_bad_files(app):
    bad = app.upload(encoded(noise())[:200])
    for _ in range(40):
        app.refusal({"path": bad, "meta": META}, 1)
    assert app.call(None, 1) == ("complete", ["nothing"])


# Through gradio_client


def test_gradio_client_sends_a_picture(app, tmp_path):
    file = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 6), 128 * 257, dtype=np.uint16)).save(file)
    assert app.client.predict(handle_file(file), 7, api_name="/see") == "RGB (6, 4) (128, 128, 128) 7"


def test_gradio_client_gets_the_same_sentence(app, tmp_path):
    file = tmp_path / "text.png"
    file.write_bytes(b"just text")
    with pytest.raises(AppError) as caught:
        app.client.predict(handle_file(file), 7, api_name="/see")
    assert str(caught.value) == app.refusal({"path": app.upload(b"just text"), "meta": META}, 7)


def test_the_api_describes_the_picture(app):
    parameters = app.client.view_api(return_format="dict")["named_endpoints"]["/see"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == ["picture", "number"]
    assert parameters[0]["component"] == "Image"
