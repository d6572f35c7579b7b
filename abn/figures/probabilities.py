"""The class probabilities of several networks as grouped bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from abn.figures.style import NETWORK_COLOURS, axis, new_figure, plain


def probability_bars(
    class_names: Sequence[str],
    probabilities: Mapping[str, np.ndarray],
    top: int = 5,
    target: int | None = None,
    colours: Sequence[str] = NETWORK_COLOURS,
) -> go.Figure:
    """The union of every network's `top` classes, the most probable first; ``customdata`` is the class index.

    Args:
        class_names: (n,).
        probabilities: network → (n,) raw softmax, 0…1.
        top: how many classes of each network to show, at least 1.
        target: index of the class that is explained, printed bold; None for none.
        colours: one a network, in the mapping's order.

    Raises:
        ValueError: for no networks, more networks than colours, another number of probabilities than classes,
            or a top below 1.
    """
    if not 0 < len(probabilities) <= len(colours):
        raise ValueError(f"there are {len(probabilities)} networks; expected 1 to {len(colours)}")
    if top < 1:
        raise ValueError(f"top is {top!r}; expected at least 1 class")
    arrays = {network: np.asarray(values, np.float64) for network, values in probabilities.items()}
    for network, values in arrays.items():
        if values.shape != (len(class_names),):
            raise ValueError(f"{network} has probabilities of shape {values.shape}; expected ({len(class_names)},)")
    shown = _union_of_top(list(arrays.values()), top)
    ticks = [plain(class_names[index]) for index in shown]
    figure = new_figure(
        "probability_bars", height=len(shown) * (12 + 20 * len(arrays)) + 90, classes=shown, target=target
    )
    for colour, (network, values) in zip(colours, arrays.items(), strict=False):
        percent = 100 * values[shown]
        figure.add_bar(
            x=percent,
            y=list(range(len(shown))),
            orientation="h",
            name=plain(network),
            marker={"color": colour, "line": {"width": 0}},
            text=[_percent(value) for value in percent],
            textposition="outside",
            textfont={"size": 12},
            cliponaxis=False,
            customdata=shown,
            hovertext=ticks,
            hovertemplate=f"<b>%{{hovertext}}</b>: %{{x:.3f}} %<br>raw softmax of {plain(network)}<extra></extra>",
        )
    figure.update_layout(
        margin={"b": 78},
        barmode="group",
        bargap=0.25,
        bargroupgap=0.08,
        showlegend=True,
        legend={"traceorder": "normal"},
        # Room beyond 100 for the number at a full bar's end.
        xaxis=axis("raw softmax probability, %", range=[0, 122], tickvals=[0, 25, 50, 75, 100], zeroline=True),
        yaxis=axis(
            None,
            tickvals=list(range(len(shown))),
            ticktext=[f"<b>{tick}</b>" if i == target else tick for i, tick in zip(shown, ticks, strict=True)],
            range=[len(shown) - 0.5, -0.5],
            showgrid=False,
            zeroline=False,
        ),
    )
    return figure


def _union_of_top(arrays: Sequence[np.ndarray], top: int) -> list[int]:
    """Indices that are among the `top` of any array, by their highest value; NaN counts as 0."""
    known = np.nan_to_num(np.stack(arrays))
    union = {int(index) for row in known for index in np.argsort(-row, kind="stable")[:top]}
    return sorted(union, key=lambda index: (-known[:, index].max(), index))


def _percent(value: float) -> str:
    if np.isnan(value):
        return "no number"
    return "< 0.1 %" if 0 < value < 0.1 else f"{value:.1f} %"
