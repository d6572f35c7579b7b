"""One picture's results as figures: what the page and an exported page draw alike."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from abn.app import figures
from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.results import BlockResult, NetworkResult, PictureResult
from abn.interpret.attribution.methods import METHODS


def block_factors(network: NetworkResult) -> list[figures.BlockFactors]:
    """The network's factors as the figures want them, compared with the class it predicts."""
    return [_one_block(block, network) for block in network.blocks]


def _one_block(block: BlockResult, network: NetworkResult) -> figures.BlockFactors:
    if block.reference is None or block.reference.factors is None:
        return figures.BlockFactors(block.name, block.factors)
    statistics = block.reference.factors
    return figures.BlockFactors(
        block.name,
        block.factors,
        mean=statistics.mean,
        sd=statistics.sd,
        percentile=statistics.percentile(block.factors),
        class_percentile=statistics.percentile(block.factors, network.predicted),
        class_name=network.predicted_name,
    )


def gate_weights(network: NetworkResult, side: str = "dmb") -> go.Figure:
    """The gate weights of a modulated network's blocks, beside the reference statistics where there are any.

    Args:
        side: "baseline" or "dmb", which has a colour of its own.

    Raises:
        ValueError: for a network without gates.
    """
    blocks = [block for block in network.blocks if block.has_bank]
    if not blocks:
        raise ValueError(f"{network.label} has no bank of biases, so no gate weights")
    weights = np.stack([block.gate_weights for block in blocks])
    names = [block.name for block in blocks]
    colour = figures.BASELINE_COLOUR if side == "baseline" else figures.DMB_COLOUR
    if not network.has_reference:
        return figures.gate_weights(names, weights, colour=colour)
    statistics = [block.reference.gates for block in blocks]
    return figures.gate_weights(
        names,
        weights,
        mean=np.stack([known.mean for known in statistics]),
        low=np.stack([known.quantile(5) for known in statistics]),
        high=np.stack([known.quantile(95) for known in statistics]),
        percentile=np.stack([known.percentile(row) for known, row in zip(statistics, weights, strict=True)]),
        colour=colour,
    )


def attribution(
    result: PictureResult, pair: AttributionPair, opacity: float = 0.6
) -> tuple[go.Figure, go.Figure, go.Figure]:
    """A strip for each network and the difference of their maps, all on one scale.

    Args:
        opacity: 0…1, of the map over the picture.
    """
    unit = METHODS[pair.method].unit
    limit = figures.shared_limit(*pair.maps)
    labels = [network.label for network in result.networks]
    strips = [
        figures.attribution_strip(
            result.pixels, values, limit, opacity, network=label, unit=unit, blank=half.problems[0]
        )
        for label, values, half in zip(labels, pair.maps, (pair.baseline, pair.dmb), strict=True)
    ]
    title = difference_title(result)
    return *strips, figures.attribution_map(pair.maps[1] - pair.maps[0], limit, title=title, unit=unit)


def difference_title(result: PictureResult) -> str:
    """ "ResNet-DMB minus ResNet-S"."""
    return f"{result.dmb.label} minus {result.baseline.label}"


def responses(result: PictureResult) -> go.Figure | None:
    """Both networks' responses, block by block; None where their blocks have other names."""
    first, second = result.networks
    names = [block.name for block in first.blocks]
    if names != [block.name for block in second.blocks]:
        return None
    labels = [network.label for network in result.networks]
    if labels[0] == labels[1]:
        labels = [f"{labels[0]} (first)", f"{labels[1]} (second)"]
    return figures.response_distributions(
        names,
        {
            label: [block.response for block in network.blocks]
            for label, network in zip(labels, (first, second), strict=True)
        },
    )
