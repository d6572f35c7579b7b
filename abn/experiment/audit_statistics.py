"""The audit's figures, from arrays alone; every one computed in float64.

Axes: N images, C channels, K bias vectors. Variances and standard deviations divide by the number of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from abn.interpret.reference.statistics import entropy_share

CONFIDENCE = 0.95
INTERVAL = "95 %, adjusted Wald for paired proportions (Bonett & Price 2012)"


@dataclass(frozen=True)
class VarianceSplit:
    """The law of total variance, for every channel: ``variance = between + within``.

    Attributes:
        mean: (C,) over all images.
        between: (C,) variance of the classes' means, each weighted by its share of the images.
        within: (C,) mean of the classes' own variances, weighted alike.
    """

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """(C,) over all images."""
        return self.between + self.within

    @property
    def relative_sd(self) -> np.ndarray:
        """(C,) standard deviation over mean, as bn2 absorbs a constant factor; 0 where the mean is 0."""
        return np.divide(self.variance**0.5, self.mean, out=np.zeros_like(self.mean), where=self.mean != 0)


def variance_split(values: np.ndarray, labels: np.ndarray) -> VarianceSplit:
    """Split each channel's variance over N images into that between classes and that within them.

    Args:
        values: (N, C).
        labels: (N,) classes.
    """
    values = np.asarray(values, np.float64)
    mean = values.mean(axis=0)
    between, within = np.zeros_like(mean), np.zeros_like(mean)
    for label in np.unique(labels):
        of_class = values[labels == label]
        share = len(of_class) / len(values)
        between += share * (of_class.mean(axis=0) - mean) ** 2
        within += share * of_class.var(axis=0)
    return VarianceSplit(mean, between, within)


def entropy(gates: np.ndarray) -> float:
    """Mean entropy of gate weights (N, K), as a share of the largest possible, log K: in [0, 1].

    1 for one vector alone: its weight is 1 = 1/K, as uniform weights are.
    """
    return float(entropy_share(gates).mean())


def choice(mean_gates: np.ndarray, mean_entropy: float) -> float:
    """How much the gates differ between images: entropy of the mean weights minus their mean entropy, over log K.

    The mutual information of image and vector, in [0, 1]; 0 for gates that are the same for every image, if peaked.

    Args:
        mean_gates: (K,) over the images.
        mean_entropy: as `entropy` has it.
    """
    if len(mean_gates) == 1:
        return 0.0
    return max(0.0, entropy(np.asarray(mean_gates)[None]) - mean_entropy)


def leads(gates: np.ndarray) -> np.ndarray:
    """(K,) share of the images in which each bias vector has the largest weight; those that tie share the image."""
    first = gates == gates.max(axis=1, keepdims=True)
    return (first / first.sum(axis=1, keepdims=True)).mean(axis=0)


def bank_share(linear_term: np.ndarray, bias_term: np.ndarray) -> float:
    """Mean over images and channels of ``|B α| / (|W c| + |B α|)``: in [0, 1], 0 where both are 0.

    Args:
        linear_term: (N, C) ``W c``.
        bias_term: (N, C) ``B α``.
    """
    return float(_share(np.abs(np.asarray(bias_term, np.float64)), np.abs(np.asarray(linear_term, np.float64))))


def bank_variation(linear_term: np.ndarray, bias_term: np.ndarray) -> float:
    """The same share of what varies: standard deviations over the images in place of magnitudes, mean over channels.

    A bank that gives every image the same has none of it, however large it is.
    """
    bank, linear = (np.asarray(term, np.float64).std(axis=0) for term in (bias_term, linear_term))
    return float(_share(bank, linear))


def _share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
    whole = part + rest
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0).mean()


@dataclass(frozen=True)
class Difference:
    """An accuracy minus another on the same images, in points, with its 95 % interval."""

    difference: float
    low: float
    high: float


def paired_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Accuracy of `first` minus that of `second`, paired image by image.

    The interval is the adjusted Wald interval for paired proportions (Bonett & Price 2012): one image is added to
    each of the two kinds on which the two differ. It has a width also where they differ on none.

    Args:
        first: (N,) bool, whether each image was classified correctly; `second` likewise.
    """
    n = len(first)
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    p, q = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    # Near ±100 points the interval would reach beyond what a difference of accuracies can be.
    low, high = max(-100.0, 100 * (p - q - reach)), min(100.0, 100 * (p - q + reach))
    return Difference(100 * (gained - lost) / n, low, high)
