"""Reference statistics of a checkpoint over a data set: distributions, and where a value stands in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

QUANTILES = 101  # at 0, 1, … 100 %
RESOLUTION = 1e-6
"""Factors and gate weights that differ by less are one number: float32 steps by 1.2e-7 at 1, and another
batch size or device sums in another order."""


@dataclass(frozen=True)
class Statistics:
    """How C values (a block's factors, or its gate weights) are distributed over the images.

    All arrays are float32. Standard deviations divide by the number of images.

    Attributes:
        mean: (C,).
        sd: (C,) standard deviation, in the values' own unit.
        quantiles: (101, C) at 0, 1, … 100 %, ascending.
        class_mean: (num_classes, C) over the images whose true class it is.
        class_sd: (num_classes, C).
        class_quantiles: (num_classes, 101, C).
    """

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    class_mean: np.ndarray
    class_sd: np.ndarray
    class_quantiles: np.ndarray

    def percentile(self, values: np.ndarray, class_index: int | None = None) -> np.ndarray:
        """What share of the images has lower values, in percent.

        Interpolated between the quantiles. A value that many images share has the middle of their
        ranks, so 50 for a channel that never varies; one below every image has 0, one above 100.

        Args:
            values: (..., C).
            class_index: compare with the images of this true class alone.

        Returns:
            (..., C) in [0, 100]; NaN where the value is.

        Raises:
            ValueError: for values of another length, or a class that does not exist.
        """
        values = self._require_channels(values)
        quantiles = self.quantiles if class_index is None else self.class_quantiles[self._class(class_index)]
        flat = quantiles[-1] - quantiles[0] < RESOLUTION
        values = np.where(flat & (np.abs(values - quantiles[0]) < RESOLUTION), quantiles[0], values)

        # Among the quantiles of its channel, a value has `below` smaller ones and `reached` smaller or equal.
        below = (quantiles < values[..., None, :]).sum(axis=-2)
        reached = (quantiles <= values[..., None, :]).sum(axis=-2)
        last = QUANTILES - 1
        lower, upper = np.clip(below - 1, 0, last), np.clip(below, 0, last)
        channels = np.arange(values.shape[-1])
        low, high = quantiles[lower, channels], quantiles[upper, channels]
        step = np.where(high > low, high - low, 1)
        between = lower + np.clip((values - low) / step, 0, 1)
        ranks = np.where(reached > below, (below + reached - 1) / 2, between)
        ranks = np.where(below > last, last, ranks)
        return np.where(np.isnan(values), np.nan, ranks * (100 / last))

    def _require_channels(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim == 0 or values.shape[-1] != len(self.mean):
            raise ValueError(f"values have shape {values.shape}; expected (..., {len(self.mean)})")
        return values

    def _class(self, class_index: int) -> int:
        if not 0 <= class_index < len(self.class_mean):
            raise ValueError(f"class_index is {class_index}; expected 0 to {len(self.class_mean) - 1}")
        return class_index


@dataclass(frozen=True)
class BlockReference:
    """Reference statistics of one block.

    Attributes:
        factors: of C channels; None for a static block, which modulates nothing.
        gates: of K gate weights; None for a block that has none.
        response_mean: (C,) float32, of the second convolution's mean output before the factors.
        response_sd: (C,) float32, over the images.
    """

    factors: Statistics | None
    gates: Statistics | None
    response_mean: np.ndarray
    response_sd: np.ndarray


@dataclass(frozen=True)
class Reference:
    """Reference statistics of a checkpoint.

    Attributes:
        weights_sha256: hash of the weights that were measured.
        num_images: how many images were measured.
        class_names: rows of the per-class statistics.
        blocks: by block name, in the order of computation.
        dataset_note: what the images are, and what to know of them.
    """

    weights_sha256: str
    num_images: int
    class_names: tuple[str, ...]
    blocks: dict[str, BlockReference]
    dataset_note: str = ""


def entropy_share(weights: np.ndarray) -> np.ndarray:
    """(..., K) gate weights → (...) entropy as a share of log K: 1 for equal weights, 0 for one alone."""
    weights = np.asarray(weights, np.float64)
    if weights.shape[-1] == 1:
        return np.ones(weights.shape[:-1])
    logs = np.log(np.where(weights > 0, weights, 1.0))
    return -(weights * logs).sum(axis=-1) / np.log(weights.shape[-1])
