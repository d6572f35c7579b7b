"""What a browser cannot show, it is sent as something that it can; and the page takes such files."""

from __future__ import annotations

import io
import re

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from abn.ui.page.preview import TAKE_PICTURES, ShowPictures

pillow_heif.register_heif_opener()
AS_IMAGE = {"sec-fetch-dest": "image"}


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


@pytest.fixture
def client(uploads):
    return TestClient(ShowPictures(PlainTextResponse("as it is")))


def encoded(format: str, colour=(200, 40, 40)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 20), colour).save(stream, format)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("format", "suffix"), [("HEIF", ".heic"), ("HEIF", ".HEIC"), ("TIFF", ".tif"), ("TGA", ".tga")]
)
def test_a_page_is_sent_what_a_browser_can_show(client, uploads, format, suffix):
    file = uploads / f"a{suffix}"
    file.write_bytes(encoded(format))
    answer = client.get(f"/gradio_api/file={file}", headers=AS_IMAGE)
    assert answer.headers["content-type"] == "image/jpeg"
    shown = Image.open(io.BytesIO(answer.content))
    assert shown.size == (40, 20)
    np.testing.assert_allclose(shown.getpixel((20, 10)), (200, 40, 40), atol=4)


def test_everything_else_is_answered_as_before(client, uploads, tmp_path):
    for name, content in (("a.png", encoded("PNG")), ("broken.heic", b"text"), ("a.heic", encoded("HEIF"))):
        (uploads / name).write_bytes(content)
    (tmp_path / "outside.heic").write_bytes(encoded("HEIF"))
    (uploads / "link.heic").symlink_to(tmp_path / "outside.heic")
    for path in ("a.png", "broken.heic", "missing.heic", "../outside.heic", "link.heic", "x" * 5000 + ".heic"):
        assert client.get(f"/gradio_api/file={uploads}/{path}", headers=AS_IMAGE).text == "as it is", path
    assert client.get(f"/gradio_api/file={uploads}/a.heic").text == "as it is"  # a download
    assert client.get(f"/{uploads}/a.heic", headers=AS_IMAGE).text == "as it is"


def test_the_page_takes_files_whose_type_the_browser_does_not_know(browser):
    page = browser.new_page()
    try:
        page.set_content("<input type=file accept='image/*'>")
        page.evaluate(TAKE_PICTURES)
        types = page.evaluate("['a.heic', 'b.HIF', 'c.tga', 'd.txt'].map(name => new File([''], name).type)")
        assert types == ["image/unknown"] * 3 + [""]
        assert page.evaluate("new File([''], 'a.heic', {type: 'image/heic'}).type") == "image/heic"
        with page.expect_file_chooser():
            page.click("input")
        accepted = page.get_attribute("input", "accept").split(",")
        assert accepted[0] == "image/*" and {".heic", ".avif", ".tif", ".jp2"} <= set(accepted)
        assert all(re.fullmatch(r"\.[a-z0-9]+", suffix) for suffix in accepted[1:])
    finally:
        page.close()


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_heic_is_taken_shown_and_looked_at(page, way):
    expect = pytest.importorskip("playwright.sync_api").expect
    page.evaluate("document.querySelector('#picture img').dataset.old = 'yes'")
    page.locator("#picture button[aria-label='Clear'], #picture button[aria-label='Remove Image']").first.click()
    content = encoded("HEIF")
    field = page.locator("#picture input[type=file]")
    if way == "chosen":
        field.set_input_files({"name": "IMG_1.HEIC", "mimeType": "", "buffer": content})
    else:
        dropped = page.evaluate_handle(
            "bytes => { const d = new DataTransfer(); d.items.add(new File([new Uint8Array(bytes)], 'IMG_1.HEIC')); "
            "return d; }",
            list(content),
        )
        page.locator("#picture button:has(input[type=file])").first.dispatch_event("drop", {"dataTransfer": dropped})
    page.wait_for_function("document.querySelector('#picture img')?.naturalWidth === 40")
    expect(page.get_by_text("40 × 20: the centre 20 × 20 is used, enlarged to 32 × 32.")).to_be_attached()
