"""Batch normalisation's running statistics, estimated anew for a network whose factors were changed.

bn2 stands behind the factors and keeps the mean and variance they led to in training. A network whose factors are
held by a hook has others; what it then loses may be the modulation's doing, or only the old statistics'.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from abn.interpret.inspection import require_evaluation_mode
from abn.models.resnet import Hook, ResNet


@torch.no_grad()
def reestimated(model: ResNet, batches: Iterable[tuple[Tensor, Hook | None]]) -> ResNet:
    """A copy of a network, whose bn2 statistics in every block are those of the images given.

    A cumulative average over the batches, each of which counts by its number of images; in a batch a block sees what
    the blocks before it make of that batch's own statistics, as in training. All else keeps its value, the other
    normalisations' statistics too.

    Args:
        model: in eval mode; left as it is.
        batches: (N, 3, 32, 32) normalised images, best of all classes, each with the hook
            under which they pass, or None.

    Returns:
        The copy, in eval mode.

    Raises:
        ValueError: for a network in training mode, or no batch at all.
    """
    require_evaluation_mode(model)
    adapted = copy.deepcopy(model)
    norms = [block.bn2 for _, block in adapted.blocks()]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    for images, hook in batches:
        seen += len(images)
        for norm in norms:
            norm.momentum = len(images) / seen  # PyTorch's own cumulative average takes no notice of a batch's size
        adapted(images, hook)
    if seen == 0:
        raise ValueError("there is no batch to estimate bn2's statistics on; give one at least")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return adapted
