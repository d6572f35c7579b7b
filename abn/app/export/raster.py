"""Drawing with Pillow alone: colours as in the figures, text that fits, axes, a numeric colour bar.

No browser and no pyplot: a server draws these for many people at once.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from abn.app.figures.style import DIVERGING, NEUTRAL_COLOUR

INK, FAINT = "#1f2328", "#57606a"
FONT, SMALL_FONT = 16, 13  # pixels
LINE = 1.35  # of a line of text, as a share of the font's size
BAR_HEIGHT = 14

# Pillow's own font knows little beyond Latin letters, and no font of a machine can be counted on.
_PLAIN = str.maketrans({"−": "-", "–": "-", "—": "-", "×": "x", "≤": "<=", "≥": ">=", "→": "->", "’": "'"})


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def printable(text: str) -> str:
    """The text in ASCII: accents are dropped, letters of other scripts become question marks."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def wrap(text: str, width: int, size: int) -> list[str]:
    """Lines of at most `width` pixels; a word longer than that is cut."""
    lines = [""]
    for word in printable(text).split():
        while _font(size).getlength(word) > width:
            # The longest beginning that fits, found by halves: each try measures all of its letters.
            cut = max(1, bisect_right(range(1, len(word)), width, key=lambda n: _font(size).getlength(word[:n])))
            lines.append(word[:cut])
            word = word[cut:]
        longer = f"{lines[-1]} {word}".strip()
        if _font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]


def width_of(text: str, size: int) -> int:
    """Pixels that a line takes."""
    return math.ceil(_font(size).getlength(printable(text)))


def height_of(lines: Sequence[str], size: int) -> int:
    """Pixels that the lines take."""
    return round(len(lines) * size * LINE)


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str | Sequence[str],
    size: int = FONT,
    anchor: str = "la",
    colour: str = INK,
) -> None:
    """Print a line, or several below each other; `anchor` as Pillow has it."""
    x, y = place
    for line in [printable(text)] if isinstance(text, str) else text:
        draw.text((x, y), line, font=_font(size), fill=colour, anchor=anchor)
        y += size * LINE


def colours(values: np.ndarray, centre: float, limit: float) -> np.ndarray:
    """(…) values → (…, 3) uint8 of the diverging map, which ends at centre ± limit; grey where not finite."""
    stops = np.array([ImageColor.getrgb(colour) for colour in DIVERGING], np.float64)
    values = np.asarray(values, np.float64)
    place = np.nan_to_num((np.clip(values, centre - limit, centre + limit) - centre) / limit)
    places = np.linspace(-1, 1, len(stops))
    found = np.stack([np.interp(place, places, channel) for channel in stops.T], axis=-1)
    found[~np.isfinite(values)] = ImageColor.getrgb(NEUTRAL_COLOUR)
    return np.rint(found).astype(np.uint8)


def veiled(pixels: np.ndarray, values: np.ndarray, limit: float, opacity: float) -> np.ndarray:
    """(H, W, 3) uint8 pixels in grey under the map's two end colours, the stronger the less of the picture shows."""
    grey = np.repeat((pixels @ np.array([0.2126, 0.7152, 0.0722]))[..., None], 3, axis=2)
    strength = opacity * np.clip(np.abs(np.nan_to_num(values)) / limit, 0, 1)[..., None]
    below, above = (np.array(ImageColor.getrgb(DIVERGING[end])) for end in (0, -1))
    end = np.where((values > 0)[..., None], above, below)
    return np.rint(grey * (1 - strength) + end * strength).astype(np.uint8)


def enlarged(pixels: np.ndarray, width: int, height: int) -> Image.Image:
    """(H, W, 3) uint8 as a picture of the given size, every pixel a plain rectangle."""
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.NEAREST)


def colour_bar(
    picture: Image.Image,
    box: tuple[int, int, int],
    centre: float,
    limit: float,
    ticks: tuple[Sequence[float], Sequence[str]],
) -> None:
    """A horizontal bar with numbers below it.

    Args:
        box: left, top, width in pixels.
        ticks: values and their labels.
    """
    left, top, width = box
    ramp = np.linspace(centre - limit, centre + limit, width)
    picture.paste(Image.fromarray(np.tile(colours(ramp, centre, limit), (BAR_HEIGHT, 1, 1))), (left, top))
    draw = ImageDraw.Draw(picture)
    for value, label in zip(*ticks, strict=True):
        x = left + (value - centre + limit) / (2 * limit) * (width - 1)
        draw.line([(x, top + BAR_HEIGHT), (x, top + BAR_HEIGHT + 4)], fill=FAINT)
        write(draw, (x, top + BAR_HEIGHT + 7), label, SMALL_FONT, "ma")
