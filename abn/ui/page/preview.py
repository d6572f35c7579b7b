"""Pictures that browsers cannot show, such as HEIC and TIFF, are shown all the same: as the server read them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import anyio.to_thread
from gradio.utils import get_upload_folder
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from abn.app.pictures.formats import SUFFIXES, PictureError
from abn.app.pictures.reading import read_picture

SHOWN_BY_BROWSERS = {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".avif", ".ico"}
_FILE = "/gradio_api/file="


class ShowPictures:
    """ASGI middleware: where a page wants an upload of another format as an image, it gets a JPEG of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (path := wanted(scope)) is not None:
            content = await anyio.to_thread.run_sync(_as_jpeg, path)
            if content is not None:
                await Response(content, media_type="image/jpeg")(scope, receive, send)
                return
        await self.app(scope, receive, send)


def wanted(scope: Scope) -> Path | None:
    """The uploaded file that a page wants to show and a browser cannot; None for any other request."""
    _, asked, name = scope["path"].partition(_FILE)
    if not asked or scope["method"] != "GET" or (b"sec-fetch-dest", b"image") not in scope["headers"]:
        return None
    try:
        path = Path(name).resolve()
        uploaded = path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, a zero byte, a loop of links
        return None
    return path if uploaded and path.suffix.lower() in SUFFIXES - SHOWN_BY_BROWSERS else None


def _as_jpeg(path: Path) -> bytes | None:
    try:
        picture = read_picture(path)
    except PictureError:  # which the page tells; Gradio sends the file as it is
        return None
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=92, subsampling="4:4:4")
    return stream.getvalue()


# A browser tells a file's type by what its system knows, which may not be HEIC; Gradio takes files whose type is an
# image's alone, whether chosen, dropped or pasted.
TAKE_PICTURES = (
    f"const endings = {json.dumps(sorted(SUFFIXES))};"
    + """
const told = Object.getOwnPropertyDescriptor(Blob.prototype, 'type').get;
Object.defineProperty(File.prototype, 'type', {configurable: true, get() {
  return told.call(this) || (endings.some(ending => this.name.toLowerCase().endsWith(ending)) ? 'image/unknown' : '');
}});
document.addEventListener('click', ({target}) => {
  if (target instanceof HTMLInputElement && target.accept === 'image/*') target.accept += ',' + endings;
}, true);
"""
)
