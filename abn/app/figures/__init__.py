"""Arrays and names in, plotly `Figure` out: every picture the page draws.

Nothing here knows torch or Gradio. Every figure has a fixed height and follows the width of its place, a
transparent background, text that the page may recolour, and `layout.meta["kind"]`, which says what it
shows. One colour stands for one network everywhere, one diverging map for every signed quantity.
"""

from __future__ import annotations

from abn.app.figures.audit import frozen_conditions, variance_parts
from abn.app.figures.blocks import BlockFactors
from abn.app.figures.distributions import response_distributions
from abn.app.figures.factors import factor_heatmap
from abn.app.figures.gates import gate_weights
from abn.app.figures.maps import attribution_map, attribution_strip, shared_limit
from abn.app.figures.regions import Region, regions
from abn.app.figures.results import ARM_STYLES, ArmRuns, contrast_intervals, learning_curves, seed_points
from abn.app.figures.style import BASELINE_COLOUR, DMB_COLOUR
from abn.app.figures.sums import channel_sum
from abn.app.figures.words import UnusualChannel, every_channel, sentence_of_unusual, unusual_channels

__all__ = [
    "ARM_STYLES",
    "BASELINE_COLOUR",
    "DMB_COLOUR",
    "ArmRuns",
    "BlockFactors",
    "Region",
    "UnusualChannel",
    "attribution_map",
    "attribution_strip",
    "channel_sum",
    "contrast_intervals",
    "every_channel",
    "factor_heatmap",
    "frozen_conditions",
    "gate_weights",
    "learning_curves",
    "regions",
    "response_distributions",
    "seed_points",
    "sentence_of_unusual",
    "shared_limit",
    "unusual_channels",
    "variance_parts",
]
