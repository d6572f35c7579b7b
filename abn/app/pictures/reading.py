"""Any picture's file to an upright RGB picture in sRGB."""

from __future__ import annotations

import stat
from pathlib import Path

from PIL import Image

from abn.app.pictures.formats import ACCEPTED, PictureError
from abn.app.pictures.process import decoders


def read_picture(source: bytes | Path) -> Image.Image:
    """Read a picture as `abn.app.pictures.decoding.decode` does, in a process with limits.

    Args:
        source: the file's content, or where it lies.

    Returns:
        A picture of mode RGB. A large one is reduced: `info["size"]` is its width and height in the file, and
        `info["reduced"]` by how much it was reduced, which `fit` and `show_used_part` take into account.

    Raises:
        PictureError: for what cannot be read, with a sentence that says what is wrong and what is accepted.
    """
    pixels = decoders.decode(source if isinstance(source, bytes) else read_file(source))
    height, width = pixels.shape
    picture = Image.frombytes("RGB", (width, height), pixels.rgb)
    picture.info = {"size": pixels.size, "reduced": pixels.reduced}
    return picture


def read_file(path: Path) -> bytes:
    """A file's content.

    Raises:
        PictureError: for one that is not there or cannot be read.
    """
    try:
        if stat.S_ISREG(path.stat().st_mode):  # a named pipe would block
            return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise PictureError(f"The file could not be read ({error.strerror}); send a picture as {ACCEPTED}.") from error
    raise PictureError(f"There is no such file; send a picture as {ACCEPTED}.")
