"""PNG: what the networks saw, the attribution maps, and the factors, each with its scale in numbers.

White ground, colours and limits as in the figures of the page. The manifest stands in the file's text, under the
keyword "abn-manifest".
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from abn.app import figures
from abn.app.export.document import Export, manifest_json
from abn.app.export.sheet import (
    BAR_HEIGHT,
    FAINT,
    FONT,
    INK,
    SMALL_FONT,
    Sheet,
    colours,
    height_of,
    veiled,
    width_of,
    wrap,
)
from abn.app.figures import drawing, notes
from abn.app.figures.factors import SCALES, Scale
from abn.app.figures.style import symmetric_ticks
from abn.app.inspector.results import NetworkResult
from abn.interpret.attribution.methods import METHODS

KEYWORD = "abn-manifest"
MARGIN = 16
MAP_SIDE = 384  # pixels of a map on paper
LEFT = 56  # room for the labels of the rows
RIGHT = 24  # and for half of the last number at the colour bar
OPACITY = 0.6  # of the map over the picture
CHANNELS_WIDTH = 1024  # of the widest block, where it has so many channels or fewer
ROW_HEIGHT = 28


def to_png(export: Export) -> dict[str, bytes]:
    """File name → picture.

    picture.png has the pixels themselves; sees.png shows them enlarged. With an attribution: attribution-SIDE.png,
    overlay-SIDE.png and attribution-difference.png, on one scale. factors-SIDE.png for each modulated network.
    """
    pixels = export.result.pixels
    drawn = {
        "picture.png": Image.fromarray(pixels),
        "sees.png": Image.fromarray(pixels).resize((MAP_SIDE, MAP_SIDE), Image.Resampling.NEAREST),
    }
    drawn |= _maps(export)
    for side, network in export.networks.items():
        if network.is_modulated:
            drawn[f"factors-{side}.png"] = _factors(export, network)
    text = PngInfo()
    version = export.manifest.versions.get("abn") or "of a version unknown"  # an opened file may not say
    text.add_text("Software", f"Adaptive Bias Networks {version}")
    text.add_text(KEYWORD, manifest_json(export))
    return {name: _encoded(picture, text) for name, picture in drawn.items()}


def _encoded(picture: Image.Image, text: PngInfo) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG", pnginfo=text, optimize=True)
    return content.getvalue()


def _maps(export: Export) -> dict[str, Image.Image]:
    pair = export.attribution
    if pair is None:
        return {}
    limit = figures.shared_limit(*pair.maps)
    method = METHODS[pair.method]
    what = f"{method.label} for {pair.target}"
    drawn = {}
    for (side, half), network, values in zip(
        export.attributions.items(), export.result.networks, pair.maps, strict=True
    ):
        problem = half.problems[0]
        for kind, title, ground in (
            ("attribution", network.label, colours(values, 0, limit)),
            (
                "overlay",
                f"{network.label}, over the picture in grey ({100 * OPACITY:.0f} % at the ends)",
                veiled(export.result.pixels, values, limit, OPACITY),
            ),
        ):
            drawn[f"{kind}-{side}.png"] = _map_sheet(
                export, [title, what], ground, values, limit, method.unit, problem or "", notes.ATTRIBUTION
            )
    difference = pair.maps[1] - pair.maps[0]
    drawn["attribution-difference.png"] = _map_sheet(
        export, [drawing.difference_title(export.result), what], colours(difference, 0, limit), difference, limit,
        method.unit, "", notes.DIFFERENCE,
    )  # fmt: skip
    return drawn


def _map_sheet(
    export: Export,
    titles: Sequence[str],
    ground: np.ndarray,
    values: np.ndarray,
    limit: float,
    unit: str,
    problem: str,
    not_shown: str,
) -> Image.Image:
    width = LEFT + MAP_SIDE + 2 * MARGIN + RIGHT
    room = width - 2 * MARGIN
    heading = [line for title in titles for line in wrap(title, room, FONT)]
    finite = np.abs(values[np.isfinite(values)])
    beyond = int((finite > limit * (1 + 1e-6)).sum())
    extent = f"{beyond} of {values.size} pixels beyond the scale" if beyond else "no pixel beyond the scale"
    if finite.size < values.size:
        extent += f", {values.size - finite.size} without value (grey)"
    foot = wrap(problem, room, SMALL_FONT) if problem else []
    foot += _foot(export, not_shown, room)

    top = MARGIN + height_of(heading, FONT) + 10
    bar = top + MAP_SIDE + 60
    end = bar + BAR_HEIGHT + 28
    below = wrap(f"{unit}; {extent}", room, SMALL_FONT)
    notes_top = end + height_of(below, SMALL_FONT) + 10
    sheet = Sheet(width, notes_top + height_of(foot, SMALL_FONT) + MARGIN)
    sheet.write(MARGIN, MARGIN, heading)
    left = MARGIN + LEFT
    axes = sheet.axes(left, top, MAP_SIDE, MAP_SIDE)
    axes.imshow(ground, interpolation="nearest", zorder=3)  # above the frame, which would cover its edge
    rows, columns = values.shape
    axes.set_yticks([quarter * rows // 4 for quarter in range(4)])
    axes.set_xticks([quarter * columns // 4 for quarter in range(4)])
    sheet.write(left + MAP_SIDE / 2, top + MAP_SIDE + 24, "column (pixels)", SMALL_FONT, FAINT, "center")
    axes.set_ylabel("row (pixels)", color=FAINT, fontsize=SMALL_FONT * 0.72, fontfamily="DejaVu Sans")
    sheet.colour_bar((left, bar, MAP_SIDE), 0, limit, symmetric_ticks(0, limit, bool(beyond)))
    sheet.write(MARGIN, end, below, SMALL_FONT)
    sheet.write(MARGIN, notes_top, foot, SMALL_FONT, FAINT)
    return sheet.drawn()


def _factors(export: Export, network: NetworkResult) -> Image.Image:
    """Blocks × channels: deviations from the reference means, or plain factors where that is not known."""
    mode = "deviation" if network.has_reference else "raw"
    scale: Scale = SCALES[mode]
    blocks = drawing.block_factors(network)
    rows = [scale.values(block, mode) for block in blocks]
    cell = max(1, CHANNELS_WIDTH // max(map(len, rows)))
    widest = cell * max(map(len, rows))
    labels = max(width_of(block.name, SMALL_FONT) for block in blocks) + 12
    width = max(labels + widest + 2 * MARGIN, 560)
    room = width - 2 * MARGIN
    heading = wrap(f"{network.label}: the factor of every channel", room, FONT)
    unit = scale.unit.replace("<br>", " ")
    clipped = any(bool(np.nanmax(np.abs(row - scale.centre), initial=0) > scale.limit * (1 + 1e-6)) for row in rows)
    undefined = sum(int((~np.isfinite(row)).sum()) for row in rows)
    if undefined:
        unit += f"; {undefined} channels without value (grey)"
    foot = _foot(export, notes.FACTORS, room)

    top = MARGIN + height_of(heading, FONT) + 10
    bottom = top + len(rows) * ROW_HEIGHT
    bar = bottom + 52
    end = bar + BAR_HEIGHT + 28
    sheet = Sheet(width, end + 30 + height_of(foot, SMALL_FONT) + MARGIN)
    sheet.write(MARGIN, MARGIN, heading)
    left = MARGIN + labels
    for index, (block, row) in enumerate(zip(blocks, rows, strict=True)):
        y = top + index * ROW_HEIGHT
        sheet.write(left - 8, y + ROW_HEIGHT / 2, block.name, SMALL_FONT, INK, "right", "center")
        axes = sheet.axes(left, y + 2, cell * len(row), ROW_HEIGHT - 4)
        axes.imshow(colours(row, scale.centre, scale.limit)[None], aspect="auto", interpolation="nearest", zorder=3)
        axes.set(xticks=[], yticks=[])
    channels = max(map(len, rows))
    step = next(size for size in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1 << 20) if size * cell >= 64)
    axis = sheet.axes(left, bottom, cell * channels, 1)
    axis.set(xlim=(-0.5, channels - 0.5), xticks=range(0, channels, step), yticks=[])
    axis.spines[:].set_visible(False)
    sheet.write(left + cell * channels, bottom + 24, "channel (index)", SMALL_FONT, FAINT, "right")
    bar_width = min(widest, 480)
    ticks = symmetric_ticks(scale.centre, scale.limit, clipped)
    sheet.colour_bar((left, bar, bar_width), scale.centre, scale.limit, ticks)
    sheet.write(left, end, unit, SMALL_FONT)
    sheet.write(MARGIN, end + 30, foot, SMALL_FONT, FAINT)
    return sheet.drawn()


def _foot(export: Export, not_shown: str, room: int) -> list[str]:
    """What a picture that travels alone has to say of itself."""
    manifest = export.manifest
    name = f"{manifest.picture.name}, " if manifest.picture.name else ""
    lines = wrap(f"{notes.NOT_SHOWN} {not_shown}", room, SMALL_FONT)
    return lines + wrap(
        f"Picture: {name}pixels {manifest.pixels_sha256[:12]}. Weights: {manifest.baseline.label} "
        f"{manifest.baseline.weights_sha256[:12]}, {manifest.dmb.label} {manifest.dmb.weights_sha256[:12]}.",
        room,
        SMALL_FONT,
    )
