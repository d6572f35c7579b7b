"""Grad-CAM at one of a network's stages, by Captum, without a hook on the shared network.

Captum's layer methods hook the module they are given, which mixes up threads that share it. So the
network is walked block by block, and what leaves the stage passes through an `nn.Identity` that belongs
to this call alone: that is the module Captum gets.
"""

from __future__ import annotations

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from abn.interpret.attribution.targets import Score
from abn.models.modulation import Modulation, require_blocks


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
    last_block = [name for name, _ in model.blocks() if name.startswith(f"{stage}.")][-1]
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
