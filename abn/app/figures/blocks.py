"""One block's factors for one picture, beside the reference statistics of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from abn.interpret.reference.statistics import RESOLUTION

# Below this a standard deviation of factors is float32 rounding, and dividing by it makes noise look unusual.
SMALLEST_SD = RESOLUTION


@dataclass(frozen=True)
class BlockFactors:
    """One block's factors for one picture, and each channel's reference statistics.

    Attributes:
        name: the block, e.g. "layer2.0".
        factors: (C,) in (0, 2).
        mean: (C,) over the data set, or None where there is no reference.
        sd: (C,) standard deviation over the data set, or None.
        percentile: (C,) 0…100, where each factor stands among all images, or None.
        class_percentile: (C,) the same among the images of `class_name`, or None.
        class_name: the class `class_percentile` is about.

    Raises:
        ValueError: for arrays that are not one-dimensional and equally long, or a percentile of no class.
    """

    name: str
    factors: np.ndarray
    mean: np.ndarray | None = None
    sd: np.ndarray | None = None
    percentile: np.ndarray | None = None
    class_percentile: np.ndarray | None = None
    class_name: str | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.factors)
        if len(shape) != 1 or shape[0] == 0:
            raise ValueError(f"{self.name}: factors have shape {shape}; expected one number a channel, (C,)")
        for field in ("mean", "sd", "percentile", "class_percentile"):
            array = getattr(self, field)
            if array is not None and np.shape(array) != shape:
                raise ValueError(f"{self.name}: {field} has shape {np.shape(array)}; expected {shape}")
        if self.class_percentile is not None and self.class_name is None:
            raise ValueError(f"{self.name}: class_percentile is given without the class_name it is about")

    @cached_property
    def deviation(self) -> np.ndarray:
        """(C,) float32, (factor − mean) / sd.

        Where a channel does not vary over the data set: 0 if the factor is the mean, else NaN.
        """
        self.require("mean", "sd")
        difference = np.asarray(self.factors, np.float64) - np.asarray(self.mean, np.float64)
        sd = np.asarray(self.sd, np.float64)
        varies = sd > SMALLEST_SD
        unvaried = np.where(np.abs(difference) <= 1e-6, 0.0, np.nan)
        return np.where(varies, difference / np.where(varies, sd, 1.0), unvaried).astype(np.float32)

    def require(self, *fields: str) -> None:
        """Raise ValueError that names the fields of the reference which are missing."""
        missing = [field for field in fields if getattr(self, field) is None]
        if missing:
            raise ValueError(
                f"{self.name} has no {' and no '.join(missing)} of the data set; "
                "only its raw factors can be shown without a reference"
            )
