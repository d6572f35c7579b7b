"""Channels in words: ordinals, the most unusual channels of a picture, and a sentence about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abn.app.figures.blocks import BlockFactors


@dataclass(frozen=True)
class UnusualChannel:
    """One channel of one picture, and its reference statistics.

    Attributes:
        block: the block's name.
        channel: index in [0, C).
        factor: in (0, 2).
        mean: the factor's mean over the data set.
        deviation: (factor − mean) / standard deviation over the data set.
        percentile: 0…100 among all images, or None where unknown.
        class_percentile: the same among the images of `class_name`, or None.
        class_name: the class that `class_percentile` is about, or None.
    """

    block: str
    channel: int
    factor: float
    mean: float
    deviation: float
    percentile: float | None
    class_percentile: float | None
    class_name: str | None


def ordinal(number: int) -> str:
    """92 → "92nd", 11 → "11th"."""
    suffixes = {1: "st", 2: "nd", 3: "rd"}
    suffix = "th" if abs(number) % 100 in (11, 12, 13) else suffixes.get(abs(number) % 10, "th")
    return f"{number}{suffix}"


def percentile_rank(percentile: float) -> str:
    """0…100 → "92nd percentile" or, in the tails, "0.09th percentile"; "lowest" and "highest" at the very ends."""
    if percentile <= 0:
        return "lowest"
    if percentile >= 100:
        return "highest"
    if 1 <= percentile <= 99:
        return f"{ordinal(round(percentile))} percentile"
    return f"{min(99.99, max(0.01, round(percentile, 2))):g}th percentile"


def percentile_words(
    percentile: float | None, class_percentile: float | None = None, class_name: str | None = None
) -> str:
    """E.g. "92nd percentile, 81st percentile among ship"; parts that are unknown are left out."""
    parts = []
    if percentile is not None and np.isfinite(percentile):
        rank = percentile_rank(percentile)
        parts.append(f"{rank} of all" if rank in ("lowest", "highest") else rank)
    if class_percentile is not None and np.isfinite(class_percentile):
        parts.append(f"{percentile_rank(class_percentile)} among {class_name}")
    return ", ".join(parts)


def unusual_channels(blocks: Sequence[BlockFactors], n: int = 10) -> list[UnusualChannel]:
    """The n channels whose factors lie furthest from the data set's mean, in standard deviations.

    Channels whose deviation is not defined (they do not vary over the data set) are left out, so there
    may be fewer than n.

    Raises:
        ValueError: for a block without `mean` and `sd`, or n below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n!r}; expected at least 1 channel")
    for block in blocks:
        block.require("mean", "sd")
    rows = [_row(block, int(channel)) for block in blocks for channel in np.flatnonzero(np.isfinite(block.deviation))]
    return sorted(rows, key=lambda row: -abs(row.deviation))[:n]


def every_channel(blocks: Sequence[BlockFactors]) -> list[UnusualChannel]:
    """All channels, as `unusual_channels` orders them; then those whose deviation is not defined.

    Raises:
        ValueError: for a block without `mean` and `sd`, or without channels.
    """
    compared = unusual_channels(blocks, n=sum(len(block.factors) for block in blocks))
    others = [np.flatnonzero(~np.isfinite(block.deviation)) for block in blocks]
    return compared + [_row(block, int(c)) for block, rest in zip(blocks, others, strict=True) for c in rest]


def sentence_of_unusual(rows: Sequence[UnusualChannel]) -> str:
    """What `unusual_channels` found, in two sentences of plain text."""
    if not rows:
        return "No channel's factor can be compared with the data set: none of them varies over it."
    first = rows[0]
    distance = f"{abs(first.deviation):.1f} standard deviations {'above' if first.deviation > 0 else 'below'}"
    if first.deviation == 0:
        distance = "at"
    ranks = percentile_words(first.percentile, first.class_percentile, first.class_name)
    sentence = (
        f"The most unusual factor is that of {first.block} channel {first.channel}: {first.factor:.4f}, "
        f"{distance} its mean of {first.mean:.4f} over the data set{f' ({ranks})' if ranks else ''}."
    )
    if len(rows) == 1:
        return sentence
    raised, lowered = (sum(sign * row.deviation > 0 for row in rows) for sign in (1, -1))
    block, count = Counter(row.block for row in rows).most_common(1)[0]
    return (
        f"{sentence} Of the {len(rows)} most unusual channels {raised} lie above their means and "
        f"{lowered} below; {count} of them {'is' if count == 1 else 'are'} in {block}."
    )


def _row(block: BlockFactors, channel: int) -> UnusualChannel:
    def value(array: np.ndarray | None) -> float | None:
        return None if array is None else float(array[channel])

    return UnusualChannel(
        block=block.name,
        channel=channel,
        factor=float(block.factors[channel]),
        mean=float(block.mean[channel]),
        deviation=float(block.deviation[channel]),
        percentile=value(block.percentile),
        class_percentile=value(block.class_percentile),
        class_name=block.class_name,
    )
