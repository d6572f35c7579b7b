"""Arrays and names in, plotly `Figure` out: every picture the page draws of what the networks did.

Nothing here knows torch or Gradio. Every figure has a fixed height and follows the width of its place, a
transparent background, text that the page may recolour, and `layout.meta["kind"]`, which says what it
shows. One colour stands for one network everywhere, one diverging map for every signed quantity.
"""

from __future__ import annotations

from abn.figures.blocks import BlockFactors
from abn.figures.distributions import response_distributions
from abn.figures.factors import factor_heatmap
from abn.figures.gates import entropy_share, gate_weights
from abn.figures.maps import attribution_map, attribution_strip, shared_limit
from abn.figures.regions import Region, regions
from abn.figures.style import BASELINE_COLOUR, DMB_COLOUR
from abn.figures.sums import channel_sum
from abn.figures.words import UnusualChannel, sentence_of_unusual, unusual_channels

__all__ = [
    "BASELINE_COLOUR",
    "DMB_COLOUR",
    "BlockFactors",
    "Region",
    "UnusualChannel",
    "attribution_map",
    "attribution_strip",
    "channel_sum",
    "entropy_share",
    "factor_heatmap",
    "gate_weights",
    "regions",
    "response_distributions",
    "sentence_of_unusual",
    "shared_limit",
    "unusual_channels",
]
