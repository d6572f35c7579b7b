"""Numbers as the benchmarks' sentences and tables have them."""

from __future__ import annotations

from collections.abc import Sequence

from abn.common.texts import percentage


def signed(points: float) -> str:
    """Two decimals with a sign, also of 0, and a true minus."""
    return f"{points:+.2f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Both ends with two decimals, and with more where rounding would put an end on 0 that is not there."""
    digits = next(digits for digits in range(2, 17) if all(round(end, digits) or not end for end in (low, high)))
    return f"{low:+.{digits}f} to {high:+.{digits}f}".replace("-", "−")


def percentages(shares: Sequence[float]) -> str:
    """The smallest and the largest of some shares in [0, 1], in percent, or the one that all are."""
    low, high = percentage(min(shares)), percentage(max(shares))
    return low if low == high else f"{low} to {high}"
