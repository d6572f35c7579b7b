"""The exact sum behind one channel's factor: signed bars for every part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from abn.app.figures.style import (
    NEGATIVE_COLOUR,
    NEUTRAL_COLOUR,
    POSITIVE_COLOUR,
    axis,
    new_figure,
    note,
    plain,
    signed,
    subscript,
)


def channel_sum(
    block: str,
    channel: int,
    linear_term: float,
    bias_terms: Sequence[float] | np.ndarray,
    preactivation: float,
    factor: float,
    network_factor: float,
) -> go.Figure:
    """``(W c)_i + Σ_k α_k B_ik = m_i``, ``tanh m_i`` and ``f_i = 1 + tanh m_i`` as bars and numbers.

    An identity, not an attribution: it says how the number came about, not why the network answered so.

    Args:
        block: e.g. "layer3.0".
        channel: index i in [0, C).
        linear_term: ``(W c)_i``.
        bias_terms: (K,) ``α_k B_ik``, numbered from 0 as in the arrays.
        preactivation: ``m_i``, their sum.
        factor: ``1 + tanh m_i``, computed from the parts.
        network_factor: the factor the network used; the difference to `factor` is printed.

    Raises:
        ValueError: for bias terms that are not (K,).
    """
    terms = np.asarray(bias_terms, np.float64)
    if terms.ndim != 1:
        raise ValueError(f"bias_terms have shape {terms.shape}; expected one number a bias vector, (K,)")
    sum_names = ["W c", *(f"α{subscript(k)} B{subscript(k)}" for k in range(len(terms)))]
    names = [*sum_names, "<b>sum m</b>", "<b>tanh m</b>"]
    values = np.array([linear_term, *terms, preactivation, np.tanh(preactivation)], np.float64)
    colours = [POSITIVE_COLOUR if value > 0 else NEGATIVE_COLOUR for value in values]
    colours[-2:] = [NEUTRAL_COLOUR] * 2
    meaning = ["linear term", *(f"bias vector {k}, weighted by its gate" for k in range(len(terms)))]
    meaning += ["pre-activation: the sum of the bars above", "factor − 1"]

    figure = new_figure("channel_sum", height=28 * len(names) + 124, block=block, channel=channel)
    figure.add_bar(
        x=values,
        y=list(range(len(names))),
        orientation="h",
        marker={"color": colours, "line": {"width": 0}},
        width=0.7,
        text=[signed(value, ".4f") for value in values],
        textposition="outside",
        textfont={"size": 12},
        cliponaxis=False,
        customdata=[
            [name, signed(value, ".6f"), words] for name, value, words in zip(names, values, meaning, strict=True)
        ],
        hovertemplate="%{customdata[0]} = %{customdata[1]}<br>%{customdata[2]}<extra>"
        f"{plain(block)} channel {channel}</extra>",
    )
    figure.add_shape(
        type="line",
        xref="paper",
        x0=0,
        x1=1,
        y0=len(sum_names) - 0.5,
        y1=len(sum_names) - 0.5,
        line={"color": NEUTRAL_COLOUR, "width": 1},
    )
    figure.update_layout(
        margin={"t": 62},
        xaxis=axis("value (no unit)", range=_room_for_labels(values), zeroline=True),
        yaxis=axis(
            None,
            tickvals=list(range(len(names))),
            ticktext=names,
            range=[len(names) - 0.4, -0.6],
            showgrid=False,
            zeroline=False,
        ),
    )
    residual = factor - network_factor
    note(
        figure,
        f"f = 1 + tanh m = <b>{factor:.6f}</b><br>"
        f"network's own {network_factor:.6f}<br>residual {signed(residual, '.1e')}",
        x=0,
        y=1,
        xanchor="left",
        yanchor="bottom",
        align="left",
        yshift=6,
    )
    return figure


def _room_for_labels(values: np.ndarray) -> list[float]:
    """A range with zero in it and half as much again on each side that has bars, where the numbers stand."""
    finite = values[np.isfinite(values)]
    low, high = min(0.0, finite.min(initial=0.0)), max(0.0, finite.max(initial=0.0))
    span = (high - low) or 1.0
    return [low - (0.5 if low < 0 else 0.05) * span, high + (0.5 if high > 0 else 0.05) * span]
