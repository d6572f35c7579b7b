"""A drawing on white paper for a PNG, by matplotlib's object interface: text, axes, a colour bar.

Nothing here goes through pyplot or changes matplotlib's settings: a server draws these for many people at once.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from abn.app.figures.style import DIVERGING, NEUTRAL_COLOUR

INK, FAINT = "#1f2328", "#57606a"
FONT, SMALL_FONT = 15, 12  # pixels
BAR_HEIGHT = 14
DPI = 100
COLOURS = LinearSegmentedColormap.from_list("diverging", DIVERGING, N=1025).with_extremes(bad=NEUTRAL_COLOUR)

# The first comes with matplotlib and has Latin, Greek and Cyrillic; the others are used where a machine has them.
FONTS = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Hiragino Sans",
    "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Droid Sans Fallback", "IPAexGothic", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Unifont",
)  # fmt: skip
_LINE = 1.35  # of a line of text, as a share of the font's size


class Sheet:
    """White paper of a fixed size on which things are placed by pixels from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)

    def write(
        self,
        left: float,
        top: float,
        text: str | Sequence[str],
        size: int = FONT,
        colour: str = INK,
        align: str = "left",
        vertical: str = "top",
    ) -> None:
        """Print a line, or several below each other."""
        for index, line in enumerate([printable(text)] if isinstance(text, str) else text):
            self.figure.text(
                left / self.width, 1 - (top + index * size * _LINE) / self.height, line, ha=align, va=vertical,
                color=colour, fontfamily=list(_fonts()), fontsize=size * 72 / DPI, parse_math=False,
            )  # fmt: skip

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes whose inside is that rectangle."""
        axes = self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )
        axes.tick_params(labelsize=SMALL_FONT * 72 / DPI, labelfontfamily="DejaVu Sans", colors=INK, length=4)
        for spine in axes.spines.values():
            spine.set(edgecolor=NEUTRAL_COLOUR, linewidth=0.7)
        return axes

    def colour_bar(
        self,
        box: tuple[float, float, float],
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
        axes = self.axes(left, top, width, BAR_HEIGHT)
        ramp = np.linspace(centre - limit, centre + limit, int(width))[None]
        axes.imshow(
            colours(ramp, centre, limit), aspect="auto", extent=(centre - limit, centre + limit, 0, 1),
            interpolation="nearest", zorder=3,
        )  # fmt: skip
        axes.set_yticks([])
        axes.set_xticks(*ticks)

    def drawn(self) -> Image.Image:
        """The sheet as a picture."""
        self.canvas.draw()
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3].copy())


@lru_cache(maxsize=1)
def _fonts() -> dict[str, frozenset[int]]:
    """Those of `FONTS` that are here, and the characters that each has."""
    here = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
    return {name: frozenset(font_manager.get_font(here[name]).get_charmap()) for name in FONTS if name in here}


def printable(text: str) -> str:
    """The text in one line, with the number of every character that no font here has, such as "[U+8239]"."""
    known = _fonts().values()
    return "".join(
        c if any(ord(c) in font for font in known) else f"[U+{ord(c):04X}]" for c in " ".join(text.split())
    )


def wrap(text: str, width: int, size: int) -> list[str]:
    """Lines of at most `width` pixels; a word longer than that is cut."""
    lines: list[str] = []
    for word in printable(text).split():
        excess = width_of(word, size) / width
        for piece in [word] if excess <= 1 else textwrap.wrap(word, max(1, int(0.8 * len(word) / excess))):
            longer = f"{lines[-1]} {piece}" if lines else piece
            if lines and width_of(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines


def width_of(text: str, size: int) -> int:
    """Pixels that a line takes, about: what is not in the first font counts as wide as it is high."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    characters = _fonts()["DejaVu Sans"]
    font.set_size(size * 72 / DPI, DPI)
    font.set_text("".join(c for c in text if ord(c) in characters), 0.0)
    return math.ceil(font.get_width_height()[0] / 64 + size * sum(ord(c) not in characters for c in text))


def height_of(lines: Sequence[str], size: int) -> int:
    """Pixels that the lines take."""
    return round(len(lines) * size * _LINE)


def colours(values: np.ndarray, centre: float, limit: float) -> np.ndarray:
    """(…) values → (…, 3) uint8 of the diverging map, which ends at centre ± limit; grey where not finite."""
    scaled = Normalize(centre - limit, centre + limit)(np.ma.masked_invalid(np.asarray(values, np.float64)))
    return np.rint(255 * COLOURS(scaled)[..., :3]).astype(np.uint8)


def veiled(pixels: np.ndarray, values: np.ndarray, limit: float, opacity: float) -> np.ndarray:
    """(H, W, 3) uint8 pixels in grey under the map's two end colours, the stronger the less of the picture shows."""
    grey = np.repeat((pixels @ np.array([0.2126, 0.7152, 0.0722]))[..., None], 3, axis=2)
    strength = opacity * np.clip(np.abs(np.nan_to_num(values)) / limit, 0, 1)[..., None]
    below, above = (255 * np.array(to_rgb(DIVERGING[end])) for end in (0, -1))
    end = np.where((values > 0)[..., None], above, below)
    return np.rint(grey * (1 - strength) + end * strength).astype(np.uint8)
