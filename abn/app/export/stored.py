"""What an export keeps of the reference `Statistics`: what is drawn for its own picture, under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from abn.app.inspector.results import BlockResult, PictureResult
from abn.interpret.reference.statistics import BlockReference, Statistics

LOW, HIGH = 5, 95
"""The quantiles, in percent, between which a value counts as usual."""


@dataclass(frozen=True, eq=False)
class StoredStatistics:
    """Where one picture's C values stand among the data set's.

    A `Statistics` of ten classes has eleven rows of quantiles a channel; a picture needs where it stands.

    Attributes:
        values: (C,) the picture's own.
        mean, sd: (C,) over the data set.
        quantiles: percent → (C,); only `LOW` and `HIGH`.
        own_percentile: (C,) of `values` among all images.
        class_index: the class that `own_class_percentile` is about.
        own_class_percentile: (C,) of `values` among the images of that class.
    """

    values: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    quantiles: Mapping[int, np.ndarray]
    own_percentile: np.ndarray
    class_index: int
    own_class_percentile: np.ndarray

    def quantile(self, percent: int) -> np.ndarray:
        """(C,) the value below which `LOW` or `HIGH` percent of the images lie."""
        return self.quantiles[percent]

    def percentile(self, values: np.ndarray, class_index: int | None = None) -> np.ndarray:
        """(C,) in [0, 100], as `Statistics.percentile`, for the picture's own values.

        Raises:
            ValueError: for other values, or another class than the one stored.
        """
        if not np.array_equal(values, self.values, equal_nan=True) or class_index not in (None, self.class_index):
            raise ValueError(
                "an export knows where its own picture's values stand among all images and among those of class "
                f"{self.class_index}, and nothing else; ask the checkpoint's reference"
            )
        return self.own_percentile if class_index is None else self.own_class_percentile


def store(statistics: Statistics | StoredStatistics, values: np.ndarray, class_index: int) -> StoredStatistics:
    """What to keep of `statistics` for a picture with these (C,) `values`."""
    return StoredStatistics(
        values,
        statistics.mean,
        statistics.sd,
        {percent: statistics.quantile(percent).copy() for percent in (LOW, HIGH)},  # no view: it keeps them all
        statistics.percentile(values),
        class_index,
        statistics.percentile(values, class_index),
    )


def without_network(result: PictureResult) -> PictureResult:
    """The same to draw and to write, and keeps nothing of its networks in memory but what an export would."""

    def kept(block: BlockResult, predicted: int) -> BlockResult:
        bank = None if block.bias_bank is None else block.bias_bank.copy()
        if block.reference is None:
            return replace(block, bias_bank=bank)
        parts = ((block.reference.factors, block.factors), (block.reference.gates, block.gate_weights))
        of_parts = (None if part is None else store(part, values, predicted) for part, values in parts)
        return replace(
            block,
            bias_bank=bank,
            reference=BlockReference(*of_parts, block.reference.response_mean, block.reference.response_sd),
        )

    networks = (
        replace(network, blocks=tuple(kept(block, network.predicted) for block in network.blocks))
        for network in result.networks
    )
    return PictureResult(result.pixels, *networks)


def arrays(stored: StoredStatistics) -> dict[str, np.ndarray]:
    """The arrays by the names that they have in every file."""
    return {
        "mean": stored.mean,
        "sd": stored.sd,
        "low": stored.quantiles[LOW],
        "high": stored.quantiles[HIGH],
        "percentile": stored.own_percentile,
        "percentile_in_class": stored.own_class_percentile,
    }
