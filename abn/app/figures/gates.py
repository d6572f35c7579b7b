"""Gate weights: how far each stays from 1/K, which is less than a line's width on an axis from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from abn.app.figures.style import DMB_COLOUR, NEUTRAL_COLOUR, annotation, axis, new_figure, plain, signed, subscript
from abn.app.figures.words import percentile_words
from abn.interpret.reference.statistics import entropy_share

THOUSANDTHS = 1000.0
ROW_HEIGHT = 18  # pixels


def gate_weights(
    names: Sequence[str],
    weights: np.ndarray,
    mean: np.ndarray | None = None,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    percentile: np.ndarray | None = None,
    colour: str = DMB_COLOUR,
) -> go.Figure:
    """Blocks × K gate weights as distances from 1/K, in thousandths, beside the reference statistics of each.

    Args:
        names: (blocks,).
        weights: (blocks, K) ``α``, rows that sum to 1.
        mean: (blocks, K) over the data set, or None.
        low: (blocks, K) 5 % quantile over the data set, or None.
        high: (blocks, K) 95 % quantile, or None.
        percentile: (blocks, K) 0…100, where each weight stands among all images, or None.
        colour: the network's.

    Raises:
        ValueError: for shapes that do not agree.
    """
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 2 or len(weights) != len(names) or weights.size == 0:
        raise ValueError(f"weights have shape {weights.shape}; expected ({len(names)}, K), a row for each block")
    statistics = {"mean": mean, "low": low, "high": high, "percentile": percentile}
    for field, array in statistics.items():
        if array is not None and np.shape(array) != weights.shape:
            raise ValueError(f"{field} has shape {np.shape(array)}; expected {weights.shape}")

    num_blocks, k = weights.shape
    # A block takes a line for its heading and one for each weight.
    y = (np.arange(num_blocks)[:, None] * (k + 1) + 1 + np.arange(k)).ravel()
    figure = new_figure("gate_weights", height=num_blocks * (k + 1) * ROW_HEIGHT + 110)
    if low is not None and high is not None:
        figure.add_bar(
            x=_thousandths(np.asarray(high) - low),
            base=_thousandths(np.asarray(low) - 1 / k),
            y=y,
            orientation="h",
            width=0.8,
            marker={"color": "rgba(128,128,128,0.4)", "line": {"width": 0}},
            hoverinfo="skip",
            name="usual (5th to 95th percentile)",
        )
    if mean is not None:
        figure.add_scatter(
            x=_thousandths(np.asarray(mean) - 1 / k),
            y=y,
            mode="markers",
            marker={"symbol": "line-ns", "size": 12, "line": {"width": 2, "color": NEUTRAL_COLOUR}},
            hoverinfo="skip",
            name="data set's mean",
        )
    distance = _thousandths(weights - 1 / k)
    stem_x = np.stack([np.zeros_like(distance), distance, np.full_like(distance, np.nan)], axis=1).ravel()
    figure.add_scatter(
        x=stem_x,
        y=np.repeat(y, 3),
        mode="lines",
        line={"color": colour, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=distance,
        y=y,
        mode="markers",
        marker={"color": colour, "size": 9},
        name="this picture",
        text=_hover_texts(names, weights, statistics),
        hovertemplate="%{text}<extra></extra>",
    )
    headings = [
        f"<b>{plain(name)}</b>  " + (f"entropy {100 * share:.3f} % of log {k}" if k > 1 else "one vector: no choice")
        for name, share in zip(names, entropy_share(weights), strict=True)
    ]
    figure.update_layout(
        annotations=[
            annotation(heading, x=0, xanchor="left", yref="y", y=index * (k + 1))
            for index, heading in enumerate(headings)
        ],
        margin={"b": 84},
        hovermode="y",
        showlegend=True,
        xaxis=axis(f"α − 1/{k}, in thousandths", zeroline=True, zerolinewidth=1),
        yaxis=axis(
            None,
            tickvals=y,
            ticktext=[f"α{subscript(i)}" for i in range(k)] * num_blocks,
            range=[num_blocks * (k + 1) - 0.4, -0.7],
            showgrid=False,
            zeroline=False,
        ),
    )
    return figure


def _thousandths(distance: np.ndarray) -> np.ndarray:
    return (THOUSANDTHS * np.asarray(distance, np.float64)).ravel().astype(np.float32)


def _hover_texts(names: Sequence[str], weights: np.ndarray, statistics: dict[str, np.ndarray | None]) -> list[str]:
    k = weights.shape[1]
    texts = []
    for (block, index), weight in np.ndenumerate(weights):
        here = {field: None if array is None else array[block][index] for field, array in statistics.items()}
        text = f"<b>{plain(names[block])} α{subscript(index)} = {weight:.5f}</b>"
        text += f"<br>1/{k} {signed(THOUSANDTHS * (weight - 1 / k), '.2f')} thousandths"
        if here["mean"] is not None:
            text += f"<br>mean {here['mean']:.5f}"
        if here["low"] is not None and here["high"] is not None:
            text += f"<br>usual {here['low']:.5f} to {here['high']:.5f} (5–95 %)"
        if here["percentile"] is not None:
            text += f"<br>{percentile_words(here['percentile'])}"
        texts.append(text)
    return texts
