"""The audit's figures: how much of the factors' variance lies between classes, and what freezing them costs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from abn.app.figures.style import BASELINE_COLOUR, DMB_COLOUR, axis, new_figure, plain, signed

# Differences of hundredths of a point and of eighty points stand in one figure: proportional up to about this many
# points, logarithmic beyond.
STRETCH = 0.1
FINE_TICKS, COARSE_TICKS = (0.1, 1.0), (1.0, 10.0, 100.0)


def variance_parts(names: Sequence[str], between: Sequence[float], within: Sequence[float]) -> go.Figure:
    """A bar a block: the variance between the classes, and on it the variance within them.

    Args:
        between, within: (blocks,) parts of a factor's variance, mean over a block's channels.

    Raises:
        ValueError: for arguments of different lengths.
    """
    parts = np.array([between, within], np.float64)
    if parts.shape != (2, len(names)):
        raise ValueError(f"the variances have shape {parts.shape}; expected (2, {len(names)}), one a block and part")
    total = parts.sum(axis=0)
    share = np.divide(100 * parts, total, out=np.zeros_like(parts), where=total > 0)
    figure = new_figure("variance_parts", height=34 * len(names) + 120)
    for part, shares, name, colour in zip(
        parts, share, ("between classes", "within classes"), (DMB_COLOUR, "rgba(128,128,128,0.6)"), strict=True
    ):
        figure.add_bar(
            x=part, y=list(range(len(names))), orientation="h", width=0.7, name=name,
            marker={"color": colour, "line": {"width": 0}},
            text=[
                f"<b>{plain(block)}</b>, {name}<br>variance {value:.3g}, {percent:.1f} % of all"
                for block, value, percent in zip(names, part, shares, strict=True)
            ],
            textposition="none", hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="stack",
        margin={"b": 92},
        showlegend=True,
        legend={"traceorder": "normal"},
        xaxis=axis("variance of a factor, mean over channels", zeroline=True, exponentformat="power", nticks=5),
        yaxis=axis(
            None, tickvals=list(range(len(names))), ticktext=[plain(name) for name in names],
            range=[len(names) - 0.5, -0.5], showgrid=False, zeroline=False,
        ),
    )  # fmt: skip
    return figure


def frozen_conditions(labels: Sequence[str], trained: np.ndarray, reestimated: np.ndarray) -> go.Figure:
    """A row a condition: what its frozen factors cost, with a 95 % interval, by both kinds of bn2 statistics.

    Args:
        trained: (conditions, 4): accuracy in percent, then free minus frozen in points, the low and the high end of
            its interval; with bn2's statistics as trained.
        reestimated: the same with re-estimated ones; a row of NaN where there are none.

    Raises:
        ValueError: for arrays of another shape.
    """
    values = np.array([trained, reestimated], np.float64)
    if values.shape != (2, len(labels), 4):
        raise ValueError(f"the conditions have shape {values.shape[1:]}; expected ({len(labels)}, 4)")
    figure = new_figure("frozen_conditions", height=52 * len(labels) + 140)
    looks = (("bn2 as trained", DMB_COLOUR, "circle", -0.15), ("bn2 re-estimated", BASELINE_COLOUR, "diamond", 0.15))
    for rows, (name, colour, symbol, offset) in zip(values, looks, strict=True):
        known = np.flatnonzero(np.isfinite(rows).all(axis=1))
        accuracy, difference, low, high = rows[known].T
        at = _stretched(difference)
        figure.add_scatter(
            x=at, y=known + offset, mode="markers", name=name,
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x={
                "array": _stretched(high) - at, "arrayminus": at - _stretched(low), "color": colour, "thickness": 2,
                "width": 4,
            },
            text=[
                f"<b>{plain(labels[row])}</b>, {name}<br>accuracy {percent:.2f} %<br>free − frozen "
                f"{signed(lost, '.2f')} points<br>95 % interval {signed(a, '.2f')} to {signed(b, '.2f')}"
                for row, percent, lost, a, b in zip(known, accuracy, difference, low, high, strict=True)
            ],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    coarse = np.nanmax(np.abs(values[:, :, 1:]), initial=0.0) > 5
    above = COARSE_TICKS if coarse else FINE_TICKS  # on a narrow page there is no room for both
    ticks = [-tick for tick in reversed(above)] + [0.0, *above]
    figure.update_layout(
        margin={"b": 116},
        showlegend=True,
        xaxis=axis(
            "free − frozen, in points<br>(stretched about 0)", tickvals=_stretched(np.array(ticks)),
            ticktext=[signed(tick) for tick in ticks], zeroline=True, zerolinewidth=2, tickangle=0,
        ),
        yaxis=axis(
            None, tickvals=list(range(len(labels))), range=[len(labels) - 0.5, -0.5], zeroline=False,
            ticktext=["<br>".join(textwrap.wrap(plain(label), 18)) for label in labels],
        ),
    )  # fmt: skip
    return figure


def _stretched(points: np.ndarray) -> np.ndarray:
    return np.arcsinh(points / STRETCH)
