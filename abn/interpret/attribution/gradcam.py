"""Grad-CAM at one of a network's stages, by Captum, without a hook on the shared network.

Captum's layer methods hook the module they are given, which mixes up threads that share it. So the
network is walked block by block, and what leaves the stage passes through an `nn.Identity` that belongs
to this call alone: that is the module Captum gets.
"""

from __future__ import annotations

import math

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from abn.interpret.attribution.targets import Score
from abn.models.modulation import Modulation, require_blocks
from abn.models.resnet import BasicBlock, ResNet


def grad_cam(score: Score, images: Tensor, stage: str) -> Tensor:
    """Σ_c (mean over the pixels of ∂target/∂A_c) · A_c, with A the stage's output.

    Args:
        score: the target, as a function of the images.
        images: (N, 3, H, W) normalised.
        stage: one of `model.stages()`.

    Returns:
        (N, 1, h, w) signed, at the stage's own resolution, before any ReLU.

    Raises:
        ValueError: for a stage that the network does not have, or on which the target does not depend.
    """
    model = score.model
    if stage not in model.stages():
        raise ValueError(f"stage is {stage!r}; the network has {', '.join(model.stages())}")
    last_block = _blocks_through(model, stage)[-1][0]
    identity = nn.Identity()

    def through_identity(x: Tensor) -> Tensor:
        modulations: dict[str, Modulation] = {}
        hook = score.hook(modulations)
        require_blocks(hook, dict(model.blocks()))
        with torch.no_grad():  # nothing before the stage is differentiated
            x = model.stem(x)
        before = True
        for name, block in model.named_blocks():
            with torch.set_grad_enabled(not before):
                x = block(x, name, hook)
            if name == last_block:
                x = identity(x)
                before = False
        value = score.target(model.head(x), modulations)
        if not value.requires_grad:  # a factor, say, of a block before the stage's end
            raise ValueError(f"the target does not depend on what {stage} gives on; name an earlier stage")
        return value

    return LayerGradCam(through_identity, identity).attribute(images)


def cell_step(model: ResNet, stage: str) -> tuple[int, int]:
    """By how many pixels two neighbouring cells of a stage's output lie apart: (down, right).

    The product of the strides on the way. Cell i looks at pixel s·i, since every convolution keeps its middle there:
    3 × 3 with a padding of 1, 1 × 1 with none.
    """
    strides = [model.conv1.stride, *(block.conv1.stride for _, block in _blocks_through(model, stage))]
    return math.prod(down for down, _ in strides), math.prod(right for _, right in strides)


def _blocks_through(model: ResNet, stage: str) -> list[tuple[str, BasicBlock]]:
    """The blocks up to the last one of a stage."""
    blocks = list(model.named_blocks())
    last = max(index for index, (name, _) in enumerate(blocks) if name.startswith(f"{stage}."))
    return blocks[: last + 1]
