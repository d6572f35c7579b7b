"""Each block's responses as distributions of several networks, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from abn.app.figures.style import NETWORK_COLOURS, axis, new_figure, plain

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def response_distributions(
    names: Sequence[str],
    responses: Mapping[str, Sequence[np.ndarray]],
    colours: Sequence[str] = NETWORK_COLOURS,
) -> go.Figure:
    """A box a block and network over its channels' mean responses.

    Channels of networks that were trained apart do not correspond, so nothing is subtracted.

    Args:
        names: (blocks,).
        responses: network → for every block (C,) mean outputs of the second convolution, before the factors.
        colours: one a network, in the mapping's order.

    Raises:
        ValueError: for a network with another number of blocks, or more networks than colours.
    """
    if len(responses) > len(colours):
        raise ValueError(f"there are {len(responses)} networks and {len(colours)} colours; expected one a network")
    for network, blocks in responses.items():
        if len(blocks) != len(names):
            raise ValueError(f"{network} has responses of {len(blocks)} blocks; expected {len(names)}")
    lane = 0.8 / max(1, len(responses))
    figure = new_figure("response_distributions", height=len(names) * (14 + 22 * max(1, len(responses))) + 120)
    for index, (network, blocks) in enumerate(responses.items()):
        offset = (index - (len(responses) - 1) / 2) * lane
        _add_boxes(figure, network, names, [_finite(block) for block in blocks], offset, 0.8 * lane, colours[index])
    figure.update_layout(
        margin={"b": 92},
        hovermode="y",
        showlegend=True,
        xaxis=axis("mean response of a channel<br>(before its factor, no unit)", zeroline=True),
        yaxis=axis(
            None,
            tickvals=list(range(len(names))),
            ticktext=[plain(name) for name in names],
            range=[len(names) - 0.5, -0.5],
            showgrid=False,
            zeroline=False,
        ),
    )
    return figure


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float32).ravel()
    return values[np.isfinite(values)]


def _add_boxes(
    figure: go.Figure,
    network: str,
    names: Sequence[str],
    blocks: Sequence[np.ndarray],
    offset: float,
    width: float,
    colour: str,
) -> None:
    label = plain(network)
    figure.add_box(
        x=np.concatenate([*blocks, np.empty(0, np.float32)]),
        y=np.repeat(np.arange(len(blocks)) + np.float32(offset), [len(block) for block in blocks]),
        orientation="h",
        width=width,
        boxpoints="outliers",
        marker={"color": colour, "size": 3},
        line={"color": colour, "width": 1.5},
        name=label,
        hoverinfo="skip",
    )
    # Plotly's own box labels carry no units; an unseen point at each median says the same in words.
    known = [index for index, block in enumerate(blocks) if len(block)]
    quantiles = np.array([np.quantile(blocks[index], QUANTILES) for index in known]).reshape(-1, len(QUANTILES))
    figure.add_scatter(
        x=quantiles[:, 2],
        y=[index + offset for index in known],
        mode="markers",
        marker={"color": colour, "size": 12, "opacity": 0},
        showlegend=False,
        customdata=[
            [plain(names[index]), len(blocks[index]), *(float(f"{q:.4g}") for q in row)]
            for index, row in zip(known, quantiles, strict=True)
        ],
        hovertemplate=f"<b>{label} %{{customdata[0]}}</b>, %{{customdata[1]}} channels"
        "<br>median response %{customdata[4]:.3g}"
        "<br>half of them %{customdata[3]:.3g} to %{customdata[5]:.3g}"
        "<br>90 % %{customdata[2]:.3g} to %{customdata[6]:.3g}<extra></extra>",
    )
