"""Files kept for pages: whole from the moment they have a name.

Gradio names a file by its content and writes it in place. Two visitors who are shown the same picture at the same
moment have one file then, and what the one reads may be what the other has just begun to write.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component
from gradio.data_classes import ImageData
from gradio.processing_utils import hash_bytes
from PIL import Image

from abn.common.files import replace_file


def keep(component: Component, content: bytes, name: str) -> str:
    """Store a file of that name in the upload cache, to be deleted with the uploads; returns its path."""
    folder = Path(component.GRADIO_CACHE).resolve() / hash_bytes(content)  # where Gradio looks for a copy of it
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    replace_file(path, lambda scratch: scratch.write_bytes(content), lasting=False)
    component.temp_files.add(str(path))  # at once: Gradio learns of it only if all that follows goes well
    return str(path)


class KeptImage(gr.Image):
    """`gr.Image` that stores whole what it shows: give it a `format` of Pillow's."""

    def get_block_name(self) -> str:
        return "image"  # gr.Image's own frontend, whoever inherits from here

    get_block_class = get_block_name

    def postprocess(self, value: Any) -> ImageData | None:
        """Take a picture or its (H, W, 3) uint8 pixels; anything else as `gr.Image` does."""
        if isinstance(value, np.ndarray):
            value = Image.fromarray(value)
        if isinstance(value, Image.Image):
            stream = io.BytesIO()
            value.save(stream, self.format)
            value = keep(self, stream.getvalue(), f"image.{self.format}")
        return super().postprocess(value)
