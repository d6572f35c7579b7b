"""Numbers as the benchmarks' sentences and tables have them."""

from __future__ import annotations

from collections.abc import Sequence

from abn.common.texts import percentage


def signed(points: float) -> str:
    """Two decimals with a sign, also of 0, and a true minus."""
    return f"{points:+.2f}".replace("-", "−")


def percentages(shares: Sequence[float]) -> str:
    """The smallest and the largest of some shares in [0, 1], in percent, or the one that all are."""
    low, high = percentage(min(shares)), percentage(max(shares))
    return low if low == high else f"{low} to {high}"
