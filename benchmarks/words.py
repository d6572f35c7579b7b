"""Numbers as the benchmarks' sentences and tables have them."""

from __future__ import annotations


def signed(points: float) -> str:
    """Two decimals with a sign, also of 0, and a true minus."""
    return f"{points:+.2f}".replace("-", "−")


def p_value(p: float) -> str:
    """ "= 0.03", or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"
