"""How much a step computes, and how much this machine could: operations, and the best product of two matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

SIZES = {"cpu": (1024, 2048, 4096), "cuda": (2048, 4096, 8192)}
"""Rows of the square matrices that are tried."""


def count_operations(run: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products that `run` computes, forward and back.

    A multiplication and its addition are two. What works on single elements is not counted.
    """
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def products(device: torch.device, dtype: torch.dtype) -> dict[int, tuple[Callable[[], object], int]]:
    """Rows of the matrices → what multiplies such ones, as often as makes a moment, and its operations."""
    sizes = SIZES["cuda" if device.type == "cuda" else "cpu"]
    return {rows: _product(rows, max(sizes), device, dtype) for rows in sizes}


def _product(rows: int, largest: int, device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    one, other = (torch.randn(rows, rows, device=device, dtype=dtype) for _ in range(2))
    answer = torch.empty_like(one)
    times = (largest // rows) ** 3

    def run() -> None:
        for _ in range(times):
            torch.mm(one, other, out=answer)

    return run, 2 * rows**3 * times
