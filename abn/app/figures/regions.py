"""An attribution map in numbers: signed sums or means over a grid of regions, for those who do not see the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels.

    Attributes:
        rows, columns: (first, last), counted from the upper left corner.
        total: the signed sum of the map in it.
        share: of its absolute values among the whole map's, in [0, 1]; 0 where the map is blank.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    total: float
    share: float

    @property
    def pixels(self) -> int:
        return (self.rows[1] - self.rows[0] + 1) * (self.columns[1] - self.columns[0] + 1)

    def value(self, adds_up: bool) -> float:
        """The sum of its pixels' values, where they are shares of a whole; else their mean."""
        return self.total if adds_up else self.total / self.pixels


def regions(values: np.ndarray, grid: tuple[int, int] = (4, 4)) -> list[Region]:
    """The regions of a map, row by row, as equal in size as its size allows.

    Args:
        values: (H, W), signed; values that are not finite count as 0, a region of nothing else has a total of NaN.
        grid: regions down and across.

    Raises:
        ValueError: for values that are not (H, W), or a grid that is finer than the pixels.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"the map has shape {values.shape}; expected (H, W)")
    if not all(1 <= parts <= size for parts, size in zip(grid, values.shape, strict=True)):
        raise ValueError(f"the grid is {grid[0]} × {grid[1]}; expected 1 to {values.shape[0]} × {values.shape[1]}")
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    whole = np.abs(values).sum()
    found = []
    for rows in np.array_split(np.arange(values.shape[0]), grid[0]):
        for columns in np.array_split(np.arange(values.shape[1]), grid[1]):
            here = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            part = values[here]
            share = float(np.abs(part).sum() / whole) if whole else 0.0
            ends = [(int(line[0]), int(line[-1])) for line in (rows, columns)]
            found.append(Region(*ends, float(part.sum()) if known[here].any() else np.nan, share))
    return found
