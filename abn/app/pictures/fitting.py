"""A picture to the 32 × 32 pixels a network sees, and which part of it they are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from abn.common.data import IMAGE_SIZE


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a network is shown of a picture.

    Attributes:
        pixels: (size, size, 3) uint8.
        box: the part used: left, top, right, bottom in the picture's pixels, right and bottom exclusive.
        original_size: the picture's width and height.
        scaled_size: width and height that the part used has within `pixels`; less than `size` where padded.
        mode: a key of `FITS`.
    """

    pixels: np.ndarray
    box: tuple[int, int, int, int]
    original_size: tuple[int, int]
    scaled_size: tuple[int, int]
    mode: str

    @property
    def enlarged(self) -> bool:
        """Whether the part used has fewer pixels than the network is shown."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1]) < max(self.scaled_size)


def _crop(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _whole(width: int, height: int) -> tuple[int, int, int, int]:
    return 0, 0, width, height


FITS: dict[str, Callable[[int, int], tuple[int, int, int, int]]] = {"crop": _crop, "pad": _whole}
"""How a picture becomes a square: its centre, or all of it with black bars (training pads with black too)."""


def fit(picture: Image.Image, mode: str = "crop", size: int = IMAGE_SIZE) -> Fitted:
    """Scale a picture to the square a network sees; one that has that size already is left untouched.

    Args:
        picture: RGB, of any shape, such as `read_picture` returns.
        mode: "crop" uses the centre square, "pad" the whole picture between black bars.
        size: side of the square in pixels.

    Raises:
        ValueError: for another mode, or a picture that is not RGB.
    """
    if mode not in FITS:
        raise ValueError(f"cannot fit a picture by {mode!r}; choose one of {', '.join(FITS)}")
    if picture.mode != "RGB":
        raise ValueError(f"expected an RGB picture, as read_picture returns it; got mode {picture.mode}")
    original_size, reduced = _original(picture)
    box = FITS[mode](*original_size)
    width, height = box[2] - box[0], box[3] - box[1]
    longest = max(width, height)
    scaled_size = tuple(max(1, round(side * size / longest)) for side in (width, height))
    # The filter widens with the reduction, so nothing aliases; `reducing_gap` averages whole blocks first, which
    # bounds time and memory also for a strip of 1 × 50,000,000.
    within = tuple(side / reduced for side in box)
    scaled = picture.resize(scaled_size, Image.Resampling.LANCZOS, box=within, reducing_gap=3.0)
    square = Image.new("RGB", (size, size))
    square.paste(scaled, ((size - scaled_size[0]) // 2, (size - scaled_size[1]) // 2))
    return Fitted(np.array(square), box, original_size, scaled_size, mode)


def _original(picture: Image.Image) -> tuple[tuple[int, int], int]:
    """Width and height in the file, and by how much the picture was reduced as it was read."""
    return picture.info.get("size", picture.size), picture.info.get("reduced", 1)


def describe(fitted: Fitted) -> str:
    """One sentence on which part of the picture is used, and how."""
    left, top, right, bottom = fitted.box
    size = fitted.pixels.shape[0]
    width, height = fitted.original_size
    whole = (right - left, bottom - top) == (width, height)
    part = "all of it is used" if whole else f"the centre {_times(right - left, bottom - top)} is used"
    padded = "" if fitted.scaled_size == (size, size) else f", with black bars to {_times(size, size)}"
    if (right - left, bottom - top) == fitted.scaled_size:
        return f"{_times(width, height)}: {part}, pixel for pixel{padded}."
    done = "enlarged" if fitted.enlarged else "scaled"
    return f"{_times(width, height)}: {part}, {done} to {_times(*fitted.scaled_size)}{padded}."


def _times(width: int, height: int) -> str:
    return f"{width:,} × {height:,}"


def show_used_part(picture: Image.Image, fitted: Fitted, max_side: int = 640) -> Image.Image:
    """The picture, at most `max_side` on its longer side, with what the network does not see darkened."""
    width, height = fitted.original_size
    scale = min(1.0, max_side / max(width, height))
    size = tuple(max(1, round(side * scale)) for side in (width, height))
    preview = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    across, down = size[0] / width, size[1] / height
    left, top, right, bottom = fitted.box
    used = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    used = (used[0], used[1], max(used[2], used[0] + 1), max(used[3], used[1] + 1))
    shown = Image.blend(preview, Image.new("RGB", size, (24, 24, 24)), 0.75)
    ImageDraw.Draw(shown).rectangle((used[0] - 1, used[1] - 1, used[2], used[3]), outline="white")
    shown.paste(preview.crop(used), used[:2])
    return shown


def enlarge(pixels: np.ndarray, factor: int = 8) -> Image.Image:
    """(H, W, 3) uint8 pixels as a picture `factor` times as large, every pixel a plain square."""
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
