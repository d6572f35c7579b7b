"""What to do when a device's memory runs out: the same work in smaller parts, then a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Part = TypeVar("Part")

ANOTHER_DEVICE = "let whoever runs this choose another device (--device cpu)"


class DeviceMemoryError(RuntimeError):
    """The device's memory is full even for the smallest part: one sentence for people, with the remedy."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device's memory, or the machine's, did not suffice: some allocators say so in words alone."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return any(
        words in said for words in ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    )


def in_parts_that_fit(
    run: Callable[[int, int], Part], count: int, size: int, device: torch.device, smallest: int = 1
) -> list[Part]:
    """Work through `count` images part by part; each time memory runs out, the parts become half as large.

    What was done before is kept; only the part that did not fit is done again.

    Args:
        run: (start, size) → the result for the images from `start` on, at most `size` of them at once.
        count: images in all, at least 1.
        size: images a part to begin with.
        device: where it happens, for the message.
        smallest: the size below which a part cannot be split.

    Returns:
        The parts' results, in order.

    Raises:
        DeviceMemoryError: where a part of the smallest size does not fit.
    """
    parts: list[Part] = []
    start = 0
    while start < count:
        try:
            parts.append(run(start, size))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            full = True  # dealt with outside, where the error no longer holds the tensors of its frames
        else:
            full = False
            start += size
        if full:
            if size <= smallest:
                raise DeviceMemoryError(
                    f"The memory of {device} is full, even for {_images(min(size, count))} at a time; try again when "
                    f"other work on it has ended, or {ANOTHER_DEVICE}."
                )
            size = max(smallest, size // 2)
            if device.type == "cuda":
                torch.cuda.empty_cache()  # blocks kept for the larger parts do not fit the smaller ones
    return parts


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"
