"""The factors of all blocks as one heatmap: blocks × their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from abn.app.figures.blocks import BlockFactors
from abn.app.figures.style import (
    GRID_COLOUR,
    NEUTRAL_COLOUR,
    axis,
    colour_bar,
    colour_scale,
    new_figure,
    plain,
    symmetric_ticks,
)
from abn.app.figures.words import percentile_words

Mode = Literal["deviation", "percentile", "raw"]
Order = Literal["index", "value"]

ROW_HEIGHT = 30  # pixels


@dataclass(frozen=True)
class Scale:
    """How a mode colours: values, their centre, the distance from it that has the full colour, the unit."""

    centre: float
    limit: float
    unit: str
    own_unit: str

    def values(self, block: BlockFactors, mode: Mode) -> np.ndarray:
        """(C,) float32; ValueError where the block lacks what the mode needs."""
        if mode == "deviation":
            return block.deviation
        if mode == "percentile":
            block.require("percentile")
            return np.asarray(block.percentile, np.float32)
        return np.asarray(block.factors, np.float32)


SCALES: dict[str, Scale] = {
    "deviation": Scale(0, 3, "standard deviations<br>from the data set's mean", "deviation"),
    "percentile": Scale(50, 50, "percentile among<br>the data set's images", "percentile − 50"),
    "raw": Scale(1, 1, "factor<br>(1 changes nothing)", "factor − 1"),
}


def factor_heatmap(
    blocks: Sequence[BlockFactors],
    mode: Mode = "deviation",
    own_scale: bool = False,
    order: Order = "index",
    chosen: tuple[int, int] | None = None,
) -> go.Figure:
    """Blocks × channels, one cell a channel; shorter blocks end sooner.

    ``customdata[y][x]`` is (block index, channel, factor), and with a reference (…, mean, deviation), also
    when sorted, so that a click can be told which channel it hit.

    Args:
        blocks: in the network's order, of any number and width.
        mode: "deviation" from the data set's mean in standard deviations (colours end at ±3), "percentile"
            (diverging about 50), or "raw" (diverging about 1, colours end at 0 and 2).
        own_scale: colour every block relative to its own largest distance from the centre.
        order: channels by "index", or by "value", the lowest first, in each block for itself.
        chosen: (block index, channel) to be framed.

    Raises:
        ValueError: for an unknown mode or order, no blocks, a chosen channel that does not exist, or a
            mode whose reference a block lacks (it names what is missing).
    """
    _check(blocks, mode, order, chosen)
    scale = SCALES[mode]
    values = [scale.values(block, mode) for block in blocks]
    # A stable sort puts NaN last, so the cells of a row stay together.
    columns = [np.argsort(row, kind="stable") if order == "value" else np.arange(len(row)) for row in values]
    z = _grid([row[column] for row, column in zip(values, columns, strict=True)])
    names = [plain(block.name) for block in blocks]
    customdata = _customdata(blocks, columns)
    ranked = any(block.percentile is not None or block.class_percentile is not None for block in blocks)
    figure = new_figure(
        "factor_heatmap",
        height=len(blocks) * ROW_HEIGHT + 124,
        mode=mode,
        order=order,
        own_scale=own_scale,
        chosen=None if chosen is None else list(chosen),
    )
    figure.add_heatmap(
        z=_relative(z, scale.centre) if own_scale else z,
        zmin=-1 if own_scale else scale.centre - scale.limit,
        zmax=1 if own_scale else scale.centre + scale.limit,
        colorscale=colour_scale(),
        colorbar=_bar(z, scale, own_scale),
        ygap=2,
        y=names,
        customdata=customdata,
        text=[_usual(block, column) for block, column in zip(blocks, columns, strict=True)] if ranked else None,
        hoverongaps=False,
        hovertemplate=_hover(referenced=customdata.shape[2] > 3, ranked=ranked),
    )
    _show_undefined(figure, z, customdata, names)
    frames = [_frame(index, -0.5, len(row) - 0.5, GRID_COLOUR, 1) for index, row in enumerate(values)]
    if chosen is not None:
        place = int(np.flatnonzero(columns[chosen[0]] == chosen[1])[0])
        # A dark frame within a light one, to be seen on any colour and any page.
        frames += [
            _frame(chosen[0], place - 0.5, place + 0.5, colour, width)
            for colour, width in (("#ffffff", 5), ("#000000", 2))
        ]
    widest = z.shape[1]
    figure.update_layout(
        shapes=frames,  # at once: plotly copies all that are there for each one added
        margin={"b": 104},
        dragmode="zoom",  # a cell may be three pixels wide: drag along the channels to widen them
        xaxis=axis(
            "channel (index)" if order == "index" else "rank in its block, lowest value first",
            range=[-0.5 - 0.004 * widest, widest - 0.5 + 0.004 * widest],
            showgrid=False,
            zeroline=False,
            fixedrange=False,
        ),
        yaxis=axis("block", type="category", autorange="reversed", showgrid=False, zeroline=False),
    )
    return figure


def _check(blocks: Sequence[BlockFactors], mode: str, order: str, chosen: tuple[int, int] | None) -> None:
    if not blocks:
        raise ValueError("there are no blocks to draw; expected at least one")
    if mode not in SCALES:
        raise ValueError(f"mode is {mode!r}; expected one of {', '.join(SCALES)}")
    if order not in ("index", "value"):
        raise ValueError(f"order is {order!r}; expected index or value")
    if chosen is None:
        return
    block, channel = chosen
    if not 0 <= block < len(blocks):
        raise ValueError(f"the chosen block is {block}; there are blocks 0 to {len(blocks) - 1}")
    if not 0 <= channel < len(blocks[block].factors):
        raise ValueError(
            f"the chosen channel is {channel}; {blocks[block].name} has 0 to {len(blocks[block].factors) - 1}"
        )


def _grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of (C_i,) or (C_i, D) → float32 (rows, max C, …), NaN where a row has ended."""
    grid = np.full((len(rows), max(len(row) for row in rows), *rows[0].shape[1:]), np.nan, np.float32)
    for index, row in enumerate(rows):
        grid[index, : len(row)] = row
    return grid


def _customdata(blocks: Sequence[BlockFactors], columns: Sequence[np.ndarray]) -> np.ndarray:
    referenced = all(block.mean is not None and block.sd is not None for block in blocks)
    rows = []
    for index, (block, column) in enumerate(zip(blocks, columns, strict=True)):
        parts = [np.full(len(column), index), column, np.asarray(block.factors)[column]]
        if referenced:
            parts += [np.asarray(block.mean)[column], block.deviation[column]]
        rows.append(np.stack(parts, axis=1))
    return _grid(rows)


def _usual(block: BlockFactors, column: np.ndarray) -> list[str]:
    """A short string a cell, since a hover template cannot write ordinals."""
    missing = np.full(len(column), np.nan)
    percentile = missing if block.percentile is None else np.asarray(block.percentile)
    among = missing if block.class_percentile is None else np.asarray(block.class_percentile)
    name = plain(block.class_name or "")
    return [percentile_words(percentile[channel], among[channel], name) for channel in column]


def _hover(referenced: bool, ranked: bool) -> str:
    # Plotly spoils "+.1f" (it puts a tilde before the sign) and prints all digits; "+.2r" it leaves alone.
    mean = ", mean %{customdata[3]:.4f}<br>%{customdata[4]:+.2r} sd" if referenced else ""
    name = "<b>%{y} channel %{customdata[1]:d}</b><br>"
    return f"{name}factor %{{customdata[2]:.4f}}{mean}{'<br>%{text}' if ranked else ''}<extra></extra>"


def _relative(z: np.ndarray, centre: float) -> np.ndarray:
    """Each row as a share, −1…1, of its own largest distance from the centre."""
    distance = z - np.float32(centre)
    largest = np.nanmax(np.abs(distance), axis=1, keepdims=True, initial=0.0)
    return distance / np.where(largest > 0, largest, np.float32(1))


def _bar(z: np.ndarray, scale: Scale, own_scale: bool) -> dict:
    if own_scale:
        title = f"{scale.own_unit},<br>relative to block's own maximum"
        return colour_bar(title, symmetric_ticks(0, 1, clipped=False))
    clipped = bool(np.nanmax(np.abs(z - scale.centre), initial=0.0) > scale.limit * (1 + 1e-6))
    return colour_bar(scale.unit, symmetric_ticks(scale.centre, scale.limit, clipped))


def _show_undefined(figure: go.Figure, z: np.ndarray, customdata: np.ndarray, names: Sequence[str]) -> None:
    """A grey square for each channel that has no value, with the same click data and its own hover text."""
    rows, places = np.nonzero(np.isfinite(customdata[..., 1]) & ~np.isfinite(z))
    if not len(rows):
        return
    figure.add_scatter(
        x=places,
        y=[names[row] for row in rows],
        mode="markers",
        marker={"symbol": "square", "size": 8, "color": NEUTRAL_COLOUR},
        customdata=customdata[rows, places, :3],
        hovertemplate="<b>%{y} channel %{customdata[1]:d}</b><br>factor %{customdata[2]:.4f}"
        "<br>no value on this scale<extra></extra>",
    )


def _frame(row: int, left: float, right: float, colour: str, width: int) -> dict:
    """A frame that takes no clicks, around the cells of one row between two places."""
    line = {"color": colour, "width": width}
    return {"type": "rect", "x0": left, "x1": right, "y0": row - 0.48, "y1": row + 0.48, "line": line}
