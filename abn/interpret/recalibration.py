"""Batch normalisation's running statistics, estimated anew for a network whose factors were changed.

bn2 follows the factors and keeps the mean and variance they led to in training. A network whose factors are held by a
hook has others; what it then loses may be the modulation's doing, or only that of statistics which no longer fit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from abn.interpret.inspection import require_evaluation_mode
from abn.models.modulation import Hook, require_blocks
from abn.models.resnet import BasicBlock, ResNet

MOST_CACHED = 3 * 2**30
"""Bytes of activations kept between two blocks: some 6,000 images of 32 × 32. Those of further images are computed
from the image again for every block, which takes about three times as long."""


@torch.no_grad()
def reestimated(
    model: ResNet,
    batches: Iterable[tuple[Tensor, Hook | None]],
    *,
    progress: Callable[[float], None] | None = None,
    most_cached: int = MOST_CACHED,
) -> ResNet:
    """A copy of a network, whose bn2 statistics in every block are those of the images given.

    Block by block, the mean and the unbiased variance of what bn2 is given, over all images and pixels together; then
    the images pass the block with these statistics, in eval mode, and the next block is measured. So the statistics
    are the same however the images are split into batches. All else keeps its value, the other normalisations'
    statistics too.

    Args:
        model: in eval mode; left as it is.
        batches: (N, 3, 32, 32) normalised images, best of all classes, each with the hook
            under which they pass, or None. All are held in memory.
        progress: called with the share done, 0 to 1, after every block.
        most_cached: bytes of activations to keep at most; fewer cost time.

    Returns:
        The copy, in eval mode.

    Raises:
        ValueError: for a network in training mode, or no image at all.
    """
    require_evaluation_mode(model)
    held = [_Batch(images, hook) for images, hook in batches if len(images)]
    if not held:
        raise ValueError("there is no image to estimate bn2's statistics on; give one at least")
    for batch in held:
        require_blocks(batch.hook, dict(model.blocks()))
    adapted = copy.deepcopy(model)
    blocks = list(adapted.named_blocks())
    for index, (name, block) in enumerate(blocks):
        pooled, room = _Pooled(), most_cached
        for batch in held:
            x = _entering(adapted, blocks[:index], batch)
            scaled = _before_bn2(block, x, name, batch.hook)
            pooled.add(scaled)
            size = x.nbytes + scaled.nbytes
            batch.cached = (x, scaled) if size <= room else None
            room -= size if batch.cached else 0
        pooled.write_to(block.bn2)
        for batch in held:
            if batch.cached is not None:
                x, scaled = batch.cached
                batch.cached = (block.finish(scaled, None, block.shortcut(x)),)
        if progress is not None:
            progress((index + 1) / len(blocks))
    return adapted


class _Batch:
    """Images on their way through the blocks.

    Attributes:
        cached: what enters the next block; or what entered the present one, and what its bn2 is given. None where
            there was no room.
    """

    def __init__(self, images: Tensor, hook: Hook | None) -> None:
        self.images = images
        self.hook = hook
        self.cached: tuple[Tensor, ...] | None = None


def _entering(model: ResNet, before: list[tuple[str, BasicBlock]], batch: _Batch) -> Tensor:
    """What a batch's images are when they enter the block that follows `before`."""
    if batch.cached is not None:
        return batch.cached[0]
    x = model.stem(batch.images)
    for name, block in before:
        x = block(x, name, batch.hook)
    return x


class _Keep(nn.Module):
    """Stands in for a normalisation, and keeps what that would be given."""

    given: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return x


def _before_bn2(block: BasicBlock, x: Tensor, name: str, hook: Hook | None) -> Tensor:
    """(N, C_in, H, W) → (N, C, H', W'), what `block.bn2` is given: the convolution's output times the factors."""
    norm, keep = block.bn2, _Keep()
    block.bn2 = keep
    try:
        block(x, name, hook)
    finally:
        block.bn2 = norm
    return keep.given


class _Pooled:
    """Mean and variance of each channel over batches of any size, merged exactly (Chan, Golub, LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0  # sum of squared deviations from the mean

    def add(self, x: Tensor) -> None:
        """Take (N, C, H, W) into account, in float64 where batches meet."""
        variance, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0)
        variance, mean = variance.cpu().double(), mean.cpu().double()
        count = x.shape[0] * x.shape[2] * x.shape[3]
        total, step = self.count + count, mean - self.mean
        self.mean = self.mean + step * count / total
        self.squares = self.squares + variance * count + step**2 * self.count * count / total
        self.count = total

    def write_to(self, norm: nn.BatchNorm2d) -> None:
        """Make these a normalisation's running statistics; the variance is the unbiased one, as PyTorch has it."""
        norm.running_mean.copy_(self.mean)
        norm.running_var.copy_(self.squares / max(self.count - 1, 1))
