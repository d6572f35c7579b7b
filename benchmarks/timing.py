"""Ratios in one run: candidates take turns, so that a slow moment of the machine slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device | None = None,
    *,
    rotate: bool = False,
) -> dict[str, list[float]]:
    """Seconds of every candidate in every round, after one round that is not counted.

    Args:
        device: whose work is waited for before the clock is read; None for candidates that wait themselves.
        rotate: begin each round with another candidate, so that what one leaves in the caches does not always help
            the same next one.
    """
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        first = turn % len(names) if rotate else 0
        for name in names[first:] + names[:first]:
            _wait_for(device)
            started = time.perf_counter()
            candidates[name]()
            _wait_for(device)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median of the rounds' ratios: the two of a round ran one after the other."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def _wait_for(device: torch.device | None) -> None:
    if device is not None and device.type != "cpu":
        torch.accelerator.synchronize(device)
