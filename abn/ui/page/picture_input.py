"""Where pictures come in, on the page and through the API, and what is refused before anything is opened.

Gradio handles a request's inputs in this order: it walks through the JSON and, for whatever looks like a file,
downloads an http address or checks that the path lies in its upload cache; then it validates the value and
stores it with the session; then it calls `preprocess`. The check is skipped for a picture sent without `meta`,
a refusal there reaches the caller as an empty error, and every component downloads. Therefore two parts:

- `PictureInput.preprocess` opens nothing but a file inside the upload cache, whatever came before it;
- `GuardedBlocks` looks at all inputs before Gradio does, so that nothing is fetched, nothing large is stored
  with a session, and every refusal has its sentence.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import gradio as gr
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder
from PIL import Image

from abn.app.pictures.formats import PictureError
from abn.app.pictures.reading import read_picture
from abn.ui.edge import refuse
from abn.ui.page.kept_files import KeptImage, keep

MAX_BYTES = 20_000_000
"""The largest file read; give it to `launch(max_file_size=…)` too, which stops a larger one as it is sent."""

_NOT_UPLOADED = (
    "No uploaded picture was received: addresses and files of the server are not read; "
    "upload the file first and pass on what the upload returned."
)
_GONE = "This file is no longer kept here; upload it again."
_DISK = "The server's disk is full, or cannot be written to; try again later, or tell whoever runs this page."
_UNFIT = "This request does not fit: a value is missing, or of another kind than this endpoint takes."
_LONGEST_MESSAGE = 500
_LOG = logging.getLogger(__name__)
_LARGEST_VALUE = 10_000  # characters and parts of what is sent for anything but a picture
_DEEPEST = 100  # levels of nested JSON; beyond about 1000, Gradio's own walk through it fails


class PictureInput(KeptImage):
    """`gr.Image` for pictures from strangers: hands over an RGB `PIL.Image` as `read_picture` returns it, or None.

    Takes the options of `gr.Image`; `type` and `image_mode` have no effect. A value that is shown is stored as
    PNG, so that its pixels stay as they are. Use it inside `GuardedBlocks`.

    Through the API it takes an uploaded file (`{"path": …, "meta": {"_type": "gradio.FileData"}}`, as
    `gradio_client.handle_file` makes it), or a picture of at most `max_bytes` written into the request
    (`{"url": "data:image/png;base64,…"}`).
    """

    max_bytes = MAX_BYTES

    def __init__(self, value: Any = None, **options: Any):
        super().__init__(value, **{"type": "pil", "format": "png", "alt_text": "The picture sent in", **options})

    def get_config(self, cls: type | None = None) -> dict[str, Any]:
        return super().get_config(cls or gr.Image)  # Gradio reads the names of a component's options off __init__

    def admit(self, value: Any) -> dict[str, Any] | None:
        """Turn what a caller sent into a reference to a file in the upload cache.

        Args:
            value: JSON of any kind.

        Returns:
            A file reference with nothing in it of the caller's but a path inside the cache; None for no picture.

        Raises:
            gr.Error: for anything else; nothing was opened or fetched by then.
        """
        if value is None:
            return None
        if not isinstance(value, dict):
            raise refuse(_NOT_UPLOADED)
        path, url = value.get("path"), value.get("url")
        if not path and isinstance(url, str) and url[:5].lower() == "data:":
            path = keep(self, self._decode(url), "picture.bin")
        inside = _inside(path, self.GRADIO_CACHE)
        if inside is None:
            raise refuse(_NOT_UPLOADED)
        name = value.get("orig_name")
        return {
            "path": str(inside),
            "orig_name": Path(name).name if isinstance(name, str) else None,
            "meta": {"_type": "gradio.FileData"},
        }

    def _decode(self, url: str) -> bytes:
        head, _, body = url.partition(",")
        if not head.lower().endswith(";base64"):
            raise refuse("A picture inside a data: address is expected in base64.")
        if len(body) * 3 // 4 > self.max_bytes + 2:  # the last group of four may stand for one byte
            raise _too_large(len(body) * 3 // 4, self.max_bytes)
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise refuse("The base64 inside the data: address is broken.") from error

    def preprocess(self, payload: ImageData | None) -> Image.Image | None:
        """Read the picture; its `info["file"]` is the file's name (or None) and the SHA-256 of its bytes.

        Args:
            payload: what was sent, whether or not `GuardedBlocks` has seen it.

        Raises:
            gr.Error: with the sentence of the `PictureError`, or of `admit`.
        """
        admitted = self.admit(None if payload is None else payload.model_dump())
        if admitted is None:
            return None
        path = Path(admitted["path"])
        try:
            if not path.is_file():
                raise refuse(_GONE)
            if (size := path.stat().st_size) > self.max_bytes:
                raise _too_large(size, self.max_bytes)
            picture = read_picture(path)
            picture.info["file"] = (admitted["orig_name"], hashlib.sha256(path.read_bytes()).hexdigest())
            return picture
        except PictureError as error:
            raise refuse(str(error)) from error
        except OSError as error:  # deleted between two looks at it
            raise refuse(_GONE) from error


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` that looks at every input of every event before Gradio downloads, checks or stores it."""

    async def preprocess_data(self, block_fn, inputs, *args, **kwargs):
        inputs = await anyio.to_thread.run_sync(_admit_all, block_fn, _with_defaults(block_fn, list(inputs)))
        return await super().preprocess_data(block_fn, inputs, *args, **kwargs)

    async def process_api(self, *args, **kwargs):
        """Gradio's, but no request that does not fit, or finds the disk full, gets an empty error.

        Gradio's components and the page's functions trust the types that their own page sends; a stranger
        may send anything under the name of any event. What goes wrong is logged for the host, in case
        the fault is ours.
        """
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            error.print_exception = False
            error.duration = None  # it stays until it is read: the page points at it
            if len(error.message) > _LONGEST_MESSAGE:  # Gradio repeats the value it refuses, however large
                error.message = error.message[:_LONGEST_MESSAGE] + "…"
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, OSError) as error:
            _LOG.warning("a request failed with %s", type(error).__name__, exc_info=error)
            # Gradio wraps what a component raises.
            match error.__cause__ if isinstance(error.__cause__, OSError) else error:
                case FileNotFoundError():
                    sentence = _GONE
                case OSError():
                    sentence = _DISK
                case _:
                    sentence = _UNFIT
            raise refuse(sentence) from None
        finally:
            if (session := kwargs.get("session_hash")) is not None and session == kwargs.get("event_id"):
                # Gradio made it for this one call, whose caller named none.
                self.state_holder.session_data.pop(session, None)
                self.state_holder.time_last_used.pop(session, None)


def _with_defaults(block_fn: Any, inputs: list[Any]) -> list[Any]:
    """What was sent, and the documented defaults for what was left out at the end, as gradio_client has them.

    Raises:
        gr.Error: where something without a default was left out.
    """
    missing = range(len(inputs), len(block_fn.inputs))
    if not missing:
        return inputs
    parameters = list(inspect.signature(block_fn.fn).parameters.values())
    has_default = [
        block_fn.inputs[index].value is not None or parameters[index].default is not inspect.Parameter.empty
        for index in missing
    ]
    if block_fn.api_visibility != "public" or not all(has_default):
        raise refuse(f"This call takes {len(block_fn.inputs)} values; {len(inputs)} were sent.")
    return inputs + [block_fn.inputs[index].value for index in missing]


def _admit_all(block_fn: Any, inputs: list[Any]) -> list[Any]:
    for index, block in enumerate(block_fn.inputs):
        value = inputs[index]
        if isinstance(block, PictureInput):
            if index in block_fn.component_prop_inputs:  # a function that asked for the whole component
                props = value if isinstance(value, dict) else {}
                inputs[index] = {**props, "value": block.admit(props.get("value"))}
            else:
                inputs[index] = block.admit(value)
        elif any(_inside(path, get_upload_folder()) is None for path in _paths(block, value)):
            raise refuse(_NOT_UPLOADED)
        elif _size(value) > _LARGEST_VALUE:  # what is taken here is kept with the session
            raise refuse(_UNFIT)
    return inputs


def _paths(block: Any, value: Any) -> Iterator[Any]:
    """The path of everything that Gradio would take for a file, or that a file component would open."""
    if isinstance(block, gr.File | gr.UploadButton):
        files = value if isinstance(value, list) else [value]
        yield from (file.get("path") if isinstance(file, dict) else file for file in files if file is not None)
    yield from _file_paths(value)


def _file_paths(value: Any) -> Iterator[Any]:
    """The path of everything in a JSON value that Gradio would take for a file."""
    level = [value]
    for _ in range(_DEEPEST):
        yield from (part["path"] for part in level if isinstance(part, dict) and {"path", "meta"} <= part.keys())
        level = [
            child
            for part in level
            if isinstance(part, dict | list)
            for child in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return
    raise refuse(f"The values sent are nested more than {_DEEPEST} levels deep.")


def _size(value: Any) -> int:
    """Characters and parts of a JSON value that is not nested deeper than `_file_paths` allows."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(1 + len(name) + _size(part) for name, part in value.items())
    return sum(1 + _size(part) for part in value) if isinstance(value, list) else 1


def _inside(path: Any, folder: str) -> Path | None:
    """The path with its links resolved if it lies in the folder; it need not exist."""
    if not isinstance(path, str) or not path:
        return None
    try:
        resolved = Path(path).resolve()
        return resolved if resolved.is_relative_to(Path(folder).resolve()) else None
    except (OSError, ValueError, RuntimeError):  # a name too long, a zero byte, a lone surrogate, a loop of links
        return None


def _too_large(size: int, limit: int) -> gr.Error:
    return refuse(f"The file has {size / 1e6:.1f} MB; at most {limit / 1e6:.0f} MB are accepted.")
