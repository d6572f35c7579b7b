"""One attribution method on both networks, for the same picture and target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from abn.interpret.attribution.attribute import Attribution


@dataclass(frozen=True, eq=False)
class AttributionPair:
    """One method on both networks.

    Attributes:
        target: in words, e.g. "ship" or "ship against truck".
        baseline, dmb: for one image.
        classes: the target's names alone: ("ship",) or ("ship", "truck").
    """

    method: str
    target: str
    baseline: Attribution
    dmb: Attribution
    classes: tuple[str, ...] = ()

    @cached_property
    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Two (H, W) signed maps, summed over the colours."""
        return tuple(a.pixel_map()[0].cpu().numpy() for a in (self.baseline, self.dmb))

    def as_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "target": self.target,
            **{
                side: {
                    "map": pixel_map.tolist(),
                    "resolution": list(attribution.resolution),
                    "convergence_delta": _first(attribution.convergence_delta),
                    "problem": attribution.problems[0],
                }
                for side, attribution, pixel_map in zip(
                    ("baseline", "dmb"), (self.baseline, self.dmb), self.maps, strict=True
                )
            },
        }


def pair_of_each(
    method: str, classes: tuple[str, ...], baseline: Attribution, dmb: Attribution
) -> list[AttributionPair]:
    """Split the attributions of N images into N pairs."""
    target = " against ".join(classes)
    halves = zip(_each(baseline), _each(dmb), strict=True)
    return [AttributionPair(method, target, first, second, classes) for first, second in halves]


def _each(attribution: Attribution) -> Sequence[Attribution]:
    delta = attribution.convergence_delta
    return [
        Attribution(
            attribution.values[i : i + 1],
            attribution.method,
            attribution.resolution,
            None if delta is None else delta[i : i + 1],
            attribution.problems[i : i + 1],
            attribution.options,
        )
        for i in range(len(attribution.values))
    ]


def _first(values: Tensor | None) -> float | None:
    return None if values is None else values[0].item()
