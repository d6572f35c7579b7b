"""Reference statistics of a checkpoint over a data set: distributions, and where a value stands in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TAIL = (*range(10), *range(10, 100, 10))  # hundredths of a percent
LEVELS = np.array([*_TAIL, *range(100, 9_901, 100), *(10_000 - step for step in reversed(_TAIL))]) / 100
"""At which quantiles are kept, in percent, ascending: every percent, and in the first and the last one every 0.1 and
at their ends every 0.01, so that of 10,000 images the most extreme are told apart one by one."""
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
        quantiles: (L, C) at `LEVELS`, ascending.
        class_mean: (num_classes, C) over the images whose true class it is.
        class_sd: (num_classes, C).
        class_quantiles: (num_classes, L, C).
    """

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    class_mean: np.ndarray
    class_sd: np.ndarray
    class_quantiles: np.ndarray

    def quantile(self, percent: float) -> np.ndarray:
        """(C,) the value below which `percent` of the images lie; one of `LEVELS`.

        Raises:
            ValueError: for a percentage at which no quantile is kept.
        """
        (found,) = np.nonzero(percent == LEVELS)
        if not len(found):
            raise ValueError(f"no quantile is kept at {percent} %; there are those at {', '.join(map(str, LEVELS))}")
        return self.quantiles[found[0]]

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
        last = len(LEVELS) - 1
        lower, upper = np.clip(below - 1, 0, last), np.clip(below, 0, last)
        channels = np.arange(values.shape[-1])
        low, high = quantiles[lower, channels], quantiles[upper, channels]
        step = np.where(high > low, high - low, 1)
        between = LEVELS[lower] + np.clip((values - low) / step, 0, 1) * (LEVELS[upper] - LEVELS[lower])
        shared = (LEVELS[upper] + LEVELS[np.clip(reached - 1, 0, last)]) / 2
        ranks = np.where(reached > below, shared, between)
        ranks = np.where(below > last, 100.0, ranks)
        return np.where(np.isnan(values), np.nan, ranks)

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
        own_share: (L,) float32 quantiles at `LEVELS` of the images' `own_share`; None where a block has no factors.
        dataset_note: what the images are, and what to know of them.
    """

    weights_sha256: str
    num_images: int
    class_names: tuple[str, ...]
    blocks: dict[str, BlockReference]
    own_share: np.ndarray | None = None
    dataset_note: str = ""

    @property
    def median_own_share(self) -> float | None:
        """In [0, 1], of the image in the middle; None where a block has no factors."""
        return None if self.own_share is None else float(self.own_share[len(LEVELS) // 2])


def own_share(factors: np.ndarray, means: np.ndarray) -> np.ndarray:
    """How much of an image's modulation is its own, and not what every image gets: a share of squares.

    An image's factors f lie away from 1, which changes nothing, by ``f - 1 = (μ - 1) + (f - μ)``, with μ the data
    set's mean. Summed over the channels, the two steps have the squared lengths ``common = Σ (μ - 1)²``, the same
    for every image, and ``own = Σ (f - μ)²``. The share is ``own / (common + own)``, and that of the common part is
    the rest: the two add up to 1. Of one image the squared length of both steps together differs from
    ``common + own`` by the cross term ``2 Σ (μ - 1)(f - μ)``. Its mean over the data set is 0, so that there
    ``mean of Σ (f - 1)² = common + mean of own`` holds exactly.

    Args:
        factors: (..., C) over the channels of all blocks.
        means: (C,) over the data set.

    Returns:
        (...) in [0, 1], float64; 0 where nothing is modulated at all.
    """
    means = np.asarray(means, np.float64)
    own = ((np.asarray(factors, np.float64) - means) ** 2).sum(axis=-1)
    total = ((means - 1) ** 2).sum() + own
    return np.divide(own, total, out=np.zeros_like(total), where=total > 0)


def entropy_share(weights: np.ndarray) -> np.ndarray:
    """(..., K) gate weights → (...) entropy as a share of log K: 1 for equal weights, 0 for one alone."""
    weights = np.asarray(weights, np.float64)
    if weights.shape[-1] == 1:
        return np.ones(weights.shape[:-1])
    logs = np.log(np.where(weights > 0, weights, 1.0))
    return -(weights * logs).sum(axis=-1) / np.log(weights.shape[-1])
